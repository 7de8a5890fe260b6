import os

from ganeti.host import partition
from ganeti.paths import Paths


def _cut(root, *addresses):
    path = str(root) + partition.PARTITION_FILE
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + ".new", "w") as file:
        file.write("".join(address + "\n" for address in addresses))
    os.rename(path + ".new", path)


def test_blocked_on_a_real_node_is_never_true():
    assert not partition.blocked(Paths(), "127.0.0.1")


def test_blocked_without_a_file_is_false(tmp_path):
    assert not partition.blocked(Paths(str(tmp_path), "node1"), "127.1.1.2")


def test_blocked_follows_the_file_when_it_changes_and_goes(tmp_path):
    node = Paths(str(tmp_path), "node1")
    _cut(tmp_path, "127.1.1.2")
    assert partition.blocked(node, "127.1.1.2")
    assert not partition.blocked(node, "127.1.1.3")
    _cut(tmp_path, "127.1.1.3")
    assert not partition.blocked(node, "127.1.1.2")
    assert partition.blocked(node, "127.1.1.3")
    os.unlink(str(tmp_path) + partition.PARTITION_FILE)
    assert not partition.blocked(node, "127.1.1.3")
