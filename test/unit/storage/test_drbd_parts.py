"""What DRBD 8.4 said on real nodes, and what it is told."""

from pathlib import Path

import pytest

from ganeti import errors
from ganeti.storage.drbd8 import commands, params, parse
from ganeti.storage.drbd8.parse import Configured

RECORDED = Path(__file__).parents[2] / "transcripts" / "drbd-8.4.11"
LOCAL, PEER = "ipv4:10.97.1.11:11000", "ipv4:10.97.1.12:11000"


def recorded(name):
    return (RECORDED / name).read_text()


@pytest.mark.parametrize("name", sorted(path.name for path in RECORDED.glob("proc-*-*-*")), ids=str)
def test_every_recorded_state_is_read(name):
    _, connection, role, peer, disk, peer_disk = name.split("-")
    status = parse.proc(recorded(name)).minors[0]
    words = (status.connection, status.role, status.peer_role, status.disk, status.peer_disk)
    assert tuple(word.lower() for word in words) == (connection, role, peer, disk, peer_disk)
    assert status.is_syncing == ("sync" in connection)
    assert status.is_degraded == (name != f"proc-{connection}-{role}-{peer}-uptodate-uptodate")


def test_a_free_minor_and_a_module_without_minors_have_none():
    assert parse.proc(recorded("proc-none")) == parse.Proc(version=(8, 4, 11), minors={})
    assert parse.proc(recorded("proc-unconfigured")).minors == {}


def test_a_sync_tells_how_far_it_is_and_when_it_ends():
    status = parse.proc(recorded("proc-syncsource-primary-secondary-uptodate-inconsistent")).minors[0]
    assert (status.percent, status.seconds) == (3.1, 327)
    paused = parse.proc(recorded("proc-pausedsyncs-primary-secondary-uptodate-inconsistent")).minors[0]
    assert (paused.percent, paused.seconds, paused.is_syncing) == (0.0, None, True)


def test_a_verification_is_no_sync():
    status = parse.proc(recorded("proc-verifys-primary-secondary-uptodate-uptodate")).minors[0]
    assert not status.is_syncing
    assert not status.is_degraded


def test_several_minors_and_an_empty_first_line_are_read():
    text = "\nversion: 8.3.11 (api:88/proto:86-96)\n" + "".join(
        recorded(name).split("\n", 2)[2].replace(" 0:", f" {minor}:", 1)
        for minor, name in ((3, "proc-unconfigured"), (12, "proc-wfconnection-primary-unknown-uptodate-dunknown"))
    )
    found = parse.proc(text)
    assert found.version == (8, 3, 11)
    assert list(found.minors) == [12]
    assert found.minors[12].connection == "WFConnection"


@pytest.mark.parametrize("text", ["", "nothing\n", "version: 8.4.11 (api:1)\n 0: cs:Connected what is this\n"])
def test_what_cannot_be_understood_is_an_error_never_nothing(text):
    with pytest.raises(errors.StorageError):
        parse.proc(text)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("show-minor-only", Configured()),
        ("show-attached", Configured(data="/dev/xenvg/disk0_data", meta="/dev/xenvg/disk0_meta", meta_index="0")),
        (
            "show-connected",
            Configured(
                data="/dev/xenvg/disk0_data", meta="/dev/xenvg/disk0_meta", meta_index="0", local=LOCAL, peer=PEER
            ),
        ),
        ("show-diskless", Configured(local=LOCAL, peer=PEER)),
        ("show-internal", Configured(data="/dev/xenvg/disk0_data", meta="internal")),
    ],
)
def test_show_is_read(name, wanted):
    assert parse.show(recorded(name)) == wanted


@pytest.mark.parametrize("name", ["show-two-primaries", "show-resized", "show-dynamic-resync", "show-defaults"])
def test_other_options_of_show_do_not_disturb(name):
    found = parse.show(recorded(name))
    assert found.data == "/dev/xenvg/disk0_data"
    assert {found.local, found.peer} == {LOCAL, PEER}
    assert found.two_primaries == (name == "show-two-primaries")


def test_show_with_an_address_of_ipv6_is_read_as_it_is_written():
    text = recorded("show-connected").replace("ipv4 10.97.1.11:11000", "ipv6 [fe80::1]:11000")
    assert parse.show(text).local == commands.address("fe80::1", 11000)


def test_show_that_cannot_be_understood_is_an_error():
    with pytest.raises(errors.StorageError, match="cannot be understood"):
        parse.show(recorded("show-connected")[:-3])


def test_options_follow_the_parameters():
    assert params.disk_options({}) == ("--resync-rate=61440", "--c-plan-ahead=0")
    assert params.disk_options({"disk-barriers": "bf", "meta-barriers": True, "resync-rate": 1000}) == (
        "--disk-barrier=no", "--disk-flushes=no", "--md-flushes=no", "--resync-rate=1000", "--c-plan-ahead=0",
    )  # fmt: skip
    assert params.disk_options({"dynamic-resync": True, "disk-custom": "--al-extents 257"}) == (
        "--c-plan-ahead=20", "--c-fill-target=0", "--c-delay-target=1", "--c-max-rate=61440", "--c-min-rate=4096",
        "--al-extents", "257",
    )  # fmt: skip
    assert "A" in params.net_options({"protocol": "A"})
    with pytest.raises(errors.StorageError, match="net-custom"):
        params.net_options({"net-custom": "'open"})


def test_no_side_is_ever_told_to_discard_changes_after_a_split_brain():
    words = " ".join(params.net_options({}))
    assert "--after-sb-0pri=discard-zero-changes --after-sb-1pri=consensus" in words
    assert "discard-my-data" not in words
    assert "2pri" not in words


@pytest.mark.parametrize(
    "option",
    ["--discard-my-data", "--discard", "--after-sb-2pri=discard-remote", "--after-sb-0pri", "--allow-two-primaries=yes",
     "--allow-two", "--rr-conflict violently", "--on-io-error=pass_on"],
)  # fmt: skip
def test_options_of_the_administrator_do_not_decide_whose_data_go(option):
    for name, options in (("net-custom", params.net_options), ("disk-custom", params.disk_options)):
        with pytest.raises(errors.StorageError, match=f"{name}.*must not have --"):
            options({name: f"--verify-alg=sha1 {option}"})
    assert "--verify-alg=sha1" in params.net_options({"net-custom": "--verify-alg=sha1 --ping-int 5"})


def test_commands_are_those_that_worked_on_real_nodes():
    assert " ".join(commands.create_md(0, "/dev/xenvg/disk0_meta")) == (
        "drbdmeta --force /dev/drbd0 v08 /dev/xenvg/disk0_meta 0 create-md"
    )
    assert " ".join(commands.resize(0, 192)) == "drbdsetup resize 0 --size=196608k"
    assert " ".join(commands.two_primaries(LOCAL, PEER, allowed=False)) == (
        f"drbdsetup net-options {LOCAL} {PEER} --allow-two-primaries=no"
    )


@pytest.mark.parametrize("name", ["connected-secondary", "down-primary", "power-lost-primary", "power-lost-secondary"])
def test_a_recorded_generation_is_understood(name):
    found = parse.generation(recorded(f"gi-{name}"))
    assert len(found.current) == 16
    assert found.is_consistent
    assert (found.is_outdated, found.base) == (False, "")
    assert "0000000000000004" not in found.history


def test_a_generation_tells_what_became_of_the_data():
    alone = "2E4E981882B86EC5:DA7C579DDF89B6B2:57FA389513F685A6:57F9389513F685A6"
    outdated = parse.generation(f'Found meta data is "unclean", please apply-al first\n{alone}:1:0:0:0:0:0:0\n')
    assert (outdated.current, outdated.base) == ("2E4E981882B86EC4", "DA7C579DDF89B6B2")
    assert outdated.history == ("57FA389513F685A6", "57F9389513F685A6")
    assert outdated.is_outdated
    filling = parse.generation(f"{alone}:0:0:0:1:0:0:0")
    assert (filling.is_consistent, filling.is_outdated) == (False, False)
    new = parse.generation("0000000000000004:0000000000000000:0000000000000000:0000000000000000:0:0:0:0:0:0:0")
    assert (new.current, new.history) == ("", ())


@pytest.mark.parametrize("text", ["", "No valid meta data found", "1947192EC947068A:0:1:1:0:1:0:0:0"])
def test_what_is_no_generation_is_never_taken_for_one(text):
    with pytest.raises(errors.StorageError, match="tells no data generation"):
        parse.generation(text)
