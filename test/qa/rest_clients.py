"""Existing clients on a virtual cluster: every method of python3-ganeti-rapi 3.0.2, and the htools by REST and LUXI.

    apt-get install python3-ganeti-rapi ganeti-htools
    tools/vcluster create /tmp/vc --nodes 5
    python3 test/qa/rest_clients.py /tmp/vc

Runs with the system's Python, whose packages the client is one of; the cluster may have no instances. Exit status 1: a
method did not do what it shall, or has not been called.
"""

import json
import os
import subprocess
import sys
import time

from ganeti.rapi import client as rapi

USER, PASSWORD = "qa", "secret"
DOMAIN = "vc.example"
NEW = {
    "os": "busybox-linux", "hypervisor": "fake", "ip_check": False, "name_check": False, "no_install": True,
    "ignore_ipolicy": True,
}  # fmt: skip
#: makes requests for others
NOT_CALLED = {"InstanceAllocation"}


class Trial:
    """Calls methods by name and keeps account."""

    def __init__(self, address):
        self.client = rapi.GanetiRapiClient(address, username=USER, password=PASSWORD)
        self.called, self.bad = set(), []

    def __call__(self, name, *args, status=200, **more):
        """The answer; `status` of the answer if it is to be an error."""
        self.called.add(name)
        found, value = 200, None
        try:
            value = getattr(self.client, name)(*args, **more)
        except rapi.GanetiApiError as err:
            found, value = err.code, err
        self._note(name, args, found == status, value)
        return value

    def job(self, name, *args, end="success", **more):
        """As `__call__`, of a method that submits a job, which has to end so."""
        number = self(name, *args, **more)
        if not isinstance(number, int):
            return
        deadline = time.monotonic() + 120
        while (job := self.client.GetJobStatus(number))["status"] not in ("success", "error", "canceled"):
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
        self._note(name, args, job["status"] == end, job["opresult"])

    def _note(self, name, args, is_good, value):
        if not is_good:
            self.bad.append(name)
            print(f"BAD {name}{args}: {str(value)[:300]}")

    def missing(self):
        every = {name for name in dir(rapi.GanetiRapiClient) if name[0].isupper()}
        known = {name for name in every if callable(getattr(rapi.GanetiRapiClient, name))}
        return sorted(known - self.called - NOT_CALLED)


def cluster(go):
    for name in ("GetVersion", "GetFeatures", "GetInfo", "GetOperatingSystems", "GetJobs"):
        go(name)
    go.job("RedistributeConfig")
    go.job("ModifyCluster", candidate_pool_size=7)
    go.job("AddClusterTags", ["a", "b"])
    go("GetClusterTags")
    go.job("DeleteClusterTags", ["a", "b"])
    number = go("AddClusterTags", ["z"])
    go("WaitForJobCompletion", number, period=0.1)
    go("GetJobStatus", number)
    go("WaitForJobChange", number, ["status"], None, None)
    go("CancelJob", number)
    go("Query", "node", ["name", "role"], ["=", "name", f"node1.{DOMAIN}"])
    go("QueryFields", "node")
    go("QueryFields", "node", ["name"])


def rules(go):
    uuid = go("AddFilter", 1, [["jobid", [">", "id", 0]]], "ACCEPT")
    go("GetFilters", bulk=True)
    go("GetFilter", uuid)
    go("ReplaceFilter", uuid, 2, [["jobid", [">", "id", 0]]], "ACCEPT")
    go("DeleteFilter", uuid)


def instances(go):
    one, two, three = (f"web{number}.{DOMAIN}" for number in (1, 2, 3))
    go.job("CreateInstance", "create", one, "sharedfile", [{"size": 128}], [{}], pnode=f"node1.{DOMAIN}", **NEW)
    go.job(
        "CreateInstance", "create", two, "sharedfile", [{"size": 128}], [{}], iallocator="builtin", start=False, **NEW
    )
    new = {("os_type" if name == "os" else name): value for name, value in NEW.items()}
    wanted = go.client.InstanceAllocation("create", three, "sharedfile", [{"size": 128}], [{}], **new)
    go.job("InstancesMultiAlloc", [wanted], iallocator="builtin")
    go("GetInstances")
    go("GetInstances", bulk=True)
    go("GetInstance", one)
    go.job("GetInstanceInfo", one, static=True)
    go.job("ModifyInstance", one, beparams={"vcpus": 2})
    go.job("ActivateInstanceDisks", two, ignore_size=True)
    go.job("DeactivateInstanceDisks", two)
    go.job("RecreateInstanceDisks", two, disks=[0], end="error")  # they are there
    go.job("GrowInstanceDisk", two, 0, 128, wait_for_sync=False)
    go.job("ReplaceInstanceDisks", two, disks=[0], mode="replace_auto", end="error")  # no mirror
    go("GetInstanceTags", one)
    go.job("AddInstanceTags", one, ["x"])
    go.job("DeleteInstanceTags", one, ["x"])
    go.job("RebootInstance", one, reboot_type="hard", ignore_secondaries=True)
    go.job("ShutdownInstance", one, timeout=0)
    go.job("StartupInstance", one)
    go("GetInstanceConsole", one)
    go("GetInstanceConsole", two, status=503)
    go.job("ReinstallInstance", two, os="busybox-linux", no_startup=True)
    go.job("PrepareExport", two, "local")
    go.job("ExportInstance", two, "local", f"node2.{DOMAIN}", shutdown=False)
    go.job("MigrateInstance", one, mode="live", target_node=f"node3.{DOMAIN}")
    go.job("FailoverInstance", one, target_node=f"node4.{DOMAIN}")
    go.job("RenameInstance", two, f"web4.{DOMAIN}", ip_check=False, name_check=False)
    go.job("MigrateNode", f"node4.{DOMAIN}", iallocator="builtin", mode="live")
    go.job("EvacuateNode", f"node4.{DOMAIN}", iallocator="builtin", mode="all")


def nodes(go):
    first, last = f"node1.{DOMAIN}", f"node5.{DOMAIN}"
    go("GetNodes")
    go("GetNodes", bulk=True)
    go("GetNode", first)
    go("GetNodeRole", last)
    go.job("SetNodeRole", last, "regular", force=True)
    go.job("SetNodeRole", last, "master-candidate", force=True, auto_promote=True)
    go.job("ModifyNode", last, drained=False)
    go.job("PowercycleNode", last, end="error")  # a virtual node has no machine
    go.job("GetNodeStorageUnits", first, "file", "name,size")
    go.job("ModifyNodeStorageUnits", first, "lvm-pv", "none", allocatable=False, end="error")
    go.job("RepairNodeStorageUnits", first, "lvm-vg", "none")  # nothing of it is missing
    go("GetNodeTags", first)
    go.job("AddNodeTags", first, ["q"])
    go.job("DeleteNodeTags", first, ["q"])


def groups_and_networks(go):
    go.job("CreateNetwork", "net1", "192.0.2.0/24", tags="n")
    go("GetNetworks")
    go("GetNetworks", bulk=True)
    go("GetNetwork", "net1")
    go.job("ConnectNetwork", "net1", "default", "bridged", "br0")
    go.job("ModifyNetwork", "net1", gateway="192.0.2.1")
    go("GetNetworkTags", "net1")
    go.job("AddNetworkTags", "net1", ["m"])
    go.job("DeleteNetworkTags", "net1", ["m"])
    go.job("DisconnectNetwork", "net1", "default")
    go.job("DeleteNetwork", "net1")
    go.job("CreateGroup", "g1")
    go("GetGroups")
    go("GetGroups", bulk=True)
    go("GetGroup", "g1")
    go.job("ModifyGroup", "g1", alloc_policy="last_resort")
    go.job("RenameGroup", "g1", "g2")
    go.job("AssignGroupNodes", "g2", [f"node5.{DOMAIN}"], force=True)
    go.job("AssignGroupNodes", "default", [f"node5.{DOMAIN}"], force=True)
    go("GetGroupTags", "g2")
    go.job("AddGroupTags", "g2", ["k"])
    go.job("DeleteGroupTags", "g2", ["k"])
    go.job("DeleteGroup", "g2")


def balance(go, address, socket):
    """The htools: what they say by REST, and that hbal's moves are carried out by LUXI."""
    server = f"https://{USER}:{PASSWORD}@{address}:5080"
    more = [f"web{number}.{DOMAIN}" for number in (5, 6, 7, 8)]
    for name in more:
        go.job("CreateInstance", "create", name, "sharedfile", [{"size": 128}], [{}], pnode=f"node1.{DOMAIN}", **NEW)
    placed = go.client.GetInstances(bulk=True)
    for words in (["hinfo", "-m", server], ["hbal", "-m", server], ["hspace", "-m", server, "--machine-readable"],
                  ["hscan", "-d", "/tmp", server],
                  ["hbal", f"-L{socket}", "-X"], ["hcheck", f"-L{socket}"]):  # fmt: skip
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
        # hcheck ends with 1 where something could be better
        if done.returncode not in ((0, 1) if words[0] == "hcheck" else (0,)):
            go.bad.append(words[0])
            print(f"BAD {words}: {done.returncode} {done.stdout[-300:]} {done.stderr[-300:]}")
    before, after = ({i["name"]: i["pnode"] for i in found} for found in (placed, go.client.GetInstances(bulk=True)))
    if not any(after[name] != before[name] for name in more):
        go.bad.append("moves of hbal")
        print(f"BAD hbal -X moved nothing: {after}")
    for name in more:
        go.job("DeleteInstance", name, shutdown_timeout=0)


def main():
    with open(f"{sys.argv[1]}/vcluster.json", encoding="utf-8") as file:
        master = json.load(file)["nodes"][0]
    with open(f"{master['root']}/var/lib/ganeti/rapi/users", "w", encoding="utf-8") as file:
        file.write(f"{USER} {PASSWORD} write\n")
    time.sleep(1)
    go = Trial(master["address"])
    for part in (cluster, rules, instances, nodes, groups_and_networks):
        part(go)
    for number in (1, 3, 4):
        go.job("DeleteInstance", f"web{number}.{DOMAIN}", shutdown_timeout=0)
    balance(go, master["address"], os.path.realpath(f"{master['root']}/var/run/ganeti/socket/ganeti-query"))
    missing = go.missing()
    print(f"{len(go.called)} methods, {len(go.bad)} went wrong; not called: {', '.join(missing) or 'none'}")
    return 1 if go.bad or missing else 0


if __name__ == "__main__":
    sys.exit(main())
