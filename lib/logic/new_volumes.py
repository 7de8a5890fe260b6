"""Disks that are made of logical volumes: their names, and what a mirror reserves."""

from __future__ import annotations

from ganeti import errors
from ganeti.logic.base import Env
from ganeti.logic.devices import DiskSpec
from ganeti.model import diskparams
from ganeti.model.config import Config
from ganeti.model.disks import LARGEST_MIRROR, META_MIB, Mirror
from ganeti.model.objects import Disk, DiskTemplate, Node
from ganeti.model.types import MiB, Uuid

#: templates of this module
TEMPLATES = (DiskTemplate.PLAIN, DiskTemplate.DRBD)


def group(config: Config, wanted: str = "") -> str:
    """The volume group. Raises PrereqError when none is set."""
    found = wanted or config.cluster.volume_group_name
    if not found:
        raise errors.PrereqError(
            "wrong_state",
            "this cluster has no volume group for disk templates plain and drbd",
            hint="gnt-cluster modify --vg-name=VG sets it, or give vg=VG with each disk",
        )
    return found


def make(env: Env, spec: DiskSpec, index: int, primary: Node, secondary: Node | None) -> Disk:
    """Plain without a secondary, else mirrored; minors and port are reserved. Raises PrereqError."""
    return plain(env, spec, index) if secondary is None else mirror(env, spec, index, primary, secondary)


def plain(env: Env, spec: DiskSpec, index: int) -> Disk:
    return _volume(env, spec, DiskTemplate.PLAIN, (group(env.config, spec.vg), f"{env.new_uuid()}.disk{index}"), ())


def check_size(size: MiB) -> None:
    """Of a mirror. Raises PrereqError."""
    if size > LARGEST_MIRROR:
        raise errors.PrereqError(
            "wrong_input",
            f"a disk of {size} MiB cannot be mirrored: with {META_MIB} MiB of metadata DRBD has place for at most"
            f" {LARGEST_MIRROR} MiB",
            hint="take several disks",
        )


def mirror(env: Env, spec: DiskSpec, index: int, primary: Node, secondary: Node) -> Disk:
    check_size(spec.size)
    config = env.config
    stem = f"{env.new_uuid()}.disk{index}"
    vg = group(config, spec.vg)
    meta_vg = spec.metavg or str(diskparams.filled(config, DiskTemplate.DRBD, primary.group)["metavg"]) or vg
    data = Disk(uuid=env.new_uuid(), template=DiskTemplate.PLAIN, size=spec.size, logical_id=(vg, f"{stem}_data"))
    return _volume(env, spec, DiskTemplate.DRBD, connection(env, primary.uuid, secondary.uuid), (
        data, metadata(env, meta_vg, f"{stem}_meta"),
    ))  # fmt: skip


def metadata(env: Env, vg: str, name: str) -> Disk:
    return Disk(uuid=env.new_uuid(), template=DiskTemplate.PLAIN, size=META_MIB, logical_id=(vg, name))


def connection(env: Env, primary: Uuid, secondary: Uuid) -> tuple[str | int, ...]:
    """A mirror's id, with what it reserves."""
    return Mirror(
        nodes=(primary, secondary),
        minors=(env.new_minor(primary), env.new_minor(secondary)),
        port=env.new_port(),
        secret=f"{env.rng.getrandbits(160):040x}",
    ).logical_id


def _volume(
    env: Env, spec: DiskSpec, template: DiskTemplate, logical_id: tuple[str | int, ...], children: tuple[Disk, ...]
) -> Disk:
    return Disk(
        uuid=env.new_uuid(),
        template=template,
        size=spec.size,
        mode=spec.mode,
        name=spec.name,
        exportable=spec.exportable,
        logical_id=logical_id,
        children=children,
    )
