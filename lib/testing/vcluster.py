"""A complete cluster on one machine without root: real daemons, each node with its own root and loopback address."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence

import msgspec

from ganeti import errors, paths, settings
from ganeti.bootstrap import daemons
from ganeti.host import files, starting
from ganeti.testing import vlayout, vprocess, vroot
from ganeti.testing.vlayout import Layout, VirtualNode

Report = Callable[[str], None]

TEMPLATES = ("file", "sharedfile", "diskless", "plain", "drbd")
_COMMAND_LIMIT_S = 120


class NodeStatus(msgspec.Struct, frozen=True, kw_only=True):
    node: VirtualNode
    is_master: bool
    running: tuple[str, ...]  # such as `ganeti-noded (123)`

    @property
    def power(self) -> str:
        return "off" if self.node.is_off else "on" if self.running else "stopped"


class VirtualCluster:
    """What `tools/vcluster` does. Every method may be repeated after an interruption."""

    def __init__(self, layout: Layout, report: Report) -> None:
        self.layout = layout
        self._report = report

    # -- whole clusters

    @classmethod
    def create(
        cls,
        directory: str,
        *,
        count: int,
        bin_dir: str,
        report: Report,
        hypervisors: tuple[str, ...] = (),
        os_definitions: str = "",
        ssh_keys: bool = False,
    ) -> VirtualCluster:
        """Make the roots, then the cluster by its own commands; completes one that is half made.

        `ssh_keys`: the cluster looks after SSH keys; servers that take them are not part of it.
        """
        directory = os.path.realpath(directory)
        os.makedirs(directory, exist_ok=True)
        with vlayout.exclusive(directory):
            if os.path.exists(f"{directory}/vcluster.json"):
                layout = Layout.load(directory)
                if len(layout.nodes) != count:
                    raise errors.PrereqError(
                        "already_exists",
                        f"{directory} has a virtual cluster of {len(layout.nodes)} nodes already",
                        hint=f"destroy it first: tools/vcluster destroy {directory}",
                    )
                layout = msgspec.structs.replace(layout, bin_dir=bin_dir)
            else:
                others = [name for name in os.listdir(directory) if name != "lock"]
                if others:
                    raise errors.PrereqError(
                        "wrong_input", f"{directory} is not empty", hint="give a directory that does not exist yet"
                    )
                layout = vlayout.plan(directory, count, bin_dir=bin_dir, hypervisors=hypervisors or usable())
            layout.save()
            cluster = cls(layout, report)
            cluster._complete(os_definitions, ssh_keys=ssh_keys)
        return cluster

    def _complete(self, os_definitions: str, *, ssh_keys: bool) -> None:
        layout = self.layout
        for node in layout.nodes:
            vroot.make(layout, node, os_definitions=os_definitions)
        self._report(f"{len(layout.nodes)} node directories below {layout.directory}, addresses {layout.network}.1 ff.")
        first = layout.nodes[0]
        if not self._is_initialised(first):
            self.run(first, init_command(layout, guest_boot(layout, os_definitions), ssh_keys=ssh_keys))
            self._report(f"cluster {layout.cluster_name} initialised on {first.short_name}")
        else:
            self._power_on(first)
        known = set(self.run(self.master(), ("gnt-node", "list", "--no-headers", "-o", "name")).split())
        for node in layout.nodes:
            if node.name in known:
                if node != first:
                    self._power_on(node)
                continue
            self.run(self.master(), ("gnt-node", "add", "--no-ssh-key-check", node.name))
            self._report(f"{node.short_name} added")

    @staticmethod
    def _is_initialised(node: VirtualNode) -> bool:
        local = node.paths.local
        return os.path.exists(local(paths.IDENTITY)) and not os.path.exists(local(paths.INIT_MARK))

    def start(self) -> None:
        with vlayout.exclusive(self.layout.directory):
            for node in self._members_first():
                self._power_on(node)

    def stop(self) -> None:
        """End all daemons in good order, then the guests."""
        with vlayout.exclusive(self.layout.directory):
            for daemon in ("ganeti-rapi", "ganeti-masterd", "ganeti-confd", "ganeti-noded"):
                for node in self.layout.nodes:
                    daemons.stop(node.paths, daemon)
            for node in self.layout.nodes:
                ended = vprocess.kill_all(node.root)
                self._report(f"{node.short_name} stopped" + _listing(ended))

    def destroy(self) -> None:
        """Kill what runs and remove all that was made; files of others in the directory stay, and are named."""
        layout = self.layout
        with vlayout.exclusive(layout.directory):
            for node in layout.nodes:
                ended = vprocess.kill_all(node.root)
                for path in (node.root, node.run_dir):
                    if os.path.isdir(path):
                        shutil.rmtree(path)
                self._report(f"{node.short_name} removed" + _listing(ended))
            for path in (layout.shared, layout.run_base):
                if os.path.isdir(path):
                    shutil.rmtree(path)
            for path in (f"{layout.directory}/nodes", _initrd(layout)):
                if os.path.exists(path):
                    os.unlink(path)
            if os.path.isdir(layout.devices) and not os.listdir(layout.devices):
                os.rmdir(layout.devices)
            layout.forget()
            os.unlink(f"{layout.directory}/lock")
        left = os.listdir(layout.directory)
        if left:
            self._report(f"kept {layout.directory}: it has files of yours ({', '.join(sorted(left)[:5])})")
        else:
            os.rmdir(layout.directory)
            self._report(f"{layout.directory} removed")

    # -- single nodes

    def kill(self, *names: str) -> None:
        """Power off: everything on the nodes ends at once."""
        nodes = [self.layout.node(name) for name in names]
        for node in nodes:
            files.write_atomic(node.off_mark, b"")
            ended = vprocess.kill_all(node.root)
            self._report(f"{node.short_name} powered off" + _listing(ended))

    def boot(self, *names: str) -> None:
        for node in [self.layout.node(name) for name in names]:
            self._power_on(node)

    def _power_on(self, node: VirtualNode) -> None:
        if node.is_off:
            vprocess.kill_all(node.root)
            vroot.power_on(node)
            os.unlink(node.off_mark)
        vroot.make_run_directory(node)
        if not self._is_initialised(node):
            self._report(f"{node.short_name} is on and belongs to no cluster")
            return
        started = [daemon for daemon in self._wanted(node) if self._start_daemon(node, daemon)]
        self._report(f"{node.short_name} " + (f"on: {', '.join(started)} started" if started else "runs already"))

    def _wanted(self, node: VirtualNode) -> tuple[str, ...]:
        return tuple(daemon.name for daemon in starting.DAEMONS if node == self.master() or not daemon.on_master_only)

    def _start_daemon(self, node: VirtualNode, daemon: str) -> bool:
        if daemons.is_running(node.paths, daemon):
            return False
        daemons.start(node.paths, daemon, bin_dir=self.layout.bin_dir)
        return True

    # -- faults

    def partition(self, groups: Sequence[Sequence[str]]) -> None:
        """Nodes of different groups can not reach each other; nodes that are not named reach all."""
        parts = [[self.layout.node(name) for name in group] for group in groups]
        named = [node.name for part in parts for node in part]
        double = [name for name, times in Counter(named).items() if times > 1]
        if double:
            raise errors.PrereqError("wrong_input", f"{double[0]} is in two groups")
        if len(parts) < 2:
            raise errors.PrereqError(
                "wrong_input",
                "a partition needs two groups or more",
                hint="join groups with |, such as node1,node2|node3 (quoted)",
            )
        for part in parts:
            others = [node for other in parts if other is not part for node in other]
            for node in part:
                vroot.cut_off(node, others)
        self._report("cut: " + " | ".join(",".join(node.short_name for node in part) for part in parts))

    def heal(self) -> None:
        for node in self.layout.nodes:
            vroot.cut_off(node, [])
        self._report("all nodes reach each other")

    # -- questions

    def master(self) -> VirtualNode:
        """The node that most others take for the master; the first one before there is any."""
        votes: Counter[str] = Counter()
        for node in self.layout.nodes:
            text = files.read_text(node.paths.local(paths.ssconf("master_node")))
            if text and text.strip():
                votes[text.strip()] += 1
        return self.layout.node(votes.most_common(1)[0][0]) if votes else self.layout.nodes[0]

    def status(self) -> list[NodeStatus]:
        master = self.master()
        return [
            NodeStatus(
                node=node,
                is_master=node == master,
                running=tuple(sorted(f"{p.title} ({p.pid})" for p in vprocess.of_root(node.root))),
            )
            for node in self.layout.nodes
        ]

    def _members_first(self) -> list[VirtualNode]:
        """The master last: when it comes up the candidates answer already."""
        master = self.master()
        return [node for node in self.layout.nodes if node != master] + [master]

    def run(self, node: VirtualNode, argv: Sequence[str], *, timeout_s: float = _COMMAND_LIMIT_S) -> str:
        """Run one of our commands on a node; its output. Raises ExecError with what it said."""
        done = self.call(node, argv, timeout_s=timeout_s)
        if done.returncode != 0:
            said = (done.stderr.strip() or done.stdout.strip())[-3000:]
            logs = node.root + settings.LOG_DIR
            raise errors.ExecError(
                f"on {node.short_name}: {' '.join(argv)} ended with status {done.returncode}:\n{said}\n",
                hint=f"the logs of this node are in {logs}",
            )
        return done.stdout

    def call(
        self, node: VirtualNode, argv: Sequence[str], *, timeout_s: float = _COMMAND_LIMIT_S, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on a node, whatever its status. Raises ExecError when it does not end in time."""
        process = subprocess.Popen(
            list(argv),
            executable=shutil.which(argv[0], path=self.layout.environment(node)["PATH"]) or argv[0],
            env=self.layout.environment(node),
            cwd=node.root,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            stdout, stderr = process.communicate(stdin, timeout=timeout_s)
        except subprocess.TimeoutExpired as err:
            os.killpg(process.pid, signal.SIGKILL)
            stdout, stderr = process.communicate()
            said = (stdout + stderr)[-2000:]
            raise errors.ExecError(
                f"on {node.short_name}: {' '.join(argv)} did not end within {timeout_s:g} s:\n{said}"
            ) from err
        except BaseException:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()
            raise
        return subprocess.CompletedProcess(list(argv), process.returncode, stdout, stderr)

    def settle(self, *, timeout_s: float = 15) -> None:
        """After power-on: until the master takes jobs, when most nodes are on; says so when it does not."""
        nodes = self.layout.nodes
        if self.master().is_off or 2 * sum(not node.is_off for node in nodes) <= len(nodes):
            return
        deadline = time.monotonic() + timeout_s
        while self.call(self.master(), ("gnt-debug", "delay", "0")).returncode != 0:
            if time.monotonic() > deadline:
                self._report("the master does not take jobs yet")
                return
            time.sleep(0.2)

    def wait_for_master(self, *, timeout_s: float = 30) -> None:
        """Until the master answers queries again. Raises ExecError."""
        deadline = time.monotonic() + timeout_s
        while True:
            done = self.call(self.master(), ("gnt-job", "list", "--no-headers", "-o", "id"))
            if done.returncode == 0:
                return
            if time.monotonic() > deadline:
                raise errors.ExecError(f"the master does not answer: {done.stderr.strip()}")
            time.sleep(0.1)


def usable() -> tuple[str, ...]:
    """Hypervisors that this machine offers without root; the first is the default."""
    return ("fake", "kvm") if shutil.which(settings.KVM_PATH) else ("fake",)


def newest_kernel(boot: str = "/boot") -> str:
    """The newest kernel of this machine that we may read, or empty."""
    names = sorted(name for name in os.listdir(boot) if name.startswith("vmlinuz-")) if os.path.isdir(boot) else []
    return next((f"{boot}/{name}" for name in reversed(names) if os.access(f"{boot}/{name}", os.R_OK)), "")


def _initrd(layout: Layout) -> str:
    return f"{layout.directory}/initrd.gz"


def guest_boot(layout: Layout, os_definitions: str) -> str:
    """KVM parameters that let the example OS boot, as a value of -H; empty when there is no kernel for it."""
    kernel = newest_kernel()
    maker = f"{os_definitions}/busybox-linux/make-initrd"
    if "kvm" not in layout.hypervisors or not kernel or not os.path.exists(maker):
        return ""
    initrd = _initrd(layout)
    done = subprocess.run([maker, kernel, initrd], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise errors.ExecError(
            f"cannot make the guests' initial ramdisk: {(done.stderr or done.stdout).strip()}",
            hint="install busybox-static and a kernel with its modules, or use --hypervisors fake",
        )
    return f"kernel_path={kernel},initrd_path={initrd}"


def init_command(layout: Layout, kvm_parameters: str, *, ssh_keys: bool = False) -> tuple[str, ...]:
    command = ["gnt-cluster", "init", "--no-etc-hosts", "--master-netdev", "lo"]
    command.append("--ssh-key-type=ed25519" if ssh_keys else "--no-ssh-init")
    command += ["--enabled-hypervisors", ",".join(layout.hypervisors)]
    command += ["--enabled-disk-templates", ",".join(TEMPLATES), "--vg-name", "xenvg"]
    if kvm_parameters:
        command += ["-H", f"kvm:{kvm_parameters}"]
    return (*command, layout.cluster_name)


def _listing(ended: Sequence[vprocess.Process]) -> str:
    return f" ({len(ended)} processes ended)" if ended else ""
