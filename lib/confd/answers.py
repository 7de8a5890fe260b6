"""What confd answers, found in the configuration that the node daemon wrote down. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ganeti.confd.protocol import VERSION, Fault, Kind, Reply, Request, Status

# Any: JSON in forms that others laid down.

_LINK, _IP, _IPS, _FIELDS = "0", "1", "2", "3"
_ROLE_MASTER, _ROLE_CANDIDATE, _ROLE_OFFLINE, _ROLE_DRAINED, _ROLE_REGULAR = range(5)
#: place of the minors in the logical id of a mirrored disk, beside the nodes in 0 and 1
_MINORS = 3


class Refused(Exception):
    """The question has no answer."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.name)
        self.fault = fault


class Answers:
    """A configuration with the indexes that the questions need. `document` is of the classic form."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self._cluster: dict[str, Any] = document["cluster"]
        self._nodes, self._instances = _by_name(document["nodes"]), _by_name(document["instances"])
        self._disks: dict[str, dict[str, Any]] = document["disks"]
        self._node_uuids = {node["name"]: uuid for uuid, node in self._nodes.items()}
        self._instance_uuids = {instance["name"]: uuid for uuid, instance in self._instances.items()}
        self._primaries: dict[str, list[str]] = {}
        self._secondaries: dict[str, list[str]] = {}
        self._mirrors: dict[str, list[list[Any]]] = {}
        self._by_ip: dict[str, dict[str, str]] = {}  # link → address → node
        for uuid in self._instances:
            self._index(uuid)
        self._handlers: dict[int, Callable[[Any], tuple[Any, int]]] = {
            Kind.PING: self._ping,
            Kind.NODE_ROLE: self._node_role,
            Kind.NODE_OF_INSTANCE_IP: self._node_of_ip,
            Kind.MASTER: self._master,
            Kind.NODE_IPS: self._node_ips,
            Kind.CANDIDATE_IPS: self._candidate_ips,
            Kind.INSTANCE_IPS: self._instance_ips,
            Kind.NODE_DRBD: self._node_drbd,
            Kind.NODE_INSTANCES: self._node_instances,
            Kind.INSTANCE_DISKS: self._instance_disks,
            Kind.CONFIG: self._config,
            Kind.COLLECTORS: self._collectors,
        }

    @property
    def serial(self) -> int:
        return int(self._cluster["serial_no"])

    def answer(self, request: Request) -> Reply:
        """Never raises, whatever is asked."""
        handler = self._handlers.get(request.type)
        if request.protocol != VERSION:
            return _reply(Status.ERROR, f"protocol version {request.protocol}, this is {VERSION}", 0)
        if handler is None:
            return _reply(Status.NOT_IMPLEMENTED, "not implemented", 0)
        try:
            found, serial = handler(request.query)
        except Refused as refused:
            return _reply(Status.ERROR, int(refused.fault), 0)
        return _reply(Status.OK, found, serial)

    # -- indexes

    def _index(self, uuid: str) -> None:
        instance = self._instances[uuid]
        primary = instance["primary_node"]
        self._primaries.setdefault(primary, []).append(uuid)
        secondaries: set[str] = set()
        for disk in self._disks_of(instance):
            if disk["dev_type"] == "drbd":
                secondaries.update(self._index_mirror(instance, disk))
        for node in secondaries:
            self._secondaries.setdefault(node, []).append(uuid)
        for nic in instance["nics"]:
            if nic.get("ip"):
                self._by_ip.setdefault(self._link_of(nic), {})[nic["ip"]] = primary

    def _index_mirror(self, instance: dict[str, Any], disk: dict[str, Any]) -> list[str]:
        """The nodes that have it beside the primary one."""
        primary, ends = instance["primary_node"], disk["logical_id"][:2]
        for place, node in enumerate(ends):
            peer = self._name_of(ends[1 - place])
            role = "primary" if node == primary else "secondary"
            row = [self._name_of(node), disk["logical_id"][_MINORS + place], instance["name"]]
            self._mirrors.setdefault(node, []).append([*row, disk["iv_name"], role, peer])
        return [node for node in ends if node != primary]

    def _disks_of(self, instance: dict[str, Any]) -> list[dict[str, Any]]:
        return [self._disks[uuid] for uuid in instance["disks"] if uuid in self._disks]

    def _link_of(self, nic: dict[str, Any]) -> str:
        return str(nic["nicparams"].get("link") or self._default_link)

    @property
    def _default_link(self) -> str:
        return str(self._cluster["nicparams"]["default"]["link"])

    def _name_of(self, node: str) -> str:
        return str(self._nodes[node]["name"]) if node in self._nodes else node

    # -- what is asked for

    def _node(self, query: Any) -> tuple[str, dict[str, Any]]:
        return _found(query, self._nodes, self._node_uuids)

    def _ping(self, query: Any) -> tuple[Any, int]:
        return self._document["version"], 0

    def _node_role(self, query: Any) -> tuple[Any, int]:
        uuid, node = self._node(query)
        if uuid == self._cluster["master_node"]:
            role = _ROLE_MASTER
        elif node["master_candidate"]:
            role = _ROLE_CANDIDATE
        elif node["offline"]:
            role = _ROLE_OFFLINE
        elif node["drained"]:
            role = _ROLE_DRAINED
        else:
            role = _ROLE_REGULAR
        return role, self.serial

    def _node_of_ip(self, query: Any) -> tuple[Any, int]:
        if not isinstance(query, dict) or (_IP in query) == (_IPS in query):
            raise Refused(Fault.ARGUMENT)
        link = query.get(_LINK)
        table = self._by_ip.get(self._default_link if link is None else _text(link), {})
        if _IP in query:
            return self._address_of_holder(table, _text(query[_IP])), self.serial
        wanted = query[_IPS]
        if not isinstance(wanted, list):
            raise Refused(Fault.ARGUMENT)
        rows: list[list[Any]] = []
        for ip in wanted:
            try:
                rows.append([int(Status.OK), self._address_of_holder(table, _text(ip)), self.serial])
            except Refused as refused:
                rows.append([int(Status.ERROR), int(refused.fault), 0])
        return rows, self.serial

    def _address_of_holder(self, table: dict[str, str], ip: str) -> Any:
        if ip not in table:
            raise Refused(Fault.UNKNOWN_ENTITY)
        return self._nodes[table[ip]]["primary_ip"]

    def _master(self, query: Any) -> tuple[Any, int]:
        master = self._nodes.get(self._cluster["master_node"])
        if master is None:
            raise Refused(Fault.UNKNOWN_ENTITY)
        if query is None:
            return master["name"], self.serial
        if not isinstance(query, dict) or not isinstance(query.get(_FIELDS), list):
            raise Refused(Fault.ARGUMENT)
        values = (master["name"], self._cluster["master_ip"], master["primary_ip"])
        fields = query[_FIELDS]
        if not all(type(field) is int and 0 <= field < len(values) for field in fields):
            raise Refused(Fault.ARGUMENT)
        return [values[field] for field in fields], self.serial

    def _node_ips(self, query: Any) -> tuple[Any, int]:
        return [node["primary_ip"] for node in self._nodes.values()], self.serial

    def _candidate_ips(self, query: Any) -> tuple[Any, int]:
        return [node["primary_ip"] for node in self._nodes.values() if node["master_candidate"]], self.serial

    def _instance_ips(self, query: Any) -> tuple[Any, int]:
        link = self._default_link if query is None else _text(query)
        return list(self._by_ip.get(link, {})), self.serial

    def _node_drbd(self, query: Any) -> tuple[Any, int]:
        uuid, node = self._node(query)
        return self._mirrors.get(uuid, []), node["serial_no"]

    def _node_instances(self, query: Any) -> tuple[Any, int]:
        uuid, node = self._node(query)
        groups = (self._primaries.get(uuid, []), self._secondaries.get(uuid, []))
        return [[self._instances[each] for each in group] for group in groups], node["serial_no"]

    def _instance_disks(self, query: Any) -> tuple[Any, int]:
        _, instance = _found(query, self._instances, self._instance_uuids)
        return self._disks_of(instance), instance["serial_no"]

    def _config(self, query: Any) -> tuple[Any, int]:
        path = _text(query)
        if path and not path.startswith("/"):
            raise Refused(Fault.ARGUMENT)
        value: Any = self._document
        for word in path.split("/")[1:]:
            key = word.replace("~1", "/").replace("~0", "~")  # RFC 6901
            if isinstance(value, dict) and key in value:
                value = value[key]
            elif isinstance(value, list) and key.isdecimal() and key.isascii() and int(key[:9]) < len(value):
                value = value[int(key)]
            else:
                raise Refused(Fault.UNKNOWN_ENTITY)
        return value, self.serial

    def _collectors(self, query: Any) -> tuple[Any, int]:
        return self._cluster["data_collectors"], self.serial


def _by_name(objects: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Lists are answered in this order."""
    return dict(sorted(objects.items(), key=lambda item: str(item[1]["name"])))


def _found(query: Any, table: dict[str, dict[str, Any]], uuids: dict[str, str]) -> tuple[str, dict[str, Any]]:
    """An object by name or uuid."""
    wanted = _text(query)
    uuid = uuids.get(wanted, wanted)
    if uuid not in table:
        raise Refused(Fault.UNKNOWN_ENTITY)
    return uuid, table[uuid]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise Refused(Fault.ARGUMENT)
    return value


def _reply(status: Status, answer: Any, serial: int) -> Reply:
    return Reply(protocol=VERSION, status=int(status), answer=answer, serial=serial)
