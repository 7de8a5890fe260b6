"""Disks that are added to an instance: of its template, beside those that it has."""

from __future__ import annotations

import posixpath
from collections.abc import Callable

from ganeti import errors
from ganeti.logic import devices, new_volumes
from ganeti.logic.base import Env
from ganeti.model.objects import Disk, DiskTemplate, Instance, Node
from ganeti.model.types import Uuid


def maker(env: Env, instance: Instance) -> Callable[[devices.DiskSpec, int], Disk]:
    """Gives the disk for a description. Raises PrereqError when the instance cannot have more."""

    def make(spec: devices.DiskSpec, index: int) -> Disk:
        if instance.disk_template == DiskTemplate.DISKLESS.value:
            raise errors.PrereqError("wrong_input", f"instance {instance.name} is diskless: it takes no disks")
        like = instance.disks[0]
        devices.available(like.template, env.config.cluster)
        devices.never_made(like.template)
        if like.template in new_volumes.TEMPLATES:
            primary, *others = (env.config.nodes[uuid] for uuid in instance.nodes)
            return new_volumes.make(env, spec, index, primary, others[0] if others else None)
        return beside(like, spec, env.new_uuid())

    return make


def converted(
    env: Env, instance: Instance, template: DiskTemplate, *, driver: str, directory: str, secondary: Node | None = None
) -> tuple[Disk, ...]:
    """Its disks as disks of another template, new and empty. Raises PrereqError."""
    if not instance.disks or template is DiskTemplate.DISKLESS:
        raise errors.PrereqError("wrong_input", "there is no conversion from or to diskless")
    if instance.disk_template == template.value:
        raise errors.PrereqError(
            "wrong_input", f"the disks of {instance.name} are of template {template.value} already"
        )
    devices.available(template, env.config.cluster)
    devices.never_made(template)
    if (template is DiskTemplate.DRBD) != (secondary is not None):
        wanted = "needs a secondary node" if secondary is None else "takes no secondary node"
        raise errors.PrereqError(
            "wrong_input", f"a conversion to template {template.value} {wanted}", hint="-n NODE is for drbd"
        )
    specs = [
        devices.DiskSpec(size=disk.size, mode=disk.mode, name=disk.name, exportable=disk.exportable)
        for disk in instance.disks
    ]
    if template in new_volumes.TEMPLATES:
        primary = env.config.nodes[instance.primary_node]
        if secondary is not None and secondary.uuid == primary.uuid:
            raise errors.PrereqError("wrong_input", f"node {primary.name} cannot be the secondary of itself")
        return tuple(new_volumes.make(env, spec, index, primary, secondary) for index, spec in enumerate(specs))
    where = devices.file_directory(env.config.cluster, template, directory, instance.name)
    found = []
    for spec in specs:
        uuid = env.new_uuid()
        path = f"{where}/disk-{uuid}"
        found.append(devices.file_disk(spec, uuid, template, devices.file_driver(driver), path))
    return tuple(found)


def beside(like: Disk, spec: devices.DiskSpec, uuid: Uuid) -> Disk:
    """A file disk in the directory of another; no two ever had its name."""
    driver, path = str(like.logical_id[0]), str(like.logical_id[1])
    return devices.file_disk(spec, uuid, like.template, driver, f"{posixpath.dirname(path)}/disk-{uuid}")
