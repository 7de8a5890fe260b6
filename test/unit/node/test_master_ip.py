"""The cluster's own address."""

import pytest

from ganeti import errors
from ganeti.calls.master_ip import MasterAddress
from ganeti.node import master_ip
from ganeti.testing.script import Script

FOUR = MasterAddress(ip="192.0.2.1", netmask=24, netdev="br0")
SIX = MasterAddress(ip="2001:db8::1", netmask=128, netdev="br0")


def yes(ip):
    return True


def no(ip):
    return False


def trusted(path):
    return ""


def up(address, tools, *, is_own=no, answers=no, announce=None, distrust=trusted):
    told = []
    master_ip.bring_up(
        address,
        tools,
        is_own=is_own,
        answers=answers,
        announce=announce or (lambda ip, device: told.append((ip, device))),
        distrust=distrust,
    )
    tools.assert_finished()
    return told


def test_address_comes_up_and_is_announced():
    assert up(FOUR, Script(("ip address add 192.0.2.1/24 dev br0 label br0:0", ""))) == [("192.0.2.1", "br0")]
    assert up(SIX, Script(("ip address add 2001:db8::1/128 dev br0", ""))) == [("2001:db8::1", "br0")]


def test_neighbours_that_cannot_be_told_are_no_failure(caplog):
    def refuse(ip, device):
        raise PermissionError("not allowed")

    up(FOUR, Script(("ip address add ...", "")), announce=refuse)
    assert "not allowed" in caplog.text


def test_nothing_is_done_twice():
    up(FOUR, Script(), is_own=yes)
    master_ip.take_down(FOUR, Script(), is_own=no)


def test_address_of_another_host_is_left_alone():
    with pytest.raises(errors.NodeFailure, match=r"another host has the cluster's address 192\.0\.2\.1"):
        up(FOUR, Script(), answers=yes)


def test_address_goes_down():
    tools = Script(("ip address del 192.0.2.1/24 dev br0", ""))
    master_ip.take_down(FOUR, tools, is_own=yes)
    tools.assert_finished()


def test_administrators_script_does_it_instead():
    own = MasterAddress(ip="192.0.2.1", netmask=24, netdev="br0", by_script=True)
    up(own, Script((f"{master_ip.SCRIPT} start", "")))
    tools = Script((f"{master_ip.SCRIPT} stop", ""))
    master_ip.take_down(own, tools, is_own=yes, distrust=trusted)
    tools.assert_finished()


def test_a_script_that_others_could_have_changed_is_not_run():
    own = MasterAddress(ip="192.0.2.1", netmask=24, netdev="br0", by_script=True)
    with pytest.raises(errors.NodeFailure, match="is not run: everybody writes it"):
        up(own, Script(), distrust=lambda path: "everybody writes it")
    with pytest.raises(errors.NodeFailure, match="is not run: everybody writes it"):
        master_ip.take_down(own, Script(), is_own=yes, distrust=lambda path: "everybody writes it")


@pytest.mark.parametrize("bad", [{"ip": "x"}, {"netmask": 99}, {"netdev": "../x"}, {"netdev": ""}])
def test_bad_addresses_are_refused(bad):
    wrong = MasterAddress(**({"ip": "192.0.2.1", "netmask": 24, "netdev": "br0"} | bad))
    with pytest.raises(errors.NodeFailure):
        up(wrong, Script())
