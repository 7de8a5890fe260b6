"""Reads the classic `config.data` form: our objects, and what of the document has no place here. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from ganeti.model import params, policy, ssh, words
from ganeti.model.classic import DETACHED, HIDDEN, OURS, SAME, USUAL, never_given
from ganeti.model.classic_params import Parameters
from ganeti.model.classic_upgrade import Upgrade, kind_of, objects_of, table, wrong
from ganeti.model.config import Config
from ganeti.model.objects import (
    AnyObject,
    Cluster,
    DetachedDisk,
    Disk,
    DiskTemplate,
    Group,
    Instance,
    Network,
    Nic,
    Node,
    Params,
)
from ganeti.model.ready import make_ready

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
    "instance": ("forthcoming", "disks", "nics"),
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
#: parts of a disk's logical id
_MIRROR, _PLACE = (str, str, int, int, int, str), (str, str)
_SHA256 = 64  # hex digits


class Classic(msgspec.Struct, frozen=True, kw_only=True):
    """What was read."""

    config: Config
    serial: int
    rules: tuple[dict[str, Any], ...]  # filters of jobs; their predicates are not looked at
    notes: tuple[str, ...]  # what was upgraded, what is lost

    def objects(self) -> list[AnyObject]:
        return list(self.config.objects())


def read(untrusted: Any, *, builtin: Mapping[str, Params], new_uuid: Callable[[], str]) -> Classic:
    """Of any version from 2.0 on. `builtin`: complete defaults by hypervisor.

    Raises PrereqError(wrong_input) that names the place in the document.
    """
    upgrade = Upgrade(untrusted, new_uuid)
    reader = _Reader(upgrade.data, builtin, upgrade.places)
    config = Config.load(_named_once(reader.objects(), upgrade.places))
    serial = upgrade.data.get("serial_no", 1)
    if not isinstance(serial, int):
        raise wrong("$.serial_no", "a number is wanted")
    rules = tuple(_rule(raw, path) for _, raw, path in objects_of(upgrade.data["filters"] or {}, "$.filters"))
    return Classic(config=config, serial=serial, rules=rules, notes=(*upgrade.notes, *reader.notes))


def _named_once(objects: list[AnyObject], places: Mapping[str, str]) -> list[AnyObject]:
    """Raises PrereqError for two of one kind with one name: letters of either case are the same."""
    seen: dict[tuple[str, str], AnyObject] = {}
    for obj in objects:
        other = seen.setdefault((obj.kind, obj.name.lower()), obj)
        if other is not obj:
            raise wrong(f"{places[obj.uuid]}.name", f"there is already a {obj.kind} called {other.name!r}")
    return objects


def _rule(raw: dict[str, Any], path: str) -> dict[str, Any]:
    """The parts of a rule that are kept, each of its type."""
    kinds = {"uuid": str, "watermark": int, "priority": int, "predicates": list, "reason_trail": list}
    for name, kind in kinds.items():
        if not isinstance(raw.get(name), kind) or isinstance(raw[name], bool):
            raise wrong(f"{path}.{name}", f"{kind.__name__} is wanted")
    return {name: raw.get(name) for name in (*kinds, "action")}


class _Reader:
    def __init__(self, data: dict[str, Any], builtin: Mapping[str, Params], places: Mapping[str, str]) -> None:
        self._data, self._builtin, self._places = data, builtin, places
        self._lost: dict[str, int] = {}  # kind.key → how often
        self.notes: list[str] = []
        self._parameters = Parameters(builtin, self.notes)

    def objects(self) -> list[AnyObject]:
        data = self._data
        found: list[AnyObject] = [self._cluster(data["cluster"])]
        for part, one in (
            ("nodegroups", self._group),
            ("nodes", self._node),
            ("networks", self._network),
            ("instances", self._instance),
        ):
            for uuid, raw in data[part].items():
                found.append(one(raw, self._places[uuid]))
        for uuid, raw in data["disks"].items():
            if DETACHED in raw:
                found.append(self._detached(raw, self._places[uuid]))
        for key in data:
            if key not in _TOP:
                self.notes.append(f"$.{key} is not known and not kept")
        for what, count in sorted(self._lost.items()):
            self.notes.append(f"{what} is not kept ({count} times)")
        return found

    def _refuse_hidden(self, untrusted: Any, path: str) -> None:
        if untrusted == HIDDEN:
            raise wrong(path, "the secret was left out", hint="gnt-cluster export-config --with-secrets keeps it")
        if isinstance(untrusted, dict):
            for key, value in untrusted.items():
                self._refuse_hidden(value, f"{path}[{key!r}]")

    def _make(self, cls: type[T], values: dict[str, Any], path: str) -> T:
        make_ready(cls)
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
        _check_address(raw.get("master_ip"), f"{path}.master_ip")
        hvparams = table(raw.get("hvparams") or {}, f"{path}.hvparams")
        check = self._parameters
        defaults = [check.declared(raw[name]["default"], declared, f"{path}.{name}['default']")
                    for name, declared in (("beparams", params.BACKEND), ("nicparams", params.NIC))]  # fmt: skip
        ndparams = check.declared(raw.get("ndparams"), params.NODE, f"{path}.ndparams")
        os_hvp = table(values.get("os_hvp") or {}, f"{path}.os_hvp")
        values |= {
            "name": raw.get("cluster_name"),
            "volume_group_name": raw.get("volume_group_name") or "",
            "enabled_disk_templates": raw["enabled_disk_templates"],
            "hvparams": self._hvparams(hvparams, f"{path}.hvparams"),
            "os_hvp": {name: check.hypervisors(sets, f"{path}.os_hvp[{name!r}]") for name, sets in os_hvp.items()},
            "beparams": _overrides(defaults[0], params.defaults(params.BACKEND)),
            "nicparams": _overrides(defaults[1], params.defaults(params.NIC)),
            "ndparams": _overrides(ndparams, params.defaults(params.NODE)),
            "diskparams": check.disks(raw.get("diskparams"), f"{path}.diskparams"),
            "ipolicy": _overrides(check.policy(raw["ipolicy"], f"{path}.ipolicy", for_cluster=True), policy.builtin()),
            "tcpudp_port_pool": raw.get("tcpudp_port_pool") or [],
        }
        self._refuse_hidden(raw.get("osparams_private_cluster"), f"{path}.osparams_private_cluster")
        values |= _ssh_keys(values.get("ssh_key_type"), values.get("ssh_key_bits"))
        return self._make(Cluster, values, path)

    def _hvparams(self, sets: dict[str, Any], path: str) -> dict[str, Params]:
        found = {
            name: _overrides(values, self._builtin.get(name, {}))
            for name, values in self._parameters.hypervisors(sets, path).items()
        }
        return {name: overrides for name, overrides in found.items() if overrides}

    def _group(self, raw: dict[str, Any], path: str) -> Group:
        values = self._take(Group, raw, "group")
        for uuid in table(values.get("networks") or {}, f"{path}.networks"):
            if uuid not in self._data["networks"]:
                raise wrong(f"{path}.networks[{uuid!r}]", "there is no such network")
        values["ndparams"] = self._parameters.declared(raw.get("ndparams"), params.NODE, f"{path}.ndparams")
        values["ipolicy"] = self._parameters.policy(raw.get("ipolicy"), f"{path}.ipolicy", for_cluster=False)
        values["diskparams"] = self._parameters.disks(raw.get("diskparams"), f"{path}.diskparams")
        return self._make(Group, values | _recorded(values, path), path)

    def _node(self, raw: dict[str, Any], path: str) -> Node:
        values = self._take(Node, raw, "node")
        digests = table(self._data["cluster"].get("candidate_certs") or {}, "$.cluster.candidate_certs")
        digest = digests.get(raw["uuid"])
        if isinstance(digest, str) and len(digest) == _SHA256:
            values["certificate_digest"] = digest
        for name in ("primary_ip", "secondary_ip"):
            _check_address(raw.get(name), f"{path}.{name}")
        if not _is_known(values.get("group"), self._data["nodegroups"]):
            raise wrong(f"{path}.group", f"there is no node group {values.get('group')!r}")
        values["ndparams"] = self._parameters.declared(raw.get("ndparams"), params.NODE, f"{path}.ndparams")
        return self._make(Node, values | _recorded(values, path), path)

    def _instance(self, raw: dict[str, Any], path: str) -> Instance:
        values = self._take(Instance, raw, "instance")
        self._refuse_hidden(raw.get("osparams_private"), f"{path}.osparams_private")
        values["nics"] = tuple(
            self._nic(nic, f"{path}.nics[{index}]") for index, nic in enumerate(raw.get("nics") or [])
        )
        values["disks"] = tuple(self._disk(self._data["disks"][uuid], self._places[uuid]) for uuid in raw["disks"])
        check = self._parameters
        values["beparams"] = check.declared(raw["beparams"], params.BACKEND, f"{path}.beparams")
        values["hvparams"] = check.hypervisor(raw.get("hvparams"), str(raw.get("hypervisor")), f"{path}.hvparams")
        return self._make(Instance, values, path)

    def _nic(self, raw: dict[str, Any], path: str) -> Nic:
        values = {key: value for key, value in raw.items() if key in Nic.__struct_fields__ and value is not None}
        values["params"] = self._parameters.declared(raw.get("nicparams"), params.NIC, f"{path}.nicparams")
        if values.get("network") is not None and not _is_known(values["network"], self._data["networks"]):
            raise wrong(f"{path}.network", f"there is no network {values['network']!r}")
        if values.get("ip") is not None:
            _check_address(values["ip"], f"{path}.ip")
        return self._make(Nic, values, path)

    def _disk(self, raw: dict[str, Any], path: str) -> Disk:
        values = self._take(Disk, raw, "disk", but=("dev_type",))
        values["template"] = raw.get("dev_type")
        if raw.get("dev_type") not in [template.value for template in DiskTemplate]:
            raise wrong(f"{path}.dev_type", f"there is no disk template {raw.get('dev_type')!r}")
        logical, form = raw.get("logical_id"), _MIRROR if raw.get("dev_type") == "drbd" else _PLACE
        if not isinstance(logical, list) or len(logical) != len(form):
            raise wrong(f"{path}.logical_id", f"a list of {len(form)} parts is wanted")
        for index, (part, kind) in enumerate(zip(logical, form, strict=True)):
            self._refuse_hidden(part, f"{path}.logical_id[{index}]")
            if not isinstance(part, kind) or isinstance(part, bool):
                raise wrong(f"{path}.logical_id[{index}]", f"{kind_of(kind())} is wanted, not {kind_of(part)}")
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


def _check_address(untrusted: Any, path: str) -> None:
    if not isinstance(untrusted, str):
        raise wrong(path, f"an address is wanted, not {kind_of(untrusted)}")
    try:
        ipaddress.ip_address(untrusted)
    except ValueError as err:
        raise wrong(path, str(err)) from err


def _is_known(untrusted: Any, table: Mapping[str, Any]) -> bool:
    return isinstance(untrusted, str) and untrusted in table


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
