"""The life of an instance of the fake hypervisor, on real storage."""

import os

import pytest

ADD = ("gnt-instance", "add", "--no-name-check", "--no-ip-check", "-o", "busybox-linux")


def _add(cluster, name, *options):
    cluster.ok(*ADD, "-t", "diskless", "-n", "node1", *options, name)


def test_life_of_a_diskless_instance(cluster):
    _add(cluster, "web1.vc.example", "-B", "memory=256")
    row = cluster.rows("gnt-instance", "name,pnode,status,oper_state,be/maxmem", "web1.vc.example")[0]
    assert row == ["web1.vc.example", "node1.vc.example", "running", "Y", "256"]
    cluster.ok("gnt-instance", "shutdown", "web1.vc.example")
    assert cluster.field("gnt-instance", "web1.vc.example", "status") == "ADMIN_down"
    cluster.ok("gnt-instance", "modify", "-B", "memory=512", "web1.vc.example")
    cluster.ok("gnt-instance", "startup", "web1.vc.example")
    cluster.ok("gnt-instance", "reboot", "web1.vc.example")
    assert cluster.field("gnt-instance", "web1.vc.example", "be/maxmem") == "512"
    assert "web1.vc.example" in cluster.ok("gnt-instance", "info", "web1.vc.example")
    cluster.ok("gnt-instance", "shutdown", "web1.vc.example")
    cluster.ok("gnt-instance", "rename", "--no-name-check", "--no-ip-check", "web1.vc.example", "web2.vc.example")
    assert [row[0] for row in cluster.rows("gnt-instance", "name")] == ["web2.vc.example"]
    cluster.ok("gnt-instance", "remove", "-f", "web2.vc.example")
    cluster.ok("gnt-cluster", "verify")


@pytest.mark.parametrize("template", ["file", "sharedfile"])
def test_disks_come_and_go_with_their_instance(cluster, template):
    name = f"disk-{template}.vc.example"
    cluster.ok(*ADD, "--no-install", "-t", template, "--disk", "0:size=1g", "-n", "node2", name)
    found = [
        os.path.join(folder, file)
        for folder, _, files in os.walk(os.path.realpath(cluster.nodes[1].root + f"/srv/ganeti/{_directory(template)}"))
        for file in files
        if os.path.getsize(os.path.join(folder, file)) == 1 << 30
    ]
    assert len(found) == 1
    assert os.stat(found[0]).st_blocks * 512 < 1 << 20, "it is not sparse"
    cluster.ok("gnt-cluster", "verify")
    cluster.ok("gnt-instance", "remove", "-f", name)
    assert not os.path.exists(found[0])


def _directory(template):
    return "file-storage" if template == "file" else "shared-file-storage"


def test_a_taken_name_is_refused(cluster):
    _add(cluster, "web1.vc.example")
    try:
        text = cluster.fails(*ADD, "-t", "diskless", "-n", "node2", "web1.vc.example")
        assert "already_exists" in text
        assert "web1.vc.example" in text
    finally:
        cluster.ok("gnt-instance", "remove", "-f", "web1.vc.example")


def test_a_bad_size_unit_is_refused_before_submission(cluster):
    jobs = len(cluster.rows("gnt-job", "id"))
    bad = (*ADD, "-t", "file", "--disk", "0:size=10q", "-n", "node1", "web1.vc.example")
    text = cluster.fails(*bad, status=2)
    assert "10q" in text
    assert "1.5g" in text, "the text does not say how to write it"
    assert len(cluster.rows("gnt-job", "id")) == jobs


def test_an_unknown_instance_is_refused_by_every_command(cluster):
    for command in ("startup", "shutdown", "reboot", "info"):
        assert "nobody.vc.example" in cluster.fails("gnt-instance", command, "nobody.vc.example")


def test_a_failed_create_leaves_nothing(cluster):
    text = cluster.fails(
        "gnt-instance", "add", "--no-name-check", "--no-ip-check", "-t", "file", "--disk", "0:size=1g",
        "-o", "no-such-os", "-n", "node1", "web1.vc.example",
    )  # fmt: skip
    assert "no-such-os" in text
    assert cluster.rows("gnt-instance", "name") == []
    cluster.ok("gnt-cluster", "verify")


def test_an_instance_needs_room(cluster):
    text = cluster.fails(*ADD, "-t", "diskless", "-n", "node1", "-B", "memory=32g", "big.vc.example")
    assert "insufficient_resources" in text


def test_ten_at_once_are_ten(cluster):
    jobs = [cluster.submit(*ADD, "-t", "diskless", "-n", f"node{1 + i % 3}", f"many{i}.vc.example") for i in range(10)]
    for job in jobs:
        cluster.ok("gnt-job", "watch", str(job))
    names = [row[0] for row in cluster.rows("gnt-instance", "name")]
    assert names == [f"many{i}.vc.example" for i in range(10)]
    cluster.ok("gnt-instance", "remove", "-f", names[0])
    for name in names[1:]:
        cluster.submit("gnt-instance", "remove", "-f", name)
    cluster.ok("gnt-debug", "delay", "--no-locks", "0")
    for job in cluster.rows("gnt-job", "id"):
        cluster.cluster.call(cluster.master, ("gnt-job", "watch", job[0]))
    cluster.ok("gnt-cluster", "verify")
