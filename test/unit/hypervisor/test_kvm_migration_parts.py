"""What is decided about a migration from facts alone: CPU, version, capabilities, addresses, progress."""

import pytest

from ganeti.calls.instance import GuestSpec
from ganeti.calls.migration import Departure
from ganeti.hypervisor.kvm import compat
from ganeti.hypervisor.kvm.progress import Meter
from ganeti.model.objects import Instance

MIB = 1 << 20
HOST = "model name\t: Some CPU 1.0\nflags\t\t: fpu sse2 avx\n"
SAME_HOST = "model name\t: Some CPU 1.0\nflags\t\t: avx fpu sse2\n"
OTHER_HOST = "model name\t: Some CPU 1.0\nflags\t\t: fpu sse2\n"


def cpu(accelerator, cpu_type="", version="7.2.22", host=HOST):
    return compat.cpu(accelerator, {"cpu_type": cpu_type}, version, host)


def departure(version="7.2.22", accelerator="tcg"):
    spec = GuestSpec(
        instance=Instance(uuid="u", name="web1", primary_node="n1", os="noop", hypervisor="kvm"),
        hvparams={},
        beparams={},
    )
    return Departure(spec=spec, memory=128, machine="pc-i440fx-7.2", accelerator=accelerator, version=version)


def test_the_hosts_cpu_is_the_same_only_with_the_same_features():
    assert cpu("kvm") == cpu("kvm", host=SAME_HOST) == cpu("kvm", "host", version="8.0.0")
    assert cpu("kvm") != cpu("kvm", host=OTHER_HOST)
    assert "Some CPU 1.0" in cpu("kvm")


def test_a_named_cpu_depends_on_nothing_else():
    assert cpu("kvm", "qemu64") == cpu("kvm", "qemu64", host=OTHER_HOST) == cpu("tcg", "qemu64", version="9.0.0") == ""


def test_an_emulated_cpu_depends_on_the_release():
    assert cpu("tcg") == cpu("tcg", "max", version="7.2.1", host=OTHER_HOST)
    assert cpu("tcg") != cpu("tcg", version="8.0.0")


def test_unequal_cpus_are_told_with_the_way_out():
    assert compat.cpu_problem("a", "a") == ""
    text = compat.cpu_problem("a", "b")
    assert "'a'" in text
    assert "'b'" in text
    assert "cpu_type" in text


@pytest.mark.parametrize(
    ("here", "is_old"), [((7, 2, 0), False), ((7, 1, 9), True), ((8, 0, 0), False), ((6, 2, 1), True)]
)
def test_an_older_emulator_is_a_problem(here, is_old):
    text = compat.version_problem(departure("7.2.22"), here)
    assert bool(text) == is_old
    assert not is_old or ("7.2.22" in text and ".".join(map(str, here)) in text)


def test_capabilities_that_would_change_the_procedure_are_refused():
    assert compat.capability_problem(("xbzrle", "auto-converge")) == ""
    text = compat.capability_problem(("xbzrle", "postcopy-ram", "nonsense"))
    assert "postcopy-ram, nonsense" in text
    assert "auto-converge" in text


def test_the_target_is_pinned_to_what_runs():
    assert compat.pinned(departure()) == {"machine_version": "pc-i440fx-7.2", "kvm_flag": "disabled"}
    assert compat.pinned(departure(accelerator="kvm"))["kvm_flag"] == "enabled"
    assert compat.machine("pc-q35-7.2-machine") == "pc-q35-7.2"


def test_addresses_of_both_families():
    assert compat.uri("192.0.2.1", 8102) == "tcp:192.0.2.1:8102"
    assert compat.uri("2001:db8::1", 8102, 8165) == "tcp:[2001:db8::1]:8102,to=8165"


def ram(transferred, remaining, total=128):
    return {"transferred": transferred * MIB, "remaining": remaining * MIB, "total": total * MIB}


def test_progress_is_in_percent_with_rate_and_rest():
    meter = Meter(100.0)
    for second in range(1, 4):
        meter.take(100.0 + second, ram(32 * second, 128 - 32 * second))
    assert meter.text() == "75 % sent, 32.0 MiB/s, 32 MiB remain"
    found = meter.progress()
    assert (found["percent"], found["remaining"], found["rate"]) == (75.0, 32 * MIB, 32 * MIB)
    assert found["text"] == meter.text()


def test_nothing_known_yet_is_no_division_by_zero():
    meter = Meter(100.0)
    meter.take(100.0, {})
    assert meter.text() == "0 % sent, 0.0 MiB/s, 0 MiB remain"


def test_it_is_watched_closely_only_near_the_end():
    meter = Meter(0.0)
    meter.take(1.0, ram(1, 127))
    far = meter.pause()
    meter.take(2.0, ram(2, 1))
    assert meter.pause() < far


def test_a_stall_is_seen_by_what_was_sent():
    meter = Meter(0.0)
    meter.take(1.0, ram(1, 127))
    meter.take(30.0, ram(1, 127))
    assert meter.moved == 1.0
    meter.take(31.0, ram(2, 126))
    assert meter.moved == 31.0


def test_the_summary_tells_size_time_and_pause():
    meter = Meter(0.0)
    meter.take(3.0, ram(90, 0))
    assert meter.summary({"total-time": 2700, "downtime": 6}) == "sent 90.0 MiB in 2.7 s, the last part of it in 6 ms"
