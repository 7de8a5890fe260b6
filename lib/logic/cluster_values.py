"""What a request changes in the cluster object. Pure; raises PrereqError(wrong_input)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from ganeti import errors
from ganeti.hypervisor import parameters
from ganeti.logic import guests
from ganeti.model import diskparams, params, policy_input, ranges, ssh
from ganeti.model.config import Config
from ganeti.model.objects import Cluster, Params
from ganeti.model.types import MAC_PREFIX
from ganeti.ops.base import COMMON_FIELDS
from ganeti.ops.cluster import OpClusterSetParams
from ganeti.storage.file import places

# Any: JSON, untrusted.

#: fields of the request that are put into the cluster object as they are
_PLAIN = (
    "maintain_node_health", "enabled_user_shutdown", "prealloc_wipe_disks", "use_external_mip_script",
    "lvm_self_repair",
    "modify_etc_hosts", "modify_ssh_setup", "default_iallocator",
)  # fmt: skip
_DEVICE = re.compile(r"[\w.:@-]{1,15}\Z", re.ASCII)
_VG = re.compile(r"(?!-)[\w+.-]{1,127}\Z", re.ASCII)
_TOOL = re.compile(r"[\w+.-]{1,64}\Z", re.ASCII)
_USUAL_TOOLS = ("gzip", "gzip-fast", "gzip-slow")
_HV_STATE = ("cpu_node", "cpu_total", "mem_hv", "mem_node", "mem_total")
_DISK_STATE = ("disk_total", "disk_reserved", "disk_overhead")


def _wrong(message: str, *, hint: str = "") -> errors.PrereqError:
    return errors.PrereqError("wrong_input", message, hint=hint)


def changed(config: Config, op: OpClusterSetParams) -> Cluster:
    """Everything but the enabled hypervisors and disk templates."""
    old = config.cluster
    values: dict[str, Any] = {name: value for name in _PLAIN if (value := getattr(op, name)) is not None}
    readers: dict[str, Callable[[], Any]] = {
        "hvparams": lambda: {**old.hvparams, **_hvparams(old, op.hvparams or {})},
        "beparams": lambda: params.merged(old.beparams, params.parse_be(op.beparams or {})),
        "nicparams": lambda: params.merged(old.nicparams, params.parse_nic(op.nicparams or {})),
        "ndparams": lambda: params.merged(old.ndparams, params.parse_nd(op.ndparams or {})),
        "diskparams": lambda: diskparams.merged(old.diskparams, diskparams.parse(op.diskparams or {})),
        "os_hvp": lambda: _os_hvp(old, op.os_hvp or {}),
        "osparams": lambda: _osparams(old.osparams, op.osparams or {}),
        "osparams_private_cluster": lambda: _osparams(old.osparams_private_cluster, op.osparams_private_cluster or {}),
        "hidden_os": lambda: _names(old.hidden_os, op.hidden_os or ()),
        "blacklisted_os": lambda: _names(old.blacklisted_os, op.blacklisted_os or ()),
        "ipolicy": lambda: policy_input.merged(old.ipolicy, policy_input.parse(op.ipolicy or {}, for_cluster=True)),
        "candidate_pool_size": lambda: _positive(op.candidate_pool_size, "candidate pool size"),
        "max_running_jobs": lambda: _positive(op.max_running_jobs, "number of running jobs"),
        "max_tracked_jobs": lambda: _positive(op.max_tracked_jobs, "number of tracked jobs"),
        "mac_prefix": lambda: mac_prefix(op.mac_prefix or ""),
        "master_netdev": lambda: _matching(op.master_netdev, _DEVICE, "name of a network interface"),
        "master_netmask": lambda: netmask(op.master_netmask or 0, old.master_ip),
        "default_iallocator_params": lambda: {
            key: value for key, value in (op.default_iallocator_params or {}).items() if value is not None
        },
        "file_storage_dir": lambda: directory(op.file_storage_dir or "", "file storage directory"),
        "shared_file_storage_dir": lambda: directory(op.shared_file_storage_dir or "", "shared file storage directory"),
        "install_image": lambda: _image(op.install_image or ""),
        "reserved_lvs": lambda: patterns(op.reserved_lvs or ()),
        "compression_tools": lambda: _tools(op.compression_tools or ()),
    }
    values |= {name: read() for name, read in readers.items() if getattr(op, name) is not None}
    if op.vg_name is not None:
        values["volume_group_name"] = _matching(op.vg_name, _VG, "name of a volume group") if op.vg_name else ""
    if op.lvm_self_repair is not None:
        values["lvm_self_repaired"] = ""  # somebody has looked
    if op.drbd_helper is not None:
        values["drbd_usermode_helper"] = directory(op.drbd_helper, "DRBD usermode helper", anywhere=True)
    if op.hv_state is not None:
        values["hv_state_static"] = _state(old.hv_state_static, op.hv_state, _HV_STATE, tuple(parameters.HYPERVISORS))
    if op.disk_state is not None:
        values["disk_state_static"] = _state(old.disk_state_static, op.disk_state, _DISK_STATE, ())
    if op.ssh_key_type is not None or op.ssh_key_bits is not None:
        values |= ssh_keys(old, op.ssh_key_type, op.ssh_key_bits)
    if not (op.uid_pool is None and op.add_uids is None and op.remove_uids is None):
        values["uid_pool"] = _uid_pool(old, op)
    return msgspec.structs.replace(old, **values)


def is_empty(op: OpClusterSetParams) -> bool:
    """Whether nothing to change was given."""
    own = [name for name in op.__struct_fields__ if name not in (*COMMON_FIELDS, "force")]
    return all(getattr(op, name) is None for name in own)


def ssh_keys(old: Cluster, kind: str | None, bits: int | None) -> dict[str, Any]:
    """Another kind has its usual length unless one is given."""
    chosen = kind or old.ssh_key_type
    length = bits if bits is not None else old.ssh_key_bits if chosen == old.ssh_key_type else 0
    try:
        ssh.key_length(chosen, length)
    except ValueError as err:
        raise _wrong(str(err)) from err
    return {"ssh_key_type": chosen, "ssh_key_bits": length}


def _positive(wanted: int | None, what: str) -> int:
    if wanted is None or wanted < 1:
        raise _wrong(f"the {what} is at least 1, not {wanted}")
    return wanted


def _matching(value: str | None, pattern: re.Pattern[str], what: str) -> str:
    if value is None or not pattern.match(value):
        raise _wrong(f"{value!r} cannot be the {what}")
    return value


def mac_prefix(value: str) -> str:
    if not MAC_PREFIX.match(value.lower()):
        raise _wrong(
            f"{value!r} cannot be a MAC prefix",
            hint="write three octets such as aa:00:00; the first must be even (no multicast)",
        )
    return value.lower()


def netmask(bits: int, address: str) -> int:
    most = ipaddress.ip_address(address).max_prefixlen
    if not 1 <= bits <= most:
        raise _wrong(f"{bits} is no prefix length", hint=f"1 to {most} are")
    return bits


def directory(value: str, what: str, *, anywhere: bool = False) -> str:
    """Empty: back to the built-in one."""
    problem = "" if not value else places.why_not_directory(value)
    if anywhere and value:
        problem = "" if value.startswith("/") else "is not an absolute path"
    if problem:
        raise _wrong(f"the {what} {value!r} {problem}")
    return value


def _image(path: str) -> str:
    if path and not places.is_normal(path):
        raise _wrong(
            f"the install image {path!r} is not an absolute, normalised path",
            hint="it is a directory or a file that lies at the same place on every node",
        )
    return path


def patterns(texts: Iterable[str]) -> tuple[str, ...]:
    for text in texts:
        try:
            re.compile(text)
        except re.error as err:
            raise _wrong(f"the pattern {text!r} of reserved volumes is wrong: {err}") from err
    return tuple(dict.fromkeys(texts))


def _tools(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_matching(name, _TOOL, "name of a compression tool") for name in names)) or _USUAL_TOOLS


def _hvparams(old: Cluster, untrusted: Mapping[str, Params]) -> dict[str, Params]:
    found = {}
    for hypervisor, values in untrusted.items():
        parameters.declared(hypervisor)
        parsed = guests.parse_hv(hypervisor, values, for_cluster=True)
        found[hypervisor] = params.merged(old.hvparams.get(hypervisor, {}), parsed)
    return found


def _os_hvp(old: Cluster, untrusted: Mapping[str, Mapping[str, Params | None] | None]) -> dict[str, dict[str, Params]]:
    found = {name: dict(sets) for name, sets in old.os_hvp.items()}
    for os, sets in untrusted.items():
        if sets is None:
            found.pop(os, None)
            continue
        mine = found.setdefault(os, {})
        for hypervisor, values in sets.items():
            parameters.declared(hypervisor)
            parsed = guests.parse_hv(hypervisor, values or {})
            mine[hypervisor] = {} if values is None else params.merged(mine.get(hypervisor, {}), parsed)
    return {
        os: kept for os, sets in found.items() if (kept := {name: values for name, values in sets.items() if values})
    }


def _osparams(old: Mapping[str, Params], untrusted: Mapping[str, Params | None]) -> dict[str, Params]:
    found = dict(old)
    for os, values in untrusted.items():
        changes = {name: None if params.is_reset(value) else value for name, value in (values or {}).items()}
        found[os] = {} if values is None else params.merged(found.get(os, {}), changes)
    return {os: values for os, values in found.items() if values}


def _names(old: tuple[str, ...], changes: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    found = list(old)
    for action, name in changes:
        if action == "add" and name not in found:
            found.append(name)
        elif action == "remove" and name in found:
            found.remove(name)
    return tuple(sorted(found))


def _uid_pool(old: Cluster, op: OpClusterSetParams) -> tuple[ranges.Range, ...]:
    pool = old.uid_pool if op.uid_pool is None else ranges.checked(op.uid_pool)
    for taken in op.remove_uids or ():
        pool = ranges.without(pool, taken)
    return ranges.checked([*pool, *(op.add_uids or ())])


def _state(
    old: Mapping[str, Params],
    untrusted: Mapping[str, Mapping[str, Any]],
    keys: tuple[str, ...],
    idents: tuple[str, ...],
) -> dict[str, Params]:
    """Numbers that are recorded for allocators."""
    found = dict(old)
    for ident, values in untrusted.items():
        if idents and ident not in idents:
            raise _wrong(f"there is no hypervisor {ident!r}", hint="there are " + ", ".join(idents))
        for key in values:
            if key not in keys:
                raise _wrong(f"state of {ident}: unknown key {key!r}", hint="the keys are " + ", ".join(keys))
        try:
            found[ident] = {**found.get(ident, {}), **{key: int(value) for key, value in values.items()}}
        except (TypeError, ValueError) as err:
            raise _wrong(f"state of {ident}: whole numbers are wanted") from err
    return found
