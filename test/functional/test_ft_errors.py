"""What the master and the node daemons say to nonsense and to strangers."""

import http.client
import ssl
import time

import pytest
import simplejson

from ganeti import paths, settings
from ganeti.host import tls


@pytest.mark.parametrize("message", [b"garbage", b"", b"[1,2]", b'{"method": 5, "args": []}', b'{"method":"SubmitJob"'])
def test_garbage_on_the_socket_is_answered_and_harms_nobody(cluster, message):
    answer = cluster.luxi_raw(message)
    assert answer["success"] is False
    assert "Failed to parse request" in str(answer["result"])
    assert cluster.luxi("QueryConfigValues", ["cluster_name"])["result"] == ["cluster.vc.example"]


def test_an_unknown_method_is_named(cluster):
    answer = cluster.luxi("MakeCoffee")
    assert answer["success"] is False
    assert "MakeCoffee" in str(answer["result"])


def test_an_unknown_opcode_is_named(cluster):
    answer = cluster.luxi("SubmitJob", [{"OP_ID": "OP_MAKE_COFFEE"}])
    assert answer["success"] is False
    assert "OP_MAKE_COFFEE" in str(answer["result"])


def test_an_unknown_parameter_is_named_with_the_known_ones(cluster):
    answer = cluster.luxi("SubmitJob", [{"OP_ID": "OP_TEST_DELAY", "duration": 1, "durration": 2}])
    assert answer["success"] is False
    name, args = answer["result"]
    assert name == "OpPrereqError"
    assert args[1] == "wrong_input"
    assert "durration" in args[0]
    assert "duration, " in args[0]


def test_a_wrong_type_is_refused_before_anything_is_stored(cluster):
    jobs = cluster.rows("gnt-job", "id")
    answer = cluster.luxi("SubmitJob", [{"OP_ID": "OP_TEST_DELAY", "duration": "long"}])
    assert "duration" in str(answer["result"])
    assert cluster.rows("gnt-job", "id") == jobs


def _post(node, context, body):
    connection = http.client.HTTPSConnection(node.address, settings.NODED_PORT, context=context, timeout=10)
    connection.request("POST", "/call", body=simplejson.dumps(body), headers={"Content-Type": "application/json"})
    try:
        return simplejson.loads(connection.getresponse().read())
    finally:
        connection.close()


def _context(authority, bundle):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(authority)
    context.load_cert_chain(bundle)
    return context


@pytest.mark.parametrize("kind", ["stranger", "member"])
def test_a_wrong_certificate_is_refused_in_the_handshake(cluster, tmp_path, kind):
    """A stranger's is of another authority; a member's is signed by ours but not in the trust file."""
    node = cluster.nodes[1]
    if kind == "stranger":
        authority = tls.make_authority("other", now=time.time())
    else:
        with open(node.paths.local(paths.CA_KEY)) as key, open(node.paths.local(paths.CA_CERT)) as certificate:
            authority = tls.KeyPair(key.read(), certificate.read())
    pair = tls.make_node(authority, name="x", uuid="x", address="127.0.0.1", now=time.time())
    (tmp_path / "x.pem").write_text(pair.bundle)
    context = _context(node.paths.local(paths.CA_CERT), str(tmp_path / "x.pem"))
    with pytest.raises((ssl.SSLError, ConnectionError)):
        _post(node, context, {"term": 0, "call": {"call": "node_version"}})


def test_a_call_of_an_old_term_is_refused(cluster):
    node, master = cluster.nodes[1], cluster.nodes[0]
    context = _context(master.paths.local(paths.CA_CERT), master.paths.local(paths.NODE_CERT))
    answer = _post(node, context, {"term": 0, "call": {"call": "node_version"}})
    assert answer["ok"] is True
    assert answer["result"]["node"] == "node2.vc.example"
    answer = _post(node, context, {"term": answer["result"]["term"] - 1 or 1, "call": {"call": "node_version"}})
    assert answer["ok"] is False
    assert answer["kind"] == "stale_term"
    assert "term" in str(answer["error"])


def test_an_unknown_call_is_refused(cluster):
    master = cluster.nodes[0]
    context = _context(master.paths.local(paths.CA_CERT), master.paths.local(paths.NODE_CERT))
    answer = _post(cluster.nodes[1], context, {"term": 0, "call": {"call": "run_shell", "command": "id"}})
    assert answer["ok"] is False
    assert "run_shell" in str(answer["error"])
