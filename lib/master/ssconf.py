"""The ssconf files: rendered from the configuration, sent to every online node when their content changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from ganeti import errors, settings
from ganeti.calls.node import SsconfWrite
from ganeti.calls.port import Rpc
from ganeti.model.config import Config
from ganeti.model.objects import Node, Params
from ganeti.model.types import Uuid, nice_key

log = logging.getLogger(__name__)

_HYPERVISORS = ("chroot", "fake", "kvm", "lxc", "xen-hvm", "xen-pvm")


def _lines(items: list[str]) -> str:
    return "".join(item + "\n" for item in items)


def render(config: Config, hvparams: Callable[[str], Params], *, instances: str | None = None) -> dict[str, str]:
    """name → content. `instances` is a ready `instance_list` when no instance came, went or changed its name."""
    cluster = config.cluster
    nodes = sorted(config.nodes.values(), key=lambda node: nice_key(node.name))

    def names(chosen: Callable[[Node], bool]) -> str:
        return _lines([node.name for node in nodes if chosen(node)])

    def param(value: object) -> str:
        return "" if value is None else str(value)

    if instances is None:
        instances = render_instances(config)
    candidates = [node for node in nodes if node.master_candidate]
    groups = sorted(config.groups.values(), key=lambda group: nice_key(group.name))
    networks = sorted(config.networks.values(), key=lambda network: nice_key(network.name))
    return {
        "cluster_name": cluster.name + "\n",
        "master_ip": cluster.master_ip + "\n",
        "master_netdev": cluster.master_netdev + "\n",
        "master_netmask": f"{cluster.master_netmask}\n",
        "primary_ip_family": f"{cluster.primary_ip_family}\n",
        "master_node": config.master.name + "\n",
        "file_storage_dir": cluster.file_storage_dir + "\n" if cluster.file_storage_dir else "",
        "shared_file_storage_dir": cluster.shared_file_storage_dir + "\n" if cluster.shared_file_storage_dir else "",
        "gluster_storage_dir": "",
        "release_version": settings.VERSION + "\n",
        "cluster_tags": _lines(sorted(cluster.tags)),
        "master_candidates": _lines([node.name for node in candidates]),
        "master_candidates_ips": _lines([node.primary_ip for node in candidates]),
        "master_candidates_certs": _lines([f"{node.uuid}={_colons(node.certificate_digest)}" for node in candidates]),
        "node_list": names(lambda node: True),
        "offline_nodes": names(lambda node: node.offline),
        "online_nodes": names(lambda node: not node.offline),
        "node_primary_ips": _lines([f"{node.name} {node.primary_ip}" for node in nodes]),
        "node_secondary_ips": _lines([f"{node.name} {node.secondary_ip}" for node in nodes]),
        "node_vm_capable": _lines([f"{node.name}={node.vm_capable}" for node in nodes]),
        "instance_list": instances,
        "hypervisor_list": _lines(list(cluster.enabled_hypervisors)),
        "maintain_node_health": f"{cluster.maintain_node_health}\n",
        "enabled_user_shutdown": f"{cluster.enabled_user_shutdown}\n",
        "uid_pool": "",
        "nodegroups": _lines([f"{group.uuid} {group.name}" for group in groups]),
        "networks": _lines([f"{network.uuid} {network.name}" for network in networks]),
        "ssh_ports": _lines([f"{node.name}={node.ndparams.get('ssh_port', 22)}" for node in nodes]),
    } | {
        f"hvparams_{name}": _lines([f"{key}={param(value)}" for key, value in sorted(hvparams(name).items())])
        if name in cluster.enabled_hypervisors
        else ""
        for name in _HYPERVISORS
    }


def render_instances(config: Config) -> str:
    return _lines(sorted((instance.name for instance in config.instances.values()), key=nice_key))


def _colons(digest: str) -> str:
    upper = digest.upper()
    return ":".join(upper[i : i + 2] for i in range(0, len(upper), 2))


class Distributor:
    """Keeps the nodes' files equal to the published configuration; one round serves all who wait."""

    def __init__(
        self,
        config: Callable[[], Config],
        serial: Callable[[], int],
        rpc: Rpc,
        hvparams: Callable[[Config, str], Params],
    ) -> None:
        self._config = config
        self._serial = serial
        self._rpc = rpc
        self._hvparams = hvparams
        self._sent: dict[Uuid, dict[str, str]] = {}  # what each node is known to have
        self._round: asyncio.Task[None] | None = None
        self._next: asyncio.Task[None] | None = None
        self._rendered: tuple[Config, dict[str, str]] | None = None

    async def distribute(self) -> None:
        """Returns when every reachable node has the files of now. Never fails: who missed it gets it next time."""
        if self._round is None or self._round.done():
            self._round = asyncio.create_task(self._one_round())
            await asyncio.shield(self._round)
            return
        # a round is under way with an older state: one more serves all who came meanwhile
        if self._next is None or self._next.done():
            self._next = asyncio.create_task(self._after(self._round))
        await asyncio.shield(self._next)

    async def _after(self, before: asyncio.Task[None]) -> None:
        await asyncio.wait({before})
        self._round = asyncio.current_task()
        await self._one_round()

    def forget(self, node: Uuid) -> None:
        """Send this node everything next time."""
        self._sent.pop(node, None)

    def _files(self, config: Config) -> dict[str, str]:
        old = self._rendered
        if old is not None and old[0] is config:
            return old[1]
        instances = (
            old[1]["instance_list"] if old is not None and old[0].instance_names is config.instance_names else None
        )
        files = render(config, lambda name: self._hvparams(config, name), instances=instances)
        self._rendered = (config, files)
        return files

    async def _one_round(self) -> None:
        config = self._config()
        files = self._files(config)
        serial = self._serial()
        sends = []
        for node in config.online_nodes:
            known = self._sent.get(node.uuid, {})
            changed = {name: content for name, content in files.items() if known.get(name) != content}
            if changed:
                sends.append(self._send(node.uuid, changed, files, serial))
        if sends:
            await asyncio.gather(*sends)

    async def _send(self, node: Uuid, changed: dict[str, str], files: dict[str, str], serial: int) -> None:
        try:
            await self._rpc.one(node, SsconfWrite(files=changed, serial=serial))
        except errors.RpcError as err:
            log.warning("ssconf files not written: %s", err)
            self.forget(node)
        else:
            self._sent[node] = files
