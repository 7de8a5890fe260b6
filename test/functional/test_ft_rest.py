"""The REST interface on a virtual cluster: certificates, rights, conditions, keys, and where it runs."""

import base64
import contextlib
import http.client
import os
import ssl
import time

import pytest
import simplejson
from functional.conftest import destroy, make_cluster
from functional.kit import LIMIT_S, wait_until

from ganeti import paths
from ganeti.bootstrap import daemons
from ganeti.host import files, tls

USERS = "# who may what\nanna secret write\nbob {cleartext}guest read\n"


class Rest:
    """Requests as `anna`, who may write, unless another user is named."""

    def __init__(self, shell):
        self.shell = shell

    def connection(self, context=None):
        if context is None:
            context = ssl.create_default_context(cafile=self.shell.master.paths.local(paths.RAPI_CERT))
            context.check_hostname = False
        return http.client.HTTPSConnection(self.shell.master.address, 5080, timeout=LIMIT_S, context=context)

    def call(self, method, path, body=None, *, user="anna:secret", **headers):
        """(status, JSON, headers)."""
        with contextlib.closing(self.connection()) as connection:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            if user:
                sent["Authorization"] = "Basic " + base64.b64encode(user.encode()).decode()
            if body is not None:
                sent["Content-Type"] = "application/json"
            connection.request(method, path, None if body is None else simplejson.dumps(body), sent)
            reply = connection.getresponse()
            raw = reply.read()
            return reply.status, simplejson.loads(raw) if raw else None, reply.headers

    def ok(self, method, path, body=None, **more):
        status, value, _ = self.call(method, path, body, **more)
        assert status == 200, (method, path, value)
        return value

    def done(self, number):
        """The job, when it has ended."""
        wait_until(
            f"end of job {number}",
            lambda: self.ok("GET", f"/2/jobs/{number}")["status"] in ("success", "error", "canceled"),
        )
        return self.ok("GET", f"/2/jobs/{number}")

    def succeeds(self, method, path, body=None, **more):
        job = self.done(self.ok(method, path, body, **more))
        assert job["status"] == "success", job
        return job["opresult"][-1]


@pytest.fixture(scope="module")
def rest():
    shell = make_cluster(2)
    try:
        files.write(shell.master.paths, paths.RAPI_USERS, USERS.encode())
        made = Rest(shell)
        wait_until("the users", lambda: made.call("GET", "/2/query/node?fields=name")[0] == 200)
        yield made
    finally:
        destroy(os.path.dirname(shell.cluster.layout.directory))


def diskless(name):
    return {
        "__version__": 1, "mode": "create", "instance_name": name, "disk_template": "diskless", "disks": [], "nics": [],
        "pnode": "node1.vc.example", "os_type": "busybox-linux", "no_install": True, "hypervisor": "fake",
        "ip_check": False, "name_check": False, "start": False, "ignore_ipolicy": True,
    }  # fmt: skip


def test_rights_decide_who_may_change(rest):
    assert rest.call("GET", "/2/info", user="")[0] == 200
    status, body, headers = rest.call("PUT", "/2/tags?tag=x", user="")
    assert (status, sorted(body)) == (401, ["code", "explain", "message"])
    assert headers["WWW-Authenticate"] == 'Basic realm="Ganeti Remote API"'
    assert rest.call("PUT", "/2/tags?tag=x", user="bob:guest")[0] == 403
    assert rest.call("GET", "/2/query/node?fields=name", user="bob:guest")[0] == 200
    assert rest.call("GET", "/2/info", user="anna:wrong")[0] == 401
    rest.succeeds("PUT", "/2/tags?tag=rest")
    assert rest.ok("GET", "/2/tags") == ["rest"]
    rest.succeeds("DELETE", "/2/tags?tag=rest")


def test_new_users_count_at_once(rest):
    line = rest.shell.cluster.call(
        rest.shell.master, ("ganeti-rapi", "--make-user", "carl", "--rights", "read"), stdin="pass word\n"
    ).stdout
    assert line.startswith("carl {scrypt}")
    files.write(rest.shell.master.paths, paths.RAPI_USERS, (USERS + line).encode())
    path = "/2/query/node?fields=name"
    wait_until("the new user", lambda: rest.call("GET", path, user="carl:pass word")[0] == 200)
    assert rest.call("PUT", "/2/tags?tag=x", user="carl:pass word")[0] == 403


def test_change_depends_on_the_serial_number_and_a_key_makes_it_once(rest):
    rest.succeeds("POST", "/2/instances", diskless("rest1.example.com"))
    web = "/2/instances/rest1.example.com"
    tag = rest.call("GET", web)[2]["ETag"]
    assert rest.call("GET", web, If_None_Match=tag)[0] == 304
    first = rest.ok("PUT", web + "/tags?tag=a", If_Match=tag)
    assert rest.done(first)["status"] == "success"
    assert rest.call("PUT", web + "/tags?tag=b", If_Match=tag)[0] == 412
    # two changes that depend on the same state, and wait: whoever gets the locks first wins
    now = rest.call("GET", web)[2]["ETag"]
    rule = rest.ok("POST", "/2/filters", {"action": "PAUSE", "predicates": [["jobid", [">", "id", 0]]]})
    jobs = [rest.ok("PUT", f"{web}/tags?tag={name}", If_Match=now) for name in ("c", "d")]
    rest.ok("DELETE", f"/2/filters/{rule}")
    ends = [rest.done(number) for number in jobs]
    assert sorted(job["status"] for job in ends) == ["error", "success"]
    (failed,) = [job for job in ends if job["status"] == "error"]
    assert failed["opresult"][0][1][1] == "serial_mismatch"
    once = [rest.ok("PUT", web + "/tags?tag=e", Idempotency_Key="k2") for _ in range(2)]
    assert once[0] == once[1]
    assert rest.call("PUT", web + "/tags?tag=f", Idempotency_Key="k2")[0] == 400
    assert rest.ok("PUT", web + "/tags?tag=g", Prefer="wait=30") > once[0]
    rest.succeeds("DELETE", web, {"shutdown_timeout": 0})
    assert rest.call("GET", web)[0] == 404


def test_bad_requests_are_told_in_words(rest):
    for method, path, body, status in (
        ("GET", "/2/nope", None, 404),
        ("POST", "/2/info", None, 501),
        ("GET", "/2/jobs/999999", None, 404),
        ("POST", "/2/instances", {"name": "x"}, 400),
        ("PUT", "/2/modify", {"nonsense": 1}, 400),
        ("GET", "/2/instances?bulk=x", None, 400),
    ):
        found, text, _ = rest.call(method, path, body)
        assert (found, text["code"]) == (status, status), (method, path, text)
    with contextlib.closing(rest.connection()) as connection:
        headers = {"Authorization": "Basic " + base64.b64encode(b"anna:secret").decode(), "Content-Type": "text/plain"}
        connection.request("PUT", "/2/modify", "{}", headers)
        assert connection.getresponse().status == 415


def test_large_body_is_refused_before_it_is_read(rest):
    with contextlib.closing(rest.connection()) as connection:
        connection.putrequest("PUT", "/2/modify")
        connection.putheader("Authorization", "Basic " + base64.b64encode(b"anna:secret").decode())
        connection.putheader("Content-Type", "application/json")
        connection.putheader("Content-Length", str(100 << 20))
        connection.endheaders()
        assert connection.getresponse().status == 413


def test_new_certificate_is_used_at_once_and_an_expired_one_is_for_the_client_to_refuse(rest):
    where = rest.shell.master.paths
    before = files.read_text(where.local(paths.RAPI_CERT))
    old = tls.make_service("old", addresses=(rest.shell.master.address,), now=time.time() - 3000 * 86400)
    files.write(where, paths.RAPI_CERT, old.bundle.encode())

    def is_refused():
        try:
            rest.call("GET", "/version")
        except ssl.SSLCertVerificationError as err:
            return "expired" in str(err)
        return False

    wait_until("the expired certificate", is_refused)
    with contextlib.closing(rest.connection(ssl._create_unverified_context())) as connection:
        connection.request("GET", "/version")
        assert connection.getresponse().status == 200
    files.write(where, paths.RAPI_CERT, before.encode())
    wait_until("the good certificate", lambda: not is_refused())
    log = files.read_text(where.local(paths.log_file("rapi-daemon")))
    assert "has expired" in log and "Traceback" not in log


def test_interface_moves_with_the_master(rest):
    first, second = rest.shell.nodes
    assert 'GET /2/info HTTP/1.1" 200' in files.read_text(first.paths.local(paths.log_file("rapi-access")))
    certificate = files.read_text(first.paths.local(paths.RAPI_CERT))
    assert certificate == files.read_text(second.paths.local(paths.RAPI_CERT))
    done = rest.shell.cluster.call(second, ("ganeti-rapi",))
    assert done.returncode == 11, done.stderr
    here, there = (node.paths.local(paths.RAPI_USERS) for node in (first, second))
    wait_until("the users on the other node", lambda: files.read_text(here) == files.read_text(there))
    files.write(second.paths, paths.RAPI_USERS, b"eve mine write\n")
    rest.shell.ok("gnt-cluster", "master-failover", node=second)
    assert rest.shell.master == second
    assert not daemons.is_running(first.paths, daemons.RAPI)
    assert rest.ok("GET", "/2/info", user="")["master"] == second.name
    wait_until("the users", lambda: rest.call("PUT", "/2/tags?tag=x")[0] == 200)
    assert rest.call("PUT", "/2/tags?tag=y", user="eve:mine")[0] == 401
