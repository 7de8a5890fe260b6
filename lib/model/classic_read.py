"""Reads the classic `config.data` form: our objects, and what of the document has no place here. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from ganeti import errors
from ganeti.model import params, policy, ssh, words
from ganeti.model.classic import DETACHED, OURS, SAME, USUAL, never_given
from ganeti.model.classic_upgrade import Upgrade, table, wrong
from ganeti.model.config import Config
from ganeti.model.objects import (
    AnyObject,
    Cluster,
    DetachedDisk,
    Disk,
    Group,
    Instance,
    Network,
    Nic,
    Node,
    Params,
)

# Any: untrusted JSON.

T = TypeVar("T")

_TOP = ("version", "serial_no", "ctime", "mtime", "cluster", "nodes", "instances", "nodegroups", "networks", "disks",
        "filters")  # fmt: skip
_CLUSTER_OWN = ("cluster_name", "master_node", "volume_group_name", "enabled_hypervisors", "enabled_disk_templates",
                "hvparams", "beparams", "nicparams", "ndparams", "diskparams", "ipolicy", "tcpudp_port_pool",
                "candidate_certs", "uuid", "serial_no", "ctime", "mtime", "tags", "dsahostkeypub", *OURS)  # fmt: skip
#: keys of other objects that say nothing new or nothing that is kept
_DERIVED = {
    "group": ("members",),
    "node": (),
    "instance": ("forthcoming", "osparams_private", "disks", "nics"),
    "network": ("reservations", "ext_reservations"),
    "disk": (
        "nodes",
        "iv_name",
        "serial_no",
        "ctime",
        "mtime",
        "tags",
        "spindles",
        "dynamic_params",
        "children",
        DETACHED,
    ),
}
_SHA256 = 64  # hex digits


class Classic(msgspec.Struct, frozen=True, kw_only=True):
    """What was read."""

    config: Config
    serial: int
    notes: tuple[str, ...]  # what was upgraded, what is lost

    def objects(self) -> list[AnyObject]:
        return list(self.config.objects())


def read(untrusted: Any, *, builtin: Mapping[str, Params], new_uuid: Callable[[], str]) -> Classic:
    """Of any version from 2.0 on. `builtin`: complete defaults by hypervisor.

    Raises PrereqError(wrong_input) that names the place in the document.
    """
    upgrade = Upgrade(untrusted, new_uuid)
    reader = _Reader(upgrade.data, builtin)
    objects = reader.objects()
    try:
        config = Config.load(objects)
    except errors.PrereqError as err:
        raise wrong("$", err.message) from err
    serial = upgrade.data.get("serial_no", 1)
    if not isinstance(serial, int):
        raise wrong("$.serial_no", "a number is wanted")
    return Classic(config=config, serial=serial, notes=(*upgrade.notes, *reader.notes))


class _Reader:
    def __init__(self, data: dict[str, Any], builtin: Mapping[str, Params]) -> None:
        self._data, self._builtin = data, builtin
        self._lost: dict[str, int] = {}  # kind.key → how often
        self.notes: list[str] = []

    def objects(self) -> list[AnyObject]:
        data = self._data
        found: list[AnyObject] = [self._cluster(data["cluster"])]
        for part, one in (
            ("nodegroups", self._group),
            ("nodes", self._node),
            ("networks", self._network),
            ("instances", self._instance),
        ):
            for key, raw in data[part].items():
                found.append(one(raw, f"$.{part}[{key!r}]"))
        found += [self._detached(raw, f"$.disks[{key!r}]") for key, raw in data["disks"].items() if DETACHED in raw]
        if data["filters"]:
            self.notes.append(f"{len(data['filters'])} filter rules are not kept")
        for key in data:
            if key not in _TOP:
                self.notes.append(f"$.{key} is not known and not kept")
        for what, count in sorted(self._lost.items()):
            self.notes.append(f"{what} is not kept ({count} times)")
        return found

    def _make(self, cls: type[T], values: dict[str, Any], path: str) -> T:
        try:
            return msgspec.convert(values, cls)
        except msgspec.ValidationError as err:
            place, problem = words.parts(str(err), values, cls)
            raise wrong(path + place, problem) from err

    def _take(self, cls: type[Any], raw: dict[str, Any], kind: str, *, but: tuple[str, ...] = ()) -> dict[str, Any]:
        """The keys that are fields; of the others a note is made if they say something."""
        fields = cls.__struct_fields__
        for key, value in raw.items():
            if key not in fields and key not in _DERIVED[kind] and key not in but and value not in (None, {}, [], ""):
                name = f"{kind}.{key}"
                self._lost[name] = self._lost.get(name, 0) + 1
        return {key: value for key, value in raw.items() if key in fields and value is not None}

    # Objects

    def _cluster(self, raw: dict[str, Any]) -> Cluster:
        path = "$.cluster"
        fields = Cluster.__struct_fields__
        values = {name: raw[name] for name in SAME if raw.get(name) is not None}
        values |= {name: raw[name] for name in USUAL if name in fields}
        values |= {name: raw[name] for name in OURS if raw.get(name)}
        for name, value in raw.items():
            is_usual = name in USUAL and (name in fields or value in (USUAL[name], None, {}, [], ""))
            if name not in SAME and name not in _CLUSTER_OWN and not is_usual:
                self.notes.append(f"cluster.{name} is not kept: {str(value)[:80]}")
        for name in ("uuid", "serial_no", "ctime", "mtime", "tags", "master_node", "enabled_hypervisors"):
            values[name] = raw[name]
        hvparams = table(raw.get("hvparams") or {}, f"{path}.hvparams")
        values |= {
            "name": raw.get("cluster_name"),
            "volume_group_name": raw.get("volume_group_name") or "",
            "enabled_disk_templates": raw["enabled_disk_templates"],
            "hvparams": self._hvparams(hvparams, f"{path}.hvparams"),
            "beparams": _overrides(raw["beparams"]["default"], params.defaults(params.BACKEND)),
            "nicparams": _overrides(raw["nicparams"]["default"], params.defaults(params.NIC)),
            "ndparams": _overrides(table(raw.get("ndparams") or {}, f"{path}.ndparams"), params.defaults(params.NODE)),
            "diskparams": {
                name: value for name, value in table(raw.get("diskparams") or {}, f"{path}.diskparams").items() if value
            },
            "ipolicy": _overrides(raw["ipolicy"], policy.builtin()),
            "tcpudp_port_pool": raw.get("tcpudp_port_pool") or [],
        }
        values |= _ssh_keys(values.get("ssh_key_type"), values.get("ssh_key_bits"))
        return self._make(Cluster, values, path)

    def _hvparams(self, sets: dict[str, Any], path: str) -> dict[str, Params]:
        found = {}
        for name, values in sets.items():
            overrides = _overrides(table(values, f"{path}[{name!r}]"), self._builtin.get(name, {}))
            known = self._builtin.get(name)
            if known is not None:
                unknown = sorted(set(overrides) - set(known))
                if unknown:
                    self.notes.append(f"parameters that hypervisor {name} does not have: {', '.join(unknown)}")
                overrides = {key: value for key, value in overrides.items() if key in known}
            if overrides:
                found[name] = overrides
        return found

    def _group(self, raw: dict[str, Any], path: str) -> Group:
        values = self._take(Group, raw, "group")
        return self._make(Group, values | _recorded(values, path), path)

    def _node(self, raw: dict[str, Any], path: str) -> Node:
        values = self._take(Node, raw, "node")
        digests = table(self._data["cluster"].get("candidate_certs") or {}, "$.cluster.candidate_certs")
        digest = digests.get(raw["uuid"])
        if isinstance(digest, str) and len(digest) == _SHA256:
            values["certificate_digest"] = digest
        if values.get("group") not in self._data["nodegroups"]:
            raise wrong(f"{path}.group", f"there is no node group {values.get('group')!r}")
        return self._make(Node, values | _recorded(values, path), path)

    def _instance(self, raw: dict[str, Any], path: str) -> Instance:
        values = self._take(Instance, raw, "instance")
        if raw.get("osparams_private"):
            self._lost["instance.osparams_private"] = self._lost.get("instance.osparams_private", 0) + 1
        values["nics"] = tuple(
            self._nic(nic, f"{path}.nics[{index}]") for index, nic in enumerate(raw.get("nics") or [])
        )
        values["disks"] = tuple(self._disk(self._data["disks"][uuid], f"$.disks[{uuid!r}]") for uuid in raw["disks"])
        return self._make(Instance, values, path)

    def _nic(self, raw: dict[str, Any], path: str) -> Nic:
        values = {key: value for key, value in raw.items() if key in Nic.__struct_fields__ and value is not None}
        values["params"] = raw.get("nicparams") or {}
        if values.get("network") is not None and values["network"] not in self._data["networks"]:
            raise wrong(f"{path}.network", f"there is no network {values['network']!r}")
        return self._make(Nic, values, path)

    def _disk(self, raw: dict[str, Any], path: str) -> Disk:
        values = self._take(Disk, raw, "disk", but=("dev_type",))
        values["template"] = raw.get("dev_type")
        values["children"] = tuple(
            self._disk(child, f"{path}.children[{index}]") for index, child in enumerate(raw["children"])
        )
        return self._make(Disk, values, path)

    def _detached(self, raw: dict[str, Any], path: str) -> DetachedDisk:
        values = {name: raw[name] for name in ("uuid", "serial_no", "ctime", "mtime", "tags")}
        values |= {"name": raw["uuid"], "disk": self._disk(raw, path)}
        return self._make(DetachedDisk, raw[DETACHED] | values, path)

    def _network(self, raw: dict[str, Any], path: str) -> Network:
        values = self._take(Network, raw, "network")
        found = _addresses(raw.get("network"), raw.get("ext_reservations") or "", path)
        known = never_given(ipaddress.ip_network(raw["network"], strict=False), raw.get("gateway") or "")
        values["reserved"] = tuple(ip for ip in found if ip not in known)
        return self._make(Network, values, path)


def _recorded(values: dict[str, Any], path: str) -> dict[str, Any]:
    """States of storage by its type and name together."""
    nested = table(values.get("disk_state_static") or {}, f"{path}.disk_state_static")
    flat = {
        f"{storage}/{name}": found
        for storage, units in nested.items()
        for name, found in table(units, f"{path}.disk_state_static[{storage!r}]").items()
    }
    return {"disk_state_static": flat, "hv_state_static": values.get("hv_state_static") or {}}


def _overrides(complete: dict[str, Any], builtin: Mapping[str, Any]) -> Params:
    """What differs from the built-in values."""
    return {name: value for name, value in complete.items() if name not in builtin or builtin[name] != value}


def _addresses(untrusted_block: Any, untrusted_bits: Any, path: str) -> list[str]:
    try:
        block = ipaddress.ip_network(untrusted_block, strict=False)
    except ValueError as err:
        raise wrong(f"{path}.network", str(err)) from err
    if not isinstance(untrusted_bits, str) or set(untrusted_bits) - {"0", "1"}:
        raise wrong(f"{path}.ext_reservations", "a text of 0 and 1 is wanted")
    if len(untrusted_bits) > block.num_addresses:
        raise wrong(f"{path}.ext_reservations", f"it is longer than the {block.num_addresses} addresses")
    return [str(block[index]) for index, bit in enumerate(untrusted_bits) if bit == "1"]


def _ssh_keys(kind: Any, bits: Any) -> dict[str, Any]:
    """Any: JSON. Of another kind or length than ours, such as DSA: new keys are made as they usually are."""
    lengths = ssh.KINDS.get(kind, ()) if isinstance(kind, str) else ()
    if bits not in lengths:
        return {"ssh_key_type": "rsa", "ssh_key_bits": 0}
    return {"ssh_key_type": kind, "ssh_key_bits": 0 if bits == lengths[0] else bits}
