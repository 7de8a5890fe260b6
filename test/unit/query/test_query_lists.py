"""What the lists say."""

import asyncio

import msgspec
import pytest

from ganeti import errors
from ganeti.calls.export import ExportList
from ganeti.calls.instance import GuestsReply, GuestState, InstanceList
from ganeti.calls.node import NodeInfo
from ganeti.calls.os import OsDefinition, OsDiagnose
from ganeti.calls.provider import ProviderDefinition, ProviderDiagnose
from ganeti.host.clock import SystemClock
from ganeti.master import live
from ganeti.master.jobs import Obstacle
from ganeti.master.locks import LockRow, Pending
from ganeti.master.queries import SLICE_S, resources
from ganeti.model.jobs import ArchivedJob, Job, LogEntry, OpState, Status
from ganeti.model.locks import ALL, Level, LockKey
from ganeti.model.objects import AdminState, Disk, DiskTemplate, Network, Nic
from ganeti.query.fields import Field, Kind, table
from ganeti.query.instance import ALIASES
from ganeti.query.run import CHUNK


def cells(world, name, *fields, what="instance"):
    return world.ask(what, list(fields), ["==", "name", name])[0]


# -- rows


def test_rows_are_in_natural_order(world):
    assert world.names(None) == ["db1", "web2", "web10"]
    assert world.names(None, "node") == ["node1", "node2", "node10"]


def test_an_unknown_field_is_a_column_without_values(world):
    answer = asyncio.run(world.queries().query("instance", ["name", "colour"], None))
    assert answer["fields"][1] == {"name": "colour", "title": "colour", "kind": "unknown", "doc": "Unknown field"}
    assert [row[1] for row in answer["data"]] == [[1, None]] * 3


def test_no_fields_give_empty_rows(world):
    assert world.ask("node", []) == [[], [], []]


def test_static_fields_ask_no_node(world):
    world.ask("instance", ["name", "pnode", "be/vcpus"])
    assert world.rpc.asked == []


def test_fields_of_an_instance(world):
    assert cells(world, "web10", "os", "pnode", "be/vcpus", "be/memory", "vcpus", "disk.sizes", "sda_size") == [
        [0, "noop"], [0, "node1.example.com"], [0, 2], [0, 128], [0, 2], [0, [1024]], [0, 1024],
    ]  # fmt: skip
    assert cells(world, "web10", "disk.size/1", "disk.name/0", "nic.mac/0", "nic.ip/0", "nic.ips", "nic.bridge/0") == [
        [3, None], [0, "root"], [0, "aa:00:00:11:22:33"], [3, None], [0, [None]], [0, "xen-br0"],
    ]  # fmt: skip
    assert cells(world, "web2", "admin_state", "admin_up", "network_port", "disk_template", "be/vcpus", "snodes") == [
        [0, "down"], [0, False], [0, 11000], [0, "diskless"], [0, 4], [0, []],
    ]  # fmt: skip
    assert cells(world, "db1", "network_port", "pnode.group", "tags", "hv/kernel_path", "custom_beparams") == [
        [3, None], [0, "default"], [0, []], [3, None], [0, {}],
    ]  # fmt: skip


def test_hypervisor_parameters_are_complete_but_for_global_ones(world):
    world.put(world.instance("kvm1", hypervisor="kvm", hvparams={"acpi": False}))
    found = cells(world, "kvm1", "hvparams", "hv/acpi", "hv/boot_order", "custom_hvparams")
    assert found[0][1]["acpi"] is False
    assert "migration_port" not in found[0][1]
    assert found[1:] == [[0, False], [0, "disk"], [0, {"acpi": False}]]


def test_mirrors_count_their_metadata(world):
    disk = Disk(uuid="d", template=DiskTemplate.DRBD, size=1000, logical_id=("n1", "n2", 11000, 0, 0, "s"))
    world.put(world.instance("m1", disks=(disk, disk)))
    assert cells(world, "m1", "disk_usage", "snodes", "disk_template") == [
        [0, 2256], [0, ["node2.example.com"]], [0, "drbd"],
    ]  # fmt: skip


# -- status


@pytest.mark.parametrize(
    ("admin_state", "seen", "status"),
    [
        (AdminState.UP, GuestState.RUNNING, "running"),
        (AdminState.UP, GuestState.PAUSED, "running"),
        (AdminState.DOWN, GuestState.RUNNING, "ERROR_up"),
        (AdminState.OFFLINE, GuestState.RUNNING, "ERROR_up"),
        (AdminState.UP, None, "ERROR_down"),
        (AdminState.DOWN, None, "ADMIN_down"),
        (AdminState.OFFLINE, None, "ADMIN_offline"),
        (AdminState.UP, GuestState.SHUTDOWN, "ERROR_down"),
        (AdminState.DOWN, GuestState.SHUTDOWN, "ADMIN_down"),
    ],
)
def test_status_joins_the_wanted_and_the_found_state(world, admin_state, seen, status):
    world.put(world.instance("a", admin_state=admin_state))
    world.guests["n1"] = (world.running("a", seen),) if seen else ()
    assert cells(world, "a", "status") == [[0, status]]


def test_status_when_the_guest_shut_itself_down_and_may(world):
    world.change_cluster(enabled_user_shutdown=True)
    world.put(world.instance("a"), world.instance("b", admin_state=AdminState.DOWN, admin_state_source="user"))
    world.guests["n1"] = (world.running("a", GuestState.SHUTDOWN, has_switched_off=True),)
    assert cells(world, "a", "status") == [[0, "USER_down"]]
    assert cells(world, "b", "status") == [[0, "USER_down"]]


def test_a_guest_that_crashed_was_not_shut_down_by_its_user(world):
    world.change_cluster(enabled_user_shutdown=True)
    world.put(world.instance("a"))
    world.guests["n1"] = (world.running("a", GuestState.SHUTDOWN),)
    assert cells(world, "a", "status") == [[0, "ERROR_down"]]


@pytest.mark.parametrize(("allowed", "status"), [(True, "USER_down"), (False, "ERROR_down")])
def test_status_of_kvm_needs_the_instance_s_leave_too(world, allowed, status):
    world.change_cluster(enabled_user_shutdown=True)
    world.put(world.instance("a", hypervisor="kvm", hvparams={"user_shutdown": allowed}))
    world.guests["n1"] = (world.running("a", GuestState.SHUTDOWN, has_switched_off=True),)
    assert cells(world, "a", "status") == [[0, status]]


def test_status_when_the_node_is_offline_or_silent(world):
    world.failing["n2"] = "unreachable"
    assert cells(world, "db1", "status", "oper_state", "oper_ram") == [[0, "ERROR_nodeoffline"], [4, None], [4, None]]
    assert cells(world, "web2", "status", "oper_state") == [[0, "ERROR_nodedown"], [2, None]]


def test_status_when_it_runs_on_its_mirror(world):
    disk = Disk(uuid="d", template=DiskTemplate.DRBD, size=1000, logical_id=("n1", "n2", 11000, 0, 0, "s"))
    world.put(world.instance("a", disks=(disk,)))
    world.guests["n2"] = (world.running("a"),)
    assert cells(world, "a", "status") == [[0, "ERROR_wrongnode"]]


def test_what_a_running_instance_uses(world):
    world.guests["n1"] = (world.running("web10"),)
    assert cells(world, "web10", "oper_state", "oper_ram", "oper_vcpus") == [[0, True], [0, 128], [0, 2]]
    assert cells(world, "web2", "oper_state", "oper_ram", "console") == [[0, False], [3, None], [3, None]]


def test_the_console_is_asked_of_the_node_of_a_running_instance(world):
    world.guests["n1"] = (world.running("web10"),)
    ((console,),) = world.ask("instance", ["console"], ["==", "name", "web10"])
    assert console[0] == 0
    assert console[1] == {
        "instance": "web10.example.com", "kind": "ssh", "host": "node1.example.com", "user": "root",
        "command": ["cat"], "port": None, "display": None, "message": None,
    }  # fmt: skip


# -- nodes and groups


def test_roles_and_counts_of_nodes(world):
    found = world.ask("node", ["role", "pinst_cnt", "pinst_list", "group", "powered", "ndp/ssh_port"])
    assert found[0] == [[0, "M"], [0, 1], [0, ["web10.example.com"]], [0, "default"], [3, None], [0, 22]]
    assert [row[0][1] for row in found] == ["M", "C", "O"]


def test_live_data_of_nodes_comes_from_those_that_can_tell(world):
    world.put(world.node(3, vm_capable=False))
    found = world.ask("node", ["name", "mtotal", "dfree", "sptotal", "csockets"])
    assert found[0][1:] == [[0, 4096], [0, 300], [0, 0], [0, 1]]
    assert found[2][1:] == [[3, None]] * 4  # not vm_capable
    assert found[3][1:] == [[4, None]] * 4  # offline
    call = NodeInfo(hypervisors=("fake",), templates=("file",))
    assert world.rpc.asked == [("n1", call), ("n2", call)]


def test_groups_list_their_nodes_and_instances(world):
    found = world.ask("group", ["name", "node_cnt", "pinst_cnt", "pinst_list", "alloc_policy", "ipolicy"])
    names = ["db1.example.com", "web2.example.com", "web10.example.com"]
    assert found[0][:5] == [[0, "default"], [0, 3], [0, 3], [0, names], [0, "preferred"]]
    assert set(found[0][5][1]) >= {"minmax", "std", "disk-templates", "vcpu-ratio", "spindle-ratio"}


# -- jobs and locks


def a_job(number, *statuses):
    ops = tuple(
        OpState(input={"OP_ID": "OP_INSTANCE_STARTUP", "instance_name": f"i{n}"}, status=status, start_timestamp=(n, 0))
        for n, status in enumerate(statuses, start=10)
    )
    return Job(id=number, ops=ops, received_timestamp=(9, 1))


def test_jobs_are_listed_by_number(world):
    world.jobs += [a_job(12, Status.RUNNING), a_job(3, Status.SUCCESS, Status.QUEUED)]
    found = world.ask("job", ["id", "status", "summary", "opstatus", "received_ts", "end_ts"])
    assert [row[0] for row in found] == [[0, 3], [0, 12]]
    assert found[0][1:] == [
        [0, "queued"],
        [0, ["INSTANCE_STARTUP(i10)", "INSTANCE_STARTUP(i11)"]],
        [0, ["success", "queued"]],
        [0, (9, 1)],
        [3, None],
    ]


def test_an_unknown_job_is_a_row_without_values(world):
    assert world.ask("job", ["id", "status"], ["==", "id", 7]) == [[[0, 7], [3, None]]]
    assert asyncio.run(world.queries().classic("job", ["7"], ["id", "status"])) == [[7, None]]


class Slow(SystemClock):
    """Each look at it takes longer than others may be kept waiting."""

    def __init__(self):
        self._passed = 0.0

    def monotonic(self):
        self._passed += SLICE_S
        return self._passed


@pytest.mark.parametrize("is_filter", [False, True])
def test_many_jobs_when_asked_by_number_then_others_get_their_turn_between(world, is_filter):
    world.jobs.append(a_job(5000, Status.RUNNING))
    numbers = [*range(10 * CHUNK), 5000, 7]
    queries = world.queries(clock=Slow())

    async def ask():
        if is_filter:
            answer = await queries.query("job", ["id", "status"], ["|", *[["==", "id", number] for number in numbers]])
            return [[cell[1] for cell in row] for row in answer["data"]]
        return await queries.classic("job", numbers, ["id", "status"])

    async def main():
        asking, turns = asyncio.ensure_future(ask()), 0
        while not asking.done():
            turns += 1
            await asyncio.sleep(0)
        return await asking, turns

    rows, turns = asyncio.run(main())
    wanted = list(dict.fromkeys(numbers)) if is_filter else numbers
    assert rows == [[number, "running" if number == 5000 else None] for number in wanted]
    assert turns > 20  # ten to find them, ten to make the rows


def test_asking_for_archived_lists_archived_jobs(world):
    world.jobs.append(a_job(5, Status.RUNNING))
    asked = []

    async def archive(ids):
        asked.append(ids)
        return [ArchivedJob(job=a_job(2, Status.SUCCESS), log=())]

    assert world.ask("job", ["id"], archive=archive) == [[[0, 5]]]
    assert asked == []
    assert world.ask("job", ["id", "archived"], archive=archive) == [[[0, 2], [0, True]], [[0, 5], [0, False]]]
    found = world.ask("job", ["archived"], ["|", ["==", "id", 5], ["==", "id", 2]], archive=archive)
    assert found == [[[0, False]], [[0, True]]]
    assert asked == [None, [2]]


def test_the_log_is_split_by_opcode(world):
    job = a_job(1, Status.SUCCESS, Status.RUNNING, Status.QUEUED)
    log = [
        LogEntry(1, (10, 5), "message", "a"),
        LogEntry(2, (11, 0), "message", "b"),
        LogEntry(3, (11, 9), "message", "c"),
    ]
    values = world.queries().job_values(job, log, ["id", "oplog"])
    first, second, third = values[1]
    assert [entry[3] for entry in first] == ["a"]
    assert second == [[2, [11, 0], "message", "b"], [3, [11, 9], "message", "c"]]
    assert third == []


def test_a_wrong_job_id_is_refused(world):
    for wrong in ("x", "-1", ""):
        with pytest.raises(errors.PrereqError, match="invalid job id"):
            asyncio.run(world.queries().classic("job", [wrong], ["id"]))


def test_locks_are_shown_by_name(world):
    rows = [
        LockRow(LockKey(Level.INSTANCE, "uuid-web2"), (4,), True, (Pending(5, False),)),
        LockRow(LockKey(Level.NODE, ALL), (4, 6), False, ()),
        LockRow(LockKey(Level.INSTANCE, "name:new1"), (), False, (Pending(7, True),)),
    ]
    found = world.ask("lock", ["name", "mode", "owner", "pending"], locks=rows)
    assert [[cell[1] for cell in row] for row in found] == [
        ["instance/new1", None, None, [("exclusive", ["7"])]],
        ["instance/web2.example.com", "exclusive", ["4"], [("shared", ["5"])]],
        ["node/*", "shared", ["4", "6"], None],
    ]
    waited = world.ask("lock", ["waited"], locks=rows, waiting_s={5: 2.04, 7: None}.get)
    assert [row[0][1] for row in waited] == [[0.0], [2.0], None]


def test_jobs_show_their_step_and_what_holds_them_up(world):
    running, waiting = a_job(4, Status.RUNNING), a_job(5, Status.WAITING)
    step = msgspec.structs.replace(running.ops[0], steps_done=1, steps_total=3, step_title="create disks")
    world.jobs += [msgspec.structs.replace(running, ops=(step,)), waiting]
    key = LockKey(Level.INSTANCE, "uuid-web2")
    found = {5: [Obstacle(kind="lock", lock=key, job=4), Obstacle(kind="limit")]}
    rows = world.ask("job", ["opstep", "waits_for"], obstacles=lambda job: found.get(job, ()))
    assert rows == [
        [[0, [[2, 3, "create disks"]]], [0, []]],
        [[0, [None]], [0, [["lock", "instance/web2.example.com", 4], ["limit", None, None]]]],
    ]


# -- networks, exports, the cluster


def test_networks_count_their_addresses(world):
    world.put(
        Network(uuid="w1", name="lan", network="192.0.2.0/29", gateway="192.0.2.1", reserved=("192.0.2.5",)),
        world.instance("a", nics=(Nic(uuid="x", mac="aa:00:00:00:00:01", ip="192.0.2.3", network="w1"),)),
    )
    found = cells(world, "lan", "map", "free_count", "reserved_count", "inst_list", "gateway6", what="network")
    assert found == [[0, "XX.X.X.X"], [0, 3], [0, 5], [0, ["a.example.com"]], [3, None]]
    assert cells(world, "a", "nic.network.name/0", "nic_network") == [[0, "lan"], [0, "w1"]]


def test_exports_are_rows_of_their_nodes_and_silent_nodes_have_a_row_too(world):
    world.rpc.replies[ExportList] = {"n1": ("web10.example.com", "web2.example.com")}
    world.put(world.node(3))
    world.failing["n3"] = "unreachable"
    first, third, tenth = ("node1.example.com", "node3.example.com", "node10.example.com")
    assert world.ask("export", ["node", "export"]) == [
        [[0, first], [0, "web2.example.com"]], [[0, first], [0, "web10.example.com"]],
        [[0, third], [2, None]], [[0, tenth], [4, None]],
    ]  # fmt: skip
    rows = asyncio.run(world.queries().classic("export", ["node3"], ["node", "export"]))
    assert rows == [[third, None]]
    found = world.ask("export", ["export"], ["&", ["==", "node", "node1"], ["=~", "export", "10"]])
    assert found == [[[0, "web10.example.com"]]]


def test_exports_of_named_nodes_ask_only_these(world):
    world.rpc.replies[ExportList] = {}
    assert world.ask("export", ["node"], ["==", "node", "node2"]) == []
    assert world.rpc.asked == [("n2", ExportList())]
    with pytest.raises(errors.PrereqError, match="not known"):
        world.ask("export", ["node"], ["==", "node", "node7"])


# -- OS definitions and providers of external storage


def an_os(name, **more):
    given = {"valid": True, "reason": "", "api_versions": (20,), "variants": ("tiny",), "scripts": ("create",), **more}
    return OsDefinition(name=name, path=f"/srv/ganeti/os/{name}", **given)


def test_oses_that_cannot_be_installed_are_left_out_unless_it_is_asked_why(world):
    world.rpc.replies[OsDiagnose] = {"n1": (an_os("a"), an_os("b")), "n2": (an_os("a"),)}
    assert world.ask("os", ["name", "variants", "api_versions", "trusted"]) == [
        [[0, "a"], [0, ["tiny"]], [0, [20]], [0, True]]
    ]
    assert world.ask("os", ["name", "valid"]) == [[[0, "a"], [0, True]], [[0, "b"], [0, False]]]
    assert world.ask("os", ["name"], ["!", ["?", "valid"]]) == [[[0, "b"]]]
    ((status,),) = world.ask("os", ["node_status"], ["==", "name", "b"])
    assert status[1]["node2.example.com"] == []
    with pytest.raises(errors.PrereqError, match="no node has an OS called 'c'"):
        world.ask("os", ["name"], ["==", "name", "c"])


def test_providers_are_judged_by_group(world):
    good = ProviderDefinition(name="pool", path="/p/pool", valid=True, reason="", parameters=(("size", "of a unit"),))
    bad = msgspec.structs.replace(good, valid=False, reason="script grow is missing")
    world.rpc.replies[ProviderDiagnose] = {"n1": (good,), "n2": (bad,)}
    assert world.ask("extstorage", ["name", "nodegroup_status", "parameters"]) == [
        [[0, "pool"], [0, {"default": False}], [0, [["size", "of a unit"]]]]
    ]
    ((status,),) = world.ask("extstorage", ["node_status"])
    assert status[1]["node2.example.com"] == [["/p/pool", False, "script grow is missing", [["size", "of a unit"]]]]


# -- nodes that hang


def test_a_node_that_hangs_is_given_up_and_the_others_are_told(world):
    world.failing["n2"] = "hangs"

    ask = live.Asker(world.rpc, lambda: 0.0, limit_s=0.01)
    answers = asyncio.run(ask(["n1", "n2", "n10"], InstanceList(hypervisors=("fake",))))
    assert answers["n1"] == GuestsReply(guests=())
    assert answers["n2"].kind == "timeout"
    assert answers["n10"].kind == "offline"


def test_the_cluster_has_one_row(world):
    found = world.ask("cluster", ["name", "master_node", "tags", "drain_flag", "watcher_pause"])
    assert found == [
        [[0, "cluster.example.com"], [0, "node1.example.com"], [0, ["prod"]], [0, False], [3, None]],
    ]


def test_a_silent_node_is_waited_for_only_shortly_until_it_answers_or_time_has_passed(world):
    now = [0.0]
    ask = live.Asker(world.rpc, lambda: now[0])

    def limits():
        return [ask.patience(node) for node in ("n1", "n2")]

    world.failing["n2"] = "timeout"
    asyncio.run(ask(["n1", "n2"], InstanceList(hypervisors=("fake",))))
    assert limits() == [20.0, 5.0]
    now[0] = 130.0
    assert limits() == [20.0, 20.0]
    world.failing["n2"] = "unreachable"
    asyncio.run(ask(["n2"], InstanceList(hypervisors=("fake",))))
    assert limits() == [20.0, 5.0]
    del world.failing["n2"]
    asyncio.run(ask(["n2"], InstanceList(hypervisors=("fake",))))
    assert limits() == [20.0, 20.0]


# -- old calls and the rest


def test_old_calls_give_plain_values_in_the_order_asked_for(world):
    rows = asyncio.run(world.queries().classic("instance", ["web2", "uuid-db1"], ["name", "network_port"]))
    assert rows == [["web2.example.com", 11000], ["db1.example.com", None]]
    assert len(asyncio.run(world.queries().classic("node", [], ["name"]))) == 3


def test_old_calls_refuse_unknown_fields_and_names(world):
    with pytest.raises(errors.PrereqError, match="Unknown output fields selected: a, b") as caught:
        asyncio.run(world.queries().classic("node", [], ["name", "a", "b"]))
    assert caught.value.code == "wrong_input"
    with pytest.raises(errors.PrereqError, match="not known"):
        asyncio.run(world.queries().classic("node", ["nosuch"], ["name"]))


def test_an_unknown_resource_is_refused(world):
    with pytest.raises(errors.PrereqError, match="there are instance, node"):
        world.queries().query_fields("planet", None)


def test_definitions_of_all_fields_are_in_natural_order(world):
    names = [field["name"] for field in world.queries().query_fields("instance", None)["fields"]]
    assert names.index("disk.size/2") < names.index("disk.size/10")
    assert set(ALIASES) < set(names)
    kinds = world.queries().query_fields("node", ["mtotal", "x"])["fields"]
    assert [field["kind"] for field in kinds] == ["unit", "unknown"]


def test_tags_of_everything(world):
    queries = world.queries()
    assert queries.tags("cluster", "") == ["prod"]
    assert queries.tags("instance", "web10") == ["blue", "prod"]
    with pytest.raises(errors.PrereqError, match="has no tags"):
        queries.tags("job", "1")


def test_cluster_info_has_what_clients_read(world):
    info = world.queries().cluster_info()
    assert info["name"] == "cluster.example.com"
    assert info["master"] == "node1.example.com"
    assert info["beparams"]["default"]["vcpus"] == 2
    assert set(info["hvparams"]) == {"xen-pvm", "xen-hvm", "kvm", "fake"}
    assert info["default_hypervisor"] == "fake"


def test_cluster_info_has_every_key_that_clients_know(world):
    known = """
        software_version protocol_version config_version os_api_version export_version vcs_version architecture name
        master default_hypervisor enabled_hypervisors hvparams os_hvp beparams osparams ipolicy nicparams ndparams
        diskparams candidate_pool_size max_running_jobs max_tracked_jobs mac_prefix master_netdev master_netmask
        use_external_mip_script volume_group_name drbd_usermode_helper file_storage_dir shared_file_storage_dir
        gluster_storage_dir maintain_node_health ctime mtime uuid tags uid_pool default_iallocator
        default_iallocator_params reserved_lvs primary_ip_version prealloc_wipe_disks hidden_os blacklisted_os
        enabled_disk_templates install_image instance_communication_network zeroing_image compression_tools
        enabled_user_shutdown enabled_data_collectors data_collector_interval modify_ssh_setup ssh_key_type ssh_key_bits
    """
    info = world.queries().cluster_info()
    assert set(known.split()) - set(info) == set()
    assert set(info["ipolicy"]) >= {"minmax", "std", "disk-templates", "vcpu-ratio", "spindle-ratio"}
    sizes = {"memory-size", "cpu-count", "disk-count", "disk-size", "nic-count", "spindle-use"}
    assert set(info["ipolicy"]["std"]) == set(info["ipolicy"]["minmax"][0]["max"]) == sizes


def test_config_values_are_null_when_unknown(world):
    assert world.queries().config_values(["master_node", "nosuch", "drain_flag"]) == ["node1.example.com", None, False]


def test_a_field_must_have_a_heading_and_a_meaning():
    fine = Field("a", "A", Kind.TEXT, "Meaning", lambda view, obj: "")
    with pytest.raises(TypeError, match="twice"):
        table([fine, fine])
    with pytest.raises(TypeError, match="title"):
        table([Field("a", "A b", Kind.TEXT, "Meaning", lambda view, obj: "")])


@pytest.mark.parametrize("what", sorted(resources()))
def test_every_field_of_every_resource_can_be_asked(world, what):
    world.jobs.append(a_job(1, Status.RUNNING))
    world.put(Network(uuid="w1", name="lan", network="192.0.2.0/29"))
    world.rpc.replies[OsDiagnose] = {"n1": (an_os("a"),), "n2": (an_os("a"),)}
    world.rpc.replies[ExportList] = {"n1": ("web2.example.com",)}
    provider = ProviderDefinition(name="pool", path="/p/pool", valid=True, reason="")
    world.rpc.replies[ProviderDiagnose] = {"n1": (provider,), "n2": (provider,)}
    fields = [field["name"] for field in world.queries().query_fields(what, None)["fields"]]
    locks = [LockRow(LockKey(Level.INSTANCE, "uuid-web2"), (4,), True, ())]
    rows = world.ask(what, fields, locks=locks)
    assert rows or what == "filter"
    assert all(len(row) == len(fields) and all(cell[0] in (0, 2, 3, 4) for cell in row) for row in rows)
