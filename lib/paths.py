"""Where everything lies, who owns it, and how the virtual cluster moves it.

Stored and transmitted paths are logical, such as ``/var/lib/ganeti/state.db``. `Paths.local` adds the root
directory once, at the edge where a file is really opened.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from typing import Self

from ganeti import settings

#: environment of a virtual node: its root directory and its name
ROOT_VARIABLE = "GANETI_ROOTDIR"
NAME_VARIABLE = "GANETI_HOSTNAME"
#: where programs are on a node, in addition to what a login there has
REMOTE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/lib/ganeti:/usr/lib/ganeti"


class File:
    """One row of the account table: logical path, owner, group, mode. Accounts are names of `settings`."""

    __slots__ = ("group", "mode", "path", "user")

    def __init__(self, path: str, user: str, group: str, mode: int) -> None:
        self.path, self.user, self.group, self.mode = path, user, group, mode


_DATA, _RUN, _LOG = settings.DATA_DIR, settings.RUN_DIR, settings.LOG_DIR
_ROOT, _MASTERD, _RAPI, _CONFD = "root", settings.MASTERD_USER, settings.RAPI_USER, settings.CONFD_USER
_DAEMONS, _ADMIN = settings.DAEMONS_GROUP, settings.ADMIN_GROUP

#: the account table: every directory and file that the product creates on a node
DATA_DIR = File(_DATA, _ROOT, _ROOT, 0o755)
STATE_DIR = File(f"{_DATA}/state", _MASTERD, _MASTERD, 0o700)
STATE_DB = File(f"{_DATA}/state/state.db", _MASTERD, _MASTERD, 0o600)  # has secrets that no other daemon may read
STATE_LOCK = File(f"{_DATA}/state/lock", _MASTERD, _MASTERD, 0o600)
NODE_DIR = File(f"{_DATA}/node", _ROOT, _ROOT, 0o700)
NODE_DB = File(f"{_DATA}/node/requests.db", _ROOT, _ROOT, 0o600)
TERM_FILE = File(f"{_DATA}/node/term", _ROOT, _ROOT, 0o600)
SSCONF_SERIAL = File(f"{_DATA}/node/ssconf", _ROOT, _ROOT, 0o600)  # generation of the ssconf files
TRUST_FILE = File(f"{_DATA}/trust.json", _ROOT, _DAEMONS, 0o644)
CA_CERT = File(f"{_DATA}/ca.pem", _ROOT, _DAEMONS, 0o644)
CA_KEY = File(f"{_DATA}/ca.key", _ROOT, _ROOT, 0o600)
NODE_CERT = File(f"{_DATA}/server.pem", _MASTERD, _MASTERD, 0o440)  # key and certificate of this node
IDENTITY = File(f"{_DATA}/identity.json", _ROOT, _DAEMONS, 0o644)  # cluster, node name and uuid
INIT_MARK = File(f"{_DATA}/init-in-progress", _ROOT, _ROOT, 0o600)  # there until an init is complete
CONFD_KEY = File(f"{_DATA}/hmac.key", _CONFD, _MASTERD, 0o440)  # signs what confd is asked and answers
CONFD_DATA = File(f"{_DATA}/confd.json", _ROOT, _CONFD, 0o640)  # the configuration for confd; only on candidates
UPGRADE_INTENT = File(f"{_DATA}/intent-to-upgrade", _ROOT, _ROOT, 0o600)  # there while an upgrade is under way
UPGRADE_LOCK = File(f"{settings.LOCK_DIR}/ganeti-upgrade.lock", _ROOT, _ROOT, 0o600)
BACKUP_DIR = File(f"{_DATA}/backup", _ROOT, _ROOT, 0o700)
RAPI_CERT = File(f"{_DATA}/rapi.pem", _RAPI, _MASTERD, 0o440)
RAPI_DIR = File(f"{_DATA}/rapi", _RAPI, _MASTERD, 0o750)
RAPI_USERS = File(f"{_DATA}/rapi/users", _RAPI, _MASTERD, 0o640)
DOMAIN_SECRET = File(f"{_DATA}/cluster-domain-secret", _ROOT, _MASTERD, 0o640)  # signs what goes between clusters
SPICE_CERT = File(f"{_DATA}/spice.pem", _ROOT, _MASTERD, 0o440)
SPICE_CA = File(f"{_DATA}/spice-ca.pem", _ROOT, _MASTERD, 0o440)
RENEWAL_DIR = File(f"{_DATA}/renewal", _ROOT, _ROOT, 0o700)  # new keys that are not in use yet
SSH_DIR = File(f"{_DATA}/ssh", _ROOT, _ROOT, 0o700)
SSH_KEY = File(f"{_DATA}/ssh/identity", _ROOT, _ROOT, 0o600)  # link to the private key by which root is known to others
KNOWN_HOSTS = File(f"{_DATA}/known_hosts", _ROOT, _ROOT, 0o644)  # host keys of all nodes
SSCONF_LOCK = File(f"{settings.LOCK_DIR}/ganeti-ssconf.lock", _ROOT, _ROOT, 0o600)
WATCHER_PAUSE = File(f"{_DATA}/watcher.pause", _ROOT, _DAEMONS, 0o644)  # epoch seconds until which the watcher rests
WATCHER_LOCK = File(f"{settings.LOCK_DIR}/ganeti-watcher.lock", _ROOT, _ROOT, 0o600)
CRYPTO_DIR = File(f"{_RUN}/crypto", _ROOT, _ROOT, 0o700)  # keys of transfers between clusters
CLEANER_LOG_DIR = File(f"{_LOG}/cleaner", _ROOT, _ADMIN, 0o750)
RUN_DIR = File(_RUN, _ROOT, _DAEMONS, 0o1775)  # sticky: what is root's there stays in its place
INSTANCE_STATUS = File(f"{_RUN}/instance-status", _ROOT, _DAEMONS, 0o644)  # what the watcher saw last
SOCKET_DIR = File(f"{_RUN}/socket", _MASTERD, _DAEMONS, 0o770)
QUERY_SOCKET = File(f"{_RUN}/socket/ganeti-query", _MASTERD, _DAEMONS, 0o660)
MASTER_SOCKET = File(f"{_RUN}/socket/ganeti-master", _MASTERD, _DAEMONS, 0o660)
KVM_DIR = File(f"{_RUN}/kvm-hypervisor", _ROOT, _ROOT, 0o700)
XEN_DIR = File(f"{_RUN}/xen-hypervisor", _ROOT, _ROOT, 0o700)
XEN_CONFIG_DIR = File("/etc/xen", _ROOT, _ROOT, 0o755)  # of the system; a file there for each guest that runs
FAKE_DIR = File(f"{_RUN}/fake-hypervisor", _ROOT, _ROOT, 0o700)
FAKE_DRBD_DIR = File(f"{_RUN}/fake-drbd", _ROOT, _ROOT, 0o700)  # of virtual nodes
FAKE_DEVICES_DIR = File("/srv/ganeti/fake-devices", _ROOT, _ROOT, 0o755)  # of virtual nodes: stands for /dev
FAKE_LVM_DIR = File(f"{_DATA}/fake-lvm", _ROOT, _ROOT, 0o750)  # of virtual nodes
FAKE_LVM_GROUPS = File(f"{_DATA}/fake-lvm-groups", _ROOT, _ROOT, 0o644)  # the same; a name a line
SCRIPTS_DIR = File(f"{_RUN}/os-scripts", _ROOT, _ROOT, 0o700)  # records of the scripts that run
HELPER_JAIL = File(f"{_RUN}/helper-jail", _ROOT, _ROOT, 0o555)  # stays empty: all that emulators of helpers see
LOG_DIR = File(_LOG, _ROOT, _DAEMONS, 0o1775)
OS_LOG_DIR = File(f"{_LOG}/os", _ROOT, _ADMIN, 0o750)
CONSOLE_LOG_DIR = File(f"{_LOG}/console", _ROOT, _ADMIN, 0o750)
CONFIG_DIR = File(settings.CONFIG_DIR, _ROOT, _ROOT, 0o755)
HOOKS_DIR = File(f"{settings.CONFIG_DIR}/hooks", _ROOT, _ROOT, 0o755)
FILE_STORAGE_PATHS = File(f"{settings.CONFIG_DIR}/file-storage-paths", _ROOT, _ROOT, 0o644)
FILE_STORAGE_DIR = File(settings.FILE_STORAGE_DIR, _ROOT, _ROOT, 0o750)
EXPORT_DIR = File(settings.EXPORT_DIR, _ROOT, _ROOT, 0o750)
SHARED_FILE_STORAGE_DIR = File(settings.SHARED_FILE_STORAGE_DIR, _ROOT, _ROOT, 0o750)

DIRECTORIES = (
    DATA_DIR, STATE_DIR, NODE_DIR, RAPI_DIR, RUN_DIR, SOCKET_DIR, KVM_DIR, XEN_DIR, FAKE_DIR, SCRIPTS_DIR,
    HELPER_JAIL, LOG_DIR, OS_LOG_DIR, CONSOLE_LOG_DIR, CLEANER_LOG_DIR, CONFIG_DIR, HOOKS_DIR,
    RENEWAL_DIR,
)  # fmt: skip

#: secrets that are the same on all nodes, by the names under which they are renewed
SHARED_SECRETS = {
    "rapi.pem": RAPI_CERT,
    "rapi-users": RAPI_USERS,
    "hmac.key": CONFD_KEY,
    "cluster-domain-secret": DOMAIN_SECRET,
    "spice.pem": SPICE_CERT,
    "spice-ca.pem": SPICE_CA,
}

#: directories that belong to the system or to the administrator: what is on them is not for us to say
_NOT_OURS = (
    "XEN_CONFIG_DIR",
    "CONFIG_DIR",
    "FILE_STORAGE_DIR",
    "EXPORT_DIR",
    "SHARED_FILE_STORAGE_DIR",
    "FAKE_DEVICES_DIR",
)


def account_table() -> tuple[File, ...]:
    """Every file and directory of ours with a name of its own."""
    found = [value for name, value in globals().items() if isinstance(value, File) and name not in _NOT_OURS]
    return (*found, *(ssconf(name) for name in SSCONF_NAMES))


#: every ssconf file
SSCONF_NAMES = (
    "cluster_name", "cluster_tags", "enabled_user_shutdown", "file_storage_dir", "gluster_storage_dir",
    "hvparams_chroot", "hvparams_fake", "hvparams_kvm", "hvparams_lxc", "hvparams_xen-hvm", "hvparams_xen-pvm",
    "hypervisor_list", "instance_list", "maintain_node_health", "master_candidates", "master_candidates_certs",
    "master_candidates_ips", "master_ip", "master_netdev", "master_netmask", "master_node", "networks", "node_list",
    "node_primary_ips", "node_secondary_ips", "node_vm_capable", "nodegroups", "offline_nodes", "online_nodes",
    "primary_ip_family", "release_version", "shared_file_storage_dir", "ssh_ports", "uid_pool",
)  # fmt: skip


def ssconf(name: str) -> File:
    return File(f"{_DATA}/ssconf_{name}", _ROOT, _ROOT, 0o444)


def ssh_pair(digest: str) -> File:
    """A private key for SSH; the one that is linked to is in use."""
    return File(f"{SSH_KEY.path}.{digest}", _ROOT, _ROOT, 0o600)


def staged(name: str) -> File:
    """A new key or secret that waits until it is put in place."""
    return File(f"{RENEWAL_DIR.path}/{name}", _ROOT, _ROOT, 0o600)


def pid_file(daemon: str) -> File:
    # a daemon that root has started removes it at its end, when it has its own account
    owner = {"ganeti-masterd": _MASTERD, "ganeti-confd": _CONFD, "ganeti-rapi": _RAPI}.get(daemon, _ROOT)
    return File(f"{_RUN}/{daemon}.pid", owner, owner, 0o644)


def once_file(daemon: str) -> File:
    """Arguments of the next start of a daemon as a service; there for that moment only.

    Beside the run-time directory, where nobody but root can write: systemd takes the variables of a start from it.
    """
    return File(f"{_RUN.rpartition('/')[0]}/{daemon}.once", _ROOT, _ROOT, 0o600)


def watcher_state(group: str) -> File:
    return File(f"{_DATA}/watcher.{group}.data", _ROOT, _ROOT, 0o600)


def watcher_status(group: str) -> File:
    """What the watcher saw of a node group's instances."""
    return File(f"{_DATA}/watcher.{group}.instance-status", _ROOT, _DAEMONS, 0o644)


def watcher_lock(group: str) -> File:
    return File(f"{settings.LOCK_DIR}/ganeti-watcher-{group}.lock", _ROOT, _ROOT, 0o600)


def log_file(name: str) -> File:
    """`name` as users know it: master-daemon, node-daemon, rapi-daemon, conf-daemon, watcher, commands."""
    owner = {"conf-daemon": _CONFD, "rapi-daemon": _RAPI, "rapi-access": _RAPI}.get(name, _MASTERD)
    return File(f"{_LOG}/{name}.log", owner, _DAEMONS, 0o640)


class Paths:
    """Logical paths made local, for a real node (no root) or a virtual one."""

    def __init__(self, root: str = "", host_name: str = "") -> None:
        self.root = root.rstrip("/")
        self.host_name = host_name  # of a virtual node; empty: ask the system

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        return cls(environ.get(ROOT_VARIABLE, ""), environ.get(NAME_VARIABLE, ""))

    @property
    def is_virtual(self) -> bool:
        return bool(self.root)

    def environment(self) -> dict[str, str]:
        """What every command and hook is given so that it acts on the same node."""
        return {ROOT_VARIABLE: self.root, NAME_VARIABLE: self.host_name} if self.root else {}

    def local(self, logical: File | str) -> str:
        """Raises ValueError for a path that is not absolute or has `..` in it."""
        path = logical.path if isinstance(logical, File) else logical
        if not path.startswith("/") or ".." in path.split("/"):
            raise ValueError(f"not an absolute, normalised path: {path!r}")
        return self.root + path

    def logical(self, local: str) -> str:
        """The inverse of `local`."""
        if self.root and not local.startswith(self.root + "/"):
            raise ValueError(f"{local!r} is not below {self.root!r}")
        return local[len(self.root) :]

    @property
    def ssh(self) -> tuple[str, ...]:
        """Command prefix that reaches another node; the virtual cluster puts its own in place."""
        own = f"{self.root}/usr/bin/ssh"
        return (own,) if self.root and os.path.exists(own) else ("ssh",)

    def remote(self, argv: Sequence[str]) -> str:
        """A command for the shell at the other end of `ssh`, which may not look for programs where ours are."""
        command = "exec " + shlex.join(argv)
        return command if self.is_virtual else f"PATH=$PATH:{REMOTE_PATH} {command}"

    @property
    def os_search_path(self) -> tuple[str, ...]:
        return settings.OS_SEARCH_PATH

    @property
    def provider_search_path(self) -> tuple[str, ...]:
        """Of external storage: beside the OS definitions."""
        return tuple(f"{path.rpartition('/')[0]}/extstorage" for path in settings.OS_SEARCH_PATH)

    @property
    def iallocator_search_path(self) -> tuple[str, ...]:
        return settings.IALLOCATOR_SEARCH_PATH
