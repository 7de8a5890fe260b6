"""Every kind of secret, each with a value that is found nowhere else: in its own places, and in no others.

All files of all nodes, what commands and clients are shown, and the command lines and environments of all processes
while the cluster works, with daemons that log all they can.
"""

import base64
import json
import os
import re
import ssl
import stat
import threading
import time
import urllib.error
import urllib.request
from contextlib import closing, suppress

import pytest
from functional.conftest import destroy, make_cluster
from functional.kit import wait_until

from ganeti import paths, settings
from ganeti.bootstrap import daemons
from ganeti.host import files, tls

HAS_KVM = os.path.exists(settings.KVM_PATH)

#: the state and what SQLite has beside it, node/ with the answers of calls
STATE, CALLS = r"/var/lib/ganeti/state/state\.db(-wal|-shm)?", r"/var/lib/ganeti/node/requests\.db(-wal|-shm)?"
#: what stands for the kernel's and the volume manager's own memory on a virtual node
DEVICES = r"/var/run/ganeti/fake-drbd/.*|/var/lib/ganeti/fake-lvm/.*"
#: kind → the files of a node that may hold it (whole paths), the most that their mode may be, and the names of
#: variables in whose processes' environments it may be; what of all this is found is checked as well
ALLOWED = {
    "private parameter": (STATE, 0o600, ("OSP_OTHER",)),
    "private parameter of an OS": (STATE, 0o600, ("OSP_EVERYWHERE",)),
    # gone when its job has ended
    "secret parameter": (None, 0, ("OSP_WORD",)),
    "mirror": (f"{STATE}|{DEVICES}", 0o600, ()),
    "VNC": ("/etc/ganeti/vnc-cluster-password", 0o600, ()),
    "SPICE": ("/etc/ganeti/spice-password", 0o600, ()),
    "REST user": (paths.RAPI_USERS.path, 0o640, ()),
    "wrong REST user": (None, 0, ()),
    "confd": (paths.CONFD_KEY.path, 0o440, ()),
    "between clusters": (paths.DOMAIN_SECRET.path, 0o640, ()),
    "authority": (paths.CA_KEY.path, 0o600, ()),
    "node": (paths.NODE_CERT.path, 0o440, ()),
    "REST": (paths.RAPI_CERT.path, 0o440, ()),
    "SPICE server": (paths.SPICE_CERT.path, 0o440, ()),
}
NAMES = ("web1.vc.example", "mirror1.vc.example", "vnc1.vc.example", "spice1.vc.example")
RENEW = ("gnt-cluster", "renew-crypto", "-f", "--new-cluster-certificate", "--new-rapi-certificate",
         "--new-confd-hmac-key", "--new-cluster-domain-secret", "--new-spice-certificate")  # fmt: skip


class Watch:
    """Looks at all processes of the machine again and again. A marker may be added while it runs."""

    def __init__(self, markers):
        self.markers, self.seen, self.looks = markers, [], 0
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._ends.set()
        self._thread.join()

    def _run(self):
        times = {}
        while not self._ends.wait(0.02):
            pids = set(filter(str.isdecimal, os.listdir("/proc")))
            times = {pid: times.get(pid, -1) + 1 for pid in pids}
            for pid, count in times.items():
                # a new process may become another program; one that is old is looked at now and then
                if count < 10 or count % 50 == 0:
                    with suppress(OSError):
                        self._look(pid)
            self.looks += 1

    def _look(self, pid):
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            command = file.read()
        with open(f"/proc/{pid}/environ", "rb") as file:
            environment = file.read()
        for kind, markers in list(self.markers.items()):
            for marker in markers:
                if marker in command:
                    self.seen.append((kind, "command line", command))
                for variable in environment.split(b"\0") if marker in environment else ():
                    name, _, value = variable.partition(b"=")
                    # the script of the OS, and what it starts
                    if marker in value and name.decode() not in ALLOWED[kind][2]:
                        self.seen.append((kind, f"variable {name!r}", command))


def key_lines(text):
    """Lines from the middle of each private key in a file: they say nothing of its kind, and only it has them."""
    keys = re.findall(r"-----BEGIN [A-Z ]*PRIVATE KEY-----\n(.*?)-----END", text, re.DOTALL)
    return [key.split()[len(key.split()) // 2].encode() for key in keys]


def text_of(node, file):
    return files.read_text(node.paths.local(file)) or ""


def own_files(shell):
    """Markers of what the cluster made itself, as it is now."""
    found = {
        "authority": paths.CA_KEY,
        "node": paths.NODE_CERT,
        "REST": paths.RAPI_CERT,
        "SPICE server": paths.SPICE_CERT,
    }
    made = {
        kind: {line for node in shell.nodes for line in key_lines(text_of(node, file))} for kind, file in found.items()
    }
    for kind, file in (("confd", paths.CONFD_KEY), ("between clusters", paths.DOMAIN_SECRET)):
        made[kind] = {text_of(shell.master, file).strip().encode()}
    return made


def add_markers(markers, more):
    for kind, found in more.items():
        assert all(len(marker) >= 8 for marker in found), kind
        markers.setdefault(kind, set()).update(found)


@pytest.fixture(scope="module")
def shell():
    made = make_cluster(3, hypervisors=("fake", "kvm") if HAS_KVM else ("fake",))
    for node in made.nodes:
        place = f"{node.root}/srv/ganeti/os/careful"
        os.makedirs(place)
        texts = {
            "ganeti_api_version": "20\n",
            "parameters.list": "word a secret\nother a private one\neverywhere a private one of all\n",
            "verify": "#!/bin/sh\nexit 0\n",
            "create": '#!/bin/sh\ntest -n "$OSP_WORD$OSP_OTHER$OSP_EVERYWHERE" && sleep 0.5 && echo installed\n',
        }
        for name, text in texts.items():
            files.write_atomic(f"{place}/{name}", text.encode(), mode=0o755)
    # all that they can log
    for daemon in reversed(daemons.LOG_NAMES):
        for node in made.nodes:
            daemons.stop(node.paths, daemon)
    for daemon in daemons.LOG_NAMES:
        for node in made.nodes:
            if daemon not in (daemons.MASTERD, daemons.RAPI) or node == made.master:
                daemons.start(node.paths, daemon, bin_dir=made.cluster.layout.bin_dir, arguments=("-d",))
    made.wait_for_answers()
    made.ok(*RENEW)  # some are made when they are asked for
    yield made
    destroy(os.path.dirname(made.cluster.layout.directory))


def ask_rest(shell, path, password):
    """Status and answer."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    request = urllib.request.Request(f"https://{shell.master.address}:5080{path}")
    request.add_header("Authorization", "Basic " + base64.b64encode(f"anna:{password}".encode()).decode())
    try:
        with closing(urllib.request.urlopen(request, context=context, timeout=60)) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as err:
        with closing(err):
            return err.code, err.read().decode()


def run_job(shell, *ops):
    job = shell.luxi("SubmitJob", list(ops))["result"]
    wait_until(f"job {job} ends", lambda: shell.field("gnt-job", str(job), "status") in ("success", "error"))
    assert shell.field("gnt-job", str(job), "status") == "success", shell.ok("gnt-job", "info", str(job))


def create(name, **changes):
    return {
        "OP_ID": "OP_INSTANCE_CREATE", "instance_name": name, "disk_template": "diskless", "disks": [], "nics": [{}],
        "os_type": "busybox-linux", "pnode": "node2.vc.example", "no_install": True, "start": False,
        "name_check": False, "ip_check": False, "hypervisor": "fake", **changes,
    }  # fmt: skip


def give_all(shell, markers):
    """Every secret that people give, by ways that are not command lines."""
    private, everywhere, word = "privat-0815", "ueberall-4712", "geheim-4711"
    add_markers(markers, {
        "private parameter": {private.encode()}, "private parameter of an OS": {everywhere.encode()},
        "secret parameter": {word.encode()}, "REST user": {b"annaspass-99"}, "wrong REST user": {b"hannaspass-98"},
        "VNC": {b"vncpw-17"}, "SPICE": {b"spicepw-1718"},
    })  # fmt: skip
    for node in shell.nodes:
        files.write_atomic(node.paths.local("/etc/ganeti/vnc-cluster-password"), b"vncpw-17\n", mode=0o600)
        files.write_atomic(node.paths.local("/etc/ganeti/spice-password"), b"spicepw-1718\n", mode=0o600)
    users = shell.master.paths.local(paths.RAPI_USERS)
    files.write_atomic(users, b"anna annaspass-99 write\n", mode=0o640)
    shell.ok("gnt-cluster", "redist-conf")
    run_job(
        shell, {"OP_ID": "OP_CLUSTER_SET_PARAMS", "osparams_private_cluster": {"careful": {"everywhere": everywhere}}}
    )
    run_job(
        shell,
        create(NAMES[0], os_type="careful", disk_template="file", disks=[{"size": 1024}], no_install=False,
               osparams_secret={"word": word}, osparams_private={"other": private}),
    )  # fmt: skip
    # what is wrong is refused, and told without the value
    for wrong in ({"word": {"x": word}}, word, [word]):
        shell.luxi("SubmitJob", [create("no.vc.example", os_type="careful", osparams_secret=wrong)])
    run_job(
        shell,
        create(NAMES[1], disk_template="drbd", disks=[{"size": 1024}], snode="node3.vc.example", start=True),
    )  # fmt: skip
    document = json.loads(shell.ok("gnt-cluster", "export-config", "--with-secrets"))
    (mirror,) = [disk for disk in document["disks"].values() if disk["dev_type"] == "drbd"]
    add_markers(markers, {"mirror": {mirror["logical_id"][5].encode()}})
    if HAS_KVM:
        hv = {"kernel_path": "", "initrd_path": ""}
        vnc = {"vnc_bind_address": "127.0.0.1", "vnc_password_file": "/etc/ganeti/vnc-cluster-password"}
        spice = {"spice_bind": "127.0.0.1", "spice_password_file": "/etc/ganeti/spice-password"}
        small = {"hypervisor": "kvm", "beparams": {"memory": 64}, "start": True, "nics": [], "ignore_ipolicy": True}
        run_job(shell, create(NAMES[2], hvparams=hv | vnc, **small), create(NAMES[3], hvparams=hv | spice, **small))


def use_all(shell):
    """Operations that handle them."""
    shell.ok("gnt-instance", "failover", "-f", "--ignore-consistency", NAMES[1])
    shell.ok("gnt-instance", "replace-disks", "-s", NAMES[1])
    shell.ok("gnt-instance", "start", NAMES[0])
    wait_until("the user is known", lambda: ask_rest(shell, "/2/info", "annaspass-99")[0] == 200)
    assert ask_rest(shell, "/2/info", "hannaspass-98")[0] == 401


def shown(shell):
    """What people and clients are shown of all that, by its name."""
    found = {}
    for command in (
        ("gnt-cluster", "info"), ("gnt-cluster", "export-config"), ("gnt-instance", "info", "--all"),
        ("gnt-os", "info"), ("gnt-node", "info"), ("gnt-job", "info", *(row[0] for row in shell.rows("gnt-job", "id"))),
        ("gnt-instance", "list", "-o", "all"), ("gnt-cluster", "verify", "--verbose"),
    ):  # fmt: skip
        found[" ".join(command[:2])] = shell.cluster.call(shell.master, command).stdout
    for path in ("/2/info", "/2/instances?bulk=1", "/2/jobs?bulk=1", f"/2/instances/{NAMES[1]}", "/2/nodes?bulk=1"):
        status, found[path] = ask_rest(shell, path, "annaspass-99")
        assert status == 200, (path, found[path])
    for method, args in (("QueryClusterInfo", ()), ("ExportConfig", ())):
        found[method] = json.dumps(shell.luxi(method, *args))
    assert all(found.values()), found
    return found


def may_be(kind, path, mode, owner):
    pattern, most, _ = ALLOWED[kind]
    return bool(pattern) and re.fullmatch(pattern, path) and mode & ~most == 0 and owner == os.geteuid()


def places(shell, markers):
    """Where each of them is in the files of the cluster: kind → {(path on its node, mode, is it its owner's)}."""
    found = {kind: set() for kind in markers}
    for node in shell.nodes:
        for top in (node.root, os.path.realpath(node.run_dir)):
            for directory, _, names in os.walk(top):
                for name in names:
                    path = f"{directory}/{name}"
                    status = os.lstat(path)
                    if not stat.S_ISREG(status.st_mode):
                        continue
                    with suppress(FileNotFoundError), open(path, "rb") as file:
                        content = file.read()
                    logical = path.removeprefix(node.root)
                    if top != node.root:
                        logical = "/var/run/ganeti" + path.removeprefix(top)
                    for kind, wanted in markers.items():
                        if any(marker in content for marker in wanted):
                            found[kind].add((logical, stat.S_IMODE(status.st_mode), status.st_uid))
    return found


def test_secrets_are_where_they_belong_and_nowhere_else(shell):
    markers = {}
    begun = time.monotonic()
    add_markers(markers, own_files(shell))
    with Watch(markers) as watch:
        give_all(shell, markers)
        use_all(shell)
        shell.ok(*RENEW)
        old = {kind: set(found) for kind, found in markers.items() if kind in own_files(shell)}
        add_markers(markers, own_files(shell))
    assert watch.seen == []
    assert watch.looks > 10, f"in {time.monotonic() - begun:.0f} s"
    shell.ok("gnt-instance", "stop", "--timeout=0", NAMES[0])
    # on the command line of a person it is another matter, but our log of commands has no value
    shell.ok("gnt-instance", "reinstall", "-f", "--os-parameters-secret=word=geheim-4711", NAMES[0])
    shell.ok("gnt-debug", "delay", "0")

    for name, text in shown(shell).items():
        for kind, wanted in markers.items():
            assert not [marker for marker in wanted if marker.decode() in text], (name, kind)
    found = places(shell, markers)
    wrong = [(kind, *place) for kind, there in found.items() for place in there if not may_be(kind, *place)]
    assert wrong == []
    absent = {kind for kind, (pattern, _, _) in ALLOWED.items() if pattern and not found[kind]}
    assert absent - (set() if HAS_KVM else {"VNC", "SPICE"}) == set(), "they were looked for and are nowhere"
    # keys that were renewed are nowhere at all
    gone = {kind: found - own_files(shell)[kind] for kind, found in old.items()}
    assert all(gone.values())
    assert {kind: found for kind, found in places(shell, gone).items() if found} == {}
    assert len(tls.split(text_of(shell.master, paths.CA_CERT))) == 1
