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


def beside(like: Disk, spec: devices.DiskSpec, uuid: Uuid) -> Disk:
    """A file disk in the directory of another; no two ever had its name."""
    driver, path = str(like.logical_id[0]), str(like.logical_id[1])
    return devices.file_disk(spec, uuid, like.template, driver, f"{posixpath.dirname(path)}/disk-{uuid}")
