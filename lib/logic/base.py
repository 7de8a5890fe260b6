"""What a logical unit is, and the ports through which it sees the world."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from ganeti.calls.port import Rpc
from ganeti.logic.allocation import A, Request
from ganeti.logic.steps import Step
from ganeti.model.config import Config
from ganeti.model.jobs import Recovery, Undo
from ganeti.model.locks import Level, LockPlan
from ganeti.model.objects import Change
from ganeti.model.types import JobId, MiB, RequestId, Uuid
from ganeti.ops.base import OpCode

O = TypeVar("O", bound=OpCode)  # noqa: E741 - the opcode
F = TypeVar("F")


class HookPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Variables (without the prefix GANETI_) and the nodes whose scripts run."""

    environment: dict[str, str]
    pre: tuple[Uuid, ...]
    post: tuple[Uuid, ...]
    leaving: tuple[Uuid, ...] = ()  # nodes that will not be there afterwards: their post hooks run before the execution
    instance: Uuid | None = None  # whose block is told once more as it is afterwards


class StateHolder(msgspec.Struct, frozen=True, kw_only=True):
    """A master candidate's copy of the state, as the master knows it."""

    node: Uuid
    is_reachable: bool
    serial: int
    hash: str
    is_current: bool
    why: str = ""  # it takes no changes


class Membership(Protocol):
    """Who votes on the state. Voters change one at a time."""

    async def add_voter(
        self, node: Uuid, changes: Sequence[Change], *, if_still: Callable[[Config], bool] | None = None
    ) -> bool:
        """Bring the node's copy up to date, then commit `changes` together with its vote; whether that was done.

        `if_still` looks at the configuration when it is this change's turn; when it says no, nothing is changed.
        """
        ...

    async def remove_voter(self, node: Uuid, changes: Sequence[Change]) -> None:
        """Commit `changes` together with the end of its vote, acknowledged by the old majority."""
        ...

    def holders(self) -> Sequence[StateHolder]: ...

    async def publish_trust(self, *, everywhere: bool = False) -> None:
        """Push the trust file (certificates of all candidates) of the present configuration to all online nodes.

        Raises ExecError when not more than half of them take it; `everywhere`: when one does not.
        """
        ...


class Questions(Protocol):
    """What clients may ask of lists, for operations that answer with one. Any: JSON."""

    async def query(self, what: str, fields: Sequence[str], qfilter: Any) -> dict[str, Any]: ...
    def query_fields(self, what: str, fields: Sequence[str] | None) -> dict[str, Any]: ...
    def cluster_info(self) -> dict[str, Any]: ...
    def config_values(self, fields: Sequence[str]) -> list[Any]: ...
    def config_value_names(self) -> Sequence[str]: ...


class Env(Protocol):
    """All that an operation may touch. `config` is the snapshot of now: read it again after an await."""

    @property
    def config(self) -> Config: ...
    @property
    def job(self) -> JobId: ...
    @property
    def rpc(self) -> Rpc: ...
    @property
    def membership(self) -> Membership: ...
    @property
    def questions(self) -> Questions: ...
    @property
    def rng(self) -> random.Random: ...
    @property
    def debts(self) -> Sequence[Undo]:
        """What waits for its node, or for an instance's disks."""
        ...

    async def settle(self, node: Uuid) -> Sequence[Undo]:
        """Have the node do now what it still has to undo; replies what it could not, or has to keep for now.

        Raises RpcError: it does not answer.
        """
        ...

    def now(self) -> float:
        """Epoch seconds."""
        ...

    def new_uuid(self) -> Uuid: ...
    def new_request(self) -> RequestId: ...
    def new_mac(self, prefix: str) -> str:
        """Unused and reserved until the operation ends."""
        ...

    def reserve_mac(self, mac: str) -> None:
        """Raises PrereqError(resource_not_unique) when an instance or another job has it."""
        ...

    def new_ip(self, network: Uuid) -> str:
        """A free address of the network, reserved until the operation ends.

        Raises PrereqError(insufficient_resources).
        """
        ...

    def reserve_ip(self, network: Uuid, ip: str, *, from_outside: bool = True) -> None:
        """Raises PrereqError when an instance or another job has it, or it cannot be given to a NIC.

        `from_outside`: nor if it is one that was reserved by the administrator.
        """
        ...

    def new_port(self) -> int:
        """Unused TCP port of 11000 to 14999, reserved until the operation ends."""
        ...

    def new_minor(self, node: Uuid) -> int:
        """Unused DRBD minor of the node, reserved until the operation ends."""
        ...

    def reserve_memory(self, node: Uuid, wanted: MiB, free: MiB) -> None:
        """Raises PrereqError(insufficient_resources) when `free` less what other jobs reserved is too small."""
        ...

    async def allocate(self, request: Request[A], allocator: str) -> A:
        """What that allocator (`builtin`, or the name of an external one) answers.

        What a `Placed` takes is reserved until the operation ends; of the own earlier answers about
        the same instance only the last counts. Locks on the nodes that may be chosen are the operation's part.
        Raises PrereqError(insufficient_resources) when there is no room, ExecError when the allocator itself fails.
        """
        ...

    async def try_allocator(self, request: Request[Any], allocator: str) -> str:
        """What it answers, as it is said; of none: what one would be given. Reserves nothing."""
        ...

    async def resolve(self, name: str) -> tuple[str, str]:
        """(full name, address). Raises PrereqError(resolver_error)."""
        ...

    def report(self, message: str) -> None:
        """A line in the job's log, shown to whoever follows the job."""
        ...

    def warn(self, message: str, *, hint: str = "") -> None: ...
    async def sleep(self, seconds: float) -> None:
        """Ends early with JobCanceled when the job is killed."""
        ...

    def held(self, level: Level) -> Collection[str]:
        """Names of the locks that are held there; `locks.ALL` among them: the whole level."""
        ...

    def release_locks(self, *levels: Level, keep: Collection[str] = ()) -> None:
        """Give back what is held there but for these names; of a whole level they are held on one by one.

        What was read under them may change from now on. An operation that is taken back does not get them again.
        """
        ...

    def downgrade(self, *levels: Level) -> None:
        """Hold what is held there in shared mode only."""
        ...

    def send_files_again(self) -> None:
        """After the change every online node gets all ssconf files, not only those that are not as before."""
        ...

    async def journal(self, *recoveries: Recovery) -> None:
        """Durable when it returns. Runs backwards if the operation does not end well."""
        ...

    async def pause(self, seconds: float) -> None:
        """Sleeps, whatever is wished: for what has to be brought to an end."""
        ...

    async def commit(
        self,
        *changes: Change,
        title: str = "",
        result: Any = msgspec.UNSET,
        recoveries: Sequence[Recovery] = (),
        debts: Sequence[Undo] = (),
    ) -> None:
        """Durable when it returns; the journal of this operation is dropped with it, `recoveries` take its place.

        With a `result` the operation is decided: it ends in success with it even if the master dies now.
        Raises PrereqError when a name is taken. Serial numbers and mtimes are set here.
        """
        ...

    async def run(self, steps: Sequence[Step], *, result: Any = None) -> None:
        """Execute the steps in order; journal, progress, kill flag and dead nodes are looked after.

        `result` is the opcode's result that is stored with the final commit.
        """
        ...

    async def submit(self, jobs: Sequence[Sequence[OpCode]]) -> list[tuple[bool, JobId | str]]:
        """Submit jobs that belong to this one; they inherit priority and reason."""
        ...


class LogicalUnit(Generic[O, F]):
    """How one operation is done. Keeps nothing but its opcode: `check` returns facts, the others get them."""

    def __init__(self, op: O) -> None:
        self.op = op

    def locks(self, config: Config) -> LockPlan:
        """Pure; called again on newer snapshots until it does not change."""
        return LockPlan.of()

    async def check(self, env: Env) -> F:
        """Read only; raises PrereqError. May be repeated."""
        raise NotImplementedError

    def hooks(self, facts: F, config: Config) -> HookPlan | None:
        """Pure. None: this operation has no hooks."""
        return None

    def plan(self, facts: F, env: Env) -> Sequence[Step]:
        """The steps, all of them known now. Changes nothing; takes ids and reservations from `env`."""
        return ()

    async def execute(self, facts: F, env: Env) -> Any:
        """Do it; the return value is the opcode's result."""
        await env.run(self.plan(facts, env), result=self.result(facts))
        return self.result(facts)

    def result(self, facts: F) -> Any:
        return None

    def dry_result(self, facts: F) -> Any:
        """Of --dry-run."""
        return None

    def after_hooks(self, result: Any, failures: Sequence[tuple[str, str, str]], env: Env) -> Any:
        """The final result; `failures` are (node name, script, output) of the post hooks that failed."""
        return result


#: logical unit of each opcode; filled by importing `ganeti.logic.catalogue`
UNITS: dict[type[OpCode], type[LogicalUnit[Any, Any]]] = {}

L = TypeVar("L", bound=type[LogicalUnit[Any, Any]])


def implements(opcode: type[OpCode]) -> Callable[[L], L]:
    def register(cls: L) -> L:
        if opcode in UNITS:
            raise TypeError(f"{opcode.__name__} is implemented twice")
        UNITS[opcode] = cls
        return cls

    return register


class Resolver(Protocol):
    """A named procedure behind a `Resolve` record. Returns what it did or why it could not, as lines."""

    async def __call__(self, arguments: dict[str, Any], env: Env) -> Iterable[str]: ...


#: resolvers by name
RESOLVERS: dict[str, Resolver] = {}
