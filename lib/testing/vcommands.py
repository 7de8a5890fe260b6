"""Command line of `tools/vcluster`."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence

from ganeti import errors
from ganeti.paths import NAME_VARIABLE, ROOT_VARIABLE
from ganeti.testing.vcluster import VirtualCluster
from ganeti.testing.vlayout import MAX_NODES, Layout, check_owner
from ganeti.testing.vprocess import SHELL_VARIABLE


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tools/vcluster",
        description="Complete clusters on this machine, without root: every node with its own directory, loopback"
        " address and real daemons.",
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, text: str) -> argparse.ArgumentParser:
        made = verbs.add_parser(name, help=text, description=text)
        made.add_argument("directory", metavar="DIR", help="the virtual cluster's directory")
        return made

    create = verb("create", "make a cluster, start it; completes one that is half made")
    create.add_argument("--nodes", type=int, default=3, metavar="N", help="how many nodes (3)")
    create.add_argument(
        "--hypervisors", default="", metavar="LIST", help="comma list, the first is the default (fake,kvm with QEMU)"
    )
    verb("start", "start all nodes")
    verb("stop", "end all daemons and guests; the cluster stays on disk")
    verb("destroy", "end everything and remove it")
    verb("status", "what runs where")
    env = verb("env", 'print shell exports; use: eval "$(tools/vcluster env DIR)"')
    env.add_argument("node", nargs="?", metavar="NODE", help="the node to act on (the master)")
    run = verb("exec", "run a command on a node")
    run.add_argument("node", metavar="NODE")
    run.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND...")
    for name, text in (("kill", "power a node off: its daemons and guests end at once"), ("boot", "power a node on")):
        verb(name, text).add_argument("nodes", nargs="+", metavar="NODE")
    verb("partition", "cut groups of nodes off from each other").add_argument(
        "groups", metavar="A,B|C", help="groups joined by |, nodes by commas; quote it"
    )
    verb("heal", "undo a partition")
    return parser


def _create(options: argparse.Namespace, bin_dir: str, os_definitions: str) -> int:
    if not 1 <= options.nodes <= MAX_NODES:
        raise errors.PrereqError("wrong_input", f"cannot make {options.nodes} nodes", hint=f"1 to {MAX_NODES} work")
    VirtualCluster.create(
        options.directory,
        count=options.nodes,
        bin_dir=bin_dir,
        report=_say,
        hypervisors=tuple(name for name in options.hypervisors.split(",") if name),
        os_definitions=os_definitions,
    )
    _say(f'ready; use it with: eval "$(tools/vcluster env {shlex.quote(options.directory)})"')
    return 0


def _env(cluster: VirtualCluster, name: str | None) -> int:
    node = cluster.layout.node(name) if name else cluster.master()
    search = os.environ.get("PATH", "").split(":")
    if cluster.layout.bin_dir not in search:
        search.insert(0, cluster.layout.bin_dir)
    variables = {
        ROOT_VARIABLE: node.root,
        NAME_VARIABLE: node.name,
        SHELL_VARIABLE: cluster.layout.directory,
        "PATH": ":".join(search),
    }
    for variable, value in variables.items():
        _say(f"export {variable}={shlex.quote(value)}")
    return 0


def _status(cluster: VirtualCluster) -> int:
    """0 when every node is on, 1 otherwise."""
    every = cluster.status()
    for status in every:
        node = status.node
        _say(
            f"{node.short_name}  {node.address}  {status.power:7}  {'master' if status.is_master else 'node':6}  "
            + ", ".join(status.running)
        )
    return 0 if all(status.power == "on" for status in every) else 1


def _exec(cluster: VirtualCluster, name: str, command: list[str]) -> int:
    """Becomes the command. Raises PrereqError when there is none."""
    node = cluster.layout.node(name)
    if command[:1] == ["--"]:
        command = command[1:]
    if not command:
        raise errors.PrereqError("wrong_input", "no command given", hint="write it behind --")
    if node.is_off:
        raise errors.PrereqError("wrong_state", f"{node.short_name} is powered off", hint="boot it first")
    environment = cluster.layout.environment(node)
    program = shutil.which(command[0], path=environment["PATH"])
    if program is None:
        raise errors.PrereqError("unknown_entity", f"there is no command {command[0]!r} on {node.short_name}")
    sys.stdout.flush()
    os.execve(program, command, environment)


def main(arguments: Sequence[str], *, bin_dir: str, os_definitions: str) -> int:
    """Exit status. `bin_dir` has our commands and daemons, `os_definitions` the example OS definitions."""
    options = _parser().parse_args(list(arguments))
    try:
        if options.verb != "env":
            check_owner(options.directory, os.geteuid())
        if options.verb == "create":
            return _create(options, bin_dir, os_definitions)
        cluster = VirtualCluster(Layout.load(options.directory), _say)
        if options.verb == "env":
            return _env(cluster, options.node)
        if options.verb == "status":
            return _status(cluster)
        if options.verb == "exec":
            return _exec(cluster, options.node, options.command)
        actions: dict[str, Callable[[], None]] = {
            "start": cluster.start,
            "stop": cluster.stop,
            "destroy": cluster.destroy,
            "kill": lambda: cluster.kill(*options.nodes),
            "boot": lambda: cluster.boot(*options.nodes),
            "partition": lambda: cluster.partition([part.split(",") for part in options.groups.split("|")]),
            "heal": cluster.heal,
        }
        actions[options.verb]()
        if options.verb in ("start", "boot"):
            cluster.settle()
    except (errors.GanetiError, TimeoutError, OSError) as err:
        sys.stderr.write(f"tools/vcluster: {err}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("tools/vcluster: interrupted; the same command goes on from here\n")
        return 130
    return 0
