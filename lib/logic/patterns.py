"""Regular expressions from clients that cannot keep the master's one loop busy. Pure."""

from __future__ import annotations

import re

from ganeti import errors

MAX_LENGTH = 256
#: repetitions without a fixed length: each more multiplies the time by the length of the text
MAX_OPEN = 3
#: all repetitions and options
MAX_REPEATS = 12

#: escape, class, head of a group, counted repetition, or one character
_TOKEN = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?(?:P<\w+>|P=|P>|[:=!>]|<[=!])?|\{\d*,?\d*\}|.", re.DOTALL)


def compile_safe(untrusted: str) -> re.Pattern[str]:
    """Raises PrereqError(wrong_input) for what is no pattern, or could take for ever on a short text.

    The time that `re` needs may grow exponentially with a repeated group that holds repetitions or alternatives, and
    with back references; those are refused.
    """
    if len(untrusted) > MAX_LENGTH:
        raise _too_complex(f"it has more than {MAX_LENGTH} characters")
    try:
        pattern = re.compile(untrusted)
    except (re.error, OverflowError, RecursionError) as err:
        raise errors.PrereqError("wrong_input", f"{untrusted!r} is not a regular expression: {err}") from err
    _check(_TOKEN.findall(untrusted))
    return pattern


def _check(tokens: list[str]) -> None:
    is_wild = [False]  # by open group: it holds a repetition or an alternative
    was_wild_group = was_repeat = False  # what stood before the token
    open_ended = repeats = 0
    for token in tokens:
        closed_wild = False
        repeat = _is_repeat(token)
        if token.startswith("("):
            if token == "(?P=":
                raise _too_complex("it refers back to a group")
            is_wild.append(False)
        elif token == ")":
            closed_wild = is_wild.pop()
            is_wild[-1] = is_wild[-1] or closed_wild
        elif token == "|":
            is_wild[-1] = True
        elif token[0] == "\\" and token[1:].isdigit():
            raise _too_complex("it refers back to a group")
        elif repeat and not was_repeat:  # after a repetition ? and + only say which kind it is
            if was_wild_group and token != "?":
                raise _too_complex("a group that is repeated may not hold repetitions or alternatives")
            is_wild[-1] = True
            repeats += 1
            open_ended += token in ("*", "+") or "," in token
        was_wild_group, was_repeat = closed_wild, repeat and not was_repeat
    if open_ended > MAX_OPEN:
        raise _too_complex(f"it has more than {MAX_OPEN} repetitions without a fixed length, such as * and +")
    if repeats > MAX_REPEATS:
        raise _too_complex(f"it has more than {MAX_REPEATS} repetitions")


def _is_repeat(token: str) -> bool:
    return token in ("*", "+", "?") or (token.startswith("{") and len(token) > 1)


def _too_complex(why: str) -> errors.PrereqError:
    return errors.PrereqError("wrong_input", f"the pattern is too complex: {why}", hint="use a simpler one")
