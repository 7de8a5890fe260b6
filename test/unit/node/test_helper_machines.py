"""What a helper machine is given, how it is started, what is taken of its words."""

import gzip
import io
import os
import struct
import subprocess
import tarfile

import msgspec
import pytest

from ganeti import errors
from ganeti.bootstrap import helper_image as maker
from ganeti.bootstrap import ramdisk
from ganeti.hypervisor.kvm.helper import Disk, Image, Machine, qemu
from ganeti.node import helper_image, helper_job
from ganeti.node.helper_talk import MAX_LINE, Talk, readable
from ganeti.paths import Paths

WHERE = Paths("/nowhere", "node1")
TOKEN = "0123abcd"
MARK = f"ganeti-helper {TOKEN} ".encode()
MACHINE = Machine(
    name="web1",
    emulator="/usr/bin/qemu",
    version=(7, 2, 22),
    accelerator="tcg",
    memory=256,
    vcpus=2,
    image=Image(kernel="/i/vmlinuz", initrd="/i/initrd"),
    job="/proc/self/fd/7",
    disks=(Disk(path="/srv/a,b", is_device=False), Disk(path="/dev/drbd0", is_device=True)),
    port="/proc/self/fd/1",
    console="/proc/self/fd/8",
)


def talked(*pieces):
    """What was handed on, and the Talk."""
    written = []
    talk = Talk(TOKEN, written.append)
    for piece in pieces:
        talk.take(piece)
    talk.finish()
    return "".join(written), talk


# Its words


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_hello_output_and_end_are_told_apart_in_pieces_of_any_size(size):
    said = b"booting\n" + MARK + b"hello\none\n\ntwo\n\n" + MARK + b"end 3\nlate words\n"
    text, talk = talked(*(said[at : at + size] for at in range(0, len(said), size)))
    assert (text, talk.has_begun, talk.status) == ("booting\none\n\ntwo\n", True, 3)


@pytest.mark.parametrize(
    "said",
    [
        b"end 0",
        MARK + b"end 0",  # without a hello it is the end of nothing
        MARK + b"hello\n" + MARK + b"end",
        MARK + b"hello\n" + MARK + b"end -1",
        MARK + b"hello\n" + MARK + b"end 0 0",
        MARK + b"hello\n" + MARK + b"end 1234",
        MARK + b"hello\nx" + MARK + b"end 0",
        MARK + b"hello\n" + b"x" * (2 * MAX_LINE) + MARK + b"end 0",
        b"ganeti-helper other hello\nganeti-helper other end 0",
    ],
)
def test_nothing_else_is_an_end(said):
    for piece in (said + b"\n", said):
        assert talked(piece)[1].status is None


def test_output_without_a_last_newline_ends_before_the_mark():
    text, talk = talked(MARK + b"hello\nhalf\n" + MARK + b"end 0\n")
    assert (text, talk.status) == ("half\n", 0)


def test_a_line_without_end_is_handed_on_and_not_kept():
    written = []
    talk = Talk(TOKEN, written.append)
    talk.take(MARK + b"hello\n")
    for _ in range(100):
        talk.take(b"x" * 10_000)
    assert len("".join(written)) > 990_000
    talk.take(b"\n" + MARK + b"end 0\n")
    assert talk.status == 0
    assert "".join(written) == "x" * 1_000_000 + "\n"


def test_only_readable_characters_are_left():
    assert readable(b"a\x1b]0;title\x07b\x00\x7f\tc\r\nd\re\xff\xc2\x9b1m") == "a?]0;title?b??\tc\nd\ne\ufffd?1m"
    assert readable("\u202egpj.exe\u2028".encode()) == "?gpj.exe?"


# Its job


VALUES = {
    "PATH": os.environ["PATH"],
    "OSP_A": 'it\'s "$HOME" `id`\nnext\\ line',
    "EMPTY": "",
    "DISK_0_PATH": "/host",
}


def started(root, script, *, disk="ganeti-disk-0", dmesg=""):
    """What the port gets of a job whose machine is played by files."""
    for directory in ("sys/class/virtio-ports/vport1p1", "sys/block/vdb", "dev", "job/os", "bin"):
        (root / directory).mkdir(parents=True)
    (root / "sys/class/virtio-ports/vport1p1/name").write_text("org.ganeti.helper\n")
    (root / "sys/block/vdb/serial").write_text(disk)
    (root / "dev/vdb").write_text("")
    for path, text in (
        ("job/os/create_untrusted", script),
        ("bin/sleep", "true\n"),
        ("bin/dmesg", f"echo '{dmesg}'\n"),
    ):
        (root / path).write_text(f"#!/bin/sh\n{text}")
        (root / path).chmod(0o755)
    program = helper_job.start(VALUES, 1, TOKEN)
    assert "/host" not in program
    program = program.replace("/sys/", f"{root}/sys/").replace("/dev/${each", f"{root}/dev/${{each")
    (root / "job/start").write_text(program.replace('[ -c "$port" ]', '[ -n "$port" ]'))
    subprocess.run(
        ["sh", f"{root}/job/start"], check=False, cwd="/", env={"PATH": f"{root}/bin:{os.environ['PATH']}"}, timeout=60
    )
    return talked((root / "dev/vport1p1").read_bytes())


def test_values_reach_the_environment_as_they_are(tmp_path):
    text, talk = started(tmp_path, "pwd; env -0 >../environment; echo complaint >&2; printf unfinished; exit 5\n")
    assert (text, talk.has_begun, talk.status) == (f"{tmp_path}/job/os\ncomplaint\nunfinished\n", True, 5)
    found = dict(item.split("=", 1) for item in (tmp_path / "job/environment").read_text().split("\0") if item)
    assert {name: found[name] for name in VALUES} == VALUES | {"DISK_0_PATH": f"{tmp_path}/dev/vdb"}
    assert found.keys() - VALUES.keys() <= {"PWD", "_", "SHLVL", "OLDPWD"}  # by the shell that runs the script


@pytest.mark.parametrize(
    ("script", "dmesg", "status"),
    [
        ("true\n", "", 0),
        ("true\n", "[ 1.2] I/O error, dev vdc, sector 8", 0),
        ("true\n", "[ 1.2] blk_update_request: I/O error, dev vdb, sector 8 op 0x1:(WRITE)", 1),
        ('rm "$DISK_0_PATH"\n', "", 1),
        ('rm "$DISK_0_PATH"; exit 4\n', "", 4),
    ],
)
def test_a_disk_that_does_not_take_what_is_written_is_a_failure(tmp_path, script, dmesg, status):
    text, talk = started(tmp_path, script, dmesg=dmesg)
    told = f"helper: not everything that was written to {tmp_path}/dev/vdb is on the disk\n"
    assert (text, talk.status) == (told if status else "", status)


def test_a_disk_that_is_not_there_is_a_failure(tmp_path):
    text, talk = started(tmp_path, "echo must not run\n", disk="another")
    assert (text, talk.status) == ("helper: there is no disk with the serial ganeti-disk-0\n", 1)


def test_the_archive_has_the_definition_and_no_file_of_the_node(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/data").write_bytes(b"\0\1")
    (tmp_path / "create_untrusted").write_text("x")
    (tmp_path / "create_untrusted").chmod(0o755)
    (tmp_path / "inside").symlink_to("sub/data")
    (tmp_path / "outside").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "pipe")
    raw = helper_job.archive(str(tmp_path), "echo start\n")
    assert len(raw) % 512 == 0
    with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
        found = {member.name: member for member in tar}
        assert tar.extractfile("start").read() == b"echo start\n"
        assert tar.extractfile("os/sub/data").read() == b"\0\1"
    assert sorted(found) == ["os", "os/create_untrusted", "os/inside", "os/outside", "os/sub", "os/sub/data", "start"]
    assert (found["os/outside"].linkname, found["os/outside"].size) == ("/etc/passwd", 0)
    assert (found["start"].mode, found["os/create_untrusted"].mode) == (0o600, 0o755)
    assert {(member.uid, member.gid) for member in found.values()} == {(0, 0)}


def test_a_definition_that_is_too_large_is_refused(tmp_path):
    for name in ("a", "b"):
        with open(tmp_path / name, "wb") as file:
            file.truncate(helper_job.MAX_BYTES // 2 + 1)
    with pytest.raises(errors.NodeFailure, match="more than 64 MiB"):
        helper_job.archive(str(tmp_path), "")


# Its command line


def test_it_has_disks_and_a_port_and_nothing_else():
    words = qemu(MACHINE)
    text = " ".join(words)
    for wanted in (
        "-nodefaults", "-no-user-config", "-no-reboot", "-nic none", "-m 256 -smp 2", "-accel tcg,thread=multi",
        "-kernel /i/vmlinuz -initrd /i/initrd", "serial=ganeti-job", "filename=/proc/self/fd/7,read-only=on",
        "file.driver=file,file.filename=/srv/a,,b,discard=unmap", "file.driver=host_device,file.filename=/dev/drbd0",
        "serial=ganeti-disk-1,werror=report", "name=org.ganeti.helper",
        "-sandbox on,obsolete=deny,spawn=deny,resourcecontrol=deny,elevateprivileges=deny",
    ):  # fmt: skip
        assert wanted in text, wanted
    for unwanted in ("netdev", "virtfs", "-mon", "socket", "vnc", "fsdev", "-daemonize"):
        assert unwanted not in text


@pytest.mark.parametrize(
    ("version", "wanted"),
    [
        ((7, 2, 0), "-chroot /jail -runas 65534:65534"),
        ((9, 0, 0), "-run-with chroot=/jail -runas 65534:65534"),
        ((9, 1, 0), "-run-with chroot=/jail -run-with user=65534:65534"),
    ],
)
def test_root_gives_up_what_it_is(version, wanted):
    machine = msgspec.structs.replace(MACHINE, version=version, account="65534:65534", jail="/jail", accelerator="kvm")
    text = " ".join(qemu(machine))
    assert wanted in text
    assert "elevateprivileges" not in text
    assert "-accel kvm -cpu host" in text


def test_an_image_that_is_a_disk_stays_as_it_is():
    text = " ".join(qemu(msgspec.structs.replace(MACHINE, image=Image(disk="/i/debian.qcow2", form="qcow2"))))
    assert "file=/i/debian.qcow2,format=qcow2,if=none,id=image,snapshot=on" in text
    assert "serial=ganeti-image,bootindex=1" in text
    assert "-kernel" not in text


# Its image


def qcow2(*, backing=0, features=0, version=3):
    return struct.pack(">4sIQ", b"QFI\xfb", version, backing).ljust(72, b"\0") + struct.pack(">Q", features)


def test_images_are_known_by_what_they_are(tmp_path):
    path = tmp_path / "image"
    path.write_bytes(b"\0" * 1024)
    assert helper_image.find(str(path), WHERE) == Image(disk=str(path), form="raw")
    path.write_bytes(qcow2())
    assert helper_image.find(str(path), WHERE) == Image(disk=str(path), form="qcow2")
    for name in ("vmlinuz", "initrd"):
        (tmp_path / name).write_text("x")
    assert helper_image.find(str(tmp_path), WHERE) == Image(kernel=f"{tmp_path}/vmlinuz", initrd=f"{tmp_path}/initrd")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file"),
        (b"", "empty"),
        (qcow2(backing=512), "needs another file"),
        (qcow2(features=1 << 2), "needs another file"),
        (qcow2()[:40], "damaged"),
    ],
)
def test_images_that_cannot_be_booted_or_open_other_files_are_refused(tmp_path, content, said):
    path = tmp_path / "image"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(errors.NodeFailure, match=said):
        helper_image.find(str(path), WHERE)


def test_half_of_a_kernel_and_ramdisk_is_no_image(tmp_path):
    (tmp_path / "vmlinuz").write_text("x")
    with pytest.raises(errors.NodeFailure, match="initrd"):
        helper_image.find(str(tmp_path), WHERE)
    (tmp_path / "initrd").write_text("")
    with pytest.raises(errors.NodeFailure, match=r"initrd .* is empty"):
        helper_image.find(str(tmp_path), WHERE)


@pytest.mark.parametrize("name", ["", "vmlinuz", "initrd"])
def test_an_image_that_everybody_can_change_is_not_booted(tmp_path, name):
    for each in ("vmlinuz", "initrd"):
        (tmp_path / each).write_text("x")
    (tmp_path / name).chmod(0o777)
    with pytest.raises(errors.NodeFailure, match="the install image is not booted"):
        helper_image.find(str(tmp_path), WHERE)


@pytest.mark.parametrize("name", ["image", "vmlinuz"])
def test_a_pipe_is_no_image_and_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    (tmp_path / "initrd").write_text("x")
    with pytest.raises(errors.NodeFailure, match=f"{name}: it is a pipe, not a regular file"):
        helper_image.find(str(tmp_path / name if name == "image" else tmp_path), WHERE)


# How one is made


DEPENDENCIES = (
    "kernel/a/virtio-rng.ko.xz: kernel/b/virtio.ko.xz kernel/b/ring.ko.xz\nkernel/b/virtio.ko.xz: kernel/b/ring.ko.xz\n"
)


def test_modules_come_with_what_they_need():
    needs = ramdisk.parse_needs(DEPENDENCIES)
    assert ramdisk.chosen(needs, ["virtio_rng", "built_in"]) == [
        "kernel/a/virtio-rng.ko.xz", "kernel/b/ring.ko.xz", "kernel/b/virtio.ko.xz",
    ]  # fmt: skip


def members(packed):
    """name → (mode, data) of an archive; the last one of a name counts."""
    raw, at, found = gzip.decompress(packed), 0, {}
    while True:
        fields = [int(raw[at + 6 + 8 * place : at + 14 + 8 * place], 16) for place in range(13)]
        mode, size, name_size = fields[1], fields[6], fields[11]
        name = raw[at + 110 : at + 109 + name_size].decode()
        at += (110 + name_size + 3) // 4 * 4
        if name == "TRAILER!!!":
            return found
        found[name] = (mode, raw[at : at + size])
        at += (size + 3) // 4 * 4


def host(tmp_path):
    """A kernel with one module, and a busybox."""
    (tmp_path / "modules/6.1/kernel").mkdir(parents=True)
    (tmp_path / "modules/6.1/kernel/xfs.ko.gz").write_bytes(gzip.compress(b"module"))
    (tmp_path / "modules/6.1/modules.dep").write_text("kernel/xfs.ko.gz:\nkernel/odd.ko:\n")
    (tmp_path / "modules/6.1/modules.alias").write_text("alias fs-xfs xfs\nalias fs-odd odd\nalias pci:1 xfs\n")
    (tmp_path / "vmlinuz-6.1").write_bytes(b"kernel")
    (tmp_path / "busybox").write_bytes(b"program")


def made(tmp_path, *more):
    out, err = io.StringIO(), io.StringIO()
    words = ["--kernel", f"{tmp_path}/vmlinuz-6.1", "--busybox", f"{tmp_path}/busybox", f"{tmp_path}/image", *more]
    return maker.main(words, out, err, modules=f"{tmp_path}/modules"), out.getvalue() + err.getvalue()


def test_an_image_is_made_of_a_kernel_its_modules_busybox_and_a_tree(tmp_path):
    host(tmp_path)
    (tmp_path / "tree/usr/lib").mkdir(parents=True)
    (tmp_path / "tree/lib").symlink_to("usr/lib")
    (tmp_path / "tree/usr/lib/data").write_text("data")
    status, said = made(tmp_path, "--tree", f"{tmp_path}/tree")
    assert (status, said.split(" is ")[0]) == (0, f"{tmp_path}/image")
    assert helper_image.find(f"{tmp_path}/image", WHERE).kernel
    found = members((tmp_path / "image/initrd").read_bytes())
    assert found["init"][0] & 0o111
    assert found["bin/busybox"] == (0o100755, b"program")
    assert found["lib"] == (0o120777, b"usr/lib")  # a link of the tree stays one: modules go where it leads
    assert found["lib/modules/6.1/kernel/xfs.ko"][1] == b"module"
    assert found["lib/modules/6.1/modules.dep"][1] == b"kernel/xfs.ko:\n"
    assert found["lib/modules/6.1/modules.alias"][1] == b"alias fs-xfs xfs\n"
    assert found["usr/lib/data"][1] == b"data"


def test_what_an_image_cannot_be_made_of_is_told(tmp_path):
    host(tmp_path)
    assert "no directory" in made(tmp_path, "--tree", f"{tmp_path}/nowhere")[1]
    (tmp_path / "busybox").write_bytes(b"/lib64/ld-linux-x86-64.so.2")
    assert "not statically linked" in made(tmp_path)[1]
    assert made(tmp_path, "--busybox", f"{tmp_path}/nowhere") == (1, f"{tmp_path}/nowhere: No such file or directory\n")
    (tmp_path / "busybox").write_bytes(b"program")
    os.rename(tmp_path / "modules/6.1", tmp_path / "modules/6.2")
    assert "modules.dep" in made(tmp_path)[1]
    assert not os.path.exists(tmp_path / "image")
    assert "vmlinuz-VERSION" in made(tmp_path, "--kernel", f"{tmp_path}/busybox")[1]
