"""Every error the product raises on purpose, and how each travels.

An error crosses LUXI and is stored in jobs as ``[wire name, [args...]]``; the wire
names and argument lists are the ones that existing clients know.
"""

from __future__ import annotations

from typing import Any, ClassVar

#: code of a PrereqError: the object is not any more what the client has seen
SERIAL_MISMATCH = "serial_mismatch"


class GanetiError(Exception):
    """Base of all expected errors: a message for people and, if there is one, a hint what to do."""

    exit_status: ClassVar[int] = 1
    http_status: ClassVar[int] = 500
    wire_name: ClassVar[str] = "GenericError"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message

    def wire_args(self) -> list[Any]:  # Any: JSON values, the argument list differs by class
        """Arguments as existing clients expect them."""
        return [str(self)]


class PrereqError(GanetiError):
    """The request cannot be done as things are; nothing was changed.

    `code` is one of resolver_error, insufficient_resources, temp_insufficient_resources,
    wrong_input, wrong_state, unknown_entity, already_exists, resource_not_unique,
    internal_error, environment_error, and serial_mismatch for clients that ask for it.
    """

    http_status = 400
    wire_name = "OpPrereqError"

    def __init__(self, code: str, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = code

    def wire_args(self) -> list[Any]:
        return [str(self), self.code]


class ExecError(GanetiError):
    """The operation failed while it ran; what it had done was undone unless the text says otherwise."""

    wire_name = "OpExecError"


class ParameterError(GanetiError):
    """A parameter, field or filter that does not exist or has the wrong form."""

    http_status = 400
    wire_name = "ParameterError"


class TypeEnforcementError(GanetiError):
    """A parameter value of the wrong type."""

    http_status = 400
    wire_name = "TypeEnforcementError"


class UnitParseError(GanetiError):
    """A size, time span or number that cannot be read."""

    http_status = 400
    wire_name = "UnitParseError"


class OpCodeUnknown(GanetiError):
    """An opcode that this cluster does not know."""

    http_status = 400
    wire_name = "OpCodeUnknown"


class HooksFailure(GanetiError):
    """The hooks could not be run at all."""

    wire_name = "HooksFailure"


class HooksAbort(GanetiError):
    """Pre hooks refused the operation. `failures` holds (node, script, output)."""

    wire_name = "HooksAbort"

    def __init__(self, failures: list[tuple[str, str, str]]) -> None:
        super().__init__("hooks refused the operation: " + ", ".join(f"{s} on {n}" for n, s, _ in failures))
        self.failures = failures

    def wire_args(self) -> list[Any]:
        return [[list(failure) for failure in self.failures]]


class JobLost(GanetiError):
    """No such job, or not any more."""

    http_status = 404
    wire_name = "JobLost"


class JobCanceled(GanetiError):
    """The job was canceled on request."""

    wire_name = "JobCanceled"


class JobQueueError(GanetiError):
    """The queue cannot take the request."""

    http_status = 503
    wire_name = "JobQueueError"


class JobQueueDrainError(JobQueueError):
    """The queue is drained and takes no submissions."""

    wire_name = "JobQueueDrainError"


class JobQueueFull(JobQueueError):
    """Too many jobs that are not archived."""

    wire_name = "JobQueueFull"

    def wire_args(self) -> list[Any]:
        return []


class QuorumError(JobQueueError):
    """Too few master candidates hold the state for a change to be safe."""


class ContendedError(QuorumError):
    """Candidates enough answer, but not all with yes: another one claims the mastership at the same moment."""


class StoreError(GanetiError):
    """The state database cannot be read or written."""

    exit_status = 2
    wire_name = "ConfigurationError"


class StaleTermError(GanetiError):
    """The caller's mastership is over: a node saw a higher term."""


class RpcError(GanetiError):
    """A node call failed. `node` is the node's name, `kind` says how it failed."""

    wire_name = "OpExecError"

    def __init__(self, node: str, kind: str, message: str, *, hint: str = "") -> None:
        super().__init__(f"node {node}: {message}", hint=hint)
        self.node = node
        # offline: flagged so, not contacted | unreachable: no connection | refused: certificate |
        # timeout: no reply in time, the effect is unknown | busy | stale_term | failed: the node said no
        self.kind = kind

    @property
    def is_silence(self) -> bool:
        """Nothing was heard of the node's daemon: it may be down."""
        return self.kind in ("offline", "unreachable", "timeout")


class NodeFailure(GanetiError):
    """Raised by handlers on a node: the call was understood and cannot be done."""


class CommandFailed(GanetiError):
    """A command ended badly. Holds its argv, status and the output's end."""

    def __init__(
        self, argv: tuple[str, ...], status: int | None, output: str, *, why: str = "", is_missing: bool = False
    ) -> None:
        what = why or (f"exit status {status}" if status is not None and status >= 0 else f"signal {-(status or 0)}")
        tail = output.strip()[-2000:]
        super().__init__(f"command {argv[0]!r} failed ({what})" + (f": {tail}" if tail else ""))
        self.argv = argv
        self.status = status
        self.output = output
        self.is_missing = is_missing  # there is no such program


class HypervisorError(GanetiError):
    """A hypervisor did not do what was asked."""

    wire_name = "HypervisorError"


class StorageError(GanetiError):
    """A storage back end did not do what was asked."""

    wire_name = "StorageError"


class ResolverError(GanetiError):
    """A host name has no address."""

    wire_name = "ResolverError"

    def __init__(self, name: str, code: int, text: str) -> None:
        super().__init__(f"cannot resolve host name {name!r}: {text}")
        self.name, self.code, self.text = name, code, text

    def wire_args(self) -> list[Any]:
        return [self.name, self.code, self.text]


class LuxiError(GanetiError):
    """The local socket protocol was broken, or the master could not be talked to."""

    wire_name = "LuxiError"


class NoMasterError(LuxiError):
    """Nobody answers on the master's socket."""


class RequestError(LuxiError):
    """The master refused the request as such (a plain text error)."""


class TagError(GanetiError):
    """A tag with forbidden characters or length."""

    http_status = 400
    wire_name = "TagError"


class QueryFilterParseError(GanetiError):
    """A query filter that cannot be parsed."""

    http_status = 400
    wire_name = "QueryFilterParseError"


class RecordedError(GanetiError):
    """An error that was read from a job or a reply, with the class name and arguments it had there."""

    def __init__(self, name: str, args: list[Any]) -> None:
        super().__init__(str(args[0]) if args else name)
        self.name = name
        self.recorded_args = args

    def wire_args(self) -> list[Any]:
        return self.recorded_args


def encode(error: GanetiError) -> list[Any]:
    """`[wire name, args]`, as stored in jobs and sent by LUXI."""
    name = error.name if isinstance(error, RecordedError) else error.wire_name
    return [name, error.wire_args()]


def _all_classes(base: type[GanetiError]) -> dict[str, type[GanetiError]]:
    found = {base.wire_name: base}
    for sub in base.__subclasses__():
        for name, cls in _all_classes(sub).items():
            found.setdefault(name, cls)
    return found


def decode(untrusted: Any) -> GanetiError:
    """The error behind a wire form: its class where the arguments allow it, else a `RecordedError`."""
    if not (isinstance(untrusted, list) and len(untrusted) == 2 and isinstance(untrusted[0], str)):
        return RequestError(str(untrusted))
    name, args = untrusted[0], untrusted[1] if isinstance(untrusted[1], list) else [untrusted[1]]
    if name == "OpPrereqError" and args:
        return PrereqError(str(args[1]) if len(args) > 1 else "", str(args[0]))
    if name == "HooksAbort" and args and isinstance(args[0], list):
        return HooksAbort([(str(n), str(s), str(o)) for n, s, o in args[0]])
    if name == "ResolverError" and len(args) == 3:
        return ResolverError(str(args[0]), int(args[1]), str(args[2]))
    if name == "JobQueueFull":
        return JobQueueFull("the job queue is full", hint="archive old jobs")
    simple = {"OpExecError": ExecError}.get(name) or _all_classes(GanetiError).get(name)
    if simple is None or len(args) != 1 or simple in (RpcError, CommandFailed):
        return RecordedError(name, args)
    return simple(str(args[0]))
