"""The cluster's own address on this node. A virtual node has no network of its own: there it does nothing."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Callable

from ganeti import errors, paths, settings
from ganeti.calls.master_ip import MasterAddress, MasterIpDown, MasterIpUp
from ganeti.host import arp, files, net
from ganeti.host.run import Argv, Runner
from ganeti.host.trust import why_not_trusted
from ganeti.node.base import Context, NodeEnv, handles
from ganeti.paths import Paths

log = logging.getLogger(__name__)

SCRIPT = f"{settings.CONFIG_DIR}/scripts/master-ip-setup"
_LIMIT_S = 30.0


def add(address: MasterAddress) -> Argv:
    label = () if ":" in address.ip else ("label", f"{address.netdev}:0")
    return ("ip", "address", "add", f"{address.ip}/{address.netmask}", "dev", address.netdev, *label)


def delete(address: MasterAddress) -> Argv:
    return ("ip", "address", "del", f"{address.ip}/{address.netmask}", "dev", address.netdev)


@handles(MasterIpUp)
def up(call: MasterIpUp, env: NodeEnv, context: Context) -> None:
    if not env.paths.is_virtual:
        address = call.address
        bring_up(address, env.runner, is_own=net.is_own, answers=lambda ip: is_taken(address), announce=net.announce)


def is_taken(address: MasterAddress) -> bool:
    """Whether another host has it: by ARP on its device, and by a connection, for it may be beyond a router."""
    if ":" not in address.ip and arp.is_taken(address.netdev, address.ip):
        return True
    return net.answers(address.ip, settings.NODED_PORT, timeout_s=1.0)


@handles(MasterIpDown)
def down(call: MasterIpDown, env: NodeEnv, context: Context) -> None:
    if not env.paths.is_virtual:
        take_down(call.address, env.runner, is_own=net.is_own)


Distrust = Callable[[str], str]


def _distrust(path: str) -> str:
    try:
        return why_not_trusted(path, Paths())
    except OSError as err:
        return f"{path}: {err.strerror}"


def bring_up(
    address: MasterAddress,
    runner: Runner,
    *,
    is_own: net.AddressTest,
    answers: net.AddressTest,
    announce: net.Announce,
    distrust: Distrust = _distrust,
) -> None:
    """`distrust`: why root should not run a script. Raises NodeFailure, CommandFailed."""
    _check(address)
    if is_own(address.ip):
        return
    if answers(address.ip):
        raise errors.NodeFailure(
            f"another host has the cluster's address {address.ip}", hint="is a master of the past still up?"
        )
    if address.by_script:
        _run_script("start", address, runner, distrust)
        return
    runner.run(add(address), timeout_s=_LIMIT_S)
    try:
        announce(address.ip, address.netdev)
    except OSError as err:
        log.warning("neighbours were not told of the address: %s", err)


def take_down(
    address: MasterAddress, runner: Runner, *, is_own: net.AddressTest, distrust: Distrust = _distrust
) -> None:
    _check(address)
    if not is_own(address.ip):
        return
    if address.by_script:
        _run_script("stop", address, runner, distrust)
    else:
        runner.run(delete(address), timeout_s=_LIMIT_S)


def _run_script(action: str, address: MasterAddress, runner: Runner, distrust: Distrust) -> None:
    if problem := distrust(SCRIPT):
        raise errors.NodeFailure(f"the script for the cluster's address is not run: {problem}")
    runner.run((SCRIPT, action), timeout_s=_LIMIT_S, environment=_environment(address))


def give_up(where: Paths, runner: Runner) -> None:
    """Another node is the master now: this one may still have the address, as the ssconf files say it was."""
    if where.is_virtual:
        return
    ip, netmask, netdev = (_ssconf(where, name) for name in ("master_ip", "master_netmask", "master_netdev"))
    if not ip or not netmask.isdecimal() or not net.is_own(ip):
        return
    address = MasterAddress(ip=ip, netmask=int(netmask), netdev=netdev)
    try:
        take_down(address, runner, is_own=net.is_own)
        log.info("gave up the cluster's address %s", ip)
    except errors.GanetiError as err:
        log.error("the cluster's address stays here: %s", err)


def _ssconf(where: Paths, name: str) -> str:
    return (files.read_text(where.local(paths.ssconf(name))) or "").strip()


def _check(address: MasterAddress) -> None:
    try:
        ipaddress.ip_interface(f"{address.ip}/{address.netmask}")
    except ValueError as err:
        raise errors.NodeFailure(str(err)) from err
    if not net.DEVICE.match(address.netdev):
        raise errors.NodeFailure(f"{address.netdev!r} is not the name of a network interface")


def _environment(address: MasterAddress) -> dict[str, str]:
    return {
        "MASTER_NETDEV": address.netdev,
        "MASTER_IP": address.ip,
        "MASTER_NETMASK": str(address.netmask),
        "CLUSTER_IP_VERSION": "6" if ":" in address.ip else "4",
    }
