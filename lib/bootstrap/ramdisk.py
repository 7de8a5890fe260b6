"""Initial ramdisks: an archive as the kernel reads it, and the kernel modules that go into it."""

from __future__ import annotations

import gzip
import lzma
import os
import stat
import subprocess
from collections.abc import Iterable, Mapping, Sequence

from ganeti import errors


class Archive:
    """A cpio archive of the form `newc` (Documentation/driver-api/early-userspace/buffer-format.rst of Linux)."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._names: set[str] = set()

    def directories(self, *names: str) -> None:
        """With what is above them; one that is there already stays as it is, also when it is a link."""
        for name in names:
            parts = name.split("/")
            for each in ("/".join(parts[:count]) for count in range(1, len(parts) + 1)):
                if each not in self._names:
                    self.add(each, stat.S_IFDIR | 0o755)

    def file(self, name: str, data: bytes, mode: int = 0o644) -> None:
        self.add(name, stat.S_IFREG | mode, data)

    def add(
        self,
        name: str,
        mode: int,
        data: bytes = b"",
        *,
        owner: tuple[int, int] = (0, 0),
        device: tuple[int, int] = (0, 0),
    ) -> None:
        """`owner`: uid, gid; `device`: major, minor. A later member takes the place of an earlier one of its name."""
        self._names.add(name)
        raw_name = os.fsencode(name)
        fields = (len(self._parts) + 1, mode, *owner, 1, 0, len(data), 0, 0, *device, len(raw_name) + 1, 0)
        header = b"070701" + b"".join(b"%08X" % field for field in fields) + raw_name + b"\0"
        self._parts += [_padded(header), _padded(data)]

    def tree(self, directory: str) -> None:
        """Everything below it, with owners and modes; sockets and pipes are left out."""
        for folder, folders, names in os.walk(directory):
            for name in sorted([*folders, *names]):
                path = f"{folder}/{name}"
                found = os.lstat(path)
                data, device = b"", (0, 0)
                if stat.S_ISREG(found.st_mode):
                    with open(path, "rb") as file:
                        data = file.read()
                elif stat.S_ISLNK(found.st_mode):
                    data = os.fsencode(os.readlink(path))
                elif stat.S_ISBLK(found.st_mode) or stat.S_ISCHR(found.st_mode):
                    device = (os.major(found.st_rdev), os.minor(found.st_rdev))
                elif not stat.S_ISDIR(found.st_mode):
                    continue
                owner = (found.st_uid, found.st_gid)
                self.add(os.path.relpath(path, directory), found.st_mode, data, owner=owner, device=device)

    def finish(self) -> bytes:
        """The whole of it, compressed."""
        self.add("TRAILER!!!", 0)
        return gzip.compress(b"".join(self._parts), 6, mtime=0)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)


def module_name(path: str) -> str:
    """As the kernel calls it, of a path such as kernel/drivers/virtio/virtio-rng.ko.xz."""
    return os.path.basename(path).partition(".ko")[0].replace("-", "_")


def parse_needs(modules_dep: str) -> dict[str, list[str]]:
    """What each module needs, by path."""
    needs = {}
    for line in modules_dep.splitlines():
        path, _, others = line.partition(":")
        needs[path] = others.split()
    return needs


def chosen(needs: Mapping[str, Sequence[str]], wanted: Iterable[str]) -> list[str]:
    """Paths of the wanted modules and of all that they need; what is no module is part of the kernel itself."""
    by_name = {module_name(path): path for path in needs}
    found: dict[str, None] = {}
    for name in wanted:
        path = by_name.get(name)
        if path is not None:
            found.update(dict.fromkeys([*needs[path], path]))
    return sorted(found)


def add_modules(archive: Archive, version: str, wanted: Iterable[str], *, base: str) -> None:
    """Modules of a kernel with what modprobe looks up. Raises PrereqError when the kernel has none."""
    directory, inside = f"{base}/{version}", f"lib/modules/{version}"
    try:
        with open(f"{directory}/modules.dep", encoding="utf-8") as file:
            needs = parse_needs(file.read())
        with open(f"{directory}/modules.alias", encoding="utf-8") as file:
            aliases = file.read().splitlines()
    except FileNotFoundError as err:
        raise errors.PrereqError(
            "environment_error",
            f"there is no {err.filename}",
            hint="the kernel's modules belong there; --kernel names another kernel",
        ) from err
    paths = chosen(needs, wanted)
    names = {module_name(path) for path in paths}
    archive.directories(inside)
    for path in paths:
        archive.directories(os.path.dirname(f"{inside}/{plain(path)}"))
        archive.file(f"{inside}/{plain(path)}", _read_module(f"{directory}/{path}"))
    lines = [f"{plain(path)}: {' '.join(plain(each) for each in needs[path])}".rstrip() for path in paths]
    archive.file(f"{inside}/modules.dep", "".join(line + "\n" for line in lines).encode())
    kept = [line for line in aliases if line.startswith("alias fs-") and line.split()[-1] in names]
    archive.file(f"{inside}/modules.alias", "".join(line + "\n" for line in kept).encode())


def plain(path: str) -> str:
    """The module's path once it is not compressed any more."""
    return path.partition(".ko")[0] + ".ko"


def _read_module(path: str) -> bytes:
    if path.endswith(".zst"):
        return subprocess.run(("zstd", "-dcq", path), check=True, stdout=subprocess.PIPE).stdout
    if path.endswith(".xz"):
        with lzma.open(path) as packed:
            return packed.read()
    if path.endswith(".gz"):
        with gzip.open(path) as packed:
            return bytes(packed.read())
    with open(path, "rb") as file:
        return file.read()
