"""Calls about the node itself."""

from __future__ import annotations

import msgspec

from ganeti.calls.base import Call, ChangingCall, Reserve, Time, call
from ganeti.calls.helper import Helper
from ganeti.model.objects import Params


class VersionReply(msgspec.Struct, frozen=True, kw_only=True):
    software: str
    protocol: int
    node: str  # its own name
    uuid: str
    cluster: str  # name of the cluster it belongs to
    master: str  # name of the node it takes for the master, by its ssconf
    term: int  # highest it saw
    boot_id: str
    time: float  # epoch seconds on its clock


@call(reply=VersionReply, time=Time.URGENT, reserve=Reserve.QUORUM)
class NodeVersion(Call[VersionReply], frozen=True, tag="node_version"):
    """Who and what answers there."""


class TermReply(msgspec.Struct, frozen=True):
    term: int  # highest it saw, this one included


@call(reply=TermReply, time=Time.URGENT, reserve=Reserve.QUORUM, has_effect=True)
class TermPush(Call[TermReply], frozen=True, tag="term_push"):
    """A mastership has been won; from now on lower terms are refused. Carries its term as every call does."""

    master: str  # name of the new master node


@call(reply=bool, time=Time.NORMAL, reserve=Reserve.QUORUM)
class MasterStop(Call[bool], frozen=True, tag="master_stop"):
    """End the master daemon there, for another node takes over. Replies whether it ran.

    It comes before the new term is won, so it carries none. Refused when the caller has not seen the newest term.
    """

    seen: int  # highest term that the caller saw


@call(reply=bool, time=Time.URGENT, reserve=Reserve.QUORUM)
class MasterPing(Call[bool], frozen=True, tag="master_ping"):
    """Whether a master daemon answers questions there."""


@call(reply=None, time=Time.NORMAL, reserve=Reserve.QUORUM, has_effect=True)
class TrustPush(Call[None], frozen=True, tag="trust_push"):
    """Which certificates the node daemon answers. Refused when (term, serial) is older than what it has."""

    serial: int
    digests: dict[str, str]  # SHA-256 (lower-case hex) of a certificate → node name


#: travels with the ssconf files, but is the watcher's own file
WATCHER_PAUSE = "watcher_pause"
#: travel with the ssconf files: what becomes the known_hosts file, and a part of root's authorized_keys
SSH_KNOWN_HOSTS, SSH_AUTHORIZED = "ssh_known_hosts", "ssh_authorized"


@call(reply=int, time=Time.NORMAL, reserve=Reserve.QUORUM, has_effect=True)
class SsconfWrite(Call[int], frozen=True, tag="ssconf_write"):
    """Store ssconf files; only those whose content differs are rewritten. Replies how many were."""

    files: dict[str, str]  # name without `ssconf_` → content
    serial: int  # of the configuration they were made from; older than the last written: ignored


class HypervisorInfo(msgspec.Struct, frozen=True, kw_only=True):
    memory_total: int = 0  # MiB
    memory_free: int = 0
    memory_dom0: int = 0
    cpu_total: int = 0
    cpu_nodes: int = 1
    cpu_sockets: int = 1
    cpu_dom0: int = 1
    version: str = ""


class StorageInfo(msgspec.Struct, frozen=True, kw_only=True):
    total: int = 0  # MiB
    free: int = 0


class NodeInfoReply(msgspec.Struct, frozen=True, kw_only=True):
    boot_id: str
    hypervisors: dict[str, HypervisorInfo]
    storage: dict[str, StorageInfo]  # by the template that was asked for
    errors: tuple[str, ...] = ()


@call(reply=NodeInfoReply)
class NodeInfo(Call[NodeInfoReply], frozen=True, tag="node_info"):
    """Memory, processors and space."""

    hypervisors: tuple[str, ...] = ()
    templates: tuple[str, ...] = ()
    volume_group: str = ""  # filled in on the way


class VerifyReply(msgspec.Struct, frozen=True, kw_only=True):
    files: dict[str, str] = {}  # logical path → SHA-256, missing ones left out
    hypervisors: dict[str, str] = {}  # name → what is wrong with it, empty: nothing
    storage: dict[str, str] = {}  # template → what is wrong, empty: nothing
    unreachable: dict[str, str] = {}  # node name → why its daemon cannot be reached from here
    unreachable_secondary: dict[str, str] = {}  # node name → why it is not reached by the network of mirrors
    strays: tuple[str, ...] = ()  # logical paths of what lies among our volumes without a mark of ours
    strays_more: int = 0  # so many more of them are not told
    volumes: tuple[str, ...] = ()  # logical paths of volumes with our mark
    origins: dict[str, str] = {}  # of these the names of the instances that they were made for, where that is known
    leftovers: tuple[str, ...] = ()  # our processes and run-time files of no running instance
    state_term: int = 0  # of the store copy, 0: none
    state_serial: int = 0
    state_hash: str = ""
    trust_serial: int = 0
    certificate_ends: float = 0.0  # epoch seconds
    authority_ends: float = 0.0  # of the cluster's certificate authority
    too_open: dict[str, str] = {}  # logical path of a file of ours → what is wrong with its owner or mode
    missing_bridges: tuple[str, ...] = ()
    missing_devices: tuple[str, ...] = ()
    missing_allocators: tuple[str, ...] = ()
    bad_programs: dict[str, str] = {}  # path → why it cannot be run
    distrusted: tuple[str, ...] = ()  # why root does not run hooks, or the cluster's allocator
    bad_storage_paths: tuple[str, ...] = ()  # lines of the list of allowed directories
    minors: tuple[int, ...] = ()  # of mirrors, in use
    drbd_problem: str = ""  # why they are not known
    drbd_version: str = ""  # empty: not loaded
    drbd_helper: str = ""
    helper_problem: str = ""  # why no helper machine can be started
    pv_sizes: tuple[float, ...] = ()  # MiB, of the volume group's physical volumes


@call(reply=VerifyReply, time=Time.SLOW)
class NodeVerify(Call[VerifyReply], frozen=True, tag="node_verify"):
    """What a check of the cluster needs to know of a node."""

    files: tuple[str, ...] = ()  # logical paths to hash
    hypervisors: dict[str, Params] = {}  # with their complete parameters
    templates: tuple[str, ...] = ()
    strays_of: tuple[str, ...] = ()  # templates among whose volumes it shall look for what is none
    reach: dict[str, str] = {}  # node name → address whose node daemon it shall reach
    reach_secondary: dict[str, str] = {}  # node name → address that it shall reach from its own secondary one
    secondary_ip: str = ""
    bridges: tuple[str, ...] = ()  # that it shall have
    devices: tuple[str, ...] = ()  # network interfaces that it shall have
    allocators: tuple[str, ...] = ()  # programs that it shall find
    programs: tuple[str, ...] = ()  # paths of what it shall be able to run
    mirrors: bool = False  # whether to look at mirrors
    helper: Helper | None = None  # that it shall be able to start
    physical_volumes: bool = False  # and at the volume group's
    volume_group: str = ""  # filled in on the way


@call(reply=bool, reserve=Reserve.QUORUM)
class HostsWrite(ChangingCall[bool], frozen=True, tag="hosts_write"):
    """Keep these in a part of its own of the hosts file; no names: the part goes. Replies whether it was changed."""

    names: dict[str, str]  # full name → address


@call(reply=bool)
class AddressProbe(Call[bool], frozen=True, tag="address_probe"):
    """Whether something answers on that TCP port; a refused connection shows a live host too."""

    address: str
    port: int


@call(reply=None, time=Time.NORMAL)
class NodeLeave(ChangingCall[None], frozen=True, tag="node_leave"):
    """Leave the cluster: remove certificates, state and ssconf files; the daemon ends after its reply."""


@call(reply=None, time=Time.LONG, reserve=Reserve.SCRIPTS)
class TestDelay(ChangingCall[None], frozen=True, tag="test_delay"):
    """Sleep on the node."""

    duration: float


class HookResult(msgspec.Struct, frozen=True, kw_only=True):
    script: str  # HPATH-phase.d/script
    status: int  # 0 skipped, 1 failed, 2 succeeded
    output: str


@call(reply=tuple[HookResult, ...], time=Time.SCRIPTS, reserve=Reserve.SCRIPTS)
class HooksRun(ChangingCall[tuple[HookResult, ...]], frozen=True, tag="hooks_run"):
    """Run the scripts of one hooks directory in name order."""

    path: str  # such as instance-add
    phase: str  # pre or post
    environment: dict[str, str]
