"""Brings a classic configuration of any 2.x or 3.x version into the form of 3.0, object by object. Pure."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

from ganeti import errors
from ganeti.model import policy
from ganeti.model.classic import DETACHED, USUAL, VERSION

# Any: untrusted JSON.

OLDEST, NEWEST = 2_000_000, 3_010_000
_DEV_TYPES = {"lvm": "plain", "drbd8": "drbd"}


def wrong(path: str, problem: str, *, hint: str = "") -> errors.PrereqError:
    return errors.PrereqError("wrong_input", f"the configuration is wrong at {path}: {problem}", hint=hint)


def table(untrusted: Any, path: str) -> dict[str, Any]:
    if not isinstance(untrusted, dict):
        raise wrong(path, f"an object is wanted, not {kind_of(untrusted)}")
    return untrusted


def _list(untrusted: Any, path: str) -> list[Any]:
    if not isinstance(untrusted, list):
        raise wrong(path, f"a list is wanted, not {kind_of(untrusted)}")
    return untrusted


def kind_of(value: Any) -> str:
    if value is None:
        return "null"
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number"}
    return names[type(value)]


def objects_of(untrusted: Any, path: str) -> Iterator[tuple[str, dict[str, Any], str]]:
    """(key, object, its path)"""
    for key, obj in table(untrusted, path).items():
        yield key, table(obj, f"{path}[{key!r}]"), f"{path}[{key!r}]"


class Upgrade:
    """One run. `notes` tells what was changed; `data` is a copy."""

    def __init__(self, untrusted: Any, new_uuid: Callable[[], str]) -> None:
        """Raises PrereqError that names the path of what cannot be used."""
        self.data = copy.deepcopy(table(untrusted, "$"))
        self.notes: list[str] = []
        self.places: dict[str, str] = {}  # by uuid, in the document as it was
        self._new_uuid = new_uuid
        self._nodes: dict[str, str] = {}  # by old name or uuid: uuid
        self._check_version()
        for part in ("cluster", "nodes", "instances"):
            table(self.data.get(part), f"$.{part}")
        self._nodes_by_uuid()
        self._cluster()
        self._groups()
        self._instances()
        self._networks()
        if "filters" not in self.data:
            self.data["filters"] = {}

    def _check_version(self) -> None:
        version = self.data.get("version")
        if not isinstance(version, int) or isinstance(version, bool):
            raise wrong("$.version", f"a version number is wanted, not {version!r}", hint="is it a config.data file?")
        if not OLDEST <= version <= NEWEST:
            raise wrong(
                "$.version", f"version {version} cannot be read", hint=f"{OLDEST} (2.0) to {NEWEST} (3.1) can be"
            )
        if version != VERSION:
            self.notes.append(f"version {_dotted(version)} becomes {_dotted(VERSION)}")
        self.data["version"] = VERSION

    def _common(self, obj: dict[str, Any]) -> None:
        if not obj.get("uuid"):
            obj["uuid"] = self._new_uuid()
        for name in ("ctime", "mtime"):
            obj[name] = obj.get(name) or 0.0
        obj.setdefault("serial_no", 1)
        if obj.get("tags") is None:
            obj["tags"] = []

    def _add(self, found: dict[str, Any], obj: dict[str, Any], path: str) -> None:
        """Raises PrereqError when another of its kind has its uuid."""
        uuid = obj["uuid"]
        if not isinstance(uuid, str) or uuid in found:
            raise wrong(f"{path}.uuid", f"{uuid!r} is no unique text")
        found[uuid] = obj
        self.places[uuid] = path

    def _nodes_by_uuid(self) -> None:
        found: dict[str, Any] = {}
        renamed = 0
        for key, node, path in objects_of(self.data["nodes"], "$.nodes"):
            self._common(node)
            self._add(found, node, path)
            uuid = node["uuid"]
            renamed += key != uuid
            node.setdefault("name", key)
            self._nodes[key] = self._nodes[uuid] = uuid
            if isinstance(node["name"], str):
                self._nodes[node["name"]] = uuid
            if not node.get("secondary_ip"):
                node["secondary_ip"] = node.get("primary_ip")
        if renamed:
            self.notes.append(f"{renamed} nodes are filed under their uuids, not their names")
        self.data["nodes"] = found

    def _node_uuid(self, untrusted: Any, path: str) -> str:
        uuid = self._nodes.get(untrusted) if isinstance(untrusted, str) else None
        if uuid is None:
            raise wrong(path, f"there is no node {untrusted!r}")
        return uuid

    def _groups(self) -> None:
        if not self.data.get("nodegroups"):
            uuid = self._new_uuid()
            self.data["nodegroups"] = {uuid: {"uuid": uuid, "name": "default"}}
            self.notes.append("the node group 'default' is made")
        groups: dict[str, Any] = {}
        for key, group, path in objects_of(self.data["nodegroups"], "$.nodegroups"):
            group.setdefault("uuid", key)
            self._common(group)
            self._ipolicy(group, path, self._bounds())
            group["ipolicy"].pop("std", None)
            self._add(groups, group, path)
        self.data["nodegroups"] = groups
        first = next(iter(groups))
        for node in self.data["nodes"].values():
            if not node.get("group"):
                node["group"] = first

    def _ipolicy(self, obj: dict[str, Any], path: str, above: Any) -> None:
        """Bounds were one pair, `min` and `max`, each in part, before they became a list of pairs.

        `above`: the complete pairs that the parts were of.
        """
        bounds = obj.get("ipolicy")
        if not bounds:
            obj["ipolicy"] = {}
            return
        bounds = table(bounds, f"{path}.ipolicy")
        if "min" in bounds or "max" in bounds:
            whole = above[0]
            bounds["minmax"] = [
                {name: {**whole[name], **table(bounds.pop(name, {}), f"{path}.ipolicy.{name}")} for name in whole}
            ]

    def _bounds(self) -> Any:
        """Of the cluster; wrong ones are told of when the cluster is read."""
        found = self.data["cluster"]["ipolicy"].get("minmax")
        is_good = isinstance(found, list) and found and isinstance(found[0], dict) and set(found[0]) == {"min", "max"}
        whole = found if is_good else policy.builtin()["minmax"]
        return whole if all(isinstance(part, dict) for part in whole[0].values()) else policy.builtin()["minmax"]

    def _cluster(self) -> None:
        cluster, path = self.data["cluster"], "$.cluster"
        self._common(cluster)
        cluster["master_node"] = self._node_uuid(cluster.get("master_node"), f"{path}.master_node")
        self._ipolicy(cluster, path, policy.builtin()["minmax"])
        default = cluster.pop("default_hypervisor", None)
        enabled = _list(cluster.get("enabled_hypervisors") or [], f"{path}.enabled_hypervisors")
        cluster["enabled_hypervisors"] = enabled
        if default is not None:
            cluster["enabled_hypervisors"] = [default, *(name for name in enabled if name != default)]
        for name in ("beparams", "nicparams"):
            sets = table(cluster.get(name) or {}, f"{path}.{name}")
            sets["default"] = table(sets.get("default") or {}, f"{path}.{name}['default']")
            cluster[name] = sets
        _memory(cluster["beparams"]["default"])
        bridge = cluster.pop("default_bridge", None)
        if bridge:
            cluster["nicparams"]["default"].setdefault("mode", "bridged")
            cluster["nicparams"]["default"].setdefault("link", bridge)
        if "enabled_disk_templates" not in cluster:
            used = {
                _DEV_TYPES.get(str(obj.get("disk_template")), str(obj.get("disk_template")))
                for _, obj, _ in objects_of(self.data["instances"], "$.instances")
                if obj.get("disk_template")
            }
            cluster["enabled_disk_templates"] = ["drbd", "plain", *sorted(used - {"drbd", "plain"})]
            self.notes.append("enabled disk templates: " + ", ".join(cluster["enabled_disk_templates"]))
        for name, usual in USUAL.items():
            if cluster.get(name) is None:
                cluster[name] = copy.deepcopy(usual)

    def _instances(self) -> None:
        found: dict[str, Any] = {}
        disks: dict[str, Any] = {}
        renamed = 0
        apart = table(self.data.get("disks") or {}, "$.disks")
        for key, instance, path in objects_of(self.data["instances"], "$.instances"):
            self._common(instance)
            renamed += key != instance["uuid"]
            instance.setdefault("name", key)
            instance["primary_node"] = self._node_uuid(instance.get("primary_node"), f"{path}.primary_node")
            if "admin_state" not in instance:
                is_up = instance.pop("admin_up", instance.pop("status", False))
                instance["admin_state"] = "up" if is_up in (True, "up") else "down"
            instance.setdefault("admin_state_source", "admin")
            instance.setdefault("disks_active", instance["admin_state"] == "up")
            instance["beparams"] = table(instance.get("beparams") or {}, f"{path}.beparams")
            _memory(instance["beparams"])
            instance["nics"] = [
                self._nic(table(nic, f"{path}.nics[{index}]"))
                for index, nic in enumerate(_list(instance.get("nics") or [], f"{path}.nics"))
            ]
            owned = []
            for index, untrusted in enumerate(_list(instance.get("disks") or [], f"{path}.disks")):
                if isinstance(untrusted, str):
                    if untrusted not in apart:
                        raise wrong(f"{path}.disks[{index}]", f"there is no disk {untrusted!r} in $.disks")
                    disk, place = table(apart[untrusted], f"$.disks[{untrusted!r}]"), f"$.disks[{untrusted!r}]"
                    disk.setdefault("uuid", untrusted)
                else:
                    disk, place = table(untrusted, f"{path}.disks[{index}]"), f"{path}.disks[{index}]"
                self._disk(disk, place, f"disk/{index}")
                disk.pop(DETACHED, None)
                if disk["uuid"] in disks:
                    raise wrong(f"{path}.disks[{index}]", f"the disk {disk['uuid']!r} belongs to another instance too")
                self._add(disks, disk, place)
                owned.append(disk["uuid"])
            instance["disks"] = owned
            instance.pop("disk_template", None)
            self._add(found, instance, path)
        if renamed:
            self.notes.append(f"{renamed} instances are filed under their uuids, not their names")
        if disks and not apart:
            self.notes.append(f"{len(disks)} disks get a place of their own")
        self._detached(apart, disks)
        self.data["instances"], self.data["disks"] = found, disks

    def _detached(self, apart: dict[str, Any], disks: dict[str, Any]) -> None:
        """Disks of no instance; where one lies has to be known. In other documents nobody says whose it was."""
        alone, lost = [], []
        for key, untrusted in apart.items():
            path = f"$.disks[{key!r}]"
            disk = table(untrusted, path)
            disk.setdefault("uuid", key)
            if not isinstance(disk["uuid"], str):
                raise wrong(f"{path}.uuid", f"text is wanted, not {kind_of(disk['uuid'])}")
            if disk["uuid"] in disks:
                if disks[disk["uuid"]] is not disk:
                    raise wrong(f"{path}.uuid", f"{disk['uuid']!r} is no unique text")
                continue
            self._common(disk)
            self._disk(disk, path, "")
            ends = disk["logical_id"][:2] if disk.get("dev_type") == "drbd" else disk["nodes"]
            told = table(disk.setdefault(DETACHED, {"nodes": ends}), f"{path}.{DETACHED}")
            nodes = _list(told.get("nodes"), f"{path}.{DETACHED}.nodes")
            if not nodes:
                lost.append(key)
                continue
            if "owner" not in told:
                alone.append(key)
                told |= {"owner": disk["uuid"], "instance_name": ""}
            places = (f"{path}.{DETACHED}.nodes[{index}]" for index in range(len(nodes)))
            told["nodes"] = [self._node_uuid(node, place) for node, place in zip(nodes, places, strict=True)]
            self._add(disks, disk, path)
        if alone:
            self.notes.append(f"disks that belong to no instance become detached ones: {', '.join(sorted(alone))}")
        if lost:
            self.notes.append(f"disks of no instance and no node are left out: {', '.join(sorted(lost))}")

    def _nic(self, nic: dict[str, Any]) -> dict[str, Any]:
        if not nic.get("uuid"):
            nic["uuid"] = self._new_uuid()
        bridge = nic.pop("bridge", None)
        if nic.get("nicparams") is None:
            nic["nicparams"] = {"mode": "bridged", "link": bridge} if bridge else {}
        return nic

    def _disk(self, disk: dict[str, Any], path: str, iv_name: str) -> None:
        if not disk.get("uuid"):
            disk["uuid"] = self._new_uuid()
        if not isinstance(disk["uuid"], str):
            raise wrong(f"{path}.uuid", f"text is wanted, not {kind_of(disk['uuid'])}")
        disk.pop("physical_id", None)
        if isinstance(disk.get("dev_type"), str):
            disk["dev_type"] = _DEV_TYPES.get(disk["dev_type"], disk["dev_type"])
        disk["iv_name"] = iv_name
        disk.setdefault("mode", "rw")
        disk["params"] = disk.get("params") or {}
        if not disk.get("nodes"):
            disk["nodes"] = []
        if disk.get("dev_type") == "drbd":
            logical = _list(disk.get("logical_id"), f"{path}.logical_id")
            for end in (0, 1):
                if end < len(logical):
                    logical[end] = self._node_uuid(logical[end], f"{path}.logical_id[{end}]")
        disk["children"] = _list(disk.get("children") or [], f"{path}.children")
        for place, child in enumerate(disk["children"]):
            self._disk(table(child, f"{path}.children[{place}]"), f"{path}.children[{place}]", iv_name)

    def _networks(self) -> None:
        networks: dict[str, Any] = {}
        for key, network, path in objects_of(self.data.get("networks") or {}, "$.networks"):
            network.setdefault("uuid", key)
            self._common(network)
            self._add(networks, network, path)
        self.data["networks"] = networks


def _memory(beparams: dict[str, Any]) -> None:
    """One size became two."""
    if "memory" in beparams:
        both = beparams.pop("memory")
        beparams.setdefault("minmem", both)
        beparams.setdefault("maxmem", both)


def _dotted(version: int) -> str:
    return f"{version // 1_000_000}.{version // 10_000 % 100}"
