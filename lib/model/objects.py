"""The configuration's objects. Immutable; a change is a new object put in the old one's place."""

from __future__ import annotations

import enum
from typing import Any, ClassVar

import msgspec

from ganeti.model.types import MiB, RequestId, Uuid

# Any: parameter values are JSON scalars; the drivers' params modules give them types.
Params = dict[str, Any]


class AdminState(enum.Enum):
    UP = "up"
    DOWN = "down"
    OFFLINE = "offline"


class AllocPolicy(enum.Enum):
    PREFERRED = "preferred"
    LAST_RESORT = "last_resort"
    UNALLOCABLE = "unallocable"


class DiskTemplate(enum.Enum):
    DISKLESS = "diskless"
    FILE = "file"
    SHAREDFILE = "sharedfile"
    PLAIN = "plain"
    BLOCKDEV = "blockdev"
    DRBD = "drbd"
    RBD = "rbd"
    EXT = "ext"
    GLUSTER = "gluster"


class DiskMode(enum.Enum):
    RW = "rw"
    RO = "ro"


class Object(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What all stored objects have. `serial_no` and `mtime` are set when a change is committed."""

    kind: ClassVar[str]

    uuid: Uuid
    serial_no: int = 1
    ctime: float = 0.0
    mtime: float = 0.0
    tags: tuple[str, ...] = ()


class Cluster(Object, frozen=True, kw_only=True, omit_defaults=True):
    kind: ClassVar[str] = "cluster"

    name: str
    master_node: Uuid
    master_ip: str
    master_netdev: str
    master_netmask: int = 32
    primary_ip_family: int = 2  # address family number, 2 or 10
    mac_prefix: str = "aa:00:00"
    volume_group_name: str = ""
    file_storage_dir: str = ""
    shared_file_storage_dir: str = ""
    enabled_hypervisors: tuple[str, ...] = ("fake",)
    enabled_disk_templates: tuple[DiskTemplate, ...] = (DiskTemplate.DISKLESS, DiskTemplate.FILE)
    hvparams: dict[str, Params] = {}  # overrides of the built-in defaults, by hypervisor
    os_hvp: dict[str, dict[str, Params]] = {}  # by OS, then hypervisor
    beparams: Params = {}
    nicparams: Params = {}
    ndparams: Params = {}
    osparams: dict[str, Params] = {}
    osparams_private_cluster: dict[str, Params] = {}  # by OS; the values are shown to nobody
    diskparams: dict[str, Params] = {}
    ipolicy: Params = {}
    candidate_pool_size: int = 10
    max_running_jobs: int = 20
    max_tracked_jobs: int = 25
    default_iallocator: str = ""
    default_iallocator_params: Params = {}
    uid_pool: tuple[tuple[int, int], ...] = ()  # (first, last), in order, apart from each other
    reserved_lvs: tuple[str, ...] = ()  # patterns
    hidden_os: tuple[str, ...] = ()
    blacklisted_os: tuple[str, ...] = ()
    compression_tools: tuple[str, ...] = ("gzip", "gzip-fast", "gzip-slow")
    install_image: str = ""  # logical path of what is booted to run untrusted OS scripts; empty: none
    prealloc_wipe_disks: bool = False
    lvm_self_repair: bool = False  # missing physical volumes are dropped where all halves of mirrors are good elsewhere
    lvm_self_repaired: str = ""  # what was done so, and when; then nothing more until it is allowed anew
    use_external_mip_script: bool = False
    drbd_usermode_helper: str = ""
    hv_state_static: dict[str, Params] = {}  # recorded only
    disk_state_static: dict[str, Params] = {}
    highest_used_port: int = 10999
    tcpudp_port_pool: tuple[int, ...] = ()
    modify_etc_hosts: bool = False
    modify_ssh_setup: bool = False
    ssh_key_type: str = "rsa"  # of new keys
    ssh_key_bits: int = 0  # 0: the usual length
    maintain_node_health: bool = False
    enabled_user_shutdown: bool = False
    ca_certificate: str = ""  # PEM; several while it is renewed, the oldest first; the key lies on the candidates


class Node(Object, frozen=True, kw_only=True, omit_defaults=True):
    kind: ClassVar[str] = "node"

    name: str
    primary_ip: str
    secondary_ip: str
    group: Uuid
    certificate_digest: str = ""  # SHA-256 of the node's certificate, lower-case hex
    renewing_digest: str = ""  # of the certificate that takes its place: both are trusted until it has
    ssh_key: str = ""  # public, of root there: `type base64`; empty: none is known
    ssh_renewing_key: str = ""  # that takes its place: both are authorised until it has
    ssh_host_keys: tuple[str, ...] = ()  # public, of its SSH server
    master_candidate: bool = False
    offline: bool = False
    drained: bool = False
    master_capable: bool = True
    vm_capable: bool = True
    powered: bool = True
    ndparams: Params = {}
    hv_state_static: dict[str, Params] = {}  # by hypervisor
    disk_state_static: dict[str, Params] = {}  # by storage type, a slash and its name


class Group(Object, frozen=True, kw_only=True, omit_defaults=True):
    kind: ClassVar[str] = "group"

    name: str
    alloc_policy: AllocPolicy = AllocPolicy.PREFERRED
    ndparams: Params = {}
    diskparams: dict[str, Params] = {}
    ipolicy: Params = {}
    networks: dict[str, Params] = {}  # by uuid: mode, link and vlan of NICs on them
    hv_state_static: dict[str, Params] = {}
    disk_state_static: dict[str, Params] = {}


class Nic(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    uuid: Uuid
    mac: str
    name: str = ""
    ip: str | None = None
    network: Uuid | None = None
    params: Params = {}  # overrides: mode, link, vlan


class Link(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One node's end of a mirror, as that node is told; never in the configuration."""

    minor: int
    peer_minor: int
    port: int
    secret: str
    address: str = ""  # empty: it cannot be connected
    peer_address: str = ""


class Disk(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One disk of an instance; the index is its place in `Instance.disks`."""

    uuid: Uuid
    template: DiskTemplate
    size: MiB
    # how the back end finds it: file/sharedfile (driver, logical path); plain (vg, lv);
    # drbd (node a, node b, port, minor a, minor b, secret), see `model.disks.Mirror`
    logical_id: tuple[str | int, ...]
    mode: DiskMode = DiskMode.RW
    name: str = ""
    exportable: bool = True
    params: Params = {}
    children: tuple[Disk, ...] = ()  # drbd: data and metadata, called the same on both nodes
    link: Link | None = None  # filled in on the way to a node


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """A live migration under way: who takes part, and the ids of the calls that may still be."""

    migration: str
    source: Uuid
    target: Uuid
    prepare: RequestId
    run: RequestId


class Instance(Object, frozen=True, kw_only=True, omit_defaults=True):
    kind: ClassVar[str] = "instance"

    name: str
    primary_node: Uuid
    os: str
    hypervisor: str
    admin_state: AdminState = AdminState.DOWN
    admin_state_source: str = "admin"
    disks_active: bool = False
    disks: tuple[Disk, ...] = ()
    nics: tuple[Nic, ...] = ()
    hvparams: Params = {}
    beparams: Params = {}
    osparams: Params = {}
    osparams_private: Params = {}  # the values are shown to nobody
    network_port: int | None = None
    # why the instance must not be touched until someone decides (a Resolve that could not); empty: free
    blocked: str = ""
    # set from before the first to after the last step of a live migration; it is at the node that is primary now
    moving: Move | None = None

    @property
    def secondary_nodes(self) -> tuple[Uuid, ...]:
        """The other end of its mirrors."""
        found: list[Uuid] = []
        for disk in self.disks:
            if disk.template is DiskTemplate.DRBD:
                found += [Uuid(str(n)) for n in disk.logical_id[:2] if n != self.primary_node and n not in found]
        return tuple(found)

    @property
    def nodes(self) -> tuple[Uuid, ...]:
        """Primary first."""
        return (self.primary_node, *self.secondary_nodes)

    @property
    def disk_template(self) -> str:
        """`diskless`, the template that all disks share, or `mixed`."""
        templates = {disk.template.value for disk in self.disks}
        return "diskless" if not templates else templates.pop() if len(templates) == 1 else "mixed"


class Network(Object, frozen=True, kw_only=True, omit_defaults=True):
    kind: ClassVar[str] = "network"

    name: str
    network: str
    gateway: str = ""
    network6: str = ""
    gateway6: str = ""
    mac_prefix: str = ""
    reserved: tuple[str, ...] = ()  # addresses reserved from outside

    def environment(self) -> dict[str, str]:
        """What scripts are told of it; what is not set is left out."""
        values = {
            "NAME": self.name,
            "UUID": self.uuid,
            "SUBNET": self.network,
            "GATEWAY": self.gateway,
            "SUBNET6": self.network6,
            "GATEWAY6": self.gateway6,
            "MAC_PREFIX": self.mac_prefix,
            "TAGS": " ".join(sorted(self.tags)),
        }
        return {name: value for name, value in values.items() if value}


class DetachedDisk(Object, frozen=True, kw_only=True, omit_defaults=True):
    """A disk that was taken off its instance and is kept, with its data, until it is attached again or removed."""

    kind: ClassVar[str] = "disk"

    name: str  # its uuid: the name that people gave it need not be unique
    disk: Disk
    nodes: tuple[Uuid, ...]  # where its volumes lie, the instance's primary first
    owner: Uuid  # the instance that its volumes are marked for; may be gone
    instance_name: str  # of that, when the disk was detached


AnyObject = Cluster | Node | Group | Instance | Network | DetachedDisk
KINDS: dict[str, type[AnyObject]] = {cls.kind: cls for cls in (Cluster, Node, Group, Instance, Network, DetachedDisk)}


class Put(msgspec.Struct, frozen=True):
    """Change: this object as it shall be (new or in place of the one with its uuid)."""

    object: AnyObject


class Delete(msgspec.Struct, frozen=True):
    """Change: this object is gone."""

    kind: str
    uuid: Uuid


Change = Put | Delete
