"""Lists that are asked for by jobs, on nodes with directories to list."""

from __future__ import annotations

import asyncio
import os

from ganeti.model.jobs import Status
from ganeti.node.providers import SCRIPTS
from ganeti.ops.os import OpExtStorageDiagnose
from ganeti.ops.query import OpClusterConfigQuery, OpClusterQuery, OpQuery, OpQueryFields
from ganeti.paths import Paths
from ganeti.testing.cluster import SimulatedCluster


def run(root, op, prepare=lambda number, paths: None):
    """(status, result) of the opcode."""

    async def story():
        cluster = SimulatedCluster(str(root))
        for number, node in enumerate(cluster.nodes.values(), start=1):
            prepare(number, node.env.paths)
        await cluster.engine.recover()
        job = await cluster.run(op)
        return job.ops[0].status, job.ops[0].result

    return asyncio.run(story())


def put(paths: Paths, logical: str, text: str = "", *, mode: int = 0o644) -> None:
    local = paths.local(logical)
    os.makedirs(os.path.dirname(local), exist_ok=True)
    with open(local, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(local, mode)


def provider(paths: Paths, directory: str, *, without: str = "") -> None:
    for script in SCRIPTS:
        if script != without:
            put(paths, f"{directory}/{script}", "#!/bin/sh\n", mode=0o755)
    put(paths, f"{directory}/parameters.list", "# of a unit\nSize in MiB\n\nfast\n")


def exports(number, paths):
    if number < 3:
        put(paths, f"/srv/ganeti/export/web{number}.example.com/config.ini")
    put(paths, "/srv/ganeti/export/half.example.com.new/config.ini")
    put(paths, "/srv/ganeti/export/empty.example.com/dump")


def test_a_query_as_a_job_answers_like_a_direct_one(tmp_path):
    status, answer = run(tmp_path, OpQuery(what="node", fields=("name", "role"), qfilter=["==", "role", "M"]))
    assert status is Status.SUCCESS
    assert [field["name"] for field in answer["fields"]] == ["name", "role"]
    assert answer["data"] == [[[0, "node1.example.com"], [0, "M"]]]


def test_a_query_that_does_not_fit_is_refused(tmp_path):
    status, answer = run(tmp_path, OpQuery(what="node", fields=("name",), qfilter=["==", "colour", "red"]))
    assert status is Status.ERROR
    assert answer[0] == "OpPrereqError"
    assert "colour" in answer[1][0]


def test_fields_are_described(tmp_path):
    _, answer = run(tmp_path, OpQueryFields(what="extstorage"))
    assert [field["name"] for field in answer["fields"]] == ["name", "node_status", "nodegroup_status", "parameters"]
    _, answer = run(tmp_path / "second", OpQueryFields(what="os", fields=("valid",)))
    assert [field["kind"] for field in answer["fields"]] == ["bool"]


def test_only_whole_exports_are_listed(tmp_path):
    _, answer = run(tmp_path, OpQuery(what="export", fields=("node", "export")), exports)
    assert [[cell[1] for cell in row] for row in answer["data"]] == [
        ["node1.example.com", "web1.example.com"],
        ["node2.example.com", "web2.example.com"],
    ]


def test_providers_of_external_storage_are_judged(tmp_path):
    def prepare(number, paths):
        provider(paths, "/srv/ganeti/extstorage/pool", without="grow" if number == 3 else "")
        provider(paths, "/usr/lib/ganeti/extstorage/pool", without="create")  # hidden by the first
        provider(paths, "/usr/share/ganeti/extstorage/other")
        if number == 2:
            os.chmod(paths.local("/srv/ganeti/extstorage/pool/create"), 0o757)

    op = OpExtStorageDiagnose(output_fields=("name", "node_status", "nodegroup_status", "parameters"))
    _, rows = run(tmp_path, op, prepare)
    (other, pool) = rows
    parameters = [["size", "in MiB"], ["fast", ""]]
    assert other[0] == "other"
    assert other[2:] == [{"default": True}, parameters]
    assert pool[1]["node1.example.com"] == [["/srv/ganeti/extstorage/pool", True, "", parameters]]
    assert "create (mode 0757) can be written by everybody; type: chmod o-w" in pool[1]["node2.example.com"][0][2]
    assert pool[1]["node3.example.com"][0][1:3] == [False, "script grow is missing"]
    assert pool[2:] == [{"default": False}, parameters]


def test_questions_about_unknown_providers_and_fields_are_refused(tmp_path):
    for op in (
        OpExtStorageDiagnose(output_fields=("name",), names=("nosuch",)),
        OpExtStorageDiagnose(output_fields=("colour",)),
    ):
        status, answer = run(tmp_path / str(len(op.names)), op)
        assert status is Status.ERROR
        assert "nosuch" in answer[1][0] or "colour" in answer[1][0]


def test_the_cluster_and_values_of_its_configuration_are_told(tmp_path):
    _, facts = run(tmp_path, OpClusterQuery())
    assert (facts["name"], facts["enabled_hypervisors"]) == ("cluster.example.com", ["fake"])
    _, values = run(tmp_path / "second", OpClusterConfigQuery(output_fields=("drain_flag", "cluster_name")))
    assert values == [False, "cluster.example.com"]


def test_a_value_that_is_not_known_is_refused_and_the_known_are_named(tmp_path):
    status, answer = run(tmp_path, OpClusterConfigQuery(output_fields=("master_node", "nosuch")))
    assert (status, answer[0]) == (Status.ERROR, "OpPrereqError")
    assert "'nosuch'" in answer[1][0] and "volume_group_name" in str(answer)
