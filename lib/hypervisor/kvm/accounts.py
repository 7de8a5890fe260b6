"""Accounts of emulators that do not run as root: one that is named, or one of the cluster's pool for each guest."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterable

from ganeti import errors
from ganeti.model.objects import Params


def problem(hv: Params, *, is_root: bool) -> str:
    """Why this node cannot do it, or nothing."""
    if hv["security_model"] == "none" and not hv["use_chroot"]:
        return ""
    if not is_root:
        what = "use_chroot" if hv["use_chroot"] else f"security_model={hv['security_model']}"
        return f"{what} needs a node daemon that runs as root"
    if hv["security_model"] == "user":
        try:
            pwd.getpwnam(str(hv["security_domain"]))
        except KeyError:
            return f"security_domain: there is no account {hv['security_domain']} on this node"
    return ""


class Pool:
    """User ids that are taken, as files that are called by them and hold the guest's name."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def claim(self, name: str, ids: Iterable[int]) -> int:
        """The one that the guest has already, else a free one. Raises HypervisorError when none is."""
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        for uid in self._held(name):
            return uid
        for uid in ids:
            try:
                handle = os.open(f"{self._directory}/{uid}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            except FileExistsError:
                continue
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(name)
            return uid
        raise errors.HypervisorError(
            f"no user id is free for instance {name}", hint="gnt-cluster modify --add-uids=FIRST-LAST"
        )

    def release(self, name: str) -> None:
        for uid in self._held(name):
            os.unlink(f"{self._directory}/{uid}")

    def _held(self, name: str) -> list[int]:
        found = []
        for entry in os.listdir(self._directory) if os.path.isdir(self._directory) else ():
            try:
                with open(f"{self._directory}/{entry}", encoding="utf-8") as file:
                    if file.read() == name:
                        found.append(int(entry))
            except FileNotFoundError:
                continue  # another guest's, just released
        return found
