"""How a virtual cluster lies on disk: roots, addresses, run directories. Data and the files that describe it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Self

import msgspec

from ganeti import errors, settings
from ganeti.host import files, net
from ganeti.paths import NAME_VARIABLE, ROOT_VARIABLE, Paths
from ganeti.wire import codec

FORMAT = 1
DOMAIN = "vc.example"
MAX_NODES = 100
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SYMBOL = "vcluster.json"


class VirtualNode(msgspec.Struct, frozen=True, kw_only=True):
    name: str  # full name
    address: str
    root: str
    run_dir: str  # short and private; linked from the root

    @property
    def short_name(self) -> str:
        return self.name.partition(".")[0]

    @property
    def paths(self) -> Paths:
        return Paths(self.root, self.name)

    @property
    def off_mark(self) -> str:
        """Exists while the node is powered off."""
        return self.root + "/powered-off"

    @property
    def is_off(self) -> bool:
        return os.path.exists(self.off_mark)


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """One virtual cluster. Kept in its directory; written before anything else is made."""

    format: int = FORMAT
    directory: str
    network: str  # such as 127.20.30: a /24 of the loopback network
    cluster_name: str
    bin_dir: str  # where the commands and daemons are
    hypervisors: tuple[str, ...]
    nodes: tuple[VirtualNode, ...]

    @property
    def cluster_address(self) -> str:
        return f"{self.network}.254"

    @property
    def shared(self) -> str:
        return self.directory + "/shared"

    @property
    def devices(self) -> str:
        """Files below it stand for the devices that all nodes see."""
        return self.directory + "/devices"

    @property
    def run_base(self) -> str:
        return os.path.dirname(self.nodes[0].run_dir)

    def node(self, name: str) -> VirtualNode:
        """By short or full name. Raises PrereqError."""
        for node in self.nodes:
            if name.lower() in (node.name, node.short_name):
                return node
        known = ", ".join(node.short_name for node in self.nodes)
        raise errors.PrereqError(
            "unknown_entity", f"this virtual cluster has no node {name!r}", hint=f"its nodes are {known}"
        )

    def environment(self, node: VirtualNode) -> dict[str, str]:
        """A clean environment in which commands act on that node."""
        return {
            ROOT_VARIABLE: node.root,
            NAME_VARIABLE: node.name,
            "PATH": f"{self.bin_dir}:{SYSTEM_PATH}",
            "HOME": node.root + "/root",
            "LC_ALL": "C.UTF-8",
            "TERM": os.environ.get("TERM", "dumb"),
        }

    @classmethod
    def load(cls, directory: str) -> Self:
        """Raises PrereqError when there is no virtual cluster."""
        path = os.path.join(os.path.realpath(directory), _SYMBOL)
        text = files.read_text(path)
        if text is None:
            raise errors.PrereqError(
                "unknown_entity",
                f"{directory} holds no virtual cluster",
                hint=f"make one with: tools/vcluster create {directory}",
            )
        try:
            found = codec.decode(text, cls)
        except codec.CodecError as err:
            raise errors.PrereqError(
                "environment_error", f"{path} cannot be read: {err}", hint="remove the directory and create it again"
            ) from err
        if found.format != FORMAT:
            raise errors.PrereqError(
                "environment_error",
                f"{directory} was made by another version (format {found.format}, this is {FORMAT})",
                hint="destroy it with the version that made it, or end its processes and remove the directory",
            )
        if found.directory != os.path.realpath(directory):
            raise errors.PrereqError(
                "wrong_state",
                f"this virtual cluster was made at {found.directory} and does not work elsewhere",
                hint="move it back, or remove the directory and create it again",
            )
        return found

    def save(self) -> None:
        files.write_atomic(f"{self.directory}/{_SYMBOL}", codec.encode(self) + b"\n")

    def forget(self) -> None:
        """The last act of a destroy."""
        os.unlink(f"{self.directory}/{_SYMBOL}")


def plan(directory: str, count: int, *, bin_dir: str, hypervisors: tuple[str, ...]) -> Layout:
    """A new cluster with a network that nobody uses; reserves its run directory. Raises PrereqError."""
    directory = os.path.realpath(directory)
    base = _private_base()
    network = _free_network(directory, base, count)
    run_base = f"{base}/{network.removeprefix('127.')}"
    nodes = tuple(
        VirtualNode(
            name=f"node{number}.{DOMAIN}",
            address=f"{network}.{number}",
            root=f"{directory}/node{number}",
            run_dir=f"{run_base}/{number}",
        )
        for number in range(1, count + 1)
    )
    return Layout(
        directory=directory,
        network=network,
        cluster_name=f"cluster.{DOMAIN}",
        bin_dir=bin_dir,
        hypervisors=hypervisors,
        nodes=nodes,
    )


def _private_base() -> str:
    """A short directory of this user alone. Raises PrereqError when somebody else sits on its name."""
    parent = os.environ.get("XDG_RUNTIME_DIR", "")
    if not parent or len(parent) > 24 or not os.access(parent, os.W_OK):
        parent = "/tmp"
    base = f"{parent}/gnt-vc-{os.getuid()}"
    with suppress(FileExistsError):
        os.mkdir(base, 0o700)
    status = os.lstat(base)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise errors.PrereqError(
            "environment_error",
            f"{base} is not a directory that belongs to you alone",
            hint="remove it, or set XDG_RUNTIME_DIR to a short private directory",
        )
    return base


def _free_network(directory: str, base: str, count: int) -> str:
    """A /24 of 127.0.0.0/8, derived from the directory's name, that neither a process nor another cluster uses."""
    for attempt in range(200):
        digest = hashlib.sha256(f"{directory}#{attempt}".encode()).digest()
        network = f"127.{1 + digest[0] % 254}.{digest[1]}"
        reserved = f"{base}/{network.removeprefix('127.')}"
        if _is_reserved(reserved, directory) or not _is_silent(network, count):
            continue
        os.makedirs(reserved, mode=0o700, exist_ok=True)
        files.write_atomic(f"{reserved}/owner", directory.encode())
        return network
    raise errors.PrereqError(
        "insufficient_resources",
        "found no free network below 127.0.0.0/8",
        hint="destroy virtual clusters that are not used any more",
    )


def _is_reserved(reserved: str, directory: str) -> bool:
    owner = files.read_text(f"{reserved}/owner")
    return owner is not None and owner != directory and os.path.exists(f"{owner}/{_SYMBOL}")


def _is_silent(network: str, count: int) -> bool:
    """Whether the nodes' addresses can be bound and nobody listens there."""
    hosts = [f"{network}.{number}" for number in range(1, count + 1)]
    if not net.is_own(hosts[0]):
        raise errors.PrereqError(
            "environment_error",
            f"cannot bind {hosts[0]}",
            hint="a virtual cluster needs the whole loopback network 127.0.0.0/8, as Linux has it",
        )
    return not any(net.answers(host, settings.NODED_PORT, timeout_s=1, live_if_refused=False) for host in hosts)


def check_owner(directory: str, uid: int) -> None:
    """Raises PrereqError when the virtual cluster there belongs to another user: we would not see its processes."""
    try:
        owner = os.stat(os.path.join(directory, _SYMBOL)).st_uid
    except FileNotFoundError:
        return
    except PermissionError:
        owner = os.stat(directory).st_uid
    if uid not in (0, owner):
        raise errors.PrereqError(
            "environment_error",
            f"the virtual cluster in {directory} belongs to user {_user_name(owner)}",
            hint="run the command as that user, or make a cluster of your own in another directory",
        )


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


@contextmanager
def exclusive(directory: str) -> Iterator[None]:
    """Hold the cluster's lock: create, start, stop and destroy one at a time. Raises PrereqError."""
    handle = os.open(f"{directory}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            raise errors.PrereqError(
                "wrong_state", f"another command works on {directory}", hint="wait until it has ended"
            ) from err
        yield
    finally:
        os.close(handle)
