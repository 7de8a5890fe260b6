"""gnt-cluster copyfile and command: by ssh, as root, on many nodes."""

from __future__ import annotations

import os

import msgspec

from ganeti import errors
from ganeti.cli.session import Session as OwnSession
from ganeti.host import ssh
from ganeti.ops.base import Parse
from ganeti.ops.verbs import Argument, Call, Session, flag, option, verb

#: of one command on one node, in seconds
COMMAND_LIMIT_S = 86400.0
COPY_LIMIT_S = 3600.0
_AT_ONCE = 16
_RULE = "-" * 48
#: the whole file or none of it; a virtual node has its own root
_RECEIVE = (
    'umask 077; target="$GANETI_ROOTDIR$1"; new="$target.new.$$"; '
    'cat >"$new" && chmod "$2" "$new" && mv "$new" "$target" || { rm -f "$new"; exit 1; }'
)

_NODES = option("nodes", "-n", "--node", help="only this node; may be repeated", parse=Parse.LIST, metavar="NODE")
_GROUP = option("group", "-g", "--node-group", help="only the nodes of this group", metavar="GROUP")


class Target(msgspec.Struct, frozen=True):
    name: str
    secondary_ip: str
    is_offline: bool
    is_master: bool


def _targets(session: Session, call: Call) -> list[Target]:
    """Online nodes that the options name, the master last; says which were left out."""
    fields = ["name", "sip", "offline", "master", "group", "group.uuid"]
    rows = session.call("QueryNodes", call.options.get("nodes") or [], fields, False)
    group = call.options.get("group")
    if (
        group
        and not session.call("Query", "group", ["name"], ["|", ["=", "name", group], ["=", "uuid", group]])["data"]
    ):
        raise errors.PrereqError("unknown_entity", f"node group {group!r} is not known")
    found = [Target(*row[:4]) for row in rows if not group or group in row[4:]]
    offline = [target.name for target in found if target.is_offline]
    if offline:
        session.note(f"Skipping offline node(s): {', '.join(offline)}")
    return sorted((target for target in found if not target.is_offline), key=lambda target: target.is_master)


@verb(
    "gnt-cluster",
    "copyfile",
    arguments=(Argument(name="file", completes="file"),),
    options=(
        _NODES,
        _GROUP,
        flag("replication", "--use-replication-network", help="send it to the nodes' secondary addresses"),
    ),
)
def copyfile(session: Session, call: Call) -> int:
    """Copy a file of this node to the same place on all other online nodes, with its mode.

    A node that does not take it is named; the exit code is 0 all the same.
    """
    from concurrent.futures import ThreadPoolExecutor

    assert isinstance(session, OwnSession), session
    path = os.path.abspath(call.arguments[0])
    local = path if path.startswith(f"{session.paths.root}/") else session.paths.local(path)
    if not os.path.isfile(local):
        raise errors.PrereqError("wrong_input", f"{path} is not there, or no file")
    logical, mode = session.paths.logical(local), f"{os.stat(local).st_mode & 0o7777:o}"
    command = session.paths.remote(("sh", "-c", _RECEIVE, "sh", logical, mode))
    targets = [target for target in _targets(session, call) if not target.is_master]

    def copy(target: Target) -> str:
        address = target.secondary_ip if call.given("replication") else ""
        login = ssh.login(session.paths, target.name, address=address)
        try:
            with open(local, "rb") as source:
                session.world.runner.run_fed((*login, command), source=source, timeout_s=COPY_LIMIT_S)
        except (errors.CommandFailed, OSError) as err:
            return str(err)
        return ""

    with ThreadPoolExecutor(_AT_ONCE, "copy") as pool:
        for target, problem in zip(targets, pool.map(copy, targets), strict=True):
            if problem:
                session.note(f"Copy of file {path} to node {target.name} failed: {problem}")
    return 0


@verb(
    "gnt-cluster",
    "command",
    arguments=(Argument(name="command", most=None),),
    options=(
        _NODES,
        _GROUP,
        flag("names", "-M", "--show-machine-names", help="begin each line with the name of its node"),
        flag("failures", "--failure-only", help="show only nodes where it did not end with 0"),
    ),
)
def command(session: Session, call: Call) -> int:
    """Run a command as root on all online nodes, one after the other, the master last.

    The words are joined by blanks and go through a shell there. The exit code is 0 whatever the command says.
    """
    assert isinstance(session, OwnSession), session
    words = " ".join(call.arguments)
    for target in _targets(session, call):
        try:
            done = session.world.runner.run(
                (*ssh.login(session.paths, target.name), words), timeout_s=COMMAND_LIMIT_S, ok=range(256)
            )
            status, output = done.status, done.stdout + done.stderr
        except errors.CommandFailed as err:
            status, output = 255, f"{err}\n"
        if call.given("failures") and status == 0:
            continue
        session.out(_RULE)
        session.out(f"node: {target.name}")
        prefix = f"{target.name}: " if call.given("names") else ""
        for line in output.splitlines():
            session.out(prefix + line)
        session.out(f"return code = {status}")
    return 0
