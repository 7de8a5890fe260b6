from pathlib import Path

import pytest

from ganeti.calls.instance import GuestState
from ganeti.hypervisor import linux
from ganeti.hypervisor.kvm import parse

TRANSCRIPTS = Path(__file__).parents[2] / "transcripts"


def transcript(name):
    return (TRANSCRIPTS / name).read_text()


def test_the_emulators_version():
    assert parse.version(transcript("qemu-7.2/version")) == (7, 2, 22)


def test_a_version_without_patch_level_and_none_at_all():
    assert parse.version("QEMU emulator version 9.0") == (9, 0, 0)
    assert parse.version("kvm: command not found") is None


def test_machine_types_are_the_first_words_without_the_title():
    found = parse.machine_types(transcript("qemu-7.2/machine-help"))
    assert {"pc", "q35", "pc-i440fx-7.2", "microvm"} <= found
    assert "Supported" not in found


@pytest.mark.parametrize(
    ("run_state", "wanted"),
    [
        ("running", GuestState.RUNNING),
        ("suspended", GuestState.RUNNING),
        ("paused", GuestState.PAUSED),
        ("prelaunch", GuestState.PAUSED),
        ("io-error", GuestState.PAUSED),
        ("shutdown", GuestState.SHUTDOWN),
        ("guest-panicked", GuestState.SHUTDOWN),
    ],
)
def test_run_states(run_state, wanted):
    assert parse.guest_state(run_state) is wanted


def test_process_stat_with_a_command_that_looks_like_fields():
    raw = b"42 (evil) Z 1 (x) S 1 42 42 0 -1 4194560 1 2 3 4 250 50 0 0 20 0 3 0 987654 1000 5 18446744073709551615"
    assert parse.process_stat(raw) == parse.ProcessStat(is_zombie=False, cpu_ticks=300, started=987654)


def test_a_zombie_is_told():
    assert parse.process_stat(b"42 (qemu) Z 1 42 42 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 5 0 0").is_zombie


def test_arguments_keep_blanks():
    assert parse.arguments(b"qemu\0-name\0web 1\0") == ("qemu", "-name", "web 1")


def test_memory_counts_what_programs_could_get_as_free():
    total, free = linux.parse_memory(transcript("linux-6/meminfo"))
    assert 0 < free < total
    assert linux.parse_memory("MemTotal: 2048 kB\nMemFree: 100 kB\nMemAvailable: 1024 kB\n") == (2, 1)


def test_memory_of_an_old_kernel_is_free_and_caches():
    assert linux.parse_memory("MemTotal: 10240 kB\nMemFree: 1024 kB\nBuffers: 1024 kB\nCached: 2048 kB\n") == (10, 4)


def test_processors_and_sockets():
    assert linux.parse_processors(transcript("linux-6/cpuinfo")) == (2, 1)
    assert [linux.parse_numa(text) for text in ("0\n", "0-1,3\n", "0-7\n", "")] == [1, 3, 8, 1]
    assert linux.parse_processors("processor : 0\nphysical id : 0\n\nprocessor : 1\nphysical id : 1\n") == (2, 2)


def test_a_command_line_tells_what_it_runs():
    words = ("qemu", "-name", "web1", "-uuid", "u-1", "-smp", "4,cores=2", "-m", "131080k", "-pidfile", "/run/web1")
    assert parse.command_line(words) == parse.CommandLine(uuid="u-1", memory=128, vcpus=4)
    assert parse.command_line(("qemu", "-m", "2048", "-uuid", "u-1")).memory == 2048
    assert parse.command_line(("qemu", "-m", "x", "-uuid")) == parse.CommandLine(uuid="", memory=0, vcpus=0)
