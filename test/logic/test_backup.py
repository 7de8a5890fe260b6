"""Exports and imports on a cluster in one process: what comes back, what is refused, what is taken back."""

from __future__ import annotations

import asyncio
import os
import shutil

import msgspec
import pytest

from ganeti import errors, paths
from ganeti.calls.export import (
    ExportBegin,
    ExportDiscard,
    ExportFinish,
    ExportInfo,
    ExportRemove,
    FreezeCheck,
    FreezeDisks,
    Freezing,
    StreamFacilities,
    StreamSend,
    StreamStop,
    ThawDisks,
)
from ganeti.calls.node import StorageInfo
from ganeti.host.clock import SystemClock
from ganeti.host.run import HostRunner
from ganeti.logic import guests
from ganeti.model import export_ini
from ganeti.model.disks import snapshot_of
from ganeti.model.jobs import Status
from ganeti.model.objects import Disk, DiskTemplate
from ganeti.node import exports, freezing
from ganeti.node.base import HANDLERS, Context, NodeEnv
from ganeti.ops.backup import OpBackupExport, OpBackupQueryData, OpBackupRemove
from ganeti.ops.instance import OpInstanceCreate, OpInstanceRemove
from ganeti.ops.network import OpNetworkAdd, OpNetworkConnect
from ganeti.paths import Paths
from ganeti.testing.cluster import OS_NAME, SimulatedCluster

NAME = "web1.example.com"
SCRIPTS = {
    "export": '#!/bin/sh\necho "exporting $EXPORT_INDEX" >&2\nexec cat "$EXPORT_DEVICE"\n',
    "import": '#!/bin/sh\nexec dd of="$IMPORT_DEVICE" conv=notrunc 2>/dev/null\n',
}


def scribble(path: str, offset: int, data: bytes) -> None:
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)


class World:
    def __init__(self, root: str) -> None:
        self.cluster = SimulatedCluster(root)
        self.nodes = list(self.cluster.nodes.values())

    def script(self, name: str, text: str | None) -> None:
        """On all nodes; None: there is none."""
        for node in self.nodes:
            path = node.paths.local(f"{node.paths.os_search_path[0]}/{OS_NAME}/{name}")
            if text is None:
                os.unlink(path)
                continue
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            os.chmod(path, 0o755)

    def scripts(self) -> World:
        for name, text in SCRIPTS.items():
            self.script(name, text)
        return self

    async def instance(self, *, start: bool = False, disks: int = 2, **more: object) -> None:
        await self.cluster.engine.recover()
        job = await self.cluster.run(
            OpInstanceCreate(
                instance_name=NAME,
                os_type=OS_NAME,
                disk_template="file",
                disks=tuple({"size": 4 * (index + 1)} for index in range(disks)),
                ignore_ipolicy=True,
                pnode="node1",
                start=start,
                tags=("one", "two"),
                **more,
            )
        )
        assert job.status is Status.SUCCESS, job.ops[0].result
        for index in range(disks):
            scribble(self.disk(NAME, index), 1000, os.urandom(100_000))

    def disk(self, name: str, index: int) -> str:
        instance = self.cluster.config.instance(name)
        node = self.cluster.nodes[instance.primary_node]
        return node.paths.local(str(instance.disks[index].logical_id[1]))

    def content(self, name: str, index: int) -> bytes:
        with open(self.disk(name, index), "rb") as file:
            return file.read()

    async def succeeds(self, op: object) -> object:
        job = await self.cluster.run(op)
        assert job.status is Status.SUCCESS, (job.ops[0].result, self.cluster.log_of(job.id))
        self.log = self.cluster.log_of(job.id)
        return job.ops[0].result

    async def fails(self, op: object) -> str:
        job = await self.cluster.run(op)
        assert job.status is Status.ERROR, job.ops[0].result
        self.log = self.cluster.log_of(job.id)
        return str(job.ops[0].result)

    def exports(self) -> list[str]:
        """Everything in the export directories, hidden things too."""
        return sorted(
            f"{node.name.partition('.')[0]}/{name}"
            for node in self.nodes
            if os.path.isdir(node.paths.local(paths.EXPORT_DIR))
            for name in os.listdir(node.paths.local(paths.EXPORT_DIR))
        )

    def snapshots(self) -> list[str]:
        return [path for node in self.nodes for path in node.volumes() if path.endswith(".snap")]


@pytest.fixture
def world(tmp_path):
    return World(str(tmp_path))


def export(**more: object) -> OpBackupExport:
    return OpBackupExport(instance_name=NAME, target_node="node2", **more)


def import_(name: str = "web2.example.com", **more: object) -> OpInstanceCreate:
    more = {"pnode": "node3", "src_path": NAME, "ignore_ipolicy": True, "start": False, **more}
    return OpInstanceCreate(instance_name=name, mode="import", **more)


@pytest.mark.parametrize("scripts", [True, False])
@pytest.mark.parametrize("compress", ["none", "gzip-fast"])
def test_what_is_imported_is_what_was_exported(world, scripts, compress):
    async def story():
        if scripts:
            world.scripts()
        await world.instance()
        assert await world.succeeds(export(compress=compress)) == [True, [True, True]]
        assert any(("1.0" if compress == "none" else "0.1") + " MiB sent" in line for line in world.log)
        await world.succeeds(import_(compress=compress))
        found = world.cluster.config.instance("web2.example.com")
        assert [disk.size for disk in found.disks] == [4, 8]
        assert (found.os, found.tags, found.beparams["maxmem"]) == (OS_NAME, ("one", "two"), 128)
        assert [world.content(NAME, n) == world.content("web2.example.com", n) for n in (0, 1)] == [True, True]
        details = (await world.succeeds(OpBackupQueryData()))[NAME][0]
        assert (details["contents"], details["node"]) == ("script" if scripts else "raw", "node2.example.com")

    asyncio.run(story())


def test_an_import_has_at_least_as_many_disks(world):
    async def story():
        await world.instance()
        await world.succeeds(export())
        assert "has 2 disks" in await world.fails(import_(disks=({"size": 8},)))
        await world.succeeds(import_(disks=({"size": 8}, {}, {"size": 4})))
        assert [disk.size for disk in world.cluster.config.instance("web2.example.com").disks] == [8, 8, 4]
        assert "larger than disk 0" in await world.fails(import_("web3.example.com", disks=({"size": 1}, {"size": 8})))
        assert "web3.example.com" not in world.cluster.config.instance_names
        assert world.cluster.debris() == []

    asyncio.run(story())


def test_an_instance_that_was_removed_comes_back_with_its_macs(world):
    async def story():
        await world.instance()
        old = world.cluster.config.instance(NAME)
        await world.succeeds(export(remove_instance=True))
        assert NAME not in world.cluster.config.instance_names
        await world.succeeds(import_(NAME, src_path="", identify_defaults=True))
        new = world.cluster.config.instance(NAME)
        assert [nic.mac for nic in new.nics] == [nic.mac for nic in old.nics]
        assert new.beparams == {}

    asyncio.run(story())


@pytest.mark.parametrize("missing", ["export", "import"])
def test_a_missing_script_forbids_its_operation_only(world, missing):
    async def story():
        world.scripts()
        await world.instance()
        if missing == "import":
            await world.succeeds(export())
        world.script(missing, None)
        op = export() if missing == "export" else import_()
        assert f"no script {missing}" in await world.fails(op)
        assert world.snapshots() == []

    asyncio.run(story())


def test_a_running_guest_is_exported_while_it_runs(world):
    async def story():
        await world.instance(start=True)
        await world.succeeds(export(shutdown=False))
        assert world.snapshots() == []
        assert not any("stop web1" in line for line in world.log)
        await world.succeeds(import_())
        assert world.content(NAME, 1) == world.content("web2.example.com", 1)

    asyncio.run(story())


def test_a_running_guest_runs_again_while_it_is_exported(world):
    async def story():
        await world.instance(start=True)
        await world.succeeds(export())
        node = world.nodes[0]
        assert node.hypervisor.info(NAME, "").state.value == "running"
        assert world.snapshots() == []

    asyncio.run(story())


@pytest.mark.parametrize("script", ["exit 3", "cat $EXPORT_DEVICE; exit 3", "cat $EXPORT_DEVICE; sleep 100 &"])
def test_a_script_that_fails_leaves_nothing(world, script):
    async def story():
        world.scripts()
        await world.instance(start=True)
        await world.succeeds(export())
        world.script("export", f"#!/bin/sh\necho the last words >&2\n{script}\n")
        text = await world.fails(export(shutdown=False))
        assert "the last words" in text
        assert "exit status 3" in text or "left processes behind: sleep" in text
        assert world.exports() == [f"node2/{NAME}"]
        assert world.snapshots() == []
        await world.succeeds(import_())

    asyncio.run(story())


def test_an_import_script_that_fails_undoes_the_creation(world):
    async def story():
        world.scripts()
        await world.instance()
        await world.succeeds(export())
        world.script("import", "#!/bin/sh\necho cannot >&2\nexit 1\n")
        assert "cannot" in await world.fails(import_())
        assert world.cluster.debris() == []

    asyncio.run(story())


def test_a_script_need_not_read_its_input(world):
    async def story():
        world.scripts()
        await world.instance()
        await world.succeeds(export())
        world.script("import", "#!/bin/sh\nexit 0\n")
        await world.succeeds(import_())
        assert world.content("web2.example.com", 0) == bytes(4 << 20)

    asyncio.run(story())


def test_a_dump_that_has_rotted_is_not_imported(world):
    async def story():
        await world.instance()
        await world.succeeds(export())
        directory = world.nodes[1].paths.local(f"{paths.EXPORT_DIR.path}/{NAME}")
        dump = next(name for name in os.listdir(directory) if name != "config.ini")
        scribble(f"{directory}/{dump}", 2000, b"rot")
        assert "is damaged" in await world.fails(import_())
        os.truncate(f"{directory}/{dump}", 5)
        assert "is damaged" in await world.fails(import_())
        assert world.cluster.debris() == []

    asyncio.run(story())


def test_only_the_newest_export_stays(world):
    async def story():
        await world.instance()
        await world.succeeds(export())
        await world.succeeds(export())
        await world.succeeds(OpBackupExport(instance_name=NAME, target_node="node3"))
        assert world.exports() == [f"node3/{NAME}"]
        await world.succeeds(OpBackupRemove(instance_name="web1"))
        assert world.exports() == []
        assert "no node has an export" in await world.fails(OpBackupRemove(instance_name=NAME))

    asyncio.run(story())


def test_what_cannot_be_wished_for_is_refused(world):
    async def story():
        await world.instance()
        for op, words in (
            (export(compress="rar"), "no compression 'rar'"),
            (export(mode="remote"), "other clusters"),
            (export(zero_free_space=True), "zeros"),
            (export(ignore_remove_failures=True), "--remove-instance only"),
            (import_(), "no node has an export"),
            (import_(src_node="node2"), "has no export"),
            (import_(src_path="/somewhere"), "on which node"),
            (OpBackupQueryData(names=("no",)), "no node has an export of no"),
        ):
            assert words in await world.fails(op)

    asyncio.run(story())


def test_a_master_that_dies_in_the_middle_leaves_no_half_export(world):
    async def story():
        await world.instance(start=True)
        gate = asyncio.Event()
        world.cluster.rpc.held_replies["stream_listen"] = gate
        job = await world.cluster.submit(export(shutdown=False))
        while ("node2.example.com", "stream_listen") not in world.cluster.rpc.made:
            await asyncio.sleep(0.01)
        assert world.snapshots() != []
        await world.cluster.restart()
        assert (await world.cluster.wait(job)).status is Status.ERROR
        gate.set()
        assert world.snapshots() == []
        assert world.exports() == []

    asyncio.run(story())


# The node's side


def call(world: World, made: object) -> object:
    return HANDLERS[type(made)](made, world.nodes[1].env, Context())


def finished(world: World, token: str, text: str) -> None:
    call(world, ExportBegin(request="b", export="x", token=token))
    call(world, ExportFinish(request="f", export="x", token=token, text=text, files=()))


TEXT = export_ini.write(export_ini.Exported(name="x", timestamp=1, source="n"))
OLD = export_ini.write(export_ini.Exported(name="x", timestamp=0, source="n"))


@pytest.mark.parametrize("stage", ["new", "aside", "placed", "done"])
def test_an_export_that_is_discarded_brings_the_older_one_back(world, stage):
    finished(world, "t1", OLD)
    base = world.nodes[1].paths.local(paths.EXPORT_DIR)
    if stage == "done":
        finished(world, "t2", TEXT)
    else:
        call(world, ExportBegin(request="b", export="x", token="t2"))
    if stage in ("aside", "placed"):
        os.rename(f"{base}/x", f"{base}/.x.old")
    if stage == "placed":
        os.rename(f"{base}/x.new", f"{base}/x")
    for _ in range(2):
        call(world, ExportDiscard(request="d", export="x", token="t2"))
    found = call(world, ExportInfo(place="x"))
    assert f"timestamp = {1 if stage == 'done' else 0}" in found.text
    assert world.exports() == ["node2/x"]


def test_a_finish_may_be_repeated(world):
    call(world, ExportBegin(request="b", export="x", token="t"))
    call(world, ExportBegin(request="b", export="x", token="t"))
    base = world.nodes[1].paths.local(paths.EXPORT_DIR)
    with open(f"{base}/x.new/config.ini", "w", encoding="utf-8") as file:
        file.write(TEXT)
    os.rename(f"{base}/x.new", f"{base}/x")
    call(world, ExportFinish(request="f", export="x", token="t", text=TEXT, files=()))
    assert world.exports() == ["node2/x"]
    call(world, ExportRemove(request="r", export="x"))
    call(world, ExportRemove(request="r", export="x"))
    assert world.exports() == []


def test_a_finish_that_is_done_may_be_repeated_whose_answer_was_lost(world):
    finished(world, "t1", OLD)
    finished(world, "t2", TEXT)
    again = ExportFinish(request="g", export="x", token="t2", text=TEXT, files=())
    call(world, again)
    assert "timestamp = 1" in call(world, ExportInfo(place="x")).text
    with pytest.raises(errors.NodeFailure, match="no unfinished export of x with that token"):
        call(world, msgspec.structs.replace(again, token="t1"))
    assert world.exports() == ["node2/x"]


def test_a_finish_goes_on_where_a_daemon_died(world):
    call(world, ExportBegin(request="b", export="x", token="t"))
    base = world.nodes[1].paths.local(paths.EXPORT_DIR)
    # its config.ini is there, and the sum of one dump is gone already
    with open(f"{base}/x.new/config.ini", "w", encoding="utf-8") as file:
        file.write(TEXT)
    files = ((0, "d0"), (1, "d1"))
    exports.note_sum(f"{base}/x.new/d1", 1, "00")
    call(world, ExportFinish(request="f", export="x", token="t", text=TEXT, files=files))
    assert sorted(os.listdir(f"{base}/x")) == [".finished", "config.ini"]
    assert world.exports() == ["node2/x"]


@pytest.mark.parametrize("name", ["..", "a/b", "", ".x", "x" * 300])
def test_names_are_checked_on_the_node(world, name):
    with pytest.raises(errors.NodeFailure):
        call(world, ExportBegin(request="b", export=name, token="t"))
    assert "none" in call(world, StreamFacilities()).compressions
    assert StreamSend.time.is_long


def test_what_is_written_is_read_again():
    exported = export_ini.Exported(
        name="x",
        timestamp=5,
        source="node1",
        os="noop",
        contents="raw",
        hypervisor="kvm",
        template="file",
        tags=("a", "b"),
        nics=(export_ini.ExportedNic(mac="aa:00:00:00:00:01", ip=None, params={"mode": "bridged", "link": "br0"}),),
        disks=(export_ini.ExportedDisk(size=5, dump="file"), export_ini.ExportedDisk(size=6, name="data")),
        beparams={"maxmem": 128, "minmem": 64, "vcpus": 2},
    )
    read = export_ini.read(export_ini.write(exported))
    assert (read.nics, read.disks) == (exported.nics, exported.disks)
    assert read.beparams == {"maxmem": "128", "minmem": "64", "vcpus": "2"}


def test_an_export_of_the_first_version_is_read():
    read = export_ini.read(
        "[export]\nversion = 0\ntimestamp = 1\nsource = n1\nos = etch\ncompression = gzip\n"
        "[instance]\nname = old\nmemory = 512\nvcpus = 1\ndisk_template = plain\nnic_count = 1\n"
        "nic0_mac = aa:00:00:1:2:3\nnic0_ip = None\nnic0_bridge = xen-br0\ndisk_count = 2\n"
        "disk0_ivname = disk/0\ndisk0_dump = lv.snap\ndisk0_size = 1024\ndisk1_size = 512\ndisk1_dump = False\n"
    )
    assert (read.compression, read.beparams) == ("gzip", {"maxmem": "512", "minmem": "512", "vcpus": "1"})
    assert read.nics[0].params == {"link": "xen-br0"}
    assert [disk.dump for disk in read.disks] == ["lv.snap", ""]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("garbage", "cannot be read"),
        ("[export]\nversion = 0\n", "no section instance"),
        ("[export]\nversion = 7\n[instance]\n", "export version 7"),
        ("[export]\nversion = 0\n[instance]\ndisk_count = x\n", "not a whole number"),
        ("[export]\nversion = 0\n[instance]\ndisk_count = 9999\n", "is 9999"),
        ("[export]\nversion = 0\n[instance]\ndisk_count = 1\n", "disk 0 has no size"),
        (f"[export]\nversion = 0\ntimestamp = {'1' * 5000}\n[instance]\n", "not a number from 0 to"),
        ("[export]\nversion = 0\ntimestamp = 999999999999999\n[instance]\n", "not a number from 0 to"),
        ("[export]\nversion = 0\ntimestamp = -1\n[instance]\n", "not a number from 0 to"),
        ("[export]\nversion = 0\n[instance]\n[os]\n[exact]\nos = {\n", "os in section exact"),
    ],
)
def test_a_broken_config_is_told(text, words):
    with pytest.raises(errors.PrereqError, match=words):
        export_ini.read(text)


def test_what_is_frozen_is_thawed_again_and_again(world):
    async def story():
        await world.instance(start=True)
        config = world.cluster.config
        instance, node = config.instance(NAME), world.nodes[0]
        spec = guests.guest_spec(config, instance)

        def do(made):
            return HANDLERS[type(made)](made, node.env, Context())

        assert do(FreezeCheck(spec=spec, is_running=True)) == (Freezing.COPY, Freezing.COPY)
        kept = tuple((n, snapshot_of(disk, f"snap-{n}")) for n, disk in enumerate(instance.disks))
        do(FreezeDisks(request="f", spec=spec, snapshots=kept, by_hypervisor=True))
        do(FreezeDisks(request="f2", spec=spec, snapshots=kept, by_hypervisor=True))
        assert len(world.snapshots()) == 2
        for request in ("t", "t2"):
            do(ThawDisks(request=request, spec=spec, snapshots=kept, undoes="f"))
        assert world.snapshots() == []
        do(StreamStop(request="s", undoes="never"))

    asyncio.run(story())


def test_a_guest_that_cannot_be_frozen_goes_on(world):
    async def story():
        await world.instance(start=True)
        world.nodes[0].hypervisor.copying.fail_next("copy", errors.HypervisorError("no space"))
        assert "no space" in await world.fails(export())
        assert world.nodes[0].hypervisor.info(NAME, "").state.value == "running"
        assert (world.snapshots(), world.exports()) == ([], [])

    asyncio.run(story())


#: (name, value) that lines of a config.ini cannot hold as they are
ODD = {
    "Key": "case",
    "a:b": "colon",
    "#c": "comment",
    "lead": "  x",
    "trail": "x ",
    "lines": "a\n#b\n\n c\r\n",
    "none": "None",
    "tab": "\tx\t",
    "empty": "",
    "words": "ä = [x]; %(y)s # z",
    "separator": "a\u2028b\x85c",
}


def test_parameters_with_odd_characters_come_back_as_they_were():
    exported = export_ini.Exported(name="x", timestamp=1, source="n", osparams=ODD, osparams_private=ODD, hvparams=ODD)
    read = export_ini.read(export_ini.with_sums(export_ini.write(exported), {}))
    assert (read.osparams, read.osparams_private, read.hvparams) == (ODD, ODD, ODD)


def test_checksums_go_beside_what_is_there():
    exported = export_ini.Exported(
        name="x", timestamp=1, source="n", disks=(export_ini.ExportedDisk(size=4, dump="f"),)
    )
    (disk,) = export_ini.read(export_ini.with_sums(export_ini.write(exported), {0: ("abc", 77)})).disks
    assert (disk.checksum, disk.dump_size, disk.dump) == ("abc", 77, "f")


def test_a_raw_import_onto_a_smaller_disk_is_refused_before_anything_is_made(world):
    async def story():
        await world.instance()
        await world.succeeds(export())
        before = world.cluster.debris()
        told = await world.fails(import_(disks=({"size": 4}, {"size": 7})))
        assert "dump of disk 1" in told and "OpPrereqError" in told
        assert world.cluster.debris() == before

    asyncio.run(story())


def test_an_import_script_that_writes_behind_the_end_of_a_file_disk_fails(world):
    async def story():
        world.scripts()
        await world.instance()
        await world.succeeds(export())
        told = await world.fails(import_(disks=({"size": 4}, {"size": 4})))
        assert "has changed the size of disk 1 from 4194304 to 8388608 bytes" in told
        assert "web2.example.com" not in world.cluster.config.instance_names

    asyncio.run(story())


def overwrite(path, data):
    with open(path, "wb") as file:
        file.write(data)


def config_of(world, node):
    return world.nodes[node].paths.local(f"{paths.EXPORT_DIR.path}/{NAME}/config.ini")


def test_a_damaged_export_is_named_and_does_not_hide_a_whole_one(world):
    async def story():
        await world.instance()
        await world.succeeds(export())
        shutil.copytree(os.path.dirname(config_of(world, 1)), os.path.dirname(config_of(world, 2)))
        overwrite(config_of(world, 1), b"[export]\n")
        told = await world.fails(import_(src_node="node2"))
        assert f"the export in /srv/ganeti/export/{NAME} on node node2.example.com is damaged" in told
        await world.succeeds(import_())
        assert any("not looked at" in line for line in world.log)
        overwrite(config_of(world, 2), b"#" * (2 << 20))
        assert "has more than" in await world.fails(import_("web3.example.com", src_node="node3"))
        details = (await world.succeeds(OpBackupQueryData()))[NAME]
        problems = {each["node"]: each["problem"] for each in details}
        assert "no section instance" in problems["node2.example.com"]
        assert "more than 1048576 bytes" in problems["node3.example.com"]

    asyncio.run(story())


def test_a_machine_comes_back_on_its_network_and_with_its_access_modes(world):
    async def story():
        await world.cluster.engine.recover()
        for op in (
            OpNetworkAdd(network_name="lan", network="192.0.2.0/24", conflicts_check=False),
            OpNetworkConnect(
                network_name="lan",
                group_name="default",
                network_mode="bridged",
                network_link="br9",
                conflicts_check=False,
            ),
        ):
            await world.succeeds(op)
        await world.succeeds(
            OpInstanceCreate(
                instance_name=NAME,
                os_type=OS_NAME,
                disk_template="file",
                disks=({"size": 4, "mode": "ro"}, {"size": 4}),
                nics=({"network": "lan", "ip": "192.0.2.7"}, {"ip": "198.51.100.1"}),
                ignore_ipolicy=True,
                pnode="node1",
                start=False,
            )
        )
        await world.succeeds(export())
        await world.succeeds(import_())
        copy = world.cluster.config.instance("web2.example.com")
        lan = world.cluster.config.network("lan").uuid
        assert [(nic.network, nic.params) for nic in copy.nics] == [(lan, {}), (None, copy.nics[1].params)]
        assert copy.nics[0].ip not in (None, "192.0.2.7")  # it is in use
        assert [disk.mode.value for disk in copy.disks] == ["ro", "rw"]
        await world.succeeds(OpInstanceRemove(instance_name=NAME))
        await world.succeeds(import_(NAME))
        back = world.cluster.config.instance(NAME)
        assert (back.nics[0].network, back.nics[0].ip, back.nics[1].ip) == (lan, "192.0.2.7", "198.51.100.1")

    asyncio.run(story())


def test_an_instance_that_was_to_be_removed_after_an_export_that_failed_runs_again(world):
    async def story():
        world.scripts()
        world.script("export", "#!/bin/sh\nexit 1\n")
        await world.instance(start=True)
        assert "exit status 1" in await world.fails(export(remove_instance=True, shutdown_timeout=0))
        instance = world.cluster.config.instance(NAME)
        node = world.cluster.nodes[instance.primary_node]
        assert node.hypervisor.info(NAME, instance.uuid) is not None
        assert world.exports() == []

    asyncio.run(story())


def test_what_is_kept_needs_room_beside_the_disks(world):
    async def story():
        await world.instance(disks=2)
        config = world.cluster.config
        disks, node = config.instance(NAME).disks, world.nodes[0]
        paths_of = [world.disk(NAME, index) for index in (0, 1)]
        data = sum(os.stat(path).st_blocks * 512 for path in paths_of)

        def taken(way, free, some=disks):
            room = freezing.Room(node.env, free_at=lambda path: free)
            return [room.take(way, disk, path) for disk, path in zip(some, paths_of, strict=True)]

        assert taken(Freezing.COPY, data) == [True, True]
        assert taken(Freezing.COPY, data - 1) == [True, False]
        assert taken(Freezing.AT_ONCE, 0) == [True, True]  # files that share their blocks

    asyncio.run(story())


def test_a_volume_group_without_room_is_seen_before_anything_is_stopped(tmp_path):
    class Group:
        def space(self, *, vg):
            return StorageInfo(total=100, free={"xenvg": 11}[vg])

    env = NodeEnv(
        paths=Paths(str(tmp_path)),
        runner=HostRunner(Paths()),
        clock=SystemClock(),
        hypervisors={},
        storage={DiskTemplate.PLAIN: Group()},
    )
    room = freezing.Room(env)
    volumes = [Disk(uuid=name, template=DiskTemplate.PLAIN, size=6, logical_id=("xenvg", name)) for name in "ab"]
    assert [room.take(Freezing.AT_ONCE, volume, "/dev/null") for volume in volumes] == [True, False]


@pytest.mark.parametrize(
    ("more", "words"),
    [({"shutdown": False}, "no room beside disk 1"), ({}, "no room beside disk 1"), ({"long_sleep": True}, "")],
)
def test_an_instance_is_not_stopped_for_an_export_for_which_there_is_no_room(world, more, words):
    async def story():
        await world.instance(start=True)
        world.cluster.rpc.replies["freeze_check"] = (Freezing.COPY, Freezing.NO_ROOM)
        if not words:
            await world.succeeds(export(shutdown_timeout=0, **more))
        else:
            assert words in await world.fails(export(shutdown_timeout=0, **more))
        assert world.nodes[0].hypervisor.info(NAME, "").state.value == "running"
        assert world.snapshots() == []

    asyncio.run(story())
