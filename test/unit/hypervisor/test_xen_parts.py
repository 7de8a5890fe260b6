"""The pure halves of the Xen driver, against recordings of xl 4.17 on a real hypervisor."""

import os

import pytest

from ganeti import errors
from ganeti.calls.instance import GuestSpec, GuestState
from ganeti.hypervisor import parameters
from ganeti.hypervisor.xen import config, parse
from ganeti.model.objects import Disk, DiskMode, DiskTemplate, Instance, Nic

HERE = os.path.dirname(__file__)
UUID = "11111111-2222-4333-8444-555555555555"


def recording(name):
    with open(f"{HERE}/../../transcripts/xen-4.17/{name}", encoding="utf-8") as file:
        return file.read()


def spec(hypervisor="xen-pvm", *, disks=1, nic=(), port=None, **hv):
    made = tuple(
        Disk(uuid=f"d{n}", template=DiskTemplate.PLAIN, size=64, logical_id=("vg", f"lv{n}"), mode=mode)
        for n, mode in zip(range(disks), [DiskMode.RW, DiskMode.RO] * 13, strict=False)
    )
    instance = Instance(
        uuid=UUID,
        name="web1.example",
        primary_node="n1",
        os="noop",
        hypervisor=hypervisor,
        disks=made,
        nics=tuple(Nic(uuid=f"n{n}", mac=f"aa:00:00:00:00:0{n}", ip=ip) for n, (ip, _) in enumerate(nic)),
        network_port=port,
    )
    return GuestSpec(
        instance=instance,
        hvparams=parameters.fill(hypervisor, hv),
        beparams={"maxmem": 256, "minmem": 128, "vcpus": 2},
        nicparams=tuple(params for _, params in nic),
    )


def rendered(made, password=""):
    paths = tuple(f"/dev/vg/lv{n}" for n in range(len(made.instance.disks)))
    text = config.render(made, config.Places(disks=paths, vnc_password=password))
    return dict(line.split(" = ", 1) for line in text.splitlines() if not line.startswith("#"))


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("list-paused", GuestState.PAUSED),
        ("list-running", GuestState.RUNNING),
        ("list-shut-down", GuestState.SHUTDOWN),
    ],
)
def test_what_xl_lists_is_read(name, state):
    dom0, guest = parse.domains(recording(name))
    assert (dom0.name, dom0.id, dom0.memory) == (parse.DOM0, 0, 768)
    assert (guest.name, guest.uuid, guest.memory, guest.vcpus) == ("t1.example", UUID, 96, 1)
    assert parse.state(guest) is state


def test_a_guest_that_comes_has_neither_memory_nor_processors_yet():
    _, other, incoming = parse.domains(recording("list-incoming"))
    assert parse.state(other) is GuestState.RUNNING
    assert incoming.name == "inst53.tb.example" + parse.INCOMING
    assert (incoming.memory, incoming.vcpus, incoming.is_paused) == (0, 0, True)


@pytest.mark.parametrize(
    ("letters", "state"),
    [
        ("r-----", GuestState.RUNNING),
        ("-b----", GuestState.RUNNING),
        ("------", GuestState.RUNNING),
        ("--p---", GuestState.PAUSED),
        ("--ps--", GuestState.SHUTDOWN),
        ("---s--", GuestState.SHUTDOWN),
        ("--psr-", GuestState.RUNNING),
        ("--pss-", GuestState.RUNNING),
        ("---ss-", GuestState.RUNNING),
        ("---sS-", GuestState.RUNNING),  # soft reset: the guest starts another kernel by itself
        ("---sw-", GuestState.SHUTDOWN),
        ("---s?-", GuestState.SHUTDOWN),
        ("-bp---", GuestState.PAUSED),  # it had nothing to do when it was paused
        ("r-p---", GuestState.PAUSED),
        ("--psrd", GuestState.RUNNING),  # the old domain of one that is about to come back
        ("-----d", GuestState.SHUTDOWN),
        ("---sc-", GuestState.SHUTDOWN),
    ],
)
def test_the_six_letters_of_a_state(letters, state):
    found = parse.Domain(name="x", id=1, memory=1, vcpus=1, state=letters, cpu_seconds=0.0, uuid=UUID)
    assert parse.state(found) is state


@pytest.mark.parametrize(
    ("letters", "has_switched_off"),
    [("---s--", True), ("--ps--", True), ("--ps-d", True), ("---sc-", False), ("---sr-", False), ("-----d", False),
     ("--p--d", False), ("---s?-", False), ("-b----", False)],
)  # fmt: skip
def test_only_a_power_off_is_meant_by_the_guest(letters, has_switched_off):
    found = parse.Domain(name="x", id=1, memory=1, vcpus=1, state=letters, cpu_seconds=0.0, uuid=UUID)
    assert found.has_switched_off is has_switched_off


@pytest.mark.parametrize(
    "text", ["", "xl: command failed\n", "Name  ID\nweb1 x y z\n", "Name ID\nweb1 1 2 3 ??---- 1 u\n"]
)
def test_other_output_is_an_error(text):
    with pytest.raises(errors.HypervisorError, match="xl list printed"):
        parse.domains(text)


def test_a_domain_that_loses_its_name_does_not_disturb():
    row = recording("list-shut-down").splitlines()[-1].replace("t1.example", "(null)    ")
    assert parse.domains(recording("list-running") + row + "\n")[-1].name == "(null)"


@pytest.mark.parametrize("name", ["my old vm", "vm 1 2 3", "x" * 60])
def test_a_domain_of_somebody_else_with_a_strange_name_does_not_hide_the_others(name):
    lines = recording("list-running").splitlines()
    row = lines[-1].replace("t1.example", name).replace(UUID, UUID.replace("1", "9"))
    found = parse.domains("\n".join([*lines, row, ""]))
    assert [domain.name for domain in found] == ["Domain-0", "t1.example", name]
    assert (found[-1].id, found[-1].memory, found[-1].vcpus, found[-1].state) == (1, 96, 1, "-b----")


def test_the_node_has_what_xl_info_tells():
    (dom0, _) = parse.domains(recording("list-running"))
    found = parse.node_info(recording("info"), dom0)
    assert (found.memory_total, found.memory_dom0, found.cpu_total, found.cpu_sockets) == (1535, 768, 1, 1)
    assert found.version == "4.17"
    with pytest.raises(errors.HypervisorError, match="nr_cpus"):
        parse.node_info("host : x\n", None)


@pytest.mark.parametrize(
    ("source", "target", "is_fine"),
    [("4.17", "4.17", True), ("4.17", "4.18", True), ("4.17", "4.19", False), ("4.17", "4.16", False),
     ("4.17", "5.17", False), ("", "4.17", False)],
)  # fmt: skip
def test_guests_move_to_the_same_or_the_next_release(source, target, is_fine):
    assert (parse.version_problem(source, target) == "") is is_fine


def test_progress_is_the_last_percentage():
    assert parse.progress("xc: progress: Frames: 2048/32768    6%\nxc: progress: Frames: 4096/32768   12%\n") == 12.0
    assert parse.progress("Saving to migration stream\n") is None


def test_a_paravirtual_guest():
    made = spec(
        kernel_path="/boot/vmlinuz",
        initrd_path="/boot/initrd",
        blockdev_prefix="xvd",
        cpu_mask="0-1:2",
        cpu_cap=50,
        disks=2,
        nic=((None, {"mode": "bridged", "link": "br0"}), ("192.0.2.7", {"mode": "routed", "link": "100"})),
    )
    assert rendered(made) == {
        "type": "'pv'",
        "name": "'web1.example'",
        "uuid": f"'{UUID}'",
        "memory": "256",
        "maxmem": "256",
        "vcpus": "2",
        "cpu_weight": "256",
        "cap": "50",
        "cpus": "['0-1', '2']",
        "kernel": "'/boot/vmlinuz'",
        "ramdisk": "'/boot/initrd'",
        "root": "'/dev/xvda1'",
        "extra": "'ro'",
        "vif": "['mac=aa:00:00:00:00:00,bridge=br0', 'mac=aa:00:00:00:00:01,ip=192.0.2.7,script=vif-route']",
        "disk": "['format=raw,vdev=xvda,access=rw,target=/dev/vg/lv0', "
        "'format=raw,vdev=xvdb,access=ro,target=/dev/vg/lv1']",
        "on_poweroff": "'destroy'",
        "on_reboot": "'restart'",
        "on_crash": "'restart'",
    }


def test_a_guest_that_may_shut_itself_down_stays_to_be_seen():
    """Otherwise its domain is gone at once, and nobody can tell it from one that was lost."""
    text = config.render(spec(disks=0), config.Places(disks=(), stays=True))
    assert "on_poweroff = 'preserve'\n" in text
    assert "on_crash = 'restart'\n" in text


def test_a_loader_takes_the_kernels_place():
    found = rendered(spec(use_bootloader=True, bootloader_path="/usr/bin/pygrub", bootloader_args="-q -x"))
    assert found["bootloader"] == "'/usr/bin/pygrub'"
    assert found["bootloader_args"] == "['-q', '-x']"
    assert "kernel" not in found


def test_a_fully_virtual_guest():
    made = spec(
        "xen-hvm",
        disks=5,
        port=11003,
        cdrom_image_path="/srv/cd.iso",
        reboot_behavior="exit",
        nic=((None, {"mode": "bridged", "link": "br0"}),),
    )
    found = rendered(made, password="secret")
    assert (found["type"], found["boot"], found["serial"]) == ("'hvm'", "'cd'", "'pty'")
    assert (found["vncdisplay"], found["vncunused"], found["vncpasswd"]) == (str(11003 - 5900), "0", "'secret'")
    assert found["vif"] == "['mac=aa:00:00:00:00:00,bridge=br0,type=ioemu,model=rtl8139']"
    names = [part.split("vdev=")[1].split(",")[0] for part in found["disk"].split("', '")]
    assert names == ["hda", "hdb", "hdd", "xvde", "xvdf", "hdc"]
    assert (found["on_reboot"], found["on_crash"]) == ("'destroy'", "'destroy'")


@pytest.mark.parametrize("text", ["a'b\"c", "a\\b", "a\nname = 'x'", "\x00"])
def test_what_could_end_a_string_of_the_file_is_refused(text):
    with pytest.raises(errors.HypervisorError, match="extra has a character"):
        rendered(spec(kernel_args=text))


def test_disks_beyond_the_places_of_a_prefix_are_paravirtual_ones():
    """xl knows sda to sdp."""
    parts = rendered(spec(disks=18, blockdev_prefix="sd"))["disk"].split("vdev=")[1:]
    names = [part.split(",")[0] for part in parts]
    assert (names[0], names[15], names[16], names[17]) == ("sda", "sdp", "xvdq", "xvdr")
    names = [part.split(",")[0] for part in rendered(spec(disks=6, blockdev_prefix="hd"))["disk"].split("vdev=")[1:]]
    assert names == ["hda", "hdb", "hdc", "hdd", "xvde", "xvdf"]


def test_a_prefix_that_xl_does_not_know_is_told():
    with pytest.raises(errors.HypervisorError, match="blockdev_prefix=vd"):
        rendered(spec(blockdev_prefix="vd"))


def test_a_value_with_single_quotes_is_written_in_double_ones():
    assert rendered(spec(kernel_args="a='b c'"))["extra"] == "\"a='b c'\""
    assert rendered(spec(kernel_args='a="b c"'))["extra"] == "'a=\"b c\"'"


def test_too_many_disks_are_refused():
    assert len(rendered(spec(disks=24))["disk"].split("vdev=")) == 25
    with pytest.raises(errors.HypervisorError, match="at most 24 disks, not 25"):
        rendered(spec(disks=25))


def test_a_password_that_cannot_be_written_is_not_told():
    with pytest.raises(errors.HypervisorError, match="vncpasswd has a character") as caught:
        rendered(spec("xen-hvm"), password='it\'s "secret"')
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("params", "hv"),
    [
        ({"mode": "bridged", "link": "br0,script=/tmp/x"}, {}),
        ({"mode": "bridged", "link": "br0 script=/tmp/x"}, {}),
        ({"mode": "openvswitch", "link": "ovs", "vlan": ".1,backend=x"}, {}),
        ({"mode": "bridged", "link": "br0"}, {"vif_script": "/etc/a,b"}),
    ],
)
def test_a_card_gets_no_parts_from_outside(params, hv):
    with pytest.raises(errors.HypervisorError, match="comma or a blank"):
        rendered(spec(nic=((None, params),), **hv))


def test_a_card_has_one_script():
    made = spec(nic=((None, {"mode": "openvswitch", "link": "ovs", "vlan": ".7"}),), vif_script="/etc/xen/scripts/own")
    assert rendered(made)["vif"] == "['mac=aa:00:00:00:00:00,bridge=ovs.7,script=/etc/xen/scripts/own']"
    usual = rendered(spec(nic=((None, {"mode": "openvswitch", "link": "ovs"}),)))["vif"]
    assert usual == "['mac=aa:00:00:00:00:00,bridge=ovs,script=vif-openvswitch']"


def test_emulated_disks_are_as_many_as_there_are_places():
    assert len(rendered(spec("xen-hvm", disks=4, disk_type="ioemu"))["disk"].split("vdev=hd")) == 5
    with pytest.raises(errors.HypervisorError, match="at most 4 disks, not 5"):
        rendered(spec("xen-hvm", disks=5, disk_type="ioemu"))
    with pytest.raises(errors.HypervisorError, match="at most 3 disks, not 4"):
        rendered(spec("xen-hvm", disks=4, disk_type="ioemu", cdrom_image_path="/srv/cd.iso"))


def test_loader_and_device_model_are_xl_s_own_unless_others_are_wanted():
    found = rendered(spec("xen-hvm"))
    assert not {"firmware_override", "device_model_override"} & set(found)
    found = rendered(spec("xen-hvm", kernel_path="/opt/hvmloader", device_model="/opt/qemu"))
    assert (found["firmware_override"], found["device_model_override"]) == ("'/opt/hvmloader'", "'/opt/qemu'")
