"""Commands of the gnt-* tools that are written by hand: how they declare themselves, what they are handed.

A command that is one submission needs nothing of this: it derives from its operation's `Cli`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol, TypeVar

import msgspec

from ganeti.ops.base import Declaration, OpCode, Parse
from ganeti.paths import Paths

Kind = Literal["flag", "text", "int", "float"]


class Argument(msgspec.Struct, frozen=True, kw_only=True):
    """Words after the options."""

    name: str  # as help shows it: node, job-id
    least: int = 1
    most: int | None = 1  # None: any number
    completes: str = ""  # instance, node, group, job, os or file: what completion offers
    choices: tuple[str, ...] = ()


class CommandOption(msgspec.Struct, frozen=True, kw_only=True):
    """One option of a command."""

    dest: str  # key in `Call.options`; a field's name for options of an operation
    flags: tuple[str, ...]
    help: str
    kind: Kind = "text"
    parse: Parse = Parse.PLAIN
    choices: tuple[str, ...] = ()
    metavar: str = ""
    also: str = ""  # second key that it sets (NODE_PAIR, IDENT_ONE)
    const: Any = None  # Any: JSON; what a flag puts; None: True
    absent: Any = None  # Any: JSON; value when the option is not given; None: the key is missing then
    default: str = ""  # what happens without it, for help; empty: nothing to say
    is_list: bool = False  # may be repeated: values are collected
    counts: bool = False  # may be repeated: value is how often
    required: bool = False


def flag(dest: str, *flags: str, help: str, const: Any = True) -> CommandOption:  # Any: JSON
    """An option without a value: puts `const`."""
    return CommandOption(dest=dest, flags=flags, help=help, kind="flag", const=const)


def option(
    dest: str,
    *flags: str,
    help: str,
    kind: Kind = "text",
    parse: Parse = Parse.PLAIN,
    choices: tuple[str, ...] = (),
    metavar: str = "",
    absent: Any = None,  # Any: JSON
    default: str = "",
    is_list: bool = False,
    required: bool = False,
) -> CommandOption:
    """An option with a value."""
    return CommandOption(
        dest=dest,
        flags=flags,
        help=help,
        kind=kind,
        parse=parse,
        choices=choices,
        metavar=metavar,
        absent=absent,
        default=default,
        is_list=is_list or parse in (Parse.LIST, Parse.DEVICES, Parse.IDENT_KEYVAL),
        required=required,
    )


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A parsed command line."""

    arguments: tuple[str, ...]
    # Any: JSON values; only options that were given or have `absent`
    options: dict[str, Any]
    # wire form of the command's operation as the words say it; only OP_ID if it has none
    form: dict[str, Any]

    def given(self, dest: str) -> bool:
        """Whether a flag was set."""
        return bool(self.options.get(dest))


class Session(Protocol):
    """What a command may use. LUXI errors and failed jobs are raised as `errors.*`; `main` makes them text."""

    @property
    def paths(self) -> Paths: ...

    @property
    def has_colours(self) -> bool:
        """Whether standard output is a terminal that shows colours."""
        ...

    def out(self, text: str = "") -> None:
        """A line on standard output."""
        ...

    def flush(self) -> None:
        """What was told so far is seen."""
        ...

    def note(self, text: str) -> None:
        """A line on standard error."""
        ...

    def call(self, method: str, *args: Any) -> Any:
        """A LUXI request; the master is connected at the first one. Any: JSON."""
        ...

    def run(self, op: OpCode) -> Any:
        """Submit one operation as a job with the recurring options of the command line, follow it, return its result.

        With --submit only prints the job's id and returns None. Raises what the job failed with. Any: JSON.
        """
        ...

    def confirm(self, question: str) -> bool:
        """Ask on the controlling terminal; no without one."""
        ...

    def confirm_typed(self, question: str, wanted: str) -> bool:
        """Ask for a word to be typed; no without a terminal."""
        ...


Run = Callable[[Session, Call], int]


class Verb(msgspec.Struct, frozen=True, kw_only=True):
    """One command of one tool."""

    tool: str
    name: str
    summary: str  # one line, without full stop
    description: str  # paragraphs for the man page
    run: Run  # returns the exit code
    arguments: tuple[Argument, ...] = ()
    options: tuple[CommandOption, ...] = ()
    aliases: tuple[str, ...] = ()
    exit_codes: tuple[tuple[int, str], ...] = ()  # beyond 0, 1 and 2
    operation: Declaration | None = None
    without: tuple[str, ...] = ()  # fields of the operation whose options it does not have


#: hand-written commands by (tool, name); filled by importing their modules
VERBS: dict[tuple[str, str], Verb] = {}

R = TypeVar("R", bound=Run)


def verb(
    tool: str,
    name: str,
    *,
    arguments: tuple[Argument, ...] = (),
    options: tuple[CommandOption, ...] = (),
    aliases: tuple[str, ...] = (),
    exit_codes: tuple[tuple[int, str], ...] = (),
    operation: type[OpCode] | None = None,
    without: tuple[str, ...] = (),
) -> Callable[[R], R]:
    """Decorator of a function that is a command; its docstring is the description, the first sentence the summary.

    With `operation` the options and arguments of its declaration come in addition, but for those of the fields
    `without`, and `Call.form` is filled from them. Its own command is written so if its `Cli` says `custom`.
    """

    def register(run: R) -> R:
        if (tool, name) in VERBS:
            raise TypeError(f"{tool} {name} is declared twice")
        summary, description = split_docstring(run.__doc__ or "")
        if not summary:
            raise TypeError(f"{tool} {name} needs a docstring: it is its help")
        VERBS[tool, name] = Verb(
            tool=tool,
            name=name,
            summary=summary,
            description=description,
            run=run,
            arguments=arguments,
            options=options,
            aliases=aliases,
            exit_codes=exit_codes,
            operation=operation.declaration if operation else None,
            without=without,
        )
        return run

    return register


def split_docstring(text: str) -> tuple[str, str]:
    """(first sentence without its full stop, everything as paragraphs of one line each)."""
    paragraphs = [" ".join(part.split()) for part in text.strip().split("\n\n")]
    # what an operation returns is for programs; the command has its own way to tell it
    paragraphs = [paragraph.partition(" Result: ")[0] for paragraph in paragraphs]
    first = paragraphs[0].split(". ")[0].removesuffix(".")
    return first, "\n\n".join(paragraphs)
