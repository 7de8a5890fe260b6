"""Questions on the controlling terminal. Without one the answer is the last choice: the safe one."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence

import msgspec

from ganeti.cli.world import Terminal

#: more objects than this are shown only on request
SHOWN_AT_ONCE = 20
#: the options that say yes beforehand, the first one that a command has counts
ANSWERS = ("force", "yes_do_it")


class Choice(msgspec.Struct, frozen=True):
    key: str  # one character
    value: str
    help: str


YES = Choice("y", "yes", "go on")
NO = Choice("n", "no", "do not do it")
VIEW = Choice("v", "view", "show the list")


def ask(text: str, choices: Sequence[Choice], open_terminal: Callable[[], Terminal | None]) -> str:
    """The value of the choice that was made."""
    safe = choices[-1]
    terminal = open_terminal()
    if terminal is None:
        return safe.value
    keys = "/".join([*(choice.key for choice in choices[:-1]), f"[{safe.key}]", "?"])
    wrapped = "\n".join(line if line.startswith(" ") else textwrap.fill(line, 70) for line in text.splitlines())
    while True:
        terminal.write(f"{wrapped}\n{keys}: ")
        try:
            answer = terminal.read_line()[:1].lower()
        except EOFError:
            return safe.value
        for choice in choices:
            if answer == choice.key:
                return choice.value
        if answer == "?":
            terminal.write("".join(f" {choice.key} - {choice.help}\n" for choice in choices))


def confirm(text: str, open_terminal: Callable[[], Terminal | None]) -> bool:
    return ask(text, (YES, NO), open_terminal) == YES.value


def confirm_many(
    names: Sequence[str], operation: str, open_terminal: Callable[[], Terminal | None], *, warning: str = ""
) -> bool:
    """Before one operation on several instances."""
    head = f"The {operation} will operate on {len(names)} instance(s)." + (f" {warning}" if warning else "")
    listed = "\n".join(["Affected instances:", *(f"  {name}" for name in names)])
    if len(names) <= SHOWN_AT_ONCE:
        return confirm(f"{head}\n{listed}\nDo you want to continue?", open_terminal)
    answer = ask(f"{head}\nDo you want to continue?", (YES, VIEW, NO), open_terminal)
    if answer == VIEW.value:
        return confirm(f"{listed}\nDo you want to continue?", open_terminal)
    return answer == YES.value


def confirm_typed(text: str, wanted: str, open_terminal: Callable[[], Terminal | None]) -> bool:
    """For what cannot be undone: the word has to be typed."""
    terminal = open_terminal()
    if terminal is None:
        return False
    terminal.write(f"{text}\nType {wanted!r} to go on: ")
    try:
        return terminal.read_line().strip() == wanted
    except EOFError:
        return False
