"""What confd answers, of a small cluster with a mirrored instance."""

import pytest

from ganeti.confd.answers import Answers
from ganeti.confd.protocol import Fault, Kind, Request, Status
from ganeti.model.objects import Cluster, Disk, DiskTemplate, Group, Instance, Nic, Node
from ganeti.node.confd import document
from ganeti.wire import codec

MIRROR = ("web.example", "disk/0")


def objects():
    def node(number, **roles):
        return Node(
            uuid=f"n{number}", name=f"node{number}.example", primary_ip=f"192.0.2.{number}",
            secondary_ip=f"198.51.100.{number}", group="g", **roles,
        )  # fmt: skip

    disk = Disk(
        uuid="d", template=DiskTemplate.DRBD, size=10, logical_id=("n1", "n2", 11000, 4, 7, "secret"), children=()
    )
    nics = (
        Nic(uuid="i", mac="aa:00:00:00:00:01", ip="203.0.113.5", params={}),
        Nic(uuid="j", mac="aa:00:00:00:00:02", ip="203.0.113.6", params={"link": "br9"}),
    )
    web = Instance(uuid="w", name="web.example", primary_node="n1", os="o", hypervisor="fake", disks=(disk,), nics=nics)
    cluster = Cluster(
        uuid="c", name="cluster.example", master_node="n1", master_ip="192.0.2.100", master_netdev="lo",
        nicparams={"link": "br0"},
    )  # fmt: skip
    nodes = (
        node(1, master_candidate=True), node(2, master_candidate=True), node(3, offline=True), node(4, drained=True),
        node(5),
    )  # fmt: skip
    return [cluster, Group(uuid="g", name="default"), *nodes, web]


@pytest.fixture(scope="module")
def answers():
    rows = [(f"{obj.kind}/{obj.uuid}", codec.pack(obj).decode()) for obj in objects()]
    return Answers(document(rows, 77)[1])


def test_lists_are_in_the_order_of_names_whatever_order_the_file_has():
    rows = [(f"{obj.kind}/{obj.uuid}", codec.pack(obj).decode()) for obj in objects()]
    found = document(rows, 77)[1]
    mixed = Answers(found | {"nodes": dict(sorted(found["nodes"].items(), reverse=True))})
    assert ask(mixed, Kind.NODE_IPS)[1] == [f"192.0.2.{number}" for number in range(1, 6)]


def ask(answers, kind, query=None):
    reply = answers.answer(Request(protocol=1, type=kind, query=query, rsalt="x"))
    return reply.status, reply.answer, reply.serial


@pytest.mark.parametrize(
    ("kind", "query", "expected"),
    [
        (Kind.PING, None, (3_000_000, 0)),
        (Kind.NODE_ROLE, "node1.example", (0, 77)),
        (Kind.NODE_ROLE, "node2.example", (1, 77)),
        (Kind.NODE_ROLE, "node3.example", (2, 77)),
        (Kind.NODE_ROLE, "node4.example", (3, 77)),
        (Kind.NODE_ROLE, "node5.example", (4, 77)),
        (Kind.NODE_OF_INSTANCE_IP, {"1": "203.0.113.5"}, ("192.0.2.1", 77)),
        (Kind.NODE_OF_INSTANCE_IP, {"1": "203.0.113.6", "0": "br9"}, ("192.0.2.1", 77)),
        (
            Kind.NODE_OF_INSTANCE_IP,
            {"2": ["203.0.113.5", "203.0.113.6"], "0": "br0"},
            ([[0, "192.0.2.1", 77], [1, 0, 0]], 77),
        ),
        (Kind.MASTER, None, ("node1.example", 77)),
        (Kind.MASTER, {"3": [2, 1, 0]}, (["192.0.2.1", "192.0.2.100", "node1.example"], 77)),
        (Kind.NODE_IPS, None, ([f"192.0.2.{number}" for number in range(1, 6)], 77)),
        (Kind.CANDIDATE_IPS, None, (["192.0.2.1", "192.0.2.2"], 77)),
        (Kind.INSTANCE_IPS, None, (["203.0.113.5"], 77)),
        (Kind.INSTANCE_IPS, "br9", (["203.0.113.6"], 77)),
        (Kind.NODE_DRBD, "node2.example", ([["node2.example", 7, *MIRROR, "secondary", "node1.example"]], 1)),
        (Kind.NODE_DRBD, "n5", ([], 1)),
        (Kind.CONFIG, "/cluster/master_node", ("n1", 77)),
        (Kind.CONFIG, "/instances/w/nics/1/ip", ("203.0.113.6", 77)),
    ],
)  # fmt: skip
def test_a_question_gets_its_answer(answers, kind, query, expected):
    assert ask(answers, kind, query) == (Status.OK, *expected)


def test_instances_of_a_node_are_whole_objects_primary_ones_first(answers):
    _, (primary, secondary), serial = ask(answers, Kind.NODE_INSTANCES, "node1.example")
    assert ([each["name"] for each in primary], secondary, serial) == (["web.example"], [], 1)
    _, (primary, secondary), _ = ask(answers, Kind.NODE_INSTANCES, "n2")
    assert (primary, [each["name"] for each in secondary]) == ([], ["web.example"])


def test_disks_come_without_their_secret(answers):
    status, (disk,), _ = ask(answers, Kind.INSTANCE_DISKS, "web.example")
    assert (status, disk["dev_type"], disk["logical_id"]) == (Status.OK, "drbd", ["n1", "n2", 11000, 4, 7, ""])
    assert '"secret"' not in codec.dumps(ask(answers, Kind.CONFIG, "")[1])


def test_collectors_have_their_interval(answers):
    assert ask(answers, Kind.COLLECTORS)[1]["drbd"] == {"active": True, "interval": 5_000_000}


@pytest.mark.parametrize(
    ("kind", "query", "fault"),
    [
        (Kind.NODE_ROLE, "nobody", Fault.UNKNOWN_ENTITY),
        (Kind.NODE_ROLE, 7, Fault.ARGUMENT),
        (Kind.NODE_OF_INSTANCE_IP, "203.0.113.5", Fault.ARGUMENT),
        (Kind.NODE_OF_INSTANCE_IP, {"1": "x", "2": []}, Fault.ARGUMENT),
        (Kind.NODE_OF_INSTANCE_IP, {"2": "x"}, Fault.ARGUMENT),
        (Kind.NODE_OF_INSTANCE_IP, {"1": "203.0.113.9"}, Fault.UNKNOWN_ENTITY),
        (Kind.MASTER, {"3": [3]}, Fault.ARGUMENT),
        (Kind.MASTER, {"3": [True]}, Fault.ARGUMENT),
        (Kind.MASTER, [0], Fault.ARGUMENT),
        (Kind.INSTANCE_DISKS, "nothing", Fault.UNKNOWN_ENTITY),
        (Kind.CONFIG, "cluster", Fault.ARGUMENT),
        (Kind.CONFIG, "/cluster/nonsense", Fault.UNKNOWN_ENTITY),
        (Kind.CONFIG, "/instances/w/nics/2", Fault.UNKNOWN_ENTITY),
        (Kind.CONFIG, "/instances/w/nics/-1", Fault.UNKNOWN_ENTITY),
    ],
)
def test_a_question_without_an_answer_is_an_error(answers, kind, query, fault):
    assert ask(answers, kind, query) == (Status.ERROR, fault, 0)


def test_what_nobody_knows_is_not_implemented(answers):
    assert ask(answers, 12)[0] == Status.NOT_IMPLEMENTED


def test_another_protocol_is_refused(answers):
    reply = answers.answer(Request(protocol=2, type=0, rsalt="x"))
    assert reply.status == Status.ERROR
