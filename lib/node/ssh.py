"""root's SSH keys on this node: its own pair, made here and never sent anywhere, and whom it lets in."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from ganeti import errors, paths
from ganeti.calls.ssh import SshKeyBegin, SshKeySwitch, SshLook, SshReply
from ganeti.host import files, partition, ssh, ssh_keys
from ganeti.model import ssh as model
from ganeti.model.types import HOST_NAME
from ganeti.node import ssh_files
from ganeti.node.base import Context, NodeEnv, handles
from ganeti.paths import Paths

#: staged: the private key of the new pair
STAGED = "ssh.identity"
#: of one login; all of them together have to end before nobody waits for the reply any more
LOGIN_S, CONNECT_S = 20.0, 5
_LOGINS_AT_ONCE = 16


@handles(SshLook)
def look(call: SshLook, env: NodeEnv, context: Context) -> SshReply:
    where = env.paths
    for name in call.reach:
        if not HOST_NAME.match(name):
            raise errors.NodeFailure(f"{name[:80]!r} is not the name of a node")
    problems = list(ssh_files.problems(where))
    content = ssh_files.read(where)
    try:
        public = public_key(where)
    except errors.NodeFailure as err:
        public = ""
        problems.append(str(err))
    host_keys = ssh_files.host_keys(where)
    if not host_keys:
        problems.append("the SSH server has no host keys: is it installed?")
    return SshReply(
        public_key=public,
        host_keys=host_keys,
        authorized=ssh_files.ours(content),
        problems=tuple(problems),
        foreign=ssh_files.foreign(content) if call.foreign else (),
        unreachable=_unreachable(call.reach, env),
    )


@handles(SshKeyBegin)
def begin(call: SshKeyBegin, env: NodeEnv, context: Context) -> str:
    try:
        bits = model.key_length(call.kind, call.bits)
    except ValueError as err:
        raise errors.NodeFailure(str(err)) from err
    return stage_pair(env.paths, call.kind, bits)


@handles(SshKeySwitch)
def switch(call: SshKeySwitch, env: NodeEnv, context: Context) -> None:
    use_pair(env.paths, call.public_key)


def public_key(where: Paths) -> str:
    """Of the pair in use; empty: there is none. Raises NodeFailure."""
    private = files.read_text(where.local(paths.SSH_KEY))
    return "" if private is None else ssh_keys.public_of(private)


def stage_pair(where: Paths, kind: str, bits: int) -> str:
    """Make a pair that waits beside the one in use; its public key. One that waits already is taken if it is such."""
    waiting = files.read_text(where.local(paths.staged(STAGED)))
    if waiting is not None and _is_of(waiting, kind, bits):
        return ssh_keys.public_of(waiting)
    private = ssh_keys.make(kind, bits)
    files.make_directory(where, paths.RENEWAL_DIR)
    files.write(where, paths.staged(STAGED), private.encode("ascii"))
    return ssh_keys.public_of(private)


def use_pair(where: Paths, public: str) -> None:
    """The pair with this public key takes the place of the one in use, which stays for logins that have begun.

    In use already: older ones are removed. Raises NodeFailure.
    """
    staged = where.local(paths.staged(STAGED))
    private = files.read_text(staged)
    pair = paths.ssh_pair(hashlib.sha256(public.encode()).hexdigest()[:16])
    if private is None or ssh_keys.public_of(private) != public:
        if public_key(where) != public:
            raise errors.NodeFailure(
                "the SSH key that is to be used was not made here, or is gone",
                hint="run gnt-cluster renew-crypto --new-ssh-keys again",
            )
        _remove_others(where, os.path.basename(pair.path))
        return
    files.make_directory(where, paths.SSH_DIR)
    files.write(where, pair, private.encode("ascii"))
    link = where.local(paths.SSH_KEY)
    with suppress(FileNotFoundError):
        os.unlink(f"{link}.new")
    os.symlink(os.path.basename(pair.path), f"{link}.new")
    os.rename(f"{link}.new", link)
    files.sync_directory(os.path.dirname(link))
    os.unlink(staged)


def _remove_others(where: Paths, kept: str) -> None:
    directory, link = os.path.split(where.local(paths.SSH_KEY))
    for name in os.listdir(directory):
        if name not in (link, kept):
            os.unlink(f"{directory}/{name}")


def _is_of(private: str, kind: str, bits: int) -> bool:
    try:
        return ssh_keys.is_of(private, kind, bits)
    except errors.NodeFailure:
        return False  # damaged: it is made anew


def _unreachable(nodes: tuple[str, ...], env: NodeEnv) -> dict[str, str]:
    """By name: why root cannot log in there."""

    def why(node: str) -> str:
        *options, target = ssh.login(env.paths, node)
        if partition.blocked(env.paths, target.partition("@")[2]):
            return "it is cut off"
        try:
            env.runner.run((*options, f"-oConnectTimeout={CONNECT_S}", target, "true"), timeout_s=LOGIN_S)
        except errors.CommandFailed as err:
            return (err.output.strip().splitlines() or [err.message])[-1][:300]
        return ""

    if not nodes:
        return {}
    if not ssh.is_set_up(env.paths):
        return dict.fromkeys(nodes, "this node has no key or no known_hosts file of the cluster")
    with ThreadPoolExecutor(_LOGINS_AT_ONCE, "ssh") as pool:
        return {node: problem for node, problem in zip(nodes, pool.map(why, nodes), strict=True) if problem}
