"""How an error is told, and with what exit code the command ends."""

from __future__ import annotations

import os

from ganeti import errors, paths
from ganeti.paths import Paths

#: a list was asked for an unknown field
UNKNOWN_FIELD = 14
#: a confirmation was needed and not given
NOT_CONFIRMED = 13

#: while an upgrade is noted, whether it runs or was interrupted
UPGRADE_HINT = "Hint: an upgrade runs here or was interrupted: gnt-cluster upgrade --resume goes on with it"

_WITH_TEXT: tuple[tuple[type[errors.GanetiError], str], ...] = (
    (errors.HooksFailure, "Failure: hooks general failure: "),
    (errors.JobLost, "Error checking job status: "),
    (errors.TypeEnforcementError, "Parameter Error: "),
    (errors.UnitParseError, "Parameter Error: "),
    (errors.OpCodeUnknown, "Failure: the master refused the request:\n"),
    (errors.QueryFilterParseError, "Error while parsing query filter: "),
    (errors.ExecError, "Failure: command execution error:\n"),
    (errors.TagError, "Failure: invalid tag(s) given:\n"),
)


def may_be_an_upgrade(error: errors.GanetiError, where: Paths) -> bool:
    """Nobody answers, or no jobs are taken, and this node has noted an upgrade."""
    is_so = isinstance(error, errors.NoMasterError | errors.JobQueueDrainError)
    return is_so and os.path.exists(where.local(paths.UPGRADE_INTENT))


def exit_code(error: errors.GanetiError) -> int:
    if isinstance(error, errors.RecordedError):
        return 2 if error.name == "ConfigurationError" else 1
    return error.exit_status


def describe(error: errors.GanetiError) -> str:
    """Lines for standard error, the hint at the end on its own."""
    text = _describe(error)
    return f"{text}\nHint: {error.hint}" if error.hint else text


def _describe(error: errors.GanetiError) -> str:
    match error:
        case errors.StoreError():
            return f"Corrupt configuration file: {error.message}\nAborting."
        case errors.HooksAbort():
            lines = ["Failure: hooks execution failed:"]
            for node, script, output in error.failures:
                lines.append(f"  node: {node}, script: {script}, " + (f"output: {output}" if output else "(no output)"))
            return "\n".join(lines)
        case errors.ResolverError():
            return f"Failure: can't resolve hostname '{error.name}'"
        case errors.PrereqError():
            kind = f"error type: {error.code}, error details:\n" if error.code else ""
            return f"Failure: prerequisites not met for this operation:\n{kind}{error.message}"
        case errors.JobQueueDrainError():
            return "Failure: the job queue is marked for drain and doesn't accept new requests"
        case errors.JobQueueFull():
            return "Failure: the job queue is full and doesn't accept new jobs until old ones are archived"
        case errors.JobQueueError():
            return f"Failure: the job queue cannot take the request:\n{error.message}"
        case errors.ParameterError():
            if " " in error.message:
                return f"Failure: unknown/wrong parameter: {error.message}"
            return f"Failure: unknown/wrong parameter name '{error.message}'"
        case errors.NoMasterError():
            return f"Cannot communicate with the master daemon.\n{error.message}"
        case errors.RequestError():
            return f"Failure: the master refused the request:\n{error.message}"
        case errors.LuxiError():
            return f"Communication with the master daemon failed: {error.message}"
        case errors.JobCanceled():
            return error.message
    for kind_, head in _WITH_TEXT:
        if isinstance(error, kind_):
            return head + error.message
    return f"Unhandled Ganeti error: {error.message}"
