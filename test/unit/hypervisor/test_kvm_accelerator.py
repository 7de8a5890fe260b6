import os
import subprocess
import time

import pytest

from ganeti import errors
from ganeti.hypervisor.kvm import accelerator, commands
from ganeti.testing.script import Answer, Script

PROBE = "/bin/sh -c ... /bin/sh ... -machine pc,accel=kvm ... -device isa-debug-exit,iobase=0xf4,iosize=0x04"
needs_device = pytest.mark.skipif(not os.access(accelerator.DEVICE, os.R_OK | os.W_OK), reason="there is no /dev/kvm")


def test_flags_decide_without_asking(tmp_path):
    """Values of kvm_flag."""
    tools = Script()
    assert accelerator.choose("disabled", "/bin/sh", str(tmp_path), tools) == "tcg"


@needs_device
def test_a_guest_that_runs_proves_it_and_is_asked_once(tmp_path):
    tools = Script((PROBE, Answer(status=33)))
    for _ in range(2):
        assert accelerator.choose("", "/bin/sh", str(tmp_path), tools) == "kvm"
    tools.assert_finished()
    assert accelerator.known(str(tmp_path)).works


@needs_device
@pytest.mark.parametrize("answer", [Answer(status=None, why="no end within 5 s"), Answer(status=1, stderr="no KVM")])
def test_a_guest_that_hangs_or_fails_means_emulation_and_the_reason_is_kept(tmp_path, answer):
    tools = Script((PROBE, answer))
    for _ in range(2):
        assert accelerator.choose("", "/bin/sh", str(tmp_path), tools) == "tcg"
    tools.assert_finished()
    assert (answer.why or answer.stderr) in accelerator.known(str(tmp_path)).reason


@needs_device
def test_another_emulator_is_asked_anew(tmp_path):
    tools = Script((PROBE, Answer(status=33)), (PROBE.replace("... /bin/sh", "... /bin/cat"), Answer(status=1)))
    assert accelerator.choose("", "/bin/sh", str(tmp_path), tools) == "kvm"
    assert accelerator.choose("", "/bin/cat", str(tmp_path), tools) == "tcg"
    tools.assert_finished()


@needs_device
def test_a_device_that_appears_later_is_asked_then(tmp_path):
    """Guests may be started at boot before the kernel's module is there."""
    device, tools = tmp_path / "kvm", Script((PROBE, Answer(status=33)))
    assert not accelerator.probe("/bin/sh", str(tmp_path), tools, device=str(device)).works
    device.touch()
    for _ in range(2):
        assert accelerator.probe("/bin/sh", str(tmp_path), tools, device=str(device)).works
    tools.assert_finished()


def test_a_guest_on_a_busy_node_has_time_but_one_that_hangs_burns_no_more_of_it():
    """A node's guests may all be started at once; one that was slow to prove itself made all of them emulated."""
    shell, flag, script, *command = commands.bounded(("qemu", "-x"), accelerator.PROBE_CPU_S)
    assert (shell, flag, command) == ("/bin/sh", "-c", ["qemu", "-x"])
    begun = time.monotonic()
    done = subprocess.run([shell, flag, script, shell, "-c", "while :; do :; done"], check=False, timeout=60)
    assert done.returncode < 0
    assert time.monotonic() - begun < 60
    slow = subprocess.run([shell, flag, script, "sleep", "1"], check=False, timeout=60)
    assert slow.returncode == 0
    assert accelerator.PROBE_TIME_S >= 4 * accelerator.PROBE_CPU_S


def test_a_damaged_note_counts_as_none(tmp_path):
    (tmp_path / "accelerator").write_text("?")
    assert accelerator.known(str(tmp_path)) is None


def test_without_an_emulator_it_says_so(tmp_path):
    with pytest.raises(errors.HypervisorError, match="the emulator /nowhere cannot be found"):
        accelerator.probe("/nowhere", str(tmp_path), Script())
