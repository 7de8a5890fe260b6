"""The simulated cluster: nodes, network, chance, and who watches. One world is one run."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import NoReturn

import greenlet
import msgspec

from ganeti import errors
from ganeti.host import faults
from ganeti.master.commits import Committer
from ganeti.master.contest import Contest
from ganeti.master.endings import Endings
from ganeti.master.env import JobEnv
from ganeti.master.state import write_of
from ganeti.model import objects
from ganeti.model.objects import AnyObject, Cluster, DiskTemplate, Group, Node, Put
from ganeti.model.types import Uuid
from ganeti.rpc import trust
from ganeti.rpc.requests import Requests
from ganeti.rpc.term import TermKeeper
from ganeti.store import db
from ganeti.store.batch import unseal_all
from ganeti.store.leader import Leader
from ganeti.store.quorum import Limits
from ganeti.testing.sim import belongings
from ganeti.testing.sim.chance import Chance
from ganeti.testing.sim.disk import Platters, SimDatabase, database_on
from ganeti.testing.sim.loop import CURRENT, EPOCH, Died, Process, the_loop
from ganeti.testing.sim.master import MasterProcess
from ganeti.testing.sim.network import Network
from ganeti.testing.sim.node import INSTANCE_NETWORK, SimNode, SimReplica
from ganeti.testing.sim.witness import Witness


class Kinds(msgspec.Struct, frozen=True, kw_only=True):
    """The classes that a run is made of; a mutant replaces one."""

    database: type[SimDatabase] = SimDatabase
    replica: type[SimReplica] = SimReplica
    leader: type[Leader] = Leader
    terms: type[TermKeeper] = TermKeeper
    requests: type[Requests] = Requests
    committer: type[Committer] = Committer
    endings: type[Endings] = Endings
    env: type[JobEnv] = JobEnv
    contest: type[Contest] = Contest


REAL = Kinds()


class World:
    def __init__(self, root: str, chance: Chance, *, nodes: int, voters: int, kinds: Kinds = REAL) -> None:
        """`root` is an empty directory, best in memory. The first `voters` nodes are master candidates."""
        self.chance, self.kinds = chance, kinds
        chance.root = root
        self.calls = 0
        self._number = 0
        self.limits = Limits(
            recent_size=chance.rng.choice((1, 2000, 1 << 20)),
            snapshot_size=chance.rng.choice((2000, 1 << 20)),
            append_size=chance.rng.choice((2000, 1 << 20)),
        )
        self.platters = Platters()
        self.database = database_on(self.platters, kinds.database)
        self.network = Network(self)
        self.witness = Witness(self)
        self.buried: list[Process] = []
        made = [SimNode(self, number, f"{root}/node{number}") for number in range(1, nodes + 1)]
        self.nodes = {node.uuid: node for node in made}
        for node in made:
            belongings.put(node)
        self._write_first_state(made, made[:voters])

    def _write_first_state(self, nodes: list[SimNode], voters: list[SimNode]) -> None:
        writes = [write_of(Put(obj)) for obj in _objects(nodes, voters)]
        path = voters[0].state_path
        db.create(path, writes, voters=[node.uuid for node in voters], now=EPOCH)
        source = db.Database.open(path)
        entries = unseal_all(tuple(source.history(0)), "")
        for node in voters[1:]:
            target = db.Database.open(node.state_path)
            target.apply(entries, promise=source.promise)
            target.close()
        source.close()
        digests = {node.digest: node.name for node in voters}
        for node in nodes:
            trust.store(node.paths, trust.Trust(term=1, serial=0, digests=digests))

    def new_number(self) -> int:
        self._number += 1
        return self._number

    # Life and death

    def kill(self, process: Process) -> None:
        """kill -9: nothing of it runs any more; its files are closed."""
        if process.is_dead:
            return
        process.is_dead = True
        self.chance.trace(f"{process.name} is gone")
        the_loop().call_in(None, 0.0, self._bury, process)

    def _bury(self, process: Process) -> None:
        self.buried.append(process)
        blocked, process.blocked = process.blocked, []
        for work in blocked:
            work.throw(Died)
        for close in process.at_end:
            with contextlib.suppress(errors.GanetiError, sqlite3.Error, OSError):
                close()

    def node_dies(self, node: SimNode, place: str) -> NoReturn:
        """Called by blocking code of its node daemon."""
        self.chance.trace(f"{node.short} dies {place}")
        node.power_off()
        raise Died

    def at_point(self, point: faults.Point) -> None:
        """A process passes a fault point."""
        process = CURRENT.get()
        if process is None or process.is_dead or greenlet.getcurrent().parent is None:
            return
        if not self.chance.strikes("process dies at a durable step"):
            return
        node = next(node for node in self.nodes.values() if f"@{node.short}#" in process.name)
        self.chance.trace(f"{process.name} dies at {point}")
        if self.chance.rng.random() < 0.4:
            node.power_off()
        elif node.noded is not None and node.noded.process is process:
            node.kill_noded()
        else:
            node.kill_master()
        raise Died

    def start_master(self, node: SimNode, *, takes_over: bool) -> MasterProcess:
        node.kill_master()
        node.master = MasterProcess(self, node, takes_over=takes_over)
        self.chance.trace(f"master starts on {node.short}" + (", to take over" if takes_over else ""))
        # after the files of one that was killed just now were closed
        the_loop().call_in(None, 0.0, node.master.start)
        return node.master

    def masters(self) -> list[MasterProcess]:
        return [node.master for node in self.nodes.values() if node.master is not None]

    def serving(self) -> list[MasterProcess]:
        return [master for master in self.masters() if master.is_serving]


def _objects(nodes: list[SimNode], voters: list[SimNode]) -> list[AnyObject]:
    # few addresses: those who want one at the same time get in each other's way
    lan = objects.Network(
        uuid=Uuid("00000000-0000-4000-8000-00000000000e"), name=INSTANCE_NETWORK, network="198.51.100.0/26"
    )
    link: objects.Params = {"mode": "bridged", "link": "br0", "vlan": ""}
    group = Group(uuid=Uuid("00000000-0000-4000-8000-00000000000a"), name="default", networks={lan.uuid: link})
    cluster = Cluster(
        uuid=Uuid("00000000-0000-4000-8000-00000000000c"),
        name="cluster.example.com",
        master_node=voters[0].uuid,
        master_ip="192.0.2.1",
        master_netdev="lo",
        file_storage_dir="/srv/ganeti/file-storage",
        shared_file_storage_dir="/srv/ganeti/shared-file-storage",
        enabled_disk_templates=(
            DiskTemplate.DISKLESS,
            DiskTemplate.FILE,
            DiskTemplate.SHAREDFILE,
            DiskTemplate.PLAIN,
            DiskTemplate.DRBD,
        ),
        volume_group_name="xenvg",
    )
    found: list[AnyObject] = [cluster, group, lan]
    for node in nodes:
        found.append(
            Node(
                uuid=node.uuid,
                name=node.name,
                primary_ip=node.address,
                secondary_ip=node.address,
                group=group.uuid,
                master_candidate=node in voters,
                certificate_digest=node.digest,
            )
        )
    return found
