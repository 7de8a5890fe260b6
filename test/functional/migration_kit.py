"""Guests that move while they run: their heartbeat watched from outside, their nodes' daemons killed."""

import itertools
import os
import random
import signal
import threading
import time

from functional.kit import Shell, wait_until

from ganeti import paths
from ganeti.bootstrap import daemons

INSTANCE = "web1.vc.example"
#: seconds between two lines on the guest's console
PERIOD_S = 0.05
ADD = (
    "gnt-instance", "add", "--no-name-check", "--no-ip-check", "-o", "busybox-linux", "-t", "sharedfile",
    "--disk", "0:size=1g", "-B", "memory=128",
)  # fmt: skip


class Heartbeat:
    """Reads the guest's console logs on all nodes and notes when each beat was seen."""

    def __init__(self, shell: Shell, instance: str = INSTANCE) -> None:
        self._instance = instance
        self._files = [node.paths.local(f"{paths.CONSOLE_LOG_DIR.path}/{instance}.log") for node in shell.nodes]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.seen: list[tuple[float, int]] = []  # (monotonic clock, number of the beat)

    def __enter__(self) -> "Heartbeat":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        read = {path: os.path.getsize(path) if os.path.exists(path) else 0 for path in self._files}
        rest = dict.fromkeys(self._files, "")
        while not self._stop.wait(0.003):
            for path in self._files:
                if not os.path.exists(path) or os.path.getsize(path) <= read[path]:
                    continue
                with open(path, "rb") as file:
                    file.seek(read[path])
                    raw = file.read()
                read[path] += len(raw)
                *lines, rest[path] = (rest[path] + raw.decode("utf-8", "replace")).split("\n")
                self.seen += [
                    (time.monotonic(), int(line.split()[2]))
                    for line in lines
                    if line.startswith(f"heartbeat {self._instance} ") and line.split()[2].isdigit()
                ]

    @property
    def last(self) -> int:
        return self.seen[-1][1] if self.seen else 0

    def wait_for_more(self, beats: int = 5) -> None:
        wanted = self.last + beats
        wait_until("the heart beats on", lambda: self.last >= wanted, timeout_s=60, every_s=0.02)

    def longest_gap_ms(self) -> float:
        """Between two beats, less the time that lies between them anyway."""
        times = [moment for moment, _ in self.seen]
        return max(1000 * (later - before - PERIOD_S) for before, later in itertools.pairwise(times))

    def assert_unbroken(self) -> None:
        """It never began anew, never beat twice and never missed a beat: the same guest, once."""
        beats = [beat for _, beat in self.seen]
        # a line may be torn between the logs of two nodes
        assert all(1 <= later - before <= 2 for before, later in itertools.pairwise(beats)), beats


def processes(name: str = "qemu-system-x86") -> dict[int, tuple[str, str]]:
    """Live emulators: number → (root directory, guest)."""
    found = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/cmdline", "rb") as file:
                argv = file.read().decode("utf-8", "replace").split("\0")
            with open(f"/proc/{entry}/environ", "rb") as file:
                environment = dict(item.partition("=")[::2] for item in file.read().decode().split("\0"))
        except OSError:
            continue
        if name in os.path.basename(argv[0]) and "-name" in argv:
            found[int(entry)] = (environment.get("GANETI_ROOTDIR", ""), argv[argv.index("-name") + 1])
    return found


def emulators(shell: Shell, instance: str = INSTANCE) -> list[str]:
    """Short names of the nodes that have an emulator of the instance."""
    nodes = {os.path.realpath(node.root): node.short_name for node in shell.nodes}
    return sorted(
        nodes[os.path.realpath(root)]
        for root, guest in processes().values()
        if guest == instance and os.path.realpath(root) in nodes
    )


def traces(shell: Shell, instance: str = INSTANCE) -> list[str]:
    """What nodes have of the instance or of any migration: files of its emulators, and ports that wait for guests."""
    found = []
    for node in shell.nodes:
        for folder, _, names in os.walk(os.path.realpath(node.paths.local(paths.KVM_DIR))):
            part = os.path.basename(folder)
            if part in ("pid", "ctrl", "conf"):
                found += [f"{node.short_name}: {part}/{name}" for name in names if name.startswith(instance)]
        found += [f"{node.short_name}: port {port}" for port in waiting_ports(node.address)]
    return found


def waiting_ports(address: str) -> list[int]:
    """Ports of the range of migrations that somebody listens on."""
    wanted = "".join(f"{int(part):02X}" for part in reversed(address.split(".")))
    with open("/proc/net/tcp") as file:
        rows = [line.split() for line in file.read().splitlines()[1:]]
    ports = [int(row[1].partition(":")[2], 16) for row in rows if row[3] == "0A" and row[1].startswith(wanted)]
    return [port for port in ports if 8102 <= port < 8102 + 64]


def kill_daemon(shell: Shell, node, daemon: str) -> None:
    """kill -9, and start it again at once, as an init system does."""
    pid = daemons.pid_of(node.paths, daemon)
    if pid is not None:
        os.kill(pid, signal.SIGKILL)
        wait_until("it is gone", lambda: not daemons.is_running(node.paths, daemon), every_s=0.01)
    shell.start_daemon(node, daemon)


def wait_for_end(shell: Shell, job: int) -> str:
    """Its final status; masters may die meanwhile."""
    status = ""

    def has_ended() -> bool:
        nonlocal status
        done = shell.cluster.call(shell.master, ("gnt-job", "list", "--no-headers", "-o", "status", str(job)))
        status = done.stdout.strip()
        return status in ("success", "error", "canceled")

    wait_until(f"job {job} ends", has_ended, timeout_s=180, every_s=0.2)
    return status


def settle(shell: Shell, instance: str = INSTANCE) -> str:
    """Short name of the primary node, after what is half-way was brought to its end; it runs there and only there."""
    done = shell.cluster.call(shell.master, ("gnt-instance", "migrate", "-f", "--cleanup", instance))
    assert done.returncode == 0, done.stderr
    primary = shell.field("gnt-instance", instance, "pnode").partition(".")[0]
    wait_until(
        f"{instance} runs once, on {primary}",
        lambda: (
            emulators(shell, instance) == [primary] and shell.field("gnt-instance", instance, "status") == "running"
        ),
        timeout_s=30,
    )
    return primary


def strike(shell: Shell, rng: random.Random, *, within_s: float) -> str:
    """After a random time kill a daemon that a migration needs."""
    time.sleep(rng.uniform(0, within_s))
    node, daemon = rng.choice([(shell.master, daemons.MASTERD), *((node, daemons.NODED) for node in shell.nodes[:2])])
    kill_daemon(shell, node, daemon)
    return f"{daemon} on {node.short_name}"
