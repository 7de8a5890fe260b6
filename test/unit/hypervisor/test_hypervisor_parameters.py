import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganeti import errors
from ganeti.hypervisor import parameters


@pytest.mark.parametrize("hv", parameters.HYPERVISORS)
def test_built_in_defaults_pass_their_own_check(hv):
    parameters.check(hv, parameters.defaults(hv))


@pytest.mark.parametrize("hv", parameters.HYPERVISORS)
def test_every_parameter_is_declared_once_and_described(hv):
    declared = parameters.HYPERVISORS[hv].parameters
    assert len({p.name for p in declared}) == len(declared)
    assert all(p.description for p in declared)


@pytest.mark.parametrize("hv", parameters.HYPERVISORS)
def test_defaults_read_back_from_text_are_the_same(hv):
    complete = parameters.defaults(hv)
    assert parameters.parse(hv, {name: str(value) for name, value in complete.items()}) == complete


def test_parse_gives_every_value_its_type():
    assert parameters.parse("kvm", {"acpi": "False", "serial_speed": "9600", "kernel_path": False}) == {
        "acpi": False,
        "serial_speed": 9600,
        "kernel_path": "",
    }


@pytest.mark.parametrize(
    ("value", "wanted"), [("TRUE", True), ("false", False), (1, True), (0, False), ("", False), (None, None)]
)
def test_parse_reads_switches_as_users_write_them(value, wanted):
    assert parameters.parse("kvm", {"acpi": value}) == {"acpi": wanted}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("acpi", "yes"),
        ("serial_speed", "fast"),
        ("serial_speed", 1.5),
        ("serial_speed", float("inf")),
        ("serial_speed", []),
        ("kernel_path", 1),
        ("kernel_path", True),
    ],
)
def test_parse_refuses_a_value_of_another_type(name, value):
    with pytest.raises(errors.TypeEnforcementError, match=f"parameter {name}"):
        parameters.parse("kvm", {name: value})


def test_parse_of_an_unknown_name_offers_close_ones():
    with pytest.raises(errors.ParameterError, match="no parameter 'kernelpath'; did you mean kernel_path"):
        parameters.parse("kvm", {"kernelpath": "/x"})


def test_parse_default_takes_the_override_away_unless_it_is_a_value_of_the_parameter():
    assert parameters.parse("kvm", {"kernel_path": "default", "disk_cache": "default"}) == {
        "kernel_path": None,
        "disk_cache": "default",
    }


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"kernel_path": "boot/vmlinuz"}, "kernel_path must be an absolute path"),
        ({"kernel_path": "/boot//vmlinuz"}, "shortest form, /boot/vmlinuz"),
        ({"kernel_path": "/boot/../etc/shadow"}, "shortest form, /etc/shadow"),
        ({"root_path": ""}, "kernel_path is set, so root_path is needed"),
        ({"kernel_path": "", "initrd_path": "/i"}, "initrd_path is of no use"),
        ({"boot_order": "cdrom"}, "needs cdrom_image_path"),
        ({"boot_order": "moon"}, "must be one of disk, cdrom"),
        ({"boot_order": ""}, "boot_order must not be empty"),
        ({"vnc_bind_address": "here"}, "an IP address or an absolute directory"),
        ({"vnc_x509_verify": True}, "needs vnc_x509_path"),
        ({"disk_aio": "native"}, "needs disk_cache none"),
        ({"security_model": "user"}, "the one needs the other"),
        ({"serial_speed": 1234}, "serial_speed must be one of"),
        ({"virtio_net_queues": 9}, "must be from 1 to 8"),
        ({"migration_downtime": -1}, "must be at least 0"),
        ({"cpu_mask": "0-2:x"}, "'x'"),
        ({"cpu_mask": "3-1"}, "ends before it starts"),
        ({"acpi": "true"}, "acpi must be of type bool"),
    ],
)
def test_check_names_the_parameter_and_what_is_wrong(override, message):
    with pytest.raises(errors.PrereqError, match=message) as caught:
        parameters.check("kvm", parameters.fill("kvm", override))
    assert caught.value.code == "wrong_input"


@pytest.mark.parametrize("mask", ["all", "0", "0-2,4", "0-2:1:all", "0-7,^3"])
def test_check_takes_cpu_masks(mask):
    parameters.check("kvm", parameters.fill("kvm", {"cpu_mask": mask}))


def test_check_wants_complete_parameters():
    complete = parameters.defaults("xen-pvm")
    del complete["kernel_path"]
    with pytest.raises(errors.PrereqError, match="parameter kernel_path is missing"):
        parameters.check("xen-pvm", complete)


def test_an_unknown_hypervisor_is_refused_with_those_there_are():
    with pytest.raises(errors.PrereqError, match="no hypervisor 'vmware'; there are xen-pvm, xen-hvm, kvm, fake"):
        parameters.defaults("vmware")


def test_global_parameters_are_those_of_migrations():
    assert {"migration_port", "migration_bandwidth", "migration_mode"} == parameters.GLOBAL


@given(st.dictionaries(st.sampled_from(sorted(parameters.defaults("kvm"))), st.none() | st.booleans() | st.text()))
def test_parse_replies_values_or_an_error_that_names_a_parameter(overrides):
    try:
        parsed = parameters.parse("kvm", overrides)
    except (errors.TypeEnforcementError, errors.UnitParseError) as err:
        assert any(name in str(err) for name in overrides)
    else:
        plain = parameters.defaults("kvm")
        assert all(value is None or type(value) is type(plain[name]) for name, value in parsed.items())
