"""`ganeti-kvm-console INSTANCE`: this terminal and the serial console of a guest of this node, until Ctrl-]."""

from __future__ import annotations

import optparse
import os
import select
import socket
import sys
import termios
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from ganeti import errors
from ganeti.hypervisor.kvm.runtime import Layout
from ganeti.model.types import HOST_NAME
from ganeti.paths import Paths

ESCAPE = b"\x1d"  # Ctrl-]
_CHUNK = 65536
#: after the end of the input (a pipe) the guest's answer is waited for until it is silent so long, in seconds
_SILENCE_S = 1.0


def relay(console: socket.socket, keys: int, screen: int) -> str:
    """Bytes from the file `keys` to the guest and from the guest to the file `screen`. Returns why it ended."""
    console.setblocking(False)
    unsent = b""
    is_ending = False
    while True:
        # while the guest does not take what was typed, nothing more is read
        wants: list[socket.socket | int] = [console] if is_ending or unsent else [console, keys]
        limit_s = _SILENCE_S if is_ending and not unsent else None
        readable, writable, _ = select.select(wants, [console] if unsent else [], [], limit_s)
        if is_ending and not readable and not writable:
            return "end of input"
        if console in readable:
            shown = console.recv(_CHUNK)
            if not shown:
                return "the guest has ended, or another one took over the console"
            _write(screen, shown)
        if keys in readable:
            typed = os.read(keys, _CHUNK)
            before, escape, _ = typed.partition(ESCAPE)
            unsent += before
            if escape:
                with suppress(BlockingIOError):
                    console.send(unsent)
                return "left"
            is_ending = not typed
        if unsent and console in writable:
            unsent = unsent[console.send(unsent) :]


def _write(screen: int, shown: bytes) -> None:
    while shown:
        shown = shown[os.write(screen, shown) :]


@contextmanager
def raw(keys: int) -> Iterator[None]:
    """Every key goes to the guest, Ctrl-C too; the terminal is as before afterwards. Not a terminal: nothing."""
    if not os.isatty(keys):
        yield
        return
    before = termios.tcgetattr(keys)
    tty.setraw(keys, termios.TCSADRAIN)  # what was typed ahead is for the guest too
    try:
        yield
    finally:
        termios.tcsetattr(keys, termios.TCSADRAIN, before)


def connect(name: str, where: Paths) -> socket.socket:
    """Raises PrereqError."""
    lower = name.lower()
    if not HOST_NAME.match(lower):
        raise errors.PrereqError("wrong_input", f"{name[:80]!r} cannot be the name of an instance")
    path = Layout(where).files(lower).serial
    console = socket.socket(socket.AF_UNIX)
    try:
        console.connect(path)
    except FileNotFoundError as err:
        console.close()
        raise errors.PrereqError(
            "unknown_entity",
            f"instance {lower} has no serial console on this node",
            hint="does it run here, with the hypervisor parameter serial_console=true?",
        ) from err
    except OSError as err:
        console.close()
        raise errors.PrereqError(
            "environment_error", f"cannot connect to {path}: {err.strerror or err}", hint="run it as root"
        ) from err
    return console


def make_parser() -> optparse.OptionParser:
    return optparse.OptionParser(
        prog="ganeti-kvm-console",
        usage="%prog INSTANCE",
        description="Connects the terminal to the serial console of a KVM guest of this node. Ctrl-] leaves it. For"
        " people there is gnt-instance console, which runs this on the right node.",
    )


def main(argv: Sequence[str] | None = None) -> int:
    parser = make_parser()
    _, words = parser.parse_args(list(sys.argv[1:] if argv is None else argv))
    if len(words) != 1:
        parser.error("the one argument is the instance's name")
    try:
        console = connect(words[0], Paths.from_environment())
    except errors.GanetiError as err:
        sys.stderr.write(f"ganeti-kvm-console: {err}\n")
        return 1
    with console:
        try:
            with raw(0):
                if os.isatty(0):  # said only now: from here on each key reaches the guest as it is
                    line = f"Connected to the console of {words[0]}. Ctrl-] leaves it, Enter wakes it up."
                    sys.stderr.write(f"{line}\r\n")
                    sys.stderr.flush()
                why = relay(console, 0, 1)
        except (BrokenPipeError, ConnectionResetError):
            why = "the connection ended"
    if os.isatty(2):
        sys.stderr.write(f"\nConsole closed: {why}.\n")
    return 0
