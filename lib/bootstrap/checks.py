"""What must be true before a cluster is made on this host. Changes nothing."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Collection
from typing import Any

import msgspec

from ganeti import errors, paths, settings
from ganeti.host import files, net
from ganeti.logic import placement
from ganeti.model import ssh
from ganeti.model.objects import DiskTemplate, Params
from ganeti.model.types import HOST_NAME, MAC_PREFIX
from ganeti.node import iallocator
from ganeti.paths import Paths
from ganeti.storage.file import places
from ganeti.storage.lvm import names

_FAMILIES = {"4": 2, "6": 10}
_LVM_TEMPLATES = (DiskTemplate.PLAIN, DiskTemplate.DRBD)


class InitRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What `gnt-cluster init` was told; empty: the default."""

    cluster_name: str
    enabled_hypervisors: tuple[str, ...] = ()
    enabled_disk_templates: tuple[str, ...] = ()
    hvparams: dict[str, Params] = {}
    beparams: Params = {}
    nicparams: Params = {}
    candidate_pool_size: int = 10
    mac_prefix: str = "aa:00:00"
    master_netdev: str = ""
    master_netmask: int | None = None
    secondary_ip: str = ""
    file_storage_dir: str = settings.FILE_STORAGE_DIR
    shared_file_storage_dir: str = settings.SHARED_FILE_STORAGE_DIR
    primary_ip_version: str = "4"
    default_iallocator: str = "builtin"
    default_iallocator_params: Params = {}
    ndparams: Params = {}
    diskparams: dict[str, Params] = {}
    ipolicy: dict[str, Any] = {}  # Any: JSON, read by `policy_input`
    vg_name: str | None = None
    drbd_helper: str = ""
    uid_pool: tuple[tuple[int, int], ...] = ()
    compression_tools: tuple[str, ...] | None = None
    hv_state: dict[str, Params] = {}
    disk_state: dict[str, Params] = {}
    install_image: str = ""
    prealloc_wipe_disks: bool = False
    lvm_self_repair: bool = False
    use_external_mip_script: bool = False
    maintain_node_health: bool = False
    enabled_user_shutdown: bool = False
    modify_etc_hosts: bool = True
    modify_ssh_setup: bool = True
    ssh_key_type: str = "rsa"
    ssh_key_bits: int = 0  # 0: the usual length


class InitFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The host as it was found, and the request with its defaults filled in."""

    node_name: str
    node_ip: str
    secondary_ip: str
    cluster_name: str
    cluster_ip: str
    ip_family: int
    netmask: int
    netdev: str
    hypervisors: tuple[str, ...]
    templates: tuple[DiskTemplate, ...]
    volume_group: str


def check_not_a_member(where: Paths) -> None:
    """Raises PrereqError when this node belongs to a cluster; one whose init was interrupted does not count."""
    if os.path.exists(where.local(paths.INIT_MARK)):
        return
    for file, what in ((paths.IDENTITY, "it has an identity"), (paths.STATE_DB, "it has a state database")):
        if os.path.exists(where.local(file)):
            name = (files.read_text(where.local(paths.ssconf("cluster_name"))) or "").strip()
            raise errors.PrereqError(
                "wrong_state",
                "this node is already part of " + (f"the cluster {name!r}" if name else f"a cluster ({what})"),
                hint="gnt-cluster destroy ends a cluster; gnt-node remove, run on its master, releases a node",
            )


def check(
    request: InitRequest,
    where: Paths,
    *,
    known_hypervisors: Collection[str],
    known_templates: Collection[str],
    why_not_group: Callable[[str], str],
) -> InitFacts:
    """All checks of an init in order. `why_not_group`: why a volume group of this host cannot be used, or nothing.

    Raises PrereqError, ResolverError.
    """
    check_values(request)
    node_name, node_ip = _own_address(request, where)
    templates = choose_templates(request.enabled_disk_templates, known_templates)
    _check_allocator(request.default_iallocator, where)
    return InitFacts(
        node_name=node_name,
        node_ip=node_ip,
        secondary_ip=_secondary(request, node_ip, where),
        ip_family=_FAMILIES[request.primary_ip_version],
        netmask=_netmask(request),
        netdev=_netdev(request, where),
        hypervisors=choose_hypervisors(request.enabled_hypervisors, known_hypervisors),
        templates=templates,
        volume_group=_volume_group(request, templates, why_not_group),
        **_cluster_address(request, where),
    )


def check_values(request: InitRequest) -> None:
    """What can be said without a look at the host."""
    if not HOST_NAME.match(request.cluster_name.lower()):
        raise errors.PrereqError(
            "wrong_input",
            f"{request.cluster_name!r} cannot be a cluster name",
            hint="it is a host name: letters, digits, hyphens and dots",
        )
    if not MAC_PREFIX.match(request.mac_prefix.lower()):
        raise errors.PrereqError(
            "wrong_input",
            f"{request.mac_prefix!r} cannot be a MAC prefix",
            hint="write three octets such as aa:00:00; the first must be even (no multicast)",
        )
    try:
        ssh.key_length(request.ssh_key_type, request.ssh_key_bits)
    except ValueError as err:
        raise errors.PrereqError("wrong_input", str(err)) from err
    if request.candidate_pool_size < 1:
        raise errors.PrereqError(
            "wrong_input", f"the candidate pool size is {request.candidate_pool_size}", hint="it is 1 or more"
        )
    if request.primary_ip_version not in _FAMILIES:
        raise errors.PrereqError("wrong_input", f"{request.primary_ip_version!r} is no IP version", hint="write 4 or 6")
    for option, path in (
        ("--file-storage-dir", request.file_storage_dir),
        ("--shared-file-storage-dir", request.shared_file_storage_dir),
    ):
        problem = places.why_not_directory(path) if path else ""
        if problem:
            raise errors.PrereqError("wrong_input", f"{option}: {path!r} {problem}")


def choose_hypervisors(wanted: tuple[str, ...], known: Collection[str]) -> tuple[str, ...]:
    """The enabled ones, the default first."""
    if not wanted:
        preferred = next((name for name in ("xen-pvm", "kvm") if name in known), "fake")
        return (preferred,)
    _refuse_unknown("hypervisor", wanted, known)
    return wanted


def choose_templates(wanted: tuple[str, ...], known: Collection[str]) -> tuple[DiskTemplate, ...]:
    if not wanted:
        usual = ("drbd", "plain") if "drbd" in known else ("file", "diskless")
        wanted = tuple(name for name in usual if name in known)
    _refuse_unknown("disk template", wanted, known)
    return tuple(DiskTemplate(name) for name in wanted)


def _refuse_unknown(what: str, wanted: tuple[str, ...], known: Collection[str]) -> None:
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise errors.PrereqError(
            "wrong_input", f"unknown {what} {unknown[0]!r}", hint=f"known are {', '.join(sorted(known))}"
        )
    twice = [name for name in wanted if wanted.count(name) > 1]
    if twice:
        raise errors.PrereqError("wrong_input", f"{what} {twice[0]!r} is listed twice")


def _own_address(request: InitRequest, where: Paths) -> tuple[str, str]:
    name, address = net.resolve(net.own_name(where), where)
    _check_family(address, request, f"this host ({name})")
    if net.is_loopback(address) and not where.is_virtual:
        raise errors.PrereqError(
            "environment_error",
            f"the name of this host, {name}, resolves to the reserved address {address}",
            hint="fix DNS or /etc/hosts so that it has the address by which other nodes reach it",
        )
    if not net.is_own(address):
        raise errors.PrereqError(
            "environment_error",
            f"the name of this host, {name}, resolves to {address}, which is not an address of this host",
            hint="fix DNS or /etc/hosts, or configure the address",
        )
    return name, address


def _check_family(address: str, request: InitRequest, whose: str) -> None:
    version = ipaddress.ip_address(address).version
    if str(version) != request.primary_ip_version:
        raise errors.PrereqError(
            "environment_error",
            f"{whose} has the IPv{version} address {address}, but the cluster uses IPv{request.primary_ip_version}",
            hint=f"give --primary-ip-version={version} or fix the name's address",
        )


def _cluster_address(request: InitRequest, where: Paths) -> dict[str, str]:
    name, address = net.resolve(request.cluster_name, where)
    _check_family(address, request, f"the cluster name {name}")
    # below 127/8 nothing is ever absent: only a listener shows that somebody uses the address
    if net.answers(address, settings.NODED_PORT, live_if_refused=not net.is_loopback(address)):
        raise errors.PrereqError(
            "resource_not_unique",
            f"the address {address} of the cluster name {name} is already active",
            hint="another cluster or host uses it: choose a name with a free address",
        )
    return {"cluster_name": name, "cluster_ip": address}


def _secondary(request: InitRequest, primary: str, where: Paths) -> str:
    wanted = request.secondary_ip
    if not wanted or wanted == primary:
        return primary
    try:
        parsed = ipaddress.ip_address(wanted)
    except ValueError as err:
        raise errors.PrereqError("wrong_input", f"{wanted!r} is not an IP address") from err
    if parsed.version != 4:
        raise errors.PrereqError("wrong_input", f"the secondary address {wanted} is not an IPv4 address")
    if (parsed.is_loopback and not where.is_virtual) or not net.is_own(wanted):
        raise errors.PrereqError(
            "environment_error",
            f"the secondary address {wanted} is not an address of this host",
            hint="configure it, or leave the option out",
        )
    return wanted


def _netmask(request: InitRequest) -> int:
    most = 32 if request.primary_ip_version == "4" else 128
    wanted = most if request.master_netmask is None else request.master_netmask
    if not 1 <= wanted <= most:
        raise errors.PrereqError("wrong_input", f"{wanted} is no prefix length", hint=f"1 to {most} are")
    return wanted


def _netdev(request: InitRequest, where: Paths) -> str:
    wanted = request.master_netdev or ("lo" if where.is_virtual else "xen-br0")
    if "/" in wanted or not os.path.exists(f"/sys/class/net/{wanted}"):
        present = ", ".join(sorted(os.listdir("/sys/class/net"))) if os.path.isdir("/sys/class/net") else "none"
        raise errors.PrereqError(
            "wrong_input",
            f"there is no network interface {wanted!r} for the master's address",
            hint=f"give --master-netdev; this host has {present}",
        )
    return wanted


def _volume_group(request: InitRequest, templates: Collection[DiskTemplate], why_not: Callable[[str], str]) -> str:
    wanted = [template.value for template in _LVM_TEMPLATES if template in templates]
    if not wanted:
        return request.vg_name or ""
    name = names.USUAL_GROUP if request.vg_name is None else request.vg_name
    kinds = " and ".join(wanted)
    if not name:
        raise errors.PrereqError(
            "wrong_input",
            f"without a volume group there is no place for disks of {kinds}, which are enabled",
            hint="give --vg-name, or --enabled-disk-templates without these",
        )
    if problem := why_not(name):
        raise errors.PrereqError(
            "environment_error",
            f"disks of {kinds} are enabled, and need a volume group: {problem}",
            hint="make it first (tools/lvmstrap can), or give another --vg-name or other disk templates",
        )
    return name


def _check_allocator(name: str, where: Paths) -> None:
    if name not in ("", placement.BUILTIN) and not iallocator.is_there(name, where):
        raise errors.PrereqError(
            "environment_error",
            f"there is no allocator {name!r} on this host",
            hint=f"install it in {' or '.join(where.iallocator_search_path)}, or use builtin",
        )
