"""The kept order of names."""

import msgspec

from ganeti.model.config import Config
from ganeti.model.objects import Cluster, Delete, Node, Put
from ganeti.query.view import Order


def a_node(number):
    return Node(uuid=f"u{number}", name=f"node{number}", primary_ip="", secondary_ip="", group="g")


def test_order_follows_additions_removals_and_renames():
    cluster = Cluster(uuid="c", name="c", master_node="u1", master_ip="", master_netdev="")
    config = Config.load([cluster, a_node(10), a_node(2), a_node(1)])
    order = Order()

    def names():
        return [node.name for node in order.of("node", config.nodes)]

    assert names() == ["node1", "node2", "node10"]
    config = config.apply([Put(a_node(3)), Delete("node", "u1")])
    assert names() == ["node2", "node3", "node10"]
    config = config.apply([Put(msgspec.structs.replace(a_node(2), name="node20"))])
    assert names() == ["node3", "node10", "node20"]


def test_order_shows_the_newest_object():
    cluster = Cluster(uuid="c", name="c", master_node="u1", master_ip="", master_netdev="")
    config = Config.load([cluster, a_node(1)])
    order = Order()
    order.of("node", config.nodes)
    config = config.apply([Put(msgspec.structs.replace(a_node(1), drained=True))])
    assert [node.drained for node in order.of("node", config.nodes)] == [True]
