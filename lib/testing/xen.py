"""A runner that answers like Xen's xl: domains that live in memory, printed in the forms of the recordings."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from ganeti import errors
from ganeti.host.run import Finished

_HEADER = (
    "Name                                        ID   Mem VCPUs\tState\tTime(s)   UUID                            "
)
_DOM0 = "00000000-0000-0000-0000-000000000000"


class _Domain:
    def __init__(self, number: int, config: dict[str, object], *, state: str) -> None:
        self.id, self.config, self.state = number, config, state

    def row(self) -> str:
        config = self.config
        return (
            f"{config['name']!s:42}{self.id:5} {config['memory']:5} {config['vcpus']:5}     {self.state}"
            f"{1.5:10.1f} {config['uuid']}        -                -"
        )


class SimulatedXl:
    """Implements `host.run.Runner` for the commands of `hypervisor.xen.toolstack`."""

    def __init__(self, *, memory: int = 4096) -> None:
        self.calls: list[tuple[str, ...]] = []
        self.refuses: dict[str, str] = {}  # sub-command → what it says instead of working
        self.dies_at_create: tuple[int | None, str] | None = None  # it makes a domain; how it ends then
        self._rebooting: list[_Domain] = []  # ended by themselves; each is there again when xl looks once more
        self._memory = memory
        self._next = 1
        dom0: dict[str, object] = {"name": "Domain-0", "memory": 768, "vcpus": 1, "uuid": _DOM0}
        self._domains = {0: _Domain(0, dom0, state="r-----")}

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float = 60,
        stdin: str = "",
        environment: Mapping[str, str] | None = None,
        cwd: str = "/",
        ok: Sequence[int] = (0,),
    ) -> Finished:
        command = tuple(argv)
        self.calls.append(command)
        program, verb, *words = command
        assert program == "xl", command
        if verb in self.refuses:
            raise errors.CommandFailed(command, 1, self.refuses[verb])
        status, text = getattr(self, f"_{verb}")(*words)
        if status not in ok:
            raise errors.CommandFailed(command, status, text)
        return Finished(command, status, text, "")

    def set_state(self, name: str, state: str) -> None:
        """What the guest itself does, as the six letters."""
        self._by_name(name).state = state

    def reboots_before_create(self, name: str) -> None:
        """The guest ends by itself, and its new domain comes just before somebody else's `create`."""
        ended = self._by_name(name)
        del self._domains[ended.id]
        self._rebooting.append(ended)

    def add_foreign(self, name: str, uuid: str) -> None:
        """A domain that somebody else has made."""
        self._add({"name": name, "memory": 64, "vcpus": 1, "uuid": uuid}, state="-b----")

    def _add(self, config: dict[str, object], *, state: str) -> None:
        self._domains[self._next] = _Domain(self._next, config, state=state)
        self._next += 1

    def _by_name(self, name: str) -> _Domain:
        return next(domain for domain in self._domains.values() if domain.config["name"] == name)

    def _list(self, *words: str) -> tuple[int, str]:
        assert words == ("-v",)
        rows = [domain.row() for domain in self._domains.values()]
        return 0, "\n".join([f"{_HEADER}Reason-Code\tSecurity Label", *rows, ""])

    def _info(self) -> tuple[int, str]:
        used = sum(int(str(domain.config["memory"])) for domain in self._domains.values())
        values = {
            "nr_cpus": 2,
            "cores_per_socket": 2,
            "threads_per_core": 1,
            "total_memory": self._memory,
            "free_memory": self._memory - used,
            "xen_major": 4,
            "xen_minor": 17,
            "xen_caps": "xen-3.0-x86_64 hvm-3.0-x86_32 hvm-3.0-x86_32p hvm-3.0-x86_64 ",
        }
        return 0, "".join(f"{key:23}: {value}\n" for key, value in values.items())

    def _create(self, *words: str) -> tuple[int, str]:
        for ended in self._rebooting:
            self._add(ended.config, state="-b----")
        self._rebooting.clear()
        config: dict[str, object] = {}
        with open(words[-1], encoding="utf-8") as file:
            for line in file:
                key, _, value = line.partition(" = ")
                if not line.startswith("#"):
                    config[key] = ast.literal_eval(value)
        if any(domain.config["name"] == config["name"] for domain in self._domains.values()):
            return 3, f'libxl: error: Domain with name "{config["name"]}" already exists.\n'
        self._add(config, state="--p---" if "-p" in words or self.dies_at_create else "-b----")
        if self.dies_at_create:
            status, why = self.dies_at_create
            raise errors.CommandFailed(("xl", "create", *words), status, "", why=why)
        return 0, f"Parsing config from {words[-1]}\n"

    def _change(self, name: str, state: str) -> tuple[int, str]:
        try:
            self._by_name(name).state = state
        except StopIteration:
            return 1, f"{name} is an invalid domain identifier (rc=-6)\n"
        return 0, ""

    def _destroy(self, name: str) -> tuple[int, str]:
        status, text = self._change(name, "-----d")
        if not status:
            del self._domains[self._by_name(name).id]
        return status, text

    def _shutdown(self, *words: str) -> tuple[int, str]:
        return self._change(words[-1], "--ps--")

    def _reboot(self, *words: str) -> tuple[int, str]:
        before = self._by_name(words[-1])
        del self._domains[before.id]
        self._add(before.config, state="r-----")
        return 0, f"Rebooting domain {before.id}\n"

    def _unpause(self, name: str) -> tuple[int, str]:
        return self._change(name, "-b----")
