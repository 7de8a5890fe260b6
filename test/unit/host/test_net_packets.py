"""Packets that we make ourselves."""

from ganeti.host import net


def test_a_gratuitous_arp_asks_for_the_address_that_it_has():
    frame = net.gratuitous_arp("192.0.2.1", bytes.fromhex("aa0000970001"))
    assert frame.hex(" ", 2) == (
        "ffff ffff ffff aa00 0097 0001 0806 0001 0800 0604 0001 aa00 0097 0001 c000 0201 0000 0000 0000 c000 0201"
    )


def test_a_neighbour_advertisement_overrides_what_neighbours_remember():
    message = net.neighbour_advertisement("2001:db8::1", bytes.fromhex("aa0000970001"))
    assert message.hex(" ", 4) == "88000000 20000000 20010db8 00000000 00000000 00000001 0201aa00 00970001"
