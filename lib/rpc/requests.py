"""Changing calls by request id: run once, answered again, taken back, waited for, stopped."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from ganeti import errors
from ganeti.calls import base as calls
from ganeti.calls.base import ChangingCall
from ganeti.calls.task import RequestFence, TaskReply
from ganeti.host.clock import Clock
from ganeti.rpc.pools import POLL_WAITERS, Busy
from ganeti.rpc.request_table import RequestTable, State
from ganeti.wire import codec

log = logging.getLogger(__name__)

KEEP_S = 7 * 86400.0
PRUNE_EACH_S = 3600.0
#: long calls whose failure to begin is remembered
MAX_REFUSED = 100
#: how long a repeat waits for the running one, and an undo for what it takes back
WAIT_S = 50.0


class Execution(Protocol):
    """What a running handler shares with the outside. Plain attributes."""

    stop: threading.Event
    progress: dict[str, float | str]


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a call ended: the reply as builtins, or the error."""

    result: Any = None  # Any: JSON values of the call's reply
    error: list[Any] | None = None  # as errors.encode
    kind: str = ""  # of a failure
    progress: dict[str, float | str] = {}  # the last that it told

    @property
    def is_good(self) -> bool:
        return self.error is None


def _in_thread(work: Callable[[], None], name: str) -> None:
    threading.Thread(target=work, name=name, daemon=True).start()


class _Live:
    def __init__(self, digest: str, execution: Execution, ended: threading.Event) -> None:
        self.digest = digest
        self.execution = execution
        self.ended = ended
        self.outcome: Outcome | None = None


class Requests:
    """Threads may share it. `run` is called for every changing call."""

    def __init__(
        self,
        path: str,
        clock: Clock,
        *,
        wait_s: float = WAIT_S,
        spawn: Callable[[Callable[[], None], str], None] = _in_thread,
        new_event: Callable[[], threading.Event] = threading.Event,
    ) -> None:
        """Opens the table. `spawn` (work, name) and `new_event` are for simulations. Raises StoreError."""
        self._clock = clock
        self._spawn, self._new_event = spawn, new_event
        self._wait_s = wait_s
        self._lock = threading.Lock()
        self._live: dict[str, _Live] = {}
        self._refused: dict[str, Outcome] = {}  # long calls that could not be begun, until somebody asks
        self._table = RequestTable(path)
        self._waiters = threading.BoundedSemaphore(POLL_WAITERS)
        interrupted = self._table.interrupt_all(clock.time())
        if interrupted:
            log.warning("%d calls were interrupted when the daemon ended; their effect is unknown", interrupted)
        self._pruned_at = clock.monotonic()
        self._table.prune(clock.time() - KEEP_S)

    def run(self, call: ChangingCall[Any], execution: Execution, work: Callable[[], Outcome]) -> Outcome:
        """The outcome of this request: from `work`, from the running one, or from the table.

        A failure of an undo is not final: a repeat tries again. Raises Busy when what has to be waited for does not
        end, NodeFailure when the request was taken back or its id has been used for another call, StoreError.
        """
        live = self._admit(call, execution)
        if isinstance(live, Outcome):
            return live
        if live.execution is not execution:
            if not live.ended.wait(self._wait_s) or live.outcome is None:
                raise Busy(f"request {call.request} is still running")
            return live.outcome
        return self._work(call, live, work)

    def start(
        self, call: ChangingCall[Any], execution: Execution, work: Callable[[], Outcome], ended: Callable[[], None]
    ) -> None:
        """As `run`, in a thread of its own; `poll` sees the outcome. `ended` is called when nothing runs for it."""
        try:
            live = self._admit(call, execution)
        except BaseException:
            ended()
            raise
        if isinstance(live, Outcome) or live.execution is not execution:
            ended()
            return

        def target() -> None:
            try:
                self._work(call, live, work)
            except errors.GanetiError as err:
                log.error("%s %s: %s", call.call_name, call.request, err)
                if isinstance(err, errors.StoreError):
                    self._refuse(call, err)
            finally:
                ended()

        self._spawn(target, f"{call.call_name} {call.request}")

    def _refuse(self, call: ChangingCall[Any], err: errors.StoreError) -> None:
        """Whoever asks is told why it was not begun. There is nowhere to write it down, so it is told once."""
        with self._lock:
            while len(self._refused) >= MAX_REFUSED:
                del self._refused[next(iter(self._refused))]
            self._refused[call.request] = Outcome(error=errors.encode(err), kind="failed")

    def poll(self, request: str, wait_s: float) -> TaskReply:
        """State of a request. Waits for its end only as long as not too many others wait too."""
        with self._lock:
            live = self._live.get(request)
        if live is not None and self._waiters.acquire(blocking=False):
            try:
                live.ended.wait(min(max(wait_s, 0.0), self._wait_s))
            finally:
                self._waiters.release()
        if live is not None and not live.ended.is_set():
            return TaskReply(state="running", progress=dict(live.execution.progress))
        if live is not None and live.outcome is not None:
            return _reply(live.outcome)
        with self._lock:
            row, refused = self._table.get(request), self._refused.pop(request, None)
        if row is not None and row.state in (State.DONE, State.FAILED):
            return _reply(codec.decode(row.outcome, Outcome))
        return TaskReply(state="unknown") if refused is None else _reply(refused)

    def cancel(self, request: str) -> TaskReply:
        """Ask a running request to stop; returns its state as it is now."""
        with self._lock:
            live = self._live.get(request)
        if live is not None:
            live.execution.stop.set()
        return self.poll(request, 0.0)

    def running(self) -> int:
        with self._lock:
            return len(self._live)

    def stop_all(self) -> None:
        """Ask every running request to stop."""
        with self._lock:
            for live in self._live.values():
                live.execution.stop.set()

    def close(self) -> None:
        with self._lock:
            self._table.close()

    def _admit(self, call: ChangingCall[Any], execution: Execution) -> _Live | Outcome:
        """Ours to run (its `execution` is the given one), another's to wait for, or an outcome to repeat."""
        digest = hashlib.sha256(codec.encode(calls.encode(call))).hexdigest()
        with self._lock:
            self._prune()
            live = self._live.get(call.request)
            if live is not None:
                _check_same(call, live.digest, digest)
                return live
            row = self._table.get(call.request)
            if row is not None:
                if row.state is State.TAKEN_BACK:
                    raise errors.NodeFailure(f"request {call.request} was taken back before it came; it is not run")
                _check_same(call, row.digest, digest)
                if row.state is State.DONE or (row.state is State.FAILED and call.undoes is None):
                    return codec.decode(row.outcome, Outcome)
            live = self._live[call.request] = _Live(digest, execution, self._new_event())
        return live

    def _work(self, call: ChangingCall[Any], live: _Live, work: Callable[[], Outcome]) -> Outcome:
        outcome: Outcome | None = None
        try:
            self._begin(call, live.digest)
            outcome = work()
            if live.execution.progress:
                outcome = msgspec.structs.replace(outcome, progress=dict(live.execution.progress))
            self._end(call, outcome)
            return outcome
        finally:
            live.outcome = outcome
            with self._lock:
                del self._live[call.request]
            live.ended.set()

    def _begin(self, call: ChangingCall[Any], digest: str) -> None:
        """Durable: it runs now. What it takes back has ended and will not run again."""
        deadline = self._clock.monotonic() + self._wait_s
        while True:
            with self._lock:
                target = self._live.get(call.undoes) if call.undoes is not None else None
                if target is None:
                    self._table.begin(
                        call.request,
                        digest,
                        self._clock.time(),
                        undoes=call.undoes,
                        keeps_ended=isinstance(call, RequestFence),
                    )
                    return
            target.execution.stop.set()
            left = deadline - self._clock.monotonic()
            if left <= 0 or not target.ended.wait(left):
                raise Busy(f"request {call.undoes}, which this call takes back, does not end")

    def _end(self, call: ChangingCall[Any], outcome: Outcome) -> None:
        state = State.DONE if outcome.is_good else State.FAILED
        try:
            with self._lock:
                self._table.end(call.request, state, codec.dumps(outcome), self._clock.time())
        except errors.StoreError as err:
            # The work is done and is answered so. Should the answer be lost and the daemon end too, a repeat runs
            # the handler again, which finds its work done.
            log.error("%s %s: %s", call.call_name, call.request, err)

    def _prune(self) -> None:
        now = self._clock.monotonic()
        if now - self._pruned_at >= PRUNE_EACH_S:
            self._pruned_at = now
            self._table.prune(self._clock.time() - KEEP_S)


def _check_same(call: ChangingCall[Any], known: str, digest: str) -> None:
    if known and known != digest:
        raise errors.NodeFailure(f"request id {call.request} has been used for another call")


def _reply(outcome: Outcome) -> TaskReply:
    if outcome.error is None:
        return TaskReply(state="done", result=outcome.result, progress=outcome.progress)
    return TaskReply(state="failed", result=outcome.error, progress=outcome.progress)
