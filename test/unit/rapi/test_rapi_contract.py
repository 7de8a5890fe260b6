"""What existing clients know of the interface: paths, methods, rights, keys of objects, names of arguments."""

import pytest
from unit.rapi.kit import TABLE

from ganeti.rapi import jobs, objects, resources

RESOURCES = """
/ GET
/2 GET
/version GET
/2/info GET
/2/features GET
/2/os GET
/2/redistribute-config PUT
/2/modify PUT
/2/tags GET PUT DELETE
/2/jobs GET
/2/jobs/1 GET DELETE
/2/jobs/1/wait GET
/2/nodes GET
/2/nodes/n GET
/2/nodes/n/powercycle POST
/2/nodes/n/role GET PUT
/2/nodes/n/evacuate POST
/2/nodes/n/migrate POST
/2/nodes/n/modify POST
/2/nodes/n/storage GET
/2/nodes/n/storage/modify PUT
/2/nodes/n/storage/repair PUT
/2/nodes/n/tags GET PUT DELETE
/2/instances GET POST
/2/instances-multi-alloc POST
/2/instances/i GET DELETE
/2/instances/i/info GET
/2/instances/i/reboot POST
/2/instances/i/startup PUT
/2/instances/i/shutdown PUT
/2/instances/i/reinstall POST
/2/instances/i/replace-disks POST
/2/instances/i/activate-disks PUT
/2/instances/i/deactivate-disks PUT
/2/instances/i/recreate-disks POST
/2/instances/i/disk/0/grow POST
/2/instances/i/prepare-export PUT
/2/instances/i/export PUT
/2/instances/i/migrate PUT
/2/instances/i/failover PUT
/2/instances/i/rename PUT
/2/instances/i/modify PUT
/2/instances/i/console GET
/2/instances/i/tags GET PUT DELETE
/2/groups GET POST
/2/groups/g GET DELETE
/2/groups/g/modify PUT
/2/groups/g/rename PUT
/2/groups/g/assign-nodes PUT
/2/groups/g/tags GET PUT DELETE
/2/networks GET POST
/2/networks/t GET DELETE
/2/networks/t/connect PUT
/2/networks/t/disconnect PUT
/2/networks/t/modify PUT
/2/networks/t/rename PUT
/2/networks/t/tags GET PUT DELETE
/2/filters GET POST
/2/filters/u GET PUT DELETE
/2/query/node GET PUT
/2/query/node/fields GET
"""
KNOWN = [(method, path) for path, *methods in map(str.split, RESOURCES.split("\n")[1:-1]) for method in methods]
#: ours, beside those
OWN = {"/metrics", "/2/openapi.json", "/2/groups/{group_name}/evacuate", "/2/instances/{instance_name}/change-group"}
READS = {
    "/2/jobs/1/wait": {"write"},
    "/2/nodes/n/storage": {"write"},
    "/2/instances/i/console": {"read", "write"},
    "/2/query/node": {"read", "write"},
}
#: older names, and words of the path: in the query, in the body, or in both
ARGUMENTS = """
PUT /2/tags tag dry-run reason
GET /2/instances bulk lock
GET /2/nodes/n/storage storage_type output_fields
PUT /2/nodes/n/storage/modify storage_type name allocatable
PUT /2/nodes/n/storage/repair storage_type name
PUT /2/nodes/n/role force auto-promote
POST /2/nodes/n/evacuate mode iallocator remote_node early_release dry-run
POST /2/nodes/n/migrate mode live
POST /2/instances __version__ os name os_type instance_name depends
POST /2/instances/i/reboot type ignore_secondaries dry-run shutdown_timeout
PUT /2/instances/i/startup force no_remember dry-run
PUT /2/instances/i/shutdown no_remember dry-run timeout force
POST /2/instances/i/reinstall os nostartup start osparams
POST /2/instances/i/replace-disks mode disks remote_node iallocator early_release
PUT /2/instances/i/activate-disks ignore_size
PUT /2/instances/i/deactivate-disks force
POST /2/instances/i/disk/0/grow amount wait_for_sync absolute
PUT /2/instances/i/prepare-export mode
PUT /2/instances/i/export destination target_node
PUT /2/instances/i/rename new_name ip_check name_check
PUT /2/instances/i/modify custom_beparams custom_hvparams beparams hvparams
POST /2/groups name group_name alloc_policy dry-run
PUT /2/groups/g/modify custom_ndparams custom_ipolicy custom_diskparams ndparams ipolicy diskparams
PUT /2/groups/g/assign-nodes nodes force dry-run
POST /2/networks name network_name dry-run
PUT /2/networks/t/connect group_name network_mode network_link network_vlan conflicts_check dry-run
PUT /2/networks/t/disconnect group_name dry-run
GET /2/instances/i/info static
PUT /2/query/node fields qfilter filter
"""
COMMON = "ctime mtime uuid serial_no tags"
KEYS = {
    objects.NODE: "name offline master_candidate drained dtotal dfree sptotal spfree mtotal mnode mfree pinst_cnt"
    " sinst_cnt ctotal cnos cnodes csockets pip sip role pinst_list sinst_list master_capable vm_capable ndparams"
    " group.uuid",
    objects.INSTANCE: "name admin_state os pnode snodes disk_template nic.ips nic.macs nic.modes nic.uuids nic.names"
    " nic.links nic.networks nic.networks.names nic.bridges network_port disk.sizes disk.spindles disk_usage disk.uuids"
    " disk.names beparams hvparams oper_state oper_ram oper_vcpus status custom_hvparams custom_beparams"
    " custom_nicparams",
    objects.GROUP: "name alloc_policy node_cnt node_list ipolicy custom_ipolicy diskparams custom_diskparams ndparams"
    " custom_ndparams",
    objects.NETWORK: "name network gateway network6 gateway6 mac_prefix free_count reserved_count map group_list"
    " inst_list external_reservations",
}  # fmt: skip


@pytest.mark.parametrize(("method", "path"), KNOWN)
def test_resource_is_there_and_needs_the_same_rights_as_ever(method, path):
    route, _ = TABLE.find(method, path)
    assert set(route.rights) == (READS.get(path, set()) if method == "GET" else READS.get(path, {"write"}))


def test_nothing_is_there_that_nobody_knows():
    known = {TABLE.find(method, path)[0].path for method, path in KNOWN}
    assert {route.path for route in TABLE.routes} - known == OWN


@pytest.mark.parametrize("line", ARGUMENTS.split("\n")[1:-1])
def test_argument_has_the_name_that_clients_know(line):
    method, path, *names = line.split()
    route, _ = TABLE.find(method, path)
    body = (route.body or {}).get("properties", {})
    assert {name for name in names if name not in body} <= {argument.name for argument in route.query}


def test_objects_have_the_keys_that_clients_read():
    for kind, names in KEYS.items():
        assert set(f"{names} {COMMON}".split()) <= set(kind.fields), kind.name
    assert jobs.BULK_FIELDS == ("id", "ops", "status", "summary", "opstatus", "received_ts", "start_ts", "end_ts")
    assert set(jobs.FIELDS) == {*jobs.BULK_FIELDS, "oplog", "opresult"}
    assert set(jobs.FILTER_FIELDS) == {"uuid", "watermark", "priority", "predicates", "action", "reason_trail"}
    assert set(resources.LISTS) >= {"group", "export", "instance", "job", "lock", "network", "node", "filter"}
    assert list(resources.ROLES.values()) == ["master", "master-candidate", "regular", "drained", "offline"]
