"""The hosts file: our part of it, and nothing else."""

import os

import pytest

from ganeti import errors
from ganeti.calls.node import HostsWrite
from ganeti.node import hosts
from ganeti.node.base import Context, NodeEnv
from ganeti.paths import Paths

OWN = "127.0.0.1 localhost\n\n# mine\n192.0.2.7 printer\n"
NAMES = {"node2.example.com": "192.0.2.2", "node1": "192.0.2.1"}


@pytest.fixture
def env(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/hosts").write_text(OWN)
    where = Paths(str(tmp_path), "node1")
    return NodeEnv(paths=where, runner=None, clock=None, hypervisors={}, storage={})


def call(names):
    return HostsWrite(request="r", names=names)


def read(env):
    with open(env.paths.local(hosts.HOSTS), encoding="ascii") as file:
        return file.read()


def test_part_comes_changes_and_goes(env):
    os.chmod(env.paths.local(hosts.HOSTS), 0o640)
    assert hosts.write(call(NAMES), env, Context()) is True
    ours = f"{hosts.BEGIN}\n192.0.2.1\tnode1\n192.0.2.2\tnode2.example.com node2\n{hosts.END}\n"
    assert read(env) == OWN + ours
    assert hosts.write(call(NAMES), env, Context()) is False
    with open(env.paths.local(hosts.HOSTS), "a", encoding="ascii") as file:
        file.write("192.0.2.8 scanner\n")
    hosts.write(call({"node1": "192.0.2.9"}), env, Context())
    assert read(env) == OWN + f"192.0.2.8 scanner\n{hosts.BEGIN}\n192.0.2.9\tnode1\n{hosts.END}\n"
    assert hosts.keep(env.paths, {}) is True
    assert read(env) == OWN + "192.0.2.8 scanner\n"
    assert os.stat(env.paths.local(hosts.HOSTS)).st_mode & 0o777 == 0o640


def test_no_file_and_no_names_make_none(env):
    os.unlink(env.paths.local(hosts.HOSTS))
    assert hosts.keep(env.paths, {}) is False
    assert hosts.keep(env.paths, NAMES) is True
    assert read(env).startswith(hosts.BEGIN)


@pytest.mark.parametrize(
    "names", [{"a b": "192.0.2.1"}, {"a\n1.2.3.4 b": "192.0.2.1"}, {"node1": "x"}, {"": "192.0.2.1"}]
)
def test_what_is_no_name_or_address_is_refused(env, names):
    with pytest.raises(errors.NodeFailure):
        hosts.write(call(names), env, Context())
    assert read(env) == OWN
