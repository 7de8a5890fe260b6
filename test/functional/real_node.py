"""Runs inside `accounts.sh`: a cluster on a node that is not virtual, whose daemons have accounts of their own."""

import base64
import contextlib
import http.client
import json
import os
import ssl
import stat
import subprocess
import time

LIMIT_S = 60
OS_DIR = "/srv/ganeti/os/test-os"


def run(*argv, status=0, user=0):
    """Output of a command as that user."""
    words = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--", *argv] if user else argv
    done = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == status, (argv, done.returncode, done.stdout, done.stderr)
    return done.stdout + done.stderr


def wait_until(what, is_so):
    limit = time.monotonic() + LIMIT_S
    while not is_so():
        assert time.monotonic() < limit, what
        time.sleep(0.1)


def owners(program):
    """Real user ids of its processes."""
    found = set()
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
            with open(f"/proc/{pid}/status", encoding="ascii") as file:
                lines = dict(line.split(":", 1) for line in file)
        except (FileNotFoundError, ProcessLookupError):
            continue
        if any(os.path.basename(word) == program.encode() for word in words):
            found.add(tuple(lines["Uid"].split()))
    return found


def neighbour(*argv):
    return run("ip", "netns", "exec", "neighbour", *argv)


def has_address():
    return "192.0.2.100/" in run("ip", "-o", "address", "show", "dev", "eth0")


def read_hosts():
    with open("/etc/hosts", encoding="ascii") as file:
        return file.read()


def check_accounts():
    assert owners("ganeti-noded") == {("0",) * 4}
    assert owners("ganeti-masterd") == {("4801",) * 4}
    assert owners("ganeti-confd") == {("4802",) * 4}
    for path, mode in (("", 0o770), ("/ganeti-query", 0o660), ("/ganeti-master", 0o660)):
        found = os.stat("/var/run/ganeti/socket" + path)
        assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (4801, 4804, mode), path
    # who is in the daemons' group may ask the master, others may not; nobody but root has the authority's key
    assert "node1" in run("gnt-node", "list", user=4810)
    text = run("gnt-node", "list", user=4811, status=1)
    assert "ermission" in text or "not allowed" in text, text
    for user in (4801, 4802, 4810):
        run("cat", "/var/lib/ganeti/ca.key", user=user, status=1)
    for user in (4802, 4810):
        run("cat", "/var/lib/ganeti/state/state.db", user=user, status=1)
    run("cat", "/var/lib/ganeti/server.pem", user=4802, status=1)


def check_work():
    run("gnt-debug", "delay", "0")
    os.makedirs(OS_DIR)
    for name, text in (("ganeti_api_version", "20\n"), ("parameters.list", ""), ("create", "#!/bin/sh\nid -u\n")):
        with open(f"{OS_DIR}/{name}", "w", encoding="ascii") as file:
            file.write(text)
        os.chmod(f"{OS_DIR}/{name}", 0o755)
    add = ("gnt-instance", "add", "--ignore-ipolicy", "-t", "file", "-s", "8m", "-o", "test-os", "-n", "node1")
    run(*add, "--no-start", "--no-name-check", "--no-ip-check", "web1.example.com")
    run("gnt-instance", "start", "web1.example.com")
    run("gnt-instance", "remove", "-f", "--shutdown-timeout=0", "web1.example.com")
    run("gnt-cluster", "renew-crypto", "-f", "--new-cluster-certificate", "--new-confd-hmac-key")
    run("gnt-cluster", "verify")
    os.chmod("/var/lib/ganeti/ca.key", 0o640)
    os.chown("/var/lib/ganeti/state/state.db", 0, 0)
    text = run("gnt-cluster", "verify", status=1)
    assert "ca.key: its mode is 0640, at most 0600 is meant" in text
    assert "state.db: it belongs to 0:0" in text
    os.chmod("/var/lib/ganeti/ca.key", 0o600)
    os.chown("/var/lib/ganeti/state/state.db", 4801, 4801)
    run("gnt-cluster", "verify")


def ask(path, *, user="", method="GET", body=None):
    """(status, JSON) of the REST interface."""
    context = ssl.create_default_context(cafile="/var/lib/ganeti/rapi.pem")
    context.check_hostname = False
    connection = http.client.HTTPSConnection("192.0.2.1", 5080, timeout=LIMIT_S, context=context)
    headers = {"Authorization": "Basic " + base64.b64encode(user.encode()).decode()} if user else {}
    if body is not None:
        headers["Content-Type"] = "application/json"
    with contextlib.closing(connection):
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read())


def has_own_certificate():
    try:
        return ask("/version") == (200, 2)
    except ssl.SSLCertVerificationError:  # still the old one
        return False


def check_rest():
    """It has an account of its own, which can read the users and write its logs, and little else."""
    assert owners("ganeti-rapi") == {("4803",) * 4}
    assert ask("/2/info")[1]["name"] == "cluster.example.com"
    # as its documentation says, with the administrator's umask
    line = subprocess.run(
        ["sh", "-c", "umask 077; echo secret | ganeti-rapi --make-user anna >>/var/lib/ganeti/rapi/users"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert line.returncode == 0, line.stderr
    wait_until("the new user", lambda: ask("/2/query/node?fields=name", user="anna:secret")[0] == 200)
    status, job = ask("/2/tags?tag=rest", user="anna:secret", method="PUT")
    assert status == 200, job
    wait_until("the tag", lambda: ask("/2/tags")[1] == ["rest"])
    assert ask("/2/tags?tag=x", method="PUT")[0] == 401
    # the node is the master: it is rebooted if somebody insists
    status, job = ask("/2/nodes/node1/powercycle", user="anna:secret", method="POST", body={})
    wait_until("its refusal", lambda: ask(f"/2/jobs/{job}")[1]["status"] == "error")
    assert "is the master" in str(ask(f"/2/jobs/{job}")[1]["opresult"])
    for path in ("ca.key", "server.pem", "hmac.key", "state/state.db"):
        run("cat", f"/var/lib/ganeti/{path}", user=4803, status=1)
    for user in (4802, 4810, 4811):
        run("cat", "/var/lib/ganeti/rapi/users", user=user, status=1)
    run("gnt-cluster", "renew-crypto", "-f", "--new-rapi-certificate")
    wait_until("the new certificate", has_own_certificate)
    with open("/var/log/ganeti/rapi-access.log", encoding="ascii") as file:
        assert "PUT /2/tags?tag=rest" in file.read()
    run("gnt-cluster", "verify")


AUTHORIZED = "/run/root/.ssh/authorized_keys"
MINE = "ssh-rsa AAAA me@home\n"


def check_ssh():
    """root logs in with the cluster's key; the key is for root alone."""
    assert "\n0\nreturn code = 0" in run("gnt-cluster", "command", "id", "-u")
    run("gnt-cluster", "renew-crypto", "-f", "--new-ssh-keys")
    assert "\n0\nreturn code = 0" in run("gnt-cluster", "command", "id", "-u")
    with open(AUTHORIZED, encoding="ascii") as file:
        lines = file.readlines()
    assert [line.split()[-1] for line in lines] == ["ganeti-cluster-node:node1.example.com", "me@home"]
    for user in (4801, 4802, 4810, 4811):
        run("cat", "/var/lib/ganeti/ssh/identity", user=user, status=1)
    os.chmod(AUTHORIZED, 0o622)
    assert "ENODESSH:node:node1.example.com" in run("gnt-cluster", "verify", "--error-codes", status=1)
    os.chmod(AUTHORIZED, 0o600)
    run("gnt-cluster", "verify")


def check_address():
    """It comes up with the mastership, neighbours learn of it, and it is not taken from anybody."""
    wait_until("the cluster's address is up", has_address)
    run("gnt-cluster", "deactivate-master-ip", "--yes")
    assert not has_address()
    neighbour("sh", "-c", "echo 1 >/proc/sys/net/ipv4/conf/eth1/arp_accept")
    neighbour("ip", "neigh", "flush", "all")
    run("gnt-cluster", "activate-master-ip")
    assert has_address()
    mac = run("ip", "-o", "link", "show", "dev", "eth0").partition("link/ether ")[2].split()[0]
    wait_until("the neighbour was told", lambda: f"192.0.2.100 dev eth1 lladdr {mac}" in neighbour("ip", "neigh"))
    run("gnt-cluster", "activate-master-ip")
    run("gnt-cluster", "deactivate-master-ip", "--yes")
    neighbour("ip", "address", "add", "192.0.2.100/24", "dev", "eth1")
    # it answers to nothing but ARP
    neighbour("ip", "link", "set", "lo", "down")
    assert "another host has the cluster's address" in run("gnt-cluster", "activate-master-ip", status=1)
    assert not has_address()
    neighbour("ip", "address", "del", "192.0.2.100/24", "dev", "eth1")
    run("gnt-cluster", "activate-master-ip")
    assert has_address()


def check_traps():
    """What accounts of daemons put in the way of root is not followed, and they cannot replace what is root's."""
    treasure = "/etc/treasure"
    with open(treasure, "w", encoding="ascii") as file:
        file.write("gold\n")
    before = os.stat(treasure)
    for user in (4801, 4802, 4803):
        for path in ("/var/run/ganeti/os-scripts", "/var/log/ganeti/os", "/var/log/ganeti/node-daemon.log"):
            if user != 4801 or not path.endswith(".log"):  # the log is the master daemon's
                run("mv", path, f"{path}.away", user=user, status=1)
        run("touch", "/run/ganeti-noded.once", user=user, status=1)
    run("ln", "-s", treasure, "/var/log/ganeti/watcher.log", user=4802)
    assert "symbolic link" in run("ganeti-watcher", status=1)
    os.unlink("/var/log/ganeti/watcher.log")
    run("mv", "/var/lib/ganeti/rapi/users", "/var/lib/ganeti/rapi/away", user=4803)
    run("ln", "-s", "/var/lib/ganeti/ca.key", "/var/lib/ganeti/rapi/users", user=4803)
    run("gnt-cluster", "redist-conf")
    assert os.stat("/var/lib/ganeti/ca.key").st_uid == 0
    run("mv", "/var/lib/ganeti/rapi/away", "/var/lib/ganeti/rapi/users", user=4803)
    after = os.stat(treasure)
    assert (after.st_uid, after.st_size, after.st_mode) == (0, 5, before.st_mode)
    assert stat.S_IMODE(os.stat("/var/log/ganeti").st_mode) == 0o1775


def check_end():
    run("gnt-cluster", "redist-conf")
    assert "192.0.2.1\tnode1.example.com node1\n" in read_hosts()
    run("gnt-cluster", "destroy", "--yes-do-it")
    assert "kept by ganeti" not in read_hosts()
    with open(AUTHORIZED, encoding="ascii") as file:
        assert file.read() == MINE
    assert (
        owners("ganeti-masterd") == owners("ganeti-noded") == owners("ganeti-confd") == owners("ganeti-rapi") == set()
    )
    left = [f"{directory}/{name}" for directory, _, names in os.walk("/var/lib/ganeti") for name in names]
    assert [path for path in left if not path.endswith(".lock")] == [], left
    assert not has_address()


def main():
    run("gnt-cluster", "init", "--ssh-key-type", "ed25519", "--master-netdev", "eth0", "--enabled-hypervisors",
        "fake", "--enabled-disk-templates", "diskless,file", "cluster.example.com")  # fmt: skip
    check_accounts()
    check_rest()
    check_ssh()
    check_address()
    check_work()
    check_traps()
    check_end()


if __name__ == "__main__":
    main()
