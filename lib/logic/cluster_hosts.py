"""Do the hosts have what new settings of the cluster are about: its volume group, its interface, its allocator?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ganeti import errors, settings
from ganeti.calls.node import NodeVerify, VerifyReply
from ganeti.logic import placement
from ganeti.logic.base import Env
from ganeti.model.config import Config
from ganeti.model.objects import Cluster, DiskTemplate, Node
from ganeti.model.types import Uuid

_LVM_TEMPLATES = (DiskTemplate.PLAIN, DiskTemplate.DRBD)


async def check(env: Env, changed: Cluster, *, force: bool) -> None:
    """Asks only about what is new. Raises PrereqError; with `force`, and of nodes other than the master that only
    might need it one day, it is a warning.
    """
    config, old = env.config, env.config.cluster
    _check_lvm(config, changed)

    def is_new(name: str) -> str:
        value: str = getattr(changed, name)
        return value if value != getattr(old, name) else ""

    vg, device, allocator = map(is_new, ("volume_group_name", "master_netdev", "default_iallocator"))
    if allocator == placement.BUILTIN:
        allocator = ""
    if not (vg or device or allocator):
        return
    question = NodeVerify(
        templates=(DiskTemplate.PLAIN.value,) if vg else (),
        volume_group=vg,
        devices=(device,) if device else (),
        allocators=(allocator,) if allocator else (),
    )
    online = {node.uuid: node for node in config.online_nodes}
    answers = await env.rpc.many(online, question)
    for text, hint, is_grave in _problems(config, online, answers):
        if is_grave and not force:
            raise errors.PrereqError("environment_error", text, hint=f"{hint}, or go on with --force")
        env.warn(text, hint=hint)


def _check_lvm(config: Config, changed: Cluster) -> None:
    if changed.volume_group_name or not config.cluster.volume_group_name:
        return
    enabled = [template.value for template in _LVM_TEMPLATES if template in changed.enabled_disk_templates]
    if enabled:
        raise errors.PrereqError(
            "wrong_state",
            f"without a volume group there is no place for disks of {' and '.join(enabled)}, which are enabled",
            hint="take them from --enabled-disk-templates in the same command",
        )


def _problems(
    config: Config, online: Mapping[Uuid, Node], answers: Mapping[Uuid, VerifyReply | errors.RpcError]
) -> Iterator[tuple[str, str, bool]]:
    """Text, hint, and whether it makes the change wrong."""
    for uuid, answer in answers.items():
        node = online[uuid]
        is_master = uuid == config.cluster.master_node
        if isinstance(answer, errors.RpcError):
            yield f"it is not known whether {node.name} has what is needed: {answer}", "gnt-cluster verify tells", False
            continue
        if node.vm_capable:
            for why in filter(None, answer.storage.values()):
                yield f"node {node.name}: {why}", "make it there first: tools/lvmstrap can", True
        if node.master_capable:
            for device in answer.missing_devices:
                text = f"node {node.name} has no network interface {device} for the cluster's address"
                yield text, "choose one that all nodes have", is_master
            for name in answer.missing_allocators:
                text = f"there is no allocator {name!r} on node {node.name}"
                yield text, f"install it in {' or '.join(settings.IALLOCATOR_SEARCH_PATH)}, or use builtin", is_master
