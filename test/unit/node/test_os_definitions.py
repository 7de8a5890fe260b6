import msgspec
import pytest

from ganeti.calls.instance import GuestSpec
from ganeti.model.objects import Disk, DiskMode, DiskTemplate, Instance, Network, Nic
from ganeti.node import osdef, osenv


def found(**files):
    return osdef.Found(**{"name": "linux", "path": "/srv/os/linux", "api_version": "20\n15\n"} | files)


GOOD = {"create": ""}


def test_a_create_script_and_a_version_are_enough():
    definition = osdef.judge(found(scripts=GOOD))
    assert (definition.valid, definition.reason, definition.trusted) == (True, "", True)
    assert (definition.api_versions, definition.scripts) == ((20, 15), ("create",))


def test_lists_skip_blanks_and_comments():
    definition = osdef.judge(
        found(
            scripts=GOOD,
            variants="# ours\nsmall\n\n big \n",
            parameters="DHCP whether to ask\nfilesystem\text4 or\txfs\nbare\n",
            hypervisors="kvm\n",
        )
    )
    assert definition.variants == ("small", "big")
    assert definition.parameters == (("dhcp", "whether to ask"), ("filesystem", "ext4 or xfs"), ("bare", ""))
    assert definition.hypervisors == ("kvm",)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "there is no script create"),
        ({"scripts": {"create": "is not executable"}}, "script create is not executable"),
        ({"scripts": GOOD, "api_version": None}, "there is no file ganeti_api_version"),
        ({"scripts": GOOD, "api_version": "\n"}, "ganeti_api_version is empty"),
        ({"scripts": GOOD, "api_version": "20\nx"}, "ganeti_api_version has 'x', not a number"),
        ({"scripts": GOOD, "api_version": "5\n7"}, "it has the API versions 7, 5, supported are 20, 15, 10"),
        ({"scripts": GOOD, "distrust": ("/x is bob's",)}, "/x is bob's"),
        ({"scripts": GOOD | {"export": "is a link to nothing"}}, "script export is a link to nothing"),
    ],
)
def test_what_is_wrong_is_told(files, reason):
    definition = osdef.judge(found(**files))
    assert not definition.valid
    assert definition.reason == reason


def test_the_highest_common_version_is_spoken():
    assert osdef.api_version(osdef.judge(found(scripts=GOOD, api_version="5 10 15 99"))) == 15


def test_the_variant_is_the_one_in_the_name_or_the_first():
    definition = osdef.judge(found(scripts=GOOD, variants="small\nbig"))
    assert osdef.variant(definition, "linux+big") == "big"
    assert osdef.variant(definition, "linux") == "small"
    assert osdef.variant(osdef.judge(found(scripts=GOOD)), "linux") == ""


def test_a_definition_is_refused_for_another_hypervisor_or_a_variant_it_does_not_have():
    plain = osdef.judge(found(scripts=GOOD))
    assert osdef.why_not_usable(plain, "linux", "fake") == ""
    assert "has no variants" in osdef.why_not_usable(plain, "linux+x", "fake")
    limited = osdef.judge(found(scripts=GOOD, hypervisors="kvm"))
    assert osdef.why_not_usable(limited, "linux", "fake") == "OS linux is for kvm only, not for fake"


INSTANCE = Instance(
    uuid="i-uuid",
    name="web1.example.com",
    primary_node="n1-uuid",
    os="linux+big",
    hypervisor="kvm",
    ctime=1000.5,
    mtime=2000.25,
    disks=(
        Disk(
            uuid="d0",
            template=DiskTemplate.FILE,
            size=1024,
            logical_id=("loop", "/srv/ganeti/file-storage/web1/disk0"),
            name="root",
        ),
        Disk(uuid="d1", template=DiskTemplate.PLAIN, size=64, logical_id=("xenvg", "lv1"), mode=DiskMode.RO),
    ),
    nics=(
        Nic(uuid="c0", mac="aa:00:00:00:00:01", ip="192.0.2.9", name="front"),
        Nic(uuid="c1", mac="aa:00:00:00:00:02"),
    ),
)
SPEC = GuestSpec(
    instance=INSTANCE,
    hvparams={"acpi": True, "disk_type": "paravirtual", "nic_type": "e1000", "kernel_path": ""},
    beparams={"maxmem": 256, "vcpus": 2},
    nicparams=({"mode": "bridged", "link": "br0", "vlan": ""}, {"mode": "routed", "link": "100"}),
    osparams={"dhcp": "yes", "file-system": "ext4"},
)
DEFINITION = osdef.judge(found(scripts=GOOD, variants="small\nbig"))
PATHS = ("/root1/srv/ganeti/file-storage/web1/disk0", "/dev/xenvg/lv1")


def test_scripts_are_told_of_the_network_of_a_nic():
    lan = Network(uuid="lan-uuid", name="lan", network="192.0.2.0/24", gateway="192.0.2.1", tags=("b", "a"))
    nics = (msgspec.structs.replace(INSTANCE.nics[0], network="lan-uuid"), INSTANCE.nics[1])
    spec = msgspec.structs.replace(SPEC, instance=msgspec.structs.replace(INSTANCE, nics=nics), networks=(lan,))
    found = osenv.create(spec, DEFINITION, PATHS, reinstall=False, debug=0)
    assert {key: value for key, value in found.items() if "NETWORK" in key} == {
        "NIC_0_NETWORK_NAME": "lan",
        "NIC_0_NETWORK_UUID": "lan-uuid",
        "NIC_0_NETWORK_SUBNET": "192.0.2.0/24",
        "NIC_0_NETWORK_GATEWAY": "192.0.2.1",
        "NIC_0_NETWORK_TAGS": "a b",
    }


def test_the_create_script_gets_exactly_this():
    assert osenv.create(SPEC, DEFINITION, PATHS, reinstall=True, debug=1) == {
        "PATH": "/sbin:/bin:/usr/sbin:/usr/bin",
        "OS_API_VERSION": "20",
        "OS_NAME": "linux",
        "OS_VARIANT": "big",
        "DEBUG_LEVEL": "1",
        "INSTANCE_NAME": "web1.example.com",
        "INSTANCE_UUID": "i-uuid",
        "INSTANCE_OS": "linux+big",
        "INSTANCE_CTIME": "1000.5",
        "INSTANCE_MTIME": "2000.25",
        "INSTANCE_PRIMARY_NODE": "n1-uuid",
        "INSTANCE_SECONDARY_NODES": "",
        "INSTANCE_REINSTALL": "1",
        "HYPERVISOR": "kvm",
        "DISK_COUNT": "2",
        "DISK_0_PATH": "/root1/srv/ganeti/file-storage/web1/disk0",
        "DISK_0_ACCESS": "rw",
        "DISK_0_UUID": "d0",
        "DISK_0_NAME": "root",
        "DISK_0_SIZE": "1024",
        "DISK_0_BACKEND_TYPE": "file:loop",
        "DISK_0_FRONTEND_TYPE": "paravirtual",
        "DISK_1_PATH": "/dev/xenvg/lv1",
        "DISK_1_ACCESS": "ro",
        "DISK_1_UUID": "d1",
        "DISK_1_SIZE": "64",
        "DISK_1_BACKEND_TYPE": "block",
        "DISK_1_FRONTEND_TYPE": "paravirtual",
        "NIC_COUNT": "2",
        "NIC_0_MAC": "aa:00:00:00:00:01",
        "NIC_0_UUID": "c0",
        "NIC_0_NAME": "front",
        "NIC_0_IP": "192.0.2.9",
        "NIC_0_MODE": "bridged",
        "NIC_0_LINK": "br0",
        "NIC_0_BRIDGE": "br0",
        "NIC_0_FRONTEND_TYPE": "e1000",
        "NIC_1_MAC": "aa:00:00:00:00:02",
        "NIC_1_UUID": "c1",
        "NIC_1_MODE": "routed",
        "NIC_1_LINK": "100",
        "NIC_1_FRONTEND_TYPE": "e1000",
        "INSTANCE_BE_maxmem": "256",
        "INSTANCE_BE_vcpus": "2",
        "INSTANCE_HV_acpi": "True",
        "INSTANCE_HV_disk_type": "paravirtual",
        "INSTANCE_HV_nic_type": "e1000",
        "INSTANCE_HV_kernel_path": "",
        "OSP_DHCP": "yes",
        "OSP_FILE_SYSTEM": "ext4",
    }


def test_only_a_reinstallation_says_that_it_is_one():
    assert "INSTANCE_REINSTALL" not in osenv.create(SPEC, DEFINITION, PATHS, reinstall=False, debug=0)


def test_the_rename_script_gets_the_old_name():
    environment = osenv.rename(SPEC, DEFINITION, PATHS, old_name="old.example.com", debug=0)
    assert (environment["OLD_INSTANCE_NAME"], environment["INSTANCE_NAME"]) == ("old.example.com", "web1.example.com")


def test_a_definition_of_the_first_interface_is_refused_with_a_clear_word():
    found = osdef.judge(osdef.Found(name="old", path="/x", api_version="5\n", scripts={"create": ""}))
    assert not found.valid
    assert "old OS API 5" in found.reason


@pytest.mark.parametrize(
    ("scripts", "words"),
    [
        (("create",), "no scripts for exports"),
        (("create", "import", "rename"), "no export script: warning"),
        (("create", "export", "rename"), "no import script: warning"),
        (("create", "import", "export"), "no rename script"),
        (("create", "import", "export", "rename"), ""),
        (("create_untrusted", "create", "import", "export", "rename"), ""),
        (("create_untrusted", "import", "export", "rename"), "create_untrusted needs the cluster's install image"),
    ],
)
def test_what_a_definition_cannot_do_is_told(scripts, words):
    found = osdef.judge(osdef.Found(name="x", path="/x", api_version="20", scripts=dict.fromkeys(scripts, "")))
    assert found.valid
    assert words in found.remarks
    assert bool(words) == bool(found.remarks)
