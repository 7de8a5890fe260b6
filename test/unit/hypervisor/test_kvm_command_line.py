import subprocess
from pathlib import Path

import msgspec
import pytest

from ganeti import errors
from ganeti.hypervisor import parameters
from ganeti.hypervisor.kvm import accounts, checks, commands, extras, pinning

FILES = commands.Files(
    pid="/run/pid/web1",
    qmp="/run/ctrl/web1.qmp",
    monitor="/run/ctrl/web1.monitor",
    serial="/run/ctrl/web1.serial",
    agent="/run/ctrl/web1.qga",
    console_log="/log/web1.log",
    vnc="/run/ctrl/web1.vnc",
)
DISK = commands.Drive(uuid="9e7c85f6-b6e5-4243-8f4c-000000000001", path="/srv/disk0", is_device=False)
NIC = commands.Card(uuid="77777777-b6e5-4243-8f4c-000000000002", mac="aa:00:00:01:02:03", network=commands.Network.USER)


def machine(*, drives=(DISK,), cards=(), port=0, accelerator="tcg", **hv):
    return commands.Machine(
        name="web1",
        uuid="11111111-2222-4333-8444-555555555555",
        memory=128,
        vcpus=2,
        accelerator=accelerator,
        hvparams=parameters.fill("kvm", {"kernel_path": "/boot/vmlinuz", "initrd_path": "/boot/initrd"}, hv),
        files=FILES,
        drives=drives,
        cards=cards,
        port=port,
    )


def option(argv, name):
    """Values of every occurrence."""
    return [argv[index + 1] for index, word in enumerate(argv) if word == name]


def test_a_plain_guest_has_exactly_this_command_line():
    assert commands.qemu(machine(cards=(NIC,))) == (
        "/usr/bin/qemu-system-x86_64",
        *("-name", "web1"),
        *("-uuid", "11111111-2222-4333-8444-555555555555"),
        *("-nodefaults", "-no-user-config", "-daemonize"),
        *("-pidfile", "/run/pid/web1"),
        *("-machine", "pc"),
        *("-accel", "tcg,thread=multi"),
        *("-cpu", "max"),
        *("-m", "131080k"),
        *("-smp", "2"),
        *("-rtc", "base=utc"),
        *("-device", "virtio-balloon-pci"),
        *("-action", "shutdown=pause,panic=pause,reboot=reset"),
        *("-device", "pvpanic"),
        *("-chardev", "socket,id=qmp,path=/run/ctrl/web1.qmp,server=on,wait=off"),
        *("-mon", "chardev=qmp,mode=control"),
        *("-chardev", "socket,id=monitor,path=/run/ctrl/web1.monitor,server=on,wait=off"),
        *("-mon", "chardev=monitor,mode=readline"),
        *("-display", "none"),
        "-chardev",
        "socket,id=serial,path=/run/ctrl/web1.serial,server=on,wait=off,logfile=/log/web1.log,logappend=on",
        *("-serial", "chardev:serial"),
        *("-vga", "none"),
        *("-kernel", "/boot/vmlinuz"),
        *("-initrd", "/boot/initrd"),
        *("-append", "root=/dev/vda1 ro console=ttyS0,38400"),
        "-blockdev",
        "driver=raw,node-name=disk-9e7c85f6-b6e5-4243,read-only=off,auto-read-only=off,discard=ignore,"
        "cache.direct=off,cache.no-flush=off,file.driver=file,file.filename=/srv/disk0,file.aio=threads",
        "-device",
        "virtio-blk-pci,id=disk-9e7c85f6-b6e5-4243,drive=disk-9e7c85f6-b6e5-4243,bus=pci.0,addr=0xc,write-cache=on",
        *("-netdev", "user,id=nic-77777777-b6e5-4243,restrict=on"),
        "-device",
        "virtio-net-pci,id=nic-77777777-b6e5-4243,netdev=nic-77777777-b6e5-4243,mac=aa:00:00:01:02:03,"
        "bus=pci.0,addr=0xd",
    )


def test_without_acpi_the_machine_says_so():
    assert option(commands.qemu(machine(acpi=False)), "-machine") == ["pc,acpi=off"]


def test_with_hardware_virtualisation_the_guest_sees_the_hosts_processor():
    argv = commands.qemu(machine(accelerator="kvm"))
    assert (option(argv, "-accel"), option(argv, "-cpu")) == (["kvm"], ["host"])


def test_processor_shape_and_type_are_passed_on():
    argv = commands.qemu(machine(cpu_type="qemu64", cpu_cores=2, cpu_sockets=1))
    assert (option(argv, "-cpu"), option(argv, "-smp")) == (["qemu64"], ["2,cores=2,sockets=1"])


def test_reboot_behavior_exit_ends_the_guest_at_its_reboot():
    assert option(commands.qemu(machine(reboot_behavior="exit")), "-action") == [
        "shutdown=pause,panic=pause,reboot=shutdown"
    ]


@pytest.mark.parametrize(
    ("cache", "direct", "write_cache"),
    [("none", "on", "on"), ("writethrough", "off", "off"), ("writeback", "off", "on")],
)
def test_disk_cache_sets_both_halves(cache, direct, write_cache):
    argv = commands.qemu(machine(disk_cache=cache))
    assert f"cache.direct={direct}," in option(argv, "-blockdev")[0]
    assert any(device.endswith(f"write-cache={write_cache}") for device in option(argv, "-device"))


def test_a_read_only_device_is_opened_as_such():
    drive = msgspec.structs.replace(DISK, is_device=True, read_only=True)
    (form,) = option(commands.qemu(machine(drives=(drive,))), "-blockdev")
    assert "read-only=on" in form
    assert "file.driver=host_device" in form


def test_a_comma_in_a_path_does_not_end_the_option():
    drive = msgspec.structs.replace(DISK, path="/srv/a,b")
    (form,) = option(commands.qemu(machine(drives=(drive,))), "-blockdev")
    assert "file.filename=/srv/a,,b," in form


def test_scsi_disks_get_a_controller_first():
    devices = option(commands.qemu(machine(disk_type="scsi-hd", scsi_controller_type="virtio-scsi-pci")), "-device")
    assert devices.index("virtio-scsi-pci,id=scsi") < next(i for i, d in enumerate(devices) if d.startswith("scsi-hd"))


def test_disks_beyond_the_last_pci_slot_are_placed_by_the_emulator():
    drives = tuple(msgspec.structs.replace(DISK, uuid=f"{n:08}-0-0-0") for n in range(3))
    devices = option(commands.qemu(machine(drives=drives, kvm_pci_reservations=30)), "-device")
    assert ["addr=" in device for device in devices if device.startswith("virtio-blk")] == [True, True, False]


def test_without_a_kernel_the_boot_order_counts_and_there_is_a_screen():
    argv = commands.qemu(machine(kernel_path="", initrd_path="", boot_order="cdrom", cdrom_image_path="/iso"))
    assert option(argv, "-boot") == ["order=d"]
    assert option(argv, "-vga") == ["std"]
    assert "-kernel" not in argv
    assert "file=/iso,format=raw,if=none,id=cdrom0,media=cdrom,readonly=on" in option(argv, "-drive")


def test_without_a_serial_console_there_is_none():
    argv = commands.qemu(machine(serial_console=False))
    assert "-serial" not in argv
    assert "console=" not in option(argv, "-append")[0]


@pytest.mark.parametrize(
    ("address", "wanted"),
    [("0.0.0.0", ":100"), ("192.0.2.1", "192.0.2.1:100"), ("::1", "[::1]:100"), ("/d", "unix:/run/ctrl/web1.vnc")],
)
def test_vnc_listens_where_it_is_told(address, wanted):
    assert option(commands.qemu(machine(vnc_bind_address=address, port=6000)), "-vnc") == [wanted]


def test_vnc_with_certificates_and_password():
    argv = commands.qemu(
        machine(
            vnc_bind_address="192.0.2.1",
            port=6000,
            vnc_tls=True,
            vnc_x509_path="/etc/x509",
            vnc_x509_verify=True,
            vnc_password_file="/etc/p",
        )
    )
    assert option(argv, "-object") == ["tls-creds-x509,id=vnctls,endpoint=server,dir=/etc/x509,verify-peer=on"]
    assert option(argv, "-vnc") == ["192.0.2.1:100,tls-creds=vnctls,password=on"]


def test_vnc_without_a_port_is_refused():
    with pytest.raises(errors.HypervisorError, match="no network port for VNC"):
        commands.qemu(machine(vnc_bind_address="0.0.0.0"))


def test_tap_cards_get_their_script_queues_and_vhost():
    card = msgspec.structs.replace(NIC, network=commands.Network.TAP, script="/run/nic/web1-0")
    argv = commands.qemu(machine(cards=(card,), virtio_net_queues=2))
    assert option(argv, "-netdev") == [
        "tap,id=nic-77777777-b6e5-4243,script=/run/nic/web1-0,downscript=no,vnet_hdr=on,vhost=on,queues=2"
    ]
    assert option(argv, "-device")[-1].endswith("mq=on,vectors=6")


def test_packets_are_moved_by_the_kernel_where_it_can(tmp_path):
    hv = parameters.fill("kvm", {"vhost_net": True})
    device = tmp_path / "vhost-net"
    assert checks.with_usable_vhost(hv, device=str(device)) == {**hv, "vhost_net": False}
    device.touch()
    assert checks.with_usable_vhost(hv, device=str(device)) == hv


def test_an_emulated_card_has_neither_slot_nor_vhost():
    card = msgspec.structs.replace(NIC, network=commands.Network.TAP, script="/s")
    argv = commands.qemu(machine(cards=(card,), nic_type="e1000"))
    assert "vhost" not in option(argv, "-netdev")[0]
    assert option(argv, "-device")[-1] == (
        "e1000,id=nic-77777777-b6e5-4243,netdev=nic-77777777-b6e5-4243,mac=aa:00:00:01:02:03"
    )


def test_without_cards_there_is_no_network():
    assert option(commands.qemu(machine()), "-nic") == ["none"]


def test_more_arguments_come_last_and_are_split_as_a_shell_does():
    assert commands.qemu(machine(kvm_extra="-fw_cfg 'name=opt/a,string=b c'"))[-2:] == (
        "-fw_cfg",
        "name=opt/a,string=b c",
    )


@pytest.mark.parametrize(
    "override", [{"spice_use_tls": True}, {"disk_type": "sd"}, {"disk_type": "pflash"}, {"disk_type": "mtd"}]
)
def test_what_the_driver_cannot_do_is_refused_by_name(override):
    with pytest.raises(errors.HypervisorError, match=next(iter(override))):
        commands.qemu(machine(**override))


def test_the_tap_script_quotes_what_it_exports():
    script = commands.tap_script({"INSTANCE": "a'b", "BRIDGE": "br0"}, "/etc/ganeti/kvm-vif-bridge")
    assert "INSTANCE='a'\"'\"'b'\nexport INSTANCE\n" in script
    assert "exec /etc/ganeti/kvm-vif-bridge" in script


def tapped(tmp_path, *, with_switch=False, **environment):
    """What the script does for a card; tools that write down how they were called."""
    calls, tools = tmp_path / "calls", tmp_path / "bin"
    tools.mkdir()
    for name in ("ip", "ovs-vsctl") if with_switch else ("ip",):
        (tools / name).write_text(f'#!/bin/sh\necho {name} "$@" >>{calls}\ntest "$6" != table || test "$7" = 100\n')
        (tools / name).chmod(0o755)
    script = tmp_path / "ifup"
    script.write_text(commands.tap_script({"MAC": "aa:00:00:01:02:03"} | environment, "/nowhere"))
    done = subprocess.run(
        ["/bin/sh", script, "tap7"],
        env={"PATH": f"{tools}:/usr/bin:/bin"}, check=False, timeout=60, capture_output=True, text=True,
    )  # fmt: skip
    return done.returncode, calls.read_text().splitlines() if calls.exists() else [], done.stderr


UP = ["ip link set dev tap7 address fe:00:00:01:02:03", "ip link set dev tap7 up"]


def test_a_bridged_tap_changes_neither_address_nor_size_of_its_bridge(tmp_path):
    status, calls, _ = tapped(tmp_path, MODE="bridged", LINK="lo", BRIDGE="lo")
    mtu = Path("/sys/class/net/lo/mtu").read_text().strip()
    assert (status, calls) == (0, [*UP, f"ip link set dev tap7 mtu {mtu}", "ip link set dev tap7 master lo"])


@pytest.mark.parametrize(
    ("vlan", "words"),
    [("", ""), (".7", " tag=7"), (":7:9", " trunks=7,9"), (".7:8:9", " tag=7 trunks=8,9"), ("7", " tag=7")],
)
def test_a_tap_becomes_a_port_of_its_switch(tmp_path, vlan, words):
    status, calls, _ = tapped(tmp_path, with_switch=True, MODE="openvswitch", LINK="ovs", VLAN=vlan)
    assert (status, calls) == (
        0, ["ovs-vsctl --if-exists del-port tap7", *UP, f"ovs-vsctl add-port ovs tap7{words}"]
    )  # fmt: skip


def test_a_switch_that_is_not_there_is_no_network_without_a_word(tmp_path):
    assert tapped(tmp_path, MODE="openvswitch", LINK="ovs")[0] != 0


@pytest.mark.parametrize("table", ["100", "xen-br0"])
def test_a_routed_tap_gets_its_route(tmp_path, table):
    status, calls, _ = tapped(tmp_path, MODE="routed", LINK=table, IP="192.0.2.7")
    wanted = [*UP, f"ip route replace 192.0.2.7 dev tap7 table {table}"]
    # a link that is no table
    assert (status, calls) == (0, wanted + ([] if table == "100" else ["ip route replace 192.0.2.7 dev tap7"]))


def test_a_port_that_another_guest_s_tap_left_in_a_switch_is_removed(tmp_path):
    """Otherwise the switch would take a tap of the same name into the other guest's network."""
    _, calls, _ = tapped(tmp_path, with_switch=True, MODE="bridged", LINK="lo", BRIDGE="lo")
    assert calls[0] == "ovs-vsctl --if-exists del-port tap7"


def test_a_machine_with_another_root_bus_has_its_devices_there():
    argv = commands.qemu(machine(cards=(msgspec.structs.replace(NIC, network=commands.Network.TAP),),
                                 machine_version="pc-q35-7.2"))  # fmt: skip
    devices = [word for word in option(argv, "-device") if "addr=" in word]
    assert len(devices) == 2
    assert all("bus=pcie.0" in word for word in devices)
    # the last slot is the chip set's
    many = tuple(commands.Drive(uuid=f"{n:08d}-1-2-3-4", path="/x", is_device=True) for n in range(25))
    assert max(commands.slots(machine(drives=many, machine_version="q35")).values()) == 30
    assert max(commands.slots(machine(drives=many)).values()) == 31


@pytest.mark.parametrize("text", ["-name 'x", 'a "b', "a\\"])
def test_arguments_that_a_shell_could_not_split_are_refused(text):
    with pytest.raises(errors.PrereqError, match="kvm_extra"):
        parameters.check("kvm", parameters.fill("kvm", {"kvm_extra": text}))
    with pytest.raises(errors.HypervisorError, match="kvm_extra"):
        commands.qemu(machine(kvm_extra=text))


def test_sound_and_usb_devices_are_made():
    argv = commands.qemu(machine(soundhw="ac97,hda", usb_mouse="tablet", usb_devices="keyboard host:1d6b:0002"))
    devices = option(argv, "-device")
    assert option(argv, "-audiodev") == ["none,id=sound"]
    for wanted in ("AC97,audiodev=sound", "intel-hda", "hda-duplex,audiodev=sound", "usb-tablet", "usb-kbd",
                   "usb-host,vendorid=0x1d6b,productid=0x0002"):  # fmt: skip
        assert wanted in devices
    assert argv.count("-usb") == 1


@pytest.mark.parametrize(
    ("override", "word"), [({"soundhw": "adlib"}, "adlib"), ({"usb_devices": "toaster"}, "toaster")]
)
def test_unknown_sound_and_usb_devices_are_named(override, word):
    assert word in extras.problem(parameters.fill("kvm", override))
    assert extras.problem(parameters.fill("kvm", {"soundhw": "ac97 sb16", "usb_devices": "mouse"})) == ""


def test_spice_has_its_port_password_and_agent():
    argv = commands.qemu(machine(port=11000, spice_bind="127.0.0.1", spice_ip_version=4, spice_streaming_video="off"))
    assert option(argv, "-spice") == [
        "addr=127.0.0.1,port=11000,ipv4=on,disable-ticketing=on,streaming-video=off,playback-compression=on"
    ]
    assert option(argv, "-vga") == ["qxl"]
    assert "spicevmc,id=vdagent,name=vdagent" in option(argv, "-chardev")
    with_password = commands.qemu(
        machine(port=11000, spice_bind="::1", spice_password_file="/p", spice_use_vdagent=False)
    )
    assert "disable-ticketing" not in option(with_password, "-spice")[0]
    with pytest.raises(errors.HypervisorError, match="no network port for SPICE"):
        commands.qemu(machine(spice_bind="127.0.0.1"))


def test_a_confined_emulator_is_told_its_account_and_its_jail():
    argv = commands.qemu(msgspec.structs.replace(machine(), account="7:7", jail="/run/jail/web1"))
    assert (option(argv, "-runas"), option(argv, "-chroot")) == (["7:7"], ["/run/jail/web1"])


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ((8, 2, 0), ["-chroot", "/jail", "-runas", "7:7"]),
        ((9, 0, 1), ["-run-with", "chroot=/jail", "-runas", "7:7"]),
        ((9, 1, 0), ["-run-with", "chroot=/jail", "-run-with", "user=7:7"]),
    ],
)
def test_each_release_is_told_of_confinement_in_its_own_words(version, words):
    assert extras.confinement("7:7", "/jail", version) == words


@pytest.mark.parametrize(
    ("mask", "sets"),
    [
        ("all", [None]),
        ("0-2,^1", [frozenset({0, 2})]),
        ("0:all:1,3", [frozenset({0}), None, frozenset({1, 3})]),
    ],
)
def test_cpu_masks_are_read(mask, sets):
    assert pinning.parse(mask) == sets


def test_a_cpu_mask_must_fit_node_and_instance():
    assert pinning.problem("0-1", 2) == ""
    assert "0 to 1" in pinning.problem("0:2", 2)
    assert pinning.problem("0,^0", 2)
    pinning.check_count("0", 4)
    with pytest.raises(errors.HypervisorError, match="2 virtual CPUs, but the instance has 4"):
        pinning.check_count("0:1", 4)


def test_user_ids_of_the_pool_are_used_once(tmp_path):
    pool = accounts.Pool(str(tmp_path / "accounts"))
    assert [pool.claim("a", (5, 6)), pool.claim("b", (5, 6)), pool.claim("a", (5, 6))] == [5, 6, 5]
    with pytest.raises(errors.HypervisorError, match="no user id is free"):
        pool.claim("c", (5, 6))
    pool.release("a")
    assert pool.claim("c", (5, 6)) == 5


def test_confinement_needs_root_and_an_account():
    assert accounts.problem(parameters.fill("kvm"), is_root=False) == ""
    assert "needs a node daemon that runs as root" in accounts.problem(
        parameters.fill("kvm", {"use_chroot": True}), is_root=False
    )
    user = parameters.fill("kvm", {"security_model": "user", "security_domain": "no-such-account"})
    assert "no-such-account" in accounts.problem(user, is_root=True)
