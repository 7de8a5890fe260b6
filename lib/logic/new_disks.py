"""Disks that are added to an instance: of its template, beside those that it has."""

from __future__ import annotations

import posixpath
from collections.abc import Callable

from ganeti import errors
from ganeti.logic import devices
from ganeti.logic.base import Env
from ganeti.model.objects import Disk, DiskTemplate, Instance
from ganeti.model.types import Uuid


def maker(env: Env, instance: Instance) -> Callable[[devices.DiskSpec, int], Disk]:
    """Gives the disk for a description. Raises PrereqError when the instance cannot have more."""

    def make(spec: devices.DiskSpec, index: int) -> Disk:
        if instance.disk_template == DiskTemplate.DISKLESS.value:
            raise errors.PrereqError("wrong_input", f"instance {instance.name} is diskless: it takes no disks")
        like = instance.disks[0]
        if like.template not in devices.FILE_TEMPLATES:
            raise errors.PrereqError(
                "wrong_input", f"disks of template {like.template.value} cannot be added in this version"
            )
        devices.available(like.template, env.config.cluster)
        return beside(like, spec, env.new_uuid())

    return make


def converted(env: Env, instance: Instance, template: DiskTemplate, *, driver: str, directory: str) -> tuple[Disk, ...]:
    """Its disks as disks of another template, new and empty. Raises PrereqError."""
    if not instance.disks or template is DiskTemplate.DISKLESS:
        raise errors.PrereqError("wrong_input", "there is no conversion from or to diskless")
    if instance.disk_template == template.value:
        raise errors.PrereqError(
            "wrong_input", f"the disks of {instance.name} are of template {template.value} already"
        )
    devices.available(template, env.config.cluster)
    unfit = [kind.value for kind in (template, instance.disks[0].template) if kind not in devices.FILE_TEMPLATES]
    if unfit:
        raise errors.PrereqError(
            "wrong_input", f"disks cannot be converted from or to template {unfit[0]} in this version"
        )
    where = devices.file_directory(env.config.cluster, template, directory, instance.name)
    found = []
    for disk in instance.disks:
        uuid = env.new_uuid()
        spec = devices.DiskSpec(size=disk.size, mode=disk.mode, name=disk.name, exportable=disk.exportable)
        path = f"{where}/disk-{uuid}"
        found.append(devices.file_disk(spec, uuid, template, devices.file_driver(driver), path))
    return tuple(found)


def beside(like: Disk, spec: devices.DiskSpec, uuid: Uuid) -> Disk:
    """A file disk in the directory of another; no two ever had its name."""
    driver, path = str(like.logical_id[0]), str(like.logical_id[1])
    return devices.file_disk(spec, uuid, like.template, driver, f"{posixpath.dirname(path)}/disk-{uuid}")
