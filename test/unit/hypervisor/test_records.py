"""What a node writes down of a guest."""

import os

import pytest

from ganeti import paths
from ganeti.calls.instance import GuestSpec
from ganeti.hypervisor import devices
from ganeti.hypervisor.fake.guests import FakeGuest, Guests
from ganeti.hypervisor.kvm.runtime import Layout, Runtime
from ganeti.hypervisor.xen.record import Record, Records
from ganeti.model.disks import Mirror
from ganeti.model.objects import Disk, DiskTemplate, Instance, Link
from ganeti.paths import Paths

SECRET = "0123456789abcdef"
LINK = Link(minor=3, peer_minor=4, port=11000, secret=SECRET, address="192.0.2.1", peer_address="192.0.2.2")
MIRROR = Disk(
    uuid="d1", template=DiskTemplate.DRBD, size=64, logical_id=("n1", "n2", 11000, 3, 4, SECRET), link=LINK,
    children=tuple(Disk(uuid=lv, template=DiskTemplate.PLAIN, size=64, logical_id=("vg", lv)) for lv in ("a", "b")),
)  # fmt: skip
FILE = Disk(uuid="d2", template=DiskTemplate.FILE, size=64, logical_id=("loop", "/srv/x"))
SPEC = GuestSpec(
    instance=Instance(uuid="u1", name="web1", primary_node="n1", os="x", hypervisor="kvm", disks=(MIRROR, FILE)),
    hvparams={}, beparams={}, osparams={"word": "geheim"},
)  # fmt: skip


def test_record_has_all_that_closes_a_mirror_and_not_what_opens_it():
    kept = devices.for_record(SPEC)
    mirror, file = kept.instance.disks
    assert Mirror.of(mirror).minors == (3, 4)
    assert (mirror.link.minor, mirror.link.port, mirror.link.secret) == (3, 11000, "")
    assert mirror.children == MIRROR.children
    assert file == FILE
    assert not devices.difference(SPEC, kept), "the same devices"


def _write_kvm(where, directory):
    runtime = Runtime(
        name="web1", uuid="u1", argv=(), accelerator="tcg", memory=64, vcpus=1, has_acpi=True, hvparams={}, root="",
        boot_id="", spec=SPEC,
    )  # fmt: skip
    os.makedirs(f"{where.local(paths.KVM_DIR)}/conf")
    Layout(where).write(runtime)


def _write_xen(where, directory):
    os.makedirs(where.local(paths.XEN_DIR))
    Records(where).note(Record(spec=SPEC, disk_paths=()))


def _write_fake(where, directory):
    Guests(directory).put(FakeGuest(name="web1", uuid="u1", memory=64, vcpus=1, started=1.0, spec=SPEC))


@pytest.mark.parametrize("write", [_write_kvm, _write_xen, _write_fake])
def test_no_secret_is_in_the_file_of_a_guest(tmp_path, write):
    write(Paths(str(tmp_path), "node1"), str(tmp_path))
    written = [path for path in tmp_path.rglob("*") if path.is_file() and b"web1" in path.read_bytes()]
    assert written
    for path in written:
        text = path.read_text()
        assert SECRET not in text
        assert "geheim" not in text
        assert path.stat().st_mode & 0o077 == 0
