"""gnt-instance: commands that ask more than one question, or end in another program."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ganeti import errors
from ganeti.cli.session import Session
from ganeti.host import ssh
from ganeti.ops.instance import OpInstanceConsole, OpInstanceFailover, OpInstanceReinstall
from ganeti.ops.verbs import Call, flag, verb
from ganeti.ops.verbs import Session as AnySession


@verb("gnt-instance", "failover", operation=OpInstanceFailover)
def failover(session: AnySession, call: Call) -> int:
    """Stop an instance and start it on another node that sees its disks; the way out when its node is dead.

    A dead node has to be marked offline first (gnt-node modify --offline=yes NODE); then --ignore-consistency
    goes on without stopping the instance there. What still runs of it on that node is ended when the node is back.
    The half of a mirror that lacks what the other one has takes over only when that one is dead.
    """
    from ganeti.cli import submission

    question = ""
    if call.given("ignore_consistency"):
        question = (
            "Its present node will not be asked to stop it if it is marked offline. Two nodes that run the same"
            " instance destroy its data. Is it sure that it does not run there any more?"
        )
    return submission.run(session, call, OpInstanceFailover.declaration, second_question=question)


@verb(
    "gnt-instance",
    "reinstall",
    operation=OpInstanceReinstall,
    options=(flag("select_os", "--select-os", help="choose the operating system from a list"),),
)
def reinstall(session: AnySession, call: Call) -> int:
    """Install the operating system of stopped instances anew, or another one; the data on their disks is lost."""
    from ganeti.cli import submission

    assert isinstance(session, Session), session
    if call.given("select_os"):
        if "os_type" in call.form:
            raise errors.PrereqError("wrong_input", "--os-type and --select-os exclude each other")
        chosen = _select_os(session)
        if not chosen:
            session.note("Nothing was installed.")
            return 1
        call = msgspec.structs.replace(call, form={**call.form, "os_type": chosen})
    return submission.run(session, call, OpInstanceReinstall.declaration)


def _select_os(session: Session) -> str:
    """Name of the one that was chosen, empty for none. Raises PrereqError."""
    from ganeti.cli.os import installable

    names = installable(session)
    if not names:
        raise errors.PrereqError(
            "environment_error", "no operating system is valid on all nodes", hint="gnt-os diagnose shows why"
        )
    terminal = session.world.terminal()
    if terminal is None:
        raise errors.PrereqError("wrong_input", "--select-os needs a terminal", hint="name the one with -o OS")
    listed = "".join(f"{number:>3}: {name}\n" for number, name in enumerate(names))
    terminal.write(f"Available OS templates:\n{listed}")
    while True:
        terminal.write("Number of the OS to install, or x to end: ")
        try:
            answer = terminal.read_line().strip()
        except EOFError:
            return ""
        if answer in ("x", "X"):
            return ""
        if answer.isascii() and answer.isdigit() and int(answer) < len(names):
            return names[int(answer)]


@verb(
    "gnt-instance",
    "console",
    operation=OpInstanceConsole,
    options=(flag("show_cmd", "--show-cmd", help="print the command instead of running it"),),
)
def console(session: AnySession, call: Call) -> int:
    """Connect this terminal to the console of a running instance.

    A serial console of KVM is left with Ctrl-]. For graphical consoles the address is printed.
    """
    assert isinstance(session, Session), session
    found = session.run(OpInstanceConsole(instance_name=call.form["instance_name"]))
    if found["kind"] == "ssh":
        command = _ssh(session, found)
        if call.given("show_cmd"):
            import shlex

            session.out(shlex.join(command))
            return 0
        session.world.out.flush()
        return session.world.become(command)
    for line in _told(found):
        session.out(line)
    return 0


def _ssh(session: Session, found: Mapping[str, Any]) -> tuple[str, ...]:
    """Any: JSON of OP_INSTANCE_CONSOLE."""
    paths = session.paths
    command = paths.remote([str(word) for word in found["command"]])
    return (*ssh.login(paths, str(found["host"]), with_terminal=True), command)


def _told(found: Mapping[str, Any]) -> list[str]:
    host, port = found["host"], found["port"]
    match found["kind"]:
        case "vnc":
            display = f", display {found['display']}" if found["display"] else ""
            return [
                f"Instance {found['instance']} has VNC listening on {host}:{port}{display}",
                f"URL: vnc://{host}:{port}/",
            ]
        case "spice":
            return [f"Instance {found['instance']} has SPICE listening on {host}:{port}"]
        case "msg":
            return [str(found["message"])]
    raise errors.ExecError(f"the console is of the kind {found['kind']!r}, which this version does not know")
