"""Lock levels and wanted sets. Pure data; the table that grants them is the engine's."""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping
from typing import Self

import msgspec

#: stands for every name of a level, present and future
ALL = "*"


class Level(enum.IntEnum):
    """Order of acquisition."""

    CLUSTER = 0
    INSTANCE = 1
    GROUP = 2
    NODE = 3
    NODE_RES = 4
    NETWORK = 5


LEVEL_NAMES = {
    Level.CLUSTER: "cluster",
    Level.INSTANCE: "instance",
    Level.GROUP: "nodegroup",
    Level.NODE: "node",
    Level.NODE_RES: "node-res",
    Level.NETWORK: "network",
}
#: at the cluster level: held by everybody, and the cluster's own settings
BIG = "BGL"
CLUSTER_OBJECT = "settings"


class LockKey(msgspec.Struct, frozen=True, order=True):
    level: Level
    name: str  # uuid; for objects being created `name:` and the wanted name; ALL


class Names(msgspec.Struct, frozen=True):
    """Names of one level, wanted exclusively or shared."""

    names: tuple[str, ...]
    is_exclusive: bool


def exclusive(*names: str) -> Names:
    return Names(names, True)


def shared(*names: str) -> Names:
    return Names(names, False)


class LockPlan(msgspec.Struct, frozen=True):
    """What an opcode must hold: key → is exclusive. Every plan holds BGL, shared unless asked exclusively."""

    wanted: Mapping[LockKey, bool]
    optional: frozenset[LockKey] = frozenset()  # wanted only if nobody is in the way at the time of the request

    @classmethod
    def of(
        cls,
        *,
        cluster: Names | None = None,
        instances: Names | None = None,
        groups: Names | None = None,
        nodes: Names | None = None,
        node_res: Names | None = None,
        networks: Names | None = None,
        cluster_object: bool = False,
        optional: Collection[Level] = (),
    ) -> Self:
        """`cluster_object`: the operation changes the cluster's own settings. `optional`: see there, by level."""
        wanted = {LockKey(Level.CLUSTER, BIG): bool(cluster and cluster.is_exclusive)}
        if cluster_object:
            wanted[LockKey(Level.CLUSTER, CLUSTER_OBJECT)] = True
        levels = zip(
            (Level.INSTANCE, Level.GROUP, Level.NODE, Level.NODE_RES, Level.NETWORK),
            (instances, groups, nodes, node_res, networks),
            strict=True,
        )
        for level, names in levels:
            for name in names.names if names else ():
                wanted[LockKey(level, name)] = bool(names and names.is_exclusive)
        return cls(wanted, frozenset(key for key in wanted if key.level in optional))

    def merged(self, other: LockPlan) -> LockPlan:
        """Both together; exclusive wins."""
        both = dict(self.wanted)
        for key, is_exclusive in other.wanted.items():
            both[key] = both.get(key, False) or is_exclusive
        return LockPlan(both, self.optional & other.optional)

    def without(self, levels: Collection[Level], *, keep: Collection[str] = ()) -> LockPlan:
        """Nothing of these levels but the kept names, in the mode in which they or their whole level are held."""
        left = {key: mode for key, mode in self.wanted.items() if key.level not in levels}
        for level in levels:
            whole = self.wanted.get(LockKey(level, ALL))
            for name in keep:
                mode = self.wanted.get(LockKey(level, name), whole)
                if mode is not None:
                    left[LockKey(level, name)] = mode
        return LockPlan(left)

    def shared(self, levels: Collection[Level]) -> LockPlan:
        """The same, these levels in shared mode."""
        return LockPlan({key: mode and key.level not in levels for key, mode in self.wanted.items()})


def new_name(name: str) -> str:
    """Lock name of an object that does not exist yet."""
    return "name:" + name.lower()
