"""ARP packets, as they are on the wire."""

import pytest

from ganeti import errors
from ganeti.host import arp

MAC, ADDRESS = bytes.fromhex("aa0000123456"), bytes([192, 0, 2, 1])


def test_request_asks_everybody_for_an_address():
    text = arp.packet(MAC, b"\0" * 4, ADDRESS).hex()
    assert text == (
        "ffffffffffff" "aa0000123456" "0806" "0001" "0800" "06" "04" "0001"
        "aa0000123456" "00000000" "000000000000" "c0000201"
    )  # fmt: skip


def test_claimant_of_what_was_heard():
    assert arp.claimant(arp.packet(MAC, ADDRESS, ADDRESS) + b"\0" * 18) == (MAC, ADDRESS)


@pytest.mark.parametrize("heard", [b"", b"x" * 41, b"\0" * 60, arp.packet(MAC, ADDRESS, ADDRESS)[:-1]])
def test_what_is_no_such_packet_claims_nothing(heard):
    assert arp.claimant(heard) is None


def test_a_device_that_is_not_there_is_named():
    with pytest.raises(errors.NodeFailure, match="nosuchdev0"):
        arp.is_taken("nosuchdev0", "192.0.2.1")
