"""Makes this node the master: `gnt-cluster master-failover`, run on the node that shall be it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

import msgspec

from ganeti import errors, paths
from ganeti.bootstrap import daemons
from ganeti.calls.base import Call
from ganeti.calls.node import MasterPing, MasterStop, NodeVersion, VersionReply
from ganeti.calls.store import StateReply, StoreState
from ganeti.host import files
from ganeti.luxi.client import Client as LuxiClient
from ganeti.model.objects import Node
from ganeti.model.types import Uuid
from ganeti.paths import Paths
from ganeti.rpc import identity
from ganeti.rpc.client import Client
from ganeti.rpc.connector import Limits
from ganeti.rpc.identity import Identity
from ganeti.rpc.term import TermKeeper
from ganeti.store import reading
from ganeti.store.api import Position
from ganeti.store.quorum import NO_VOTING, advice, majority
from ganeti.wire import codec

R = TypeVar("R")

#: how long this node's copy may take to get what others had when they were asked
LEVEL_S = 2.0
SSCONF_S = 15.0
#: for an answer of the master daemon of this node
ANSWER_S = 5.0
#: a daemon that sleeps accepts connections and says nothing: the cluster has no master while it is waited for
_LIMITS = Limits(handshake_s=5.0)
#: for those that have not answered when more than half of the nodes have
GRACE_S = 2.0


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """What this node's own files say."""

    me: Identity
    master: str  # name of the recorded master
    candidates: tuple[str, ...]  # names
    nodes: Mapping[Uuid, Node]

    @property
    def others(self) -> list[Node]:
        return [node for node in self.nodes.values() if node.uuid != self.me.uuid]


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """What the other nodes said; an error stands for no answer."""

    versions: Mapping[Uuid, VersionReply | errors.RpcError]
    states: Mapping[Uuid, StateReply | errors.RpcError]  # of the candidates among them

    @property
    def seen(self) -> int:
        """Highest term that anybody who answers has seen."""
        return max((reply.term for reply in self.versions.values() if isinstance(reply, VersionReply)), default=0)


# What this node knows


def look_around(where: Paths) -> Situation:
    """Raises PrereqError: in no cluster, no candidate; StoreError: its copy of the state is damaged."""
    me = identity.load(where)
    if me is None:
        raise errors.PrereqError("environment_error", "this node is in no cluster", hint="gnt-cluster init makes one")
    master = recorded_master(where)
    candidates = tuple((files.read_text(where.local(paths.ssconf("master_candidates"))) or "").split())
    if me.node not in candidates:
        raise errors.PrereqError(
            "wrong_state",
            f"this node, {me.node}, is no master candidate and holds no copy of the state",
            hint="run the command on one of: " + (", ".join(name for name in candidates if name != master) or "none"),
        )
    rows = reading.look_rows(where.local(paths.STATE_DB), "object", prefix="node/")
    nodes = [codec.unpack(value.encode(), Node) for _, value in rows]
    if me.uuid not in {node.uuid for node in nodes}:
        raise errors.PrereqError(
            "wrong_state",
            f"this node, {me.node}, has no copy of the state",
            hint="look at its disk and its node daemon; run the command on one of: "
            + ", ".join(name for name in candidates if name not in (master, me.node)),
        )
    return Situation(me=me, master=master, candidates=candidates, nodes={node.uuid: node for node in nodes})


def recorded_master(where: Paths) -> str:
    """Name of the master by this node's own file; empty: none is known."""
    return (files.read_text(where.local(paths.ssconf("master_node"))) or "").strip()


# What the others say


def ask_others(where: Paths, situation: Situation, *, with_offline: bool) -> Answers:
    asked = [node for node in situation.others if with_offline or not node.offline]

    async def ask(client: Client) -> Answers:
        versions, states = await asyncio.gather(
            _each(client, asked, NodeVersion(), grace_s=GRACE_S),
            _each(client, [node for node in asked if node.master_candidate], StoreState(), grace_s=GRACE_S),
        )
        return Answers(versions=versions, states=states)

    return _with_client(where, situation, ask)


def _with_client(where: Paths, situation: Situation, work: Callable[[Client], Awaitable[R]]) -> R:
    async def run() -> R:
        # no mastership, no term: enough for questions
        client = Client(where, situation.me, nodes=situation.nodes.get, term=lambda: 0, limits=_LIMITS)
        try:
            return await work(client)
        finally:
            await client.close()

    return asyncio.run(run())


async def _each(
    client: Client, nodes: Sequence[Node], call: Call[R], *, grace_s: float | None = None
) -> dict[Uuid, R | errors.RpcError]:
    """With `grace_s`: when more than half have answered, the others have so long; then they count as silent."""

    async def one(node: Node) -> R | errors.RpcError:
        try:
            return await client.at(node, call)
        except errors.RpcError as err:
            return err

    tasks = {node.uuid: asyncio.create_task(one(node)) for node in nodes}
    waiting = set(tasks.values())
    while waiting:
        answered = sum(task.done() and not isinstance(task.result(), errors.RpcError) for task in tasks.values())
        is_enough = grace_s is not None and 2 * answered > len(tasks)
        done, waiting = await asyncio.wait(
            waiting, timeout=grace_s if is_enough else None, return_when=asyncio.FIRST_COMPLETED
        )
        if not done:
            break
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    return {
        node.uuid: errors.RpcError(node.name, "timeout", f"no answer within {grace_s:g} s after the others")
        if tasks[node.uuid].cancelled()
        else tasks[node.uuid].result()
        for node in nodes
    }


# Decisions


def check_votes(situation: Situation, answers: Answers) -> None:
    """A majority of the nodes, this one included, has to name the master that is replaced. Raises PrereqError."""
    votes: Counter[str] = Counter()
    silent: list[str] = []
    for uuid, reply in answers.versions.items():
        if isinstance(reply, VersionReply):
            votes[reply.master or "nobody"] += 1
        else:
            silent.append(situation.nodes[uuid].name)
    everybody = 1 + len(answers.versions)
    for name, count in votes.most_common(1):
        if name != situation.master and count >= max(votes[situation.master] + 1, len(silent)):
            raise errors.PrereqError(
                "wrong_state",
                f"the majority says that the master is {name}, this node takes {situation.master} for it",
                hint=f"this node was away while the master changed: run gnt-cluster redist-conf on {name}",
            )
    if 1 + votes[situation.master] < majority(everybody):
        raise errors.PrereqError(
            "environment_error",
            f"only {1 + votes[situation.master]} of {everybody} nodes confirm that the master is {situation.master}, "
            f"{majority(everybody)} are needed" + (f"; no answer from {', '.join(sorted(silent))}" if silent else ""),
            hint="start the node daemons of those that do not answer, or mark dead nodes offline beforehand; "
            f"as a last resort, {NO_VOTING}",
        )


def check_is_member(situation: Situation, answers: Answers) -> None:
    """Somebody takes this node for one of the cluster, or nobody is there at all. Raises PrereqError.

    A node that was removed while it was off has all it needs to begin a cluster of the same name and address beside
    the real one.
    """
    if any(isinstance(reply, VersionReply) for reply in answers.versions.values()):
        return
    refusing = sorted(
        situation.nodes[uuid].name
        for uuid, reply in answers.versions.items()
        if isinstance(reply, errors.RpcError) and reply.kind == "refused"
    )
    if refusing:
        raise errors.PrereqError(
            "wrong_state",
            f"this node, {situation.me.node}, is in the cluster no more, or its certificate is not the newest: "
            f"it has no connection with {', '.join(refusing)}, where node daemons run, and with no other node",
            hint="run the command on another candidate, and bring this node back with gnt-node add (--readd, if it is "
            "still in gnt-node list there); if this node has the only good copy, switch off the others first",
        )


def useless_copies(situation: Situation, answers: Answers) -> dict[str, str]:
    """Candidates that answer but have no copy of the state that can be read: name → what is wrong."""
    found: dict[str, str] = {}
    for uuid, state in answers.states.items():
        name = situation.nodes[uuid].name
        if isinstance(state, StateReply):
            if state.serial == 0:
                found[name] = "it has no copy of the state"
        elif not state.is_silence:
            found[name] = state.message.removeprefix(f"node {state.node}: ")
    return found


def silent_candidates(situation: Situation, answers: Answers) -> list[str]:
    """Names of candidates that gave no answer or were not asked."""
    useless = useless_copies(situation, answers)
    has = {uuid for uuid, state in answers.states.items() if isinstance(state, StateReply)}
    return sorted(
        node.name
        for node in situation.others
        if node.master_candidate and node.uuid not in has and node.name not in useless
    )


def check_copies(situation: Situation, answers: Answers) -> None:
    """A majority of the candidates, this one included, has a copy: without that no vote can be won. PrereqError."""
    useless, silent = useless_copies(situation, answers), silent_candidates(situation, answers)
    count = 1 + sum(node.master_candidate for node in situation.others)
    good = count - len(useless) - len(silent)
    if good >= majority(count):
        return
    whys = [f"{name} ({why})" for name, why in sorted(useless.items())]
    whys += [f"{name} (no answer)" for name in silent]
    raise errors.PrereqError(
        "environment_error",
        f"only {good} of {count} master candidates have a copy of the state that can be read, {majority(count)} are "
        f"needed; missing: {'; '.join(whys)}",
        hint=advice(silent, useless),
    )


def ahead(situation: Situation, answers: Answers, own: Position) -> tuple[str, StateReply] | None:
    """The candidate whose copy has most, if this node lacks more of it than a take-over may fetch."""
    found = [(uuid, state) for uuid, state in answers.states.items() if isinstance(state, StateReply)]
    if not found:
        return None
    best, state = max(found, key=lambda pair: (pair[1].term, pair[1].serial))
    if (state.term, state.serial) <= (own.term, own.serial):
        return None
    if state.term == own.term and state.serial == own.serial + 1:
        return None
    return situation.nodes[best].name, state


def check_is_newest(where: Paths, situation: Situation, answers: Answers) -> None:
    """This node's copy has what the others had when they were asked. Raises StaleTermError naming a better node."""
    deadline = time.monotonic() + LEVEL_S
    while True:
        own = reading.look(where.local(paths.STATE_DB))[0]
        better = ahead(situation, answers, own)
        if better is None:
            return
        if time.monotonic() > deadline:
            name, state = better
            raise errors.StaleTermError(
                f"node {name} has a newer state ({state.term}/{state.serial}) than this one "
                f"({own.term}/{own.serial}): this node must not become master",
                hint=f"run `gnt-cluster master-failover` on {name}"
                if name != situation.master
                else f"start ganeti-masterd on {name}; when that is not possible, power {name} off first",
            )
        time.sleep(0.05)


def risks(situation: Situation, answers: Answers, own: Position, last: str) -> str:
    """What a take-over without a vote may lose. `last`: when this node's last change was made."""
    silent, useless = silent_candidates(situation, answers), useless_copies(situation, answers)
    lines = [f"This makes {situation.me.node} the master without asking a majority of the nodes.",
             f"The last change that it knows was made at {last} (batch {own.term}/{own.serial})."]  # fmt: skip
    if silent:
        lines.append(f"Later changes, if there are any, may be on candidates that do not answer: {', '.join(silent)}.")
    for name, why in sorted(useless.items()):
        lines.append(f"Later changes may have been on {name}, which answers but has no good copy: {why}.")
    if silent or useless:
        lines.append("They will be LOST: jobs that were acknowledged, instances that were made since then.")
    if situation.master != situation.me.node:
        lines.append(f"Two masters act at the same time unless {situation.master} is down or can be reached from here.")
    return "\n".join(lines)


# Acts


def stop_old_master(where: Paths, situation: Situation, answers: Answers, seen: int) -> str:
    """Ask the recorded master's node to end its master daemon. Replies a warning, or nothing when that was done.

    Raises StaleTermError when another mastership has begun meanwhile.
    """
    old = next((node for node in situation.others if node.name == situation.master), None)
    if old is None:
        return ""
    no_answer = answers.versions.get(old.uuid)
    if not isinstance(no_answer, VersionReply):
        why = no_answer.message if no_answer is not None else "it is marked offline"
        return f"The master daemon on {old.name} was not stopped ({why}). It will find that it is replaced."
    call = MasterStop(seen=seen)

    async def ask(client: Client) -> str:
        try:
            await client.at(old, call)
        except errors.RpcError as err:
            if err.kind == "stale_term":
                raise errors.StaleTermError(err.message, hint="look who is the master now") from err
            return f"The master daemon on {old.name} was not stopped ({err.message}): stop it by hand."
        return ""

    return _with_client(where, situation, ask)


def take_over(where: Paths, situation: Situation, seen: int, *, no_voting: bool) -> str:
    """Start the master daemon so that it takes over; returns when it is master and this node's files say so.

    Replies a warning when they do not, or nothing. Raises ExecError with what the daemon said.
    """
    arguments = ["--take-over", f"--seen-term={seen}"]
    if no_voting:
        arguments += ["--no-voting", "--yes-do-it"]
    try:
        daemons.start(where, daemons.MASTERD, arguments=arguments)
    except errors.ExecError as err:
        raise errors.ExecError(
            f"this node did not become master, and {situation.master} may have been stopped: {err.message}",
            hint=f"remedy that and run the command again, or start ganeti-masterd on {situation.master}",
        ) from err
    try:
        daemons.wait_until(
            "the change of this node's ssconf files",
            lambda: recorded_master(where) == situation.me.node,
            timeout_s=SSCONF_S,
        )
    except errors.ExecError as err:
        return f"This node is the master now, but {err.message}: look at its master daemon's log."
    return ""


def failover(
    where: Paths,
    *,
    no_voting: bool,
    with_offline: bool,
    confirm: Callable[[str], bool],
    warn: Callable[[str], None],
) -> bool:
    """All of it. False: not confirmed, nothing was changed. May be repeated after a failure.

    Raises PrereqError, StaleTermError or StoreError before anything was changed, ExecError after that.
    """
    situation = look_around(where)
    if situation.master == situation.me.node:
        if not _go_on_here(
            where, situation, no_voting=no_voting, with_offline=with_offline, confirm=confirm, warn=warn
        ):
            return False
        _start_rest(where, warn)
        return True
    seen = TermKeeper(where).seen
    answers = ask_others(where, situation, with_offline=with_offline)
    seen = max(seen, answers.seen)
    check_is_member(situation, answers)
    if no_voting:
        if not _is_risk_taken(where, situation, answers, confirm):
            return False
    else:
        check_votes(situation, answers)
        check_copies(situation, answers)
    check_is_newest(where, situation, answers)
    warning = stop_old_master(where, situation, answers, seen)
    if warning:
        warn(warning)
    warning = take_over(where, situation, seen, no_voting=no_voting)
    if warning:
        warn(warning)
    else:
        _start_rest(where, warn)
    return True


def _start_rest(where: Paths, warn: Callable[[str], None]) -> None:
    """The cluster is whole without it: when it does not start, that is told."""
    try:
        daemons.start(where, daemons.RAPI)
    except errors.GanetiError as err:
        warn(f"This node is the master now, but without its REST interface: {err}")


def _go_on_here(
    where: Paths,
    situation: Situation,
    *,
    no_voting: bool,
    with_offline: bool,
    confirm: Callable[[str], bool],
    warn: Callable[[str], None],
) -> bool:
    """This node is the recorded master: its daemon is started; one that waits for others is told not to, by force."""
    name = situation.me.node
    if daemons.is_running(where, daemons.MASTERD):
        why_not = why_no_work(where)
        if not why_not:
            raise errors.PrereqError("wrong_state", f"this node, {name}, is the master already")
        if not no_voting:
            raise errors.PrereqError(
                "wrong_state",
                f"this node, {name}, is the master already, but takes no work: {why_not}",
                hint=f"start the nodes that it waits for; as a last resort, {NO_VOTING}",
            )
        warn(f"The master daemon of this node takes no work: {why_not}.")
    else:
        warn("This node is the master already, but its master daemon does not run: starting it.")
    if not no_voting:
        daemons.start(where, daemons.MASTERD)
        return True
    answers = ask_others(where, situation, with_offline=with_offline)
    check_is_member(situation, answers)
    if not _is_risk_taken(where, situation, answers, confirm):
        return False
    daemons.stop(where, daemons.MASTERD, hurry_after_s=1.0)
    daemons.start(where, daemons.MASTERD, arguments=["--no-voting", "--yes-do-it"])
    return True


def why_no_work(where: Paths) -> str:
    """Why the master daemon of this node takes no new work; empty: it does."""
    client = LuxiClient(paths=where, environ={}, read_timeout_s=ANSWER_S, wait_for_master=False)
    with client:
        try:
            client.call("CheckQuorum")
        except errors.GanetiError as err:
            return err.message
    return ""


def _is_risk_taken(where: Paths, situation: Situation, answers: Answers, confirm: Callable[[str], bool]) -> bool:
    own = reading.look(where.local(paths.STATE_DB))[0]
    last = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(reading.look_time(where.local(paths.STATE_DB))))
    return confirm(risks(situation, answers, own, last))


def is_master_answering(where: Paths, *, answers_here: Callable[[Paths], bool]) -> bool:
    """Whether the master daemon answers questions: here, or asked through its node by a candidate."""
    if answers_here(where):
        return True
    try:
        situation = look_around(where)
    except errors.GanetiError:
        return False
    master = next((node for node in situation.others if node.name == situation.master), None)
    if master is None:
        return False
    replies = _with_client(where, situation, lambda client: _each(client, [master], MasterPing()))
    return replies[master.uuid] is True
