"""The entrance of every gnt-* tool: `main("gnt-instance")`."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ganeti import settings

if TYPE_CHECKING:
    from ganeti.cli.session import Session
    from ganeti.cli.world import World
    from ganeti.ops.verbs import Verb

#: environment variables with words that go before the user's own
DEFAULTS = {
    ("gnt-node", "list"): "GNT_NODE_LIST",
    ("gnt-instance", "list"): "GNT_INSTANCE_LIST",
    ("gnt-group", "list"): "GNT_GROUP_LIST",
}

#: how options begin whose values are secret: --os-parameters-private, --os-parameters-secret
_HIDDEN = ("--os-parameters-p", "--os-parameters-s")


def main(tool: str, argv: Sequence[str] | None = None, world: World | None = None) -> int:
    """Run one command. Returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["--version"]:
        (world.out if world else sys.stdout).write(f"{tool} (ganeti {settings.VERSION}) {settings.VERSION}\n")
        return 0
    from ganeti.cli.world import World

    world = world or World()
    try:
        status = _main(tool, words, world)
        world.out.flush()
    except BrokenPipeError:
        # what is still in the buffer has nowhere to go: the interpreter shall not try again at its end
        if world.out is sys.stdout:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        world.err.write("Aborted.\n")
        return 1
    return status


def _main(tool: str, words: list[str], world: World) -> int:
    from ganeti.cli import commands

    if not words or words[0] in ("-h", "--help", "help"):
        world.out.write(usage(tool))
        return 0 if words else 1
    bad = [word for word in words if not _is_text(word)]
    if bad:
        world.err.write(f"Failure: {bad[0]!a} cannot be read: words have to be UTF-8\n")
        return 1
    verb = commands.find(tool, words[0])
    if verb is None:
        world.err.write(f"unknown command {words[0]!r}\n")
        world.err.flush()
        world.out.write(usage(tool))
        return 1
    return _run(verb, _with_defaults(verb, words[1:], world), world)


def _is_text(word: str) -> bool:
    """Python keeps bytes that are no UTF-8 as lone surrogates, which no request can hold."""
    return not any("\ud800" <= letter <= "\udfff" for letter in word)


def _with_defaults(verb: Verb, words: list[str], world: World) -> list[str]:
    variable = DEFAULTS.get((verb.tool, verb.name))
    text = world.environ.get(variable, "") if variable else ""
    if not text:
        return words
    import shlex

    return shlex.split(text) + words


def _run(verb: Verb, words: list[str], world: World) -> int:
    from ganeti import errors
    from ganeti.cli import failure, parser
    from ganeti.cli.session import Session

    try:
        call = parser.parse(verb, words, world.out, world.err)
    except parser.Exit as end:
        return end.status
    except parser.ArgumentCount as err:
        world.err.write(f"Error: {err}\n{verb.tool} {verb.name} --help tells more.\n")
        return 1
    except errors.GanetiError as err:
        world.err.write(failure.describe(err) + "\n")
        return failure.exit_code(err)
    session = Session(world, verb.tool, verb.name, call)
    _log(world, verb, words)
    if call.given("debug"):
        import logging

        logging.basicConfig(level=logging.DEBUG, stream=world.err, format="%(asctime)s %(name)s: %(message)s")
    try:
        return verb.run(session, call)
    except errors.GanetiError as err:
        session.note(failure.describe(err))
        if verb.name != "upgrade" and failure.may_be_an_upgrade(err, session.paths):
            session.note(failure.UPGRADE_HINT)
        return failure.exit_code(err)
    except KeyboardInterrupt:
        session.note(_interrupted(session))
        return 1
    except PermissionError as err:
        session.note(f"Failure: {err.filename or 'access'}: permission denied\nHint: run it as root")
        return 1


def _interrupted(session: Session) -> str:
    if not session.submitted:
        return "Aborted. Jobs that were already submitted go on in the background."
    ids = ", ".join(str(job) for job in session.submitted)
    return f"Aborted. Submitted jobs go on in the background: {ids} (gnt-job watch shows them)."


def without_secrets(words: Sequence[str]) -> list[str]:
    """A command's words with `<redacted>` in the place of what is for nobody's eyes. Options may be shortened."""
    shown: list[str] = []
    is_next = False
    for word in words:
        name, equals, _ = word.partition("=")
        is_hidden = name.startswith(_HIDDEN)
        shown.append("<redacted>" if is_next else f"{name}=<redacted>" if is_hidden and equals else word)
        is_next = is_hidden and not equals and not is_next
    return shown


def _log(world: World, verb: Verb, words: list[str]) -> None:
    """A line in the `commands` log. Who may not write there can still run the command."""
    import shlex

    from ganeti import paths
    from ganeti.host.own_file import open_own

    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(world.clock.time()))
    user = world.environ.get("SUDO_USER") or world.environ.get("USER", "")
    who = f"pid={os.getpid()} uid={os.getuid()} user={user}"
    line = f"{moment}: {verb.tool} {verb.name} {who} {shlex.join(without_secrets(words))}\n"
    try:
        handle = open_own(world.paths.local(paths.log_file("commands")), os.O_WRONLY | os.O_APPEND, 0o640)
        try:
            os.write(handle, line.encode("utf-8", "replace"))
        finally:
            os.close(handle)
    except OSError:
        return


def usage(tool: str) -> str:
    """The list of commands."""
    import textwrap

    from ganeti.cli import commands

    verbs = commands.every(tool)
    width = min(max(len(verb.name) for verb in verbs), 60)
    lines = [
        f"Usage: {tool} {{command}} [options...] [argument...]",
        f"{tool} <command> --help to see details, or man {tool}",
        "",
        "Commands:",
    ]
    for verb in verbs:
        head = f" {verb.name:<{width}} - "
        wrapped = textwrap.wrap(verb.summary, 79 - len(head)) or [""]
        lines.append(head + wrapped[0])
        lines += [" " * len(head) + more for more in wrapped[1:]]
    return "\n".join(lines) + "\n"
