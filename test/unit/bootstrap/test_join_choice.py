import io

import msgspec
import pytest

from ganeti import errors, settings
from ganeti.bootstrap import receive
from ganeti.bootstrap.join import JOIN_FORMAT, JoinRequest, KnownNode, choose, ssh_command
from ganeti.host import tls
from ganeti.paths import Paths
from ganeti.rpc import credentials, term
from ganeti.rpc.credentials import Credentials
from ganeti.rpc.identity import Identity
from ganeti.rpc.trust import Trust
from ganeti.wire import codec

NOW = 1_700_000_000.0
UUID = "7d0d1ab6-0b7f-4d0e-9f3c-3c9a2f0a9c11"
MEMBERS = (
    KnownNode(name="node1.x", uuid="u1", primary_ip="10.0.0.1", secondary_ip="10.0.1.1", is_master=True),
    KnownNode(name="node2.x", uuid="u2", primary_ip="10.0.0.2", secondary_ip="10.0.1.2", is_master=False),
)


def test_choose_a_new_node_is_none():
    assert choose("node3.x", "10.0.0.3", MEMBERS, readd=False) is None


def test_choose_readd_keeps_the_member():
    assert choose("NODE2.x", "10.0.0.2", MEMBERS, readd=True) == MEMBERS[1]


@pytest.mark.parametrize(
    ("name", "address", "readd", "said"),
    [
        ("node2.x", "10.0.0.2", False, "--readd brings back"),
        ("node3.x", "10.0.0.3", True, "leave out --readd"),
        ("node3.x", "10.0.1.2", False, "node2.x has already"),
        ("node1.x", "10.0.0.1", True, "the master cannot"),
        ("node2.x", "10.0.0.9", True, "knows it as 10.0.0.2"),
    ],
)
def test_choose_refuses(name, address, readd, said):
    with pytest.raises(errors.PrereqError) as caught:
        choose(name, address, MEMBERS, readd=readd)
    assert said in str(caught.value)


def _request(**changes):
    authority = tls.make_authority("cluster.x", now=NOW)
    pair = tls.make_node(authority, name="node2.x", uuid=UUID, address="127.0.0.1", now=NOW)
    made = Credentials(
        identity=Identity(cluster="cluster.x", node="node2.x", uuid=UUID, address="127.0.0.1"),
        authority=authority.certificate,
        bundle=pair.bundle,
        trust=Trust(term=1, serial=1, digests={tls.digest(pair.certificate): "node1.x"}),
        term=1,
    )
    return JoinRequest(
        **{"format": JOIN_FORMAT, "version": "0.1", "credentials": made, "ssconf": {"cluster_name": "c\n"}} | changes
    )


def test_the_document_survives_its_way():
    request = _request()
    assert receive.read_request(io.BytesIO(codec.encode(request))) == request


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": 99}, "format 99"),
        ({"ssconf": {"../../etc/passwd": ""}}, "cannot be the name of an ssconf file"),
        ({"ssconf": {"x": "y" * (5 << 20)}}, "longer than"),
    ],
)
def test_a_document_with_wrong_parts_is_refused(changes, said):
    with pytest.raises(errors.PrereqError) as caught:
        receive.read_request(io.BytesIO(codec.encode(_request(**changes))))
    assert said in str(caught.value)


def test_garbage_is_refused_with_the_version():
    with pytest.raises(errors.PrereqError, match=settings.VERSION):
        receive.read_request(io.BytesIO(b"\xff{"))


def test_a_certificate_of_another_authority_is_refused():
    request, other = _request(), tls.make_authority("cluster.x", now=NOW)
    form = codec.to_builtins(request)
    form["credentials"]["authority"] = other.certificate
    with pytest.raises(errors.PrereqError, match="not signed by"):
        receive.read_request(io.BytesIO(codec.encode(form)))


def test_another_host_is_not_taken_over(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/hosts").write_text("127.0.0.1 node7.x\n")
    with pytest.raises(errors.PrereqError, match=r"calls this host node2\.x, it calls itself node7\.x"):
        receive.check_host(_request(), Paths(str(tmp_path), "node7.x"))


def test_ssh_command_asks_for_the_host_key_unless_told_not_to():
    assert "-oStrictHostKeyChecking=ask" in ssh_command(Paths(), "n", ask_host_key=True)
    assert "-oStrictHostKeyChecking=no" in ssh_command(Paths(), "n", ask_host_key=False)


@pytest.mark.parametrize(
    ("seen", "same", "force", "outcome"),
    [
        (1, {"authority", "uuid"}, True, "kept"),
        (9, {"authority", "uuid"}, False, "refused"),
        (9, {"authority", "uuid"}, True, "refused"),  # a master of the past, whatever it insists on
        (9, {"authority"}, False, "refused"),
        (9, {"authority"}, True, "emptied"),  # removed, and its own master since
        (9, {"uuid"}, False, "refused"),
        (9, {"uuid"}, True, "emptied"),  # of a cluster that was made anew of an export
        (1, {"uuid"}, True, "kept"),  # was away while the authority was renewed
    ],
)
def test_a_host_with_a_later_term_is_emptied_only_by_force_and_never_for_its_own_old_master(
    tmp_path, seen, same, force, outcome
):
    where, first = Paths(str(tmp_path), "node2.x"), _request(force=force)
    credentials.install(where, first.credentials)
    term.store(where, seen)
    request = first if "authority" in same else _request(force=force)
    if "uuid" not in same:
        new = msgspec.structs.replace(request.credentials.identity, uuid="another")
        request = msgspec.structs.replace(
            request, credentials=msgspec.structs.replace(request.credentials, identity=new)
        )
    assert receive.is_same_cluster(request, where)
    assert receive.is_left_behind(request, where) == (outcome == "emptied")
    if outcome == "refused":
        with pytest.raises(errors.PrereqError, match=f"this node saw term {seen}") as caught:
            receive.check_membership(request, where)
        assert "--force-join" in caught.value.hint
    else:
        receive.check_membership(request, where)
