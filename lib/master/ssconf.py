"""The ssconf files: rendered from the configuration, sent to every online node when their content changes."""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_left
from collections.abc import Callable
from typing import Any

from immutables import Map

from ganeti import errors, settings
from ganeti.calls.node import SSH_AUTHORIZED, SSH_KNOWN_HOSTS, WATCHER_PAUSE, SsconfWrite
from ganeti.calls.port import Rpc
from ganeti.model import params, ssh
from ganeti.model.config import Config
from ganeti.model.objects import Node, Params
from ganeti.model.types import Uuid, nice_key

log = logging.getLogger(__name__)

#: how long a change waits for the nodes' files, in seconds; a node that hangs must not hold up the others' jobs
PATIENCE_S = 5.0
#: how often nodes that missed something are tried, in seconds
RETRY_S = 5.0
_HYPERVISORS = ("chroot", "fake", "kvm", "lxc", "xen-hvm", "xen-pvm")


def _lines(items: list[str]) -> str:
    return "\n".join(items) + "\n" if items else ""


def render(config: Config, hvparams: Callable[[str], Params], *, instances: str | None = None) -> dict[str, str]:
    """name → content, also what travels with the ssconf files.

    `instances` is a ready `instance_list` when no instance came, went or changed its name.
    """
    cluster = config.cluster
    nodes = sorted(config.nodes.values(), key=lambda node: nice_key(node.name))

    def names(chosen: Callable[[Node], bool]) -> str:
        return _lines([node.name for node in nodes if chosen(node)])

    def param(value: object) -> str:
        return "" if value is None else str(value)

    if instances is None:
        instances = render_instances(config)
    # the master is one, whatever its flag says
    candidates = [node for node in nodes if node.master_candidate or node.uuid == cluster.master_node]
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
        "uid_pool": _lines([f"{first}" if first == last else f"{first}-{last}" for first, last in cluster.uid_pool]),
        "nodegroups": _lines([f"{group.uuid} {group.name}" for group in groups]),
        "networks": _lines([f"{network.uuid} {network.name}" for network in networks]),
        "ssh_ports": _lines([f"{node.name}={params.filled_nd(config, node).get('ssh_port', 22)}" for node in nodes]),
        SSH_KNOWN_HOSTS: ssh.known_hosts(config),
        SSH_AUTHORIZED: ssh.authorized(config),
    } | {
        f"hvparams_{name}": _lines([f"{key}={param(value)}" for key, value in sorted(hvparams(name).items())])
        if name in cluster.enabled_hypervisors
        else ""
        for name in _HYPERVISORS
    }


def render_instances(config: Config) -> str:
    names = (instance.name for instance in config.instances.values())
    return _lines(sorted(names, key=lambda name: nice_key(name.lower())))


class InstanceList:
    """`instance_list`, kept in order: sorting all the names for each new one would cost more than anything else."""

    def __init__(self) -> None:
        self._names: Map[str, Uuid] = Map()
        self._known: set[str] = set()
        self._keys: list[tuple[Any, str]] = []  # Any: a sort key; with the name in lower case
        self._shown: list[str] = []
        self.text = ""

    def follow(self, config: Config) -> None:
        names = config.instance_names
        if names is self._names:
            return
        now = set(names)
        changed = now ^ self._known
        if not changed or len(changed) > len(now) // 10:
            self._keys = sorted((nice_key(name), name) for name in now)
            self._shown = [config.instances[names[name]].name for _, name in self._keys]
        else:
            for name in changed:
                self._change(config, name, is_new=name in now)
        self._names, self._known = names, now
        self.text = _lines(self._shown)

    def _change(self, config: Config, name: str, *, is_new: bool) -> None:
        key = (nice_key(name), name)
        at = bisect_left(self._keys, key)
        if is_new:
            self._keys.insert(at, key)
            self._shown.insert(at, config.instances[config.instance_names[name]].name)
        else:
            del self._keys[at]
            del self._shown[at]


def _differ(old: Config, new: Config) -> bool:
    """Whether another file than `instance_list` may have changed."""
    return not (
        old.cluster is new.cluster
        and old.nodes is new.nodes
        and old.groups is new.groups
        and old.networks is new.networks
    )


def _colons(digest: str) -> str:
    upper = digest.upper()
    return ":".join(upper[i : i + 2] for i in range(0, len(upper), 2))


class Distributor:
    """Keeps the nodes' files equal to the published configuration. Each node has its own sender."""

    def __init__(
        self,
        config: Callable[[], Config],
        serial: Callable[[], int],
        rpc: Rpc,
        hvparams: Callable[[Config, str], Params],
        *,
        pause: Callable[[], float | None] = lambda: None,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._patience_s = patience_s
        self._config = config
        self._serial = serial
        self._rpc = rpc
        self._hvparams = hvparams
        self._pause = pause
        self._sent: dict[Uuid, dict[str, str]] = {}  # what each node is known to have
        self._anew: set[Uuid] = set()  # is to get all of it, whatever it is known to have
        self._away: set[Uuid] = set()  # missed something: nobody waits for them
        self._senders: dict[Uuid, asyncio.Task[None]] = {}
        self._waiters: dict[Uuid, list[tuple[int, asyncio.Future[None]]]] = {}  # with the serial they wait for
        self._rendered: tuple[Config, float | None, dict[str, str]] | None = None
        self._instances = InstanceList()

    async def distribute(self) -> None:
        """Returns when the nodes have the files of now; those that do not take them in time get them later."""
        waits = self._begin(away_too=False)
        if not waits:
            return
        _, late = await asyncio.wait(waits, timeout=self._patience_s)
        for waiter in late:
            log.warning("node %s does not take its ssconf files in time", waits[waiter])
            self._away.add(waits[waiter])

    def send_all_again(self) -> None:
        """The next time every node gets every file: somebody may have changed one there."""
        self._anew.update(node.uuid for node in self._config().online_nodes)

    async def keep_trying(self) -> None:
        """For nodes that were away: they get what they missed when they are back."""
        while True:
            await asyncio.sleep(RETRY_S)
            self._begin(away_too=True)

    async def stop(self) -> None:
        senders = list(self._senders.values())
        for sender in senders:
            sender.cancel()
        await asyncio.gather(*senders, return_exceptions=True)

    def forget(self, node: Uuid) -> None:
        """Send this node everything next time."""
        self._sent.pop(node, None)
        self._anew.discard(node)
        self._away.discard(node)

    def _files(self, config: Config) -> dict[str, str]:
        old, pause = self._rendered, self._pause()
        if old is not None and old[0] is config and old[1] == pause:
            return old[2]
        self._instances.follow(config)
        instances = self._instances.text
        if old is None or _differ(old[0], config):
            files = render(config, lambda name: self._hvparams(config, name), instances=instances)
        elif old[2]["instance_list"] is instances:
            files = old[2]
        else:
            files = {**old[2], "instance_list": instances}
        wanted = "" if pause is None else f"{pause:.0f}\n"
        if files.get(WATCHER_PAUSE) != wanted:
            files = {**files, WATCHER_PAUSE: wanted}
        self._rendered = (config, pause, files)
        return files

    def _begin(self, *, away_too: bool) -> dict[asyncio.Future[None], Uuid]:
        """Start what is to be sent. Returns what to wait for, with the node's uuid."""
        config, serial = self._config(), self._serial()
        waits: dict[asyncio.Future[None], Uuid] = {}
        for uuid in self._away | self._sent.keys():
            # one that is offline is not waited for anyway; when it is online again, it is to have all of it at once
            if uuid not in config.nodes or config.nodes[uuid].offline:
                self.forget(uuid)
        for node in config.online_nodes:
            # one that is being sent something gets the newest next: it is not rendered for each change on the way
            is_known = node.uuid not in self._anew and self._sent.get(node.uuid) == self._files(config)
            if node.uuid not in self._senders and is_known:
                continue
            is_away = node.uuid in self._away
            if not is_away:
                waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._waiters.setdefault(node.uuid, []).append((serial, waiter))
                waits[waiter] = node.uuid
            if node.uuid not in self._senders and (away_too or not is_away):
                self._senders[node.uuid] = asyncio.create_task(self._send(node.uuid), name=f"ssconf of {node.name}")
        return waits

    async def _send(self, node: Uuid) -> None:
        """Until the node has what is newest, or fails."""
        try:
            while True:
                files, serial = self._files(self._config()), self._serial()
                known = {} if node in self._anew else self._sent.get(node, {})
                self._anew.discard(node)
                changed = {name: content for name, content in files.items() if known.get(name) != content}
                if changed:
                    await self._rpc.one(node, SsconfWrite(files=changed, serial=serial))
                self._sent[node] = files
                if node in self._away:
                    self._away.discard(node)
                    log.info("the ssconf files of node %s are up to date again", node)
                self._tell(node, serial)
                if not changed:
                    return
        except errors.RpcError as err:
            log.log(logging.DEBUG if node in self._away else logging.WARNING, "ssconf files not written: %s", err)
            self._sent.pop(node, None)
            self._away.add(node)
        finally:
            del self._senders[node]
            self._tell(node, self._serial())

    def _tell(self, node: Uuid, serial: int) -> None:
        """Those who wait for this state or an older one."""
        waiting = self._waiters.pop(node, [])
        later = [pair for pair in waiting if pair[0] > serial]
        if later:
            self._waiters[node] = later
        for wanted, waiter in waiting:
            if wanted <= serial and not waiter.done():
                waiter.set_result(None)
