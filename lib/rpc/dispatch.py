"""From the bytes of a request to the bytes of its answer: decode, check the term, find a slot, run, encode.

Request: ``{"term": 7, "call": {"call": "node_version", ...}}``. Answer: ``{"ok": true, "result": ...}`` or
``{"ok": false, "error": [class, args], "kind": "failed"}``; the kinds are those of `errors.RpcError`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from ganeti import errors
from ganeti.calls import base as calls
from ganeti.calls.base import Call, ChangingCall
from ganeti.rpc.pools import Busy, Pools
from ganeti.rpc.requests import Execution, Outcome, Requests
from ganeti.rpc.term import TermKeeper
from ganeti.wire import codec

log = logging.getLogger(__name__)

#: of a request, in bytes
MAX_BODY = 64 * 1024 * 1024


class Peer(msgspec.Struct, frozen=True):
    """Who calls."""

    name: str  # of its certificate
    digest: str  # SHA-256 of its certificate


class NodeExecution(Execution, Protocol):
    """An execution that knows for whom it is."""

    term: int
    peer: Peer


class Handle(Protocol):
    """Runs the handler of a call."""

    def __call__(self, call: Call[Any], execution: Any) -> Any: ...  # Any: replies and contexts differ


class Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    term: int
    call: dict[str, Any]  # Any: decoded further by the call's own struct


class Dispatcher:
    """Threads share it: one `answer` per request."""

    def __init__(
        self,
        *,
        handle: Handle,
        new_execution: Callable[[int, Peer], Execution],
        terms: TermKeeper,
        requests: Requests,
        pools: Pools,
    ) -> None:
        self._handle = handle
        self._new_execution = new_execution
        self._terms = terms
        self._requests = requests
        self.pools = pools

    def answer(self, raw_body: bytes, peer: Peer) -> bytes:
        """Never raises; what was expected and what was not become error answers without traceback."""
        outcome = self._guarded("request", lambda: self._answer(raw_body, peer))
        if outcome.error is None:
            return codec.encode({"ok": True, "result": outcome.result})
        return codec.encode({"ok": False, "error": outcome.error, "kind": outcome.kind})

    def _answer(self, raw_body: bytes, peer: Peer) -> Any:
        try:
            envelope = codec.decode(raw_body, Envelope)
            call = calls.decode(envelope.call)
        except codec.CodecError as err:
            raise errors.NodeFailure(f"cannot understand the request: {err}") from err
        if envelope.term < 0:
            raise errors.NodeFailure(f"a term is not negative: {envelope.term}")
        self._check_term(call, envelope.term)
        if isinstance(call, ChangingCall):
            log.info("%s %s for %s in term %d", call.call_name, call.request, peer.name, envelope.term)
        else:
            log.debug("%s for %s", call.call_name, peer.name)
        execution = self._new_execution(envelope.term, peer)
        if call.time.is_long and isinstance(call, ChangingCall):
            return self._start(call, execution)
        with self.pools.slot(call.reserve):
            if isinstance(call, ChangingCall):
                return self._requests.run(call, execution, lambda: self._work(call, execution))
            return self._work(call, execution)

    def _check_term(self, call: Call[Any], term: int) -> None:
        """Term 0 claims no mastership: enough to ask, not to change anything."""
        if term > 0:
            self._terms.check(term)
        elif call.needs_term:
            raise errors.StaleTermError(
                f"{call.call_name} carries no term, this node saw term {self._terms.seen}",
                hint="only the master may make this call",
            )

    def _start(self, call: ChangingCall[Any], execution: Execution) -> Any:
        self.pools.take(call.reserve, is_long=True)
        once = threading.Lock()

        def ended() -> None:
            if once.acquire(blocking=False):
                self.pools.give(call.reserve, is_long=True)

        self._requests.start(call, execution, lambda: self._work(call, execution), ended)
        return Outcome(result={"task": call.request})

    def _work(self, call: Call[Any], execution: Execution) -> Outcome:
        return self._guarded(call.call_name, lambda: self._handle(call, execution))

    def _guarded(self, what: str, work: Callable[[], Any]) -> Outcome:
        try:
            result = work()
            return result if isinstance(result, Outcome) else Outcome(result=codec.to_builtins(result))
        except errors.StaleTermError as err:
            log.warning("%s: %s", what, err)
            return Outcome(error=errors.encode(err), kind="stale_term")
        except Busy as err:
            log.warning("%s: %s", what, err)
            return Outcome(error=errors.encode(err), kind="busy")
        except errors.GanetiError as err:
            log.info("%s failed: %s", what, err)
            return Outcome(error=errors.encode(err), kind="failed")
        except OSError as err:
            log.exception("%s failed", what)
            where = f"{err.filename}: " if err.filename else ""
            return Outcome(error=["GenericError", [f"{what}: {where}{err.strerror or err}"]], kind="failed")
        except Exception as err:  # the border of RPC handlers
            log.exception("%s failed in a way nobody thought of", what)
            text = f"internal error in {what}: {type(err).__name__}"
            return Outcome(error=["GenericError", [f"{text}; the log of the node daemon has more"]], kind="failed")
