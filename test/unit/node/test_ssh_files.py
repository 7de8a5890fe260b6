"""root's authorized_keys, the known_hosts file and the node's own pair: ours come and go, those of others stay."""

import os
import pwd
import subprocess

import pytest
from unit.model.test_ssh_lines import key

from ganeti import errors, paths
from ganeti.calls.node import SSH_AUTHORIZED, SSH_KNOWN_HOSTS, SsconfWrite
from ganeti.calls.ssh import SshKeyBegin, SshKeySwitch, SshLook
from ganeti.host import files, ssh_keys
from ganeti.host.clock import SystemClock
from ganeti.host.run import Finished, HostRunner
from ganeti.model.ssh import AdminKey
from ganeti.node import ssconf, ssh, ssh_files
from ganeti.node.base import Context, NodeEnv
from ganeti.paths import Paths

#: comments, options, ends of lines of all kinds, bytes that are no text, and no end of the last line
OTHERS = b'# mine\n\ncommand="echo \xff\xfe" ssh-rsa AAAAB3 old\r\nssh-dss AAA\rx \x0b y\nssh-ed25519 AAAA me@home'
KEYS = (AdminKey("node1.example.com", key(1)), AdminKey("node2.example.com", key(2)))


@pytest.fixture
def where(tmp_path):
    return Paths(str(tmp_path), "node1.example.com")


@pytest.fixture
def env(where):
    files.make_directory(where, paths.NODE_DIR)
    return NodeEnv(paths=where, runner=HostRunner(where), clock=SystemClock(), hypervisors={}, storage={})


def put(where, content, *, mode=0o600):
    local = where.local(ssh_files.authorized_keys(where))
    os.makedirs(os.path.dirname(local), mode=0o700, exist_ok=True)
    with open(local, "wb") as file:
        file.write(content)
    os.chmod(local, mode)
    return local


def test_ours_come_and_go_and_the_rest_stays_byte_for_byte():
    both = ssh_files.edited(OTHERS, KEYS)
    assert both.endswith(b"\n" + OTHERS)
    assert ssh_files.ours(both) == (key(1), key(2))
    assert ssh_files.edited(both, KEYS) == both
    one = ssh_files.edited(both, KEYS[1:])
    assert ssh_files.ours(one) == (key(2),)
    assert ssh_files.edited(one, ()) == OTHERS
    assert ssh_files.edited(OTHERS, ()) == OTHERS


def test_a_line_of_ours_is_found_wherever_somebody_put_it():
    first, second = ssh_files.edited(b"", KEYS).splitlines(keepends=True)
    mixed = b"# a\n" + second.replace(b"\n", b" \r\n") + b"# b\n" + first[:-1]
    assert ssh_files.edited(mixed, ()) == b"# a\n# b\n"


def test_ours_give_no_more_than_commands_and_terminals():
    assert ssh_files.edited(b"", KEYS[:1]).decode() == (
        f"restrict,pty {key(1)} ganeti-cluster-node:node1.example.com\n"
    )


def test_those_of_others_are_told_by_their_comments():
    content = ssh_files.edited(b'# x\ncommand="a b" ssh-rsa AAAA who am i\nnonsense\x1b[31m\nssh-rsa AAAA\n', KEYS)
    assert ssh_files.foreign(content) == ("who am i", "nonsense?[31m", "ssh-rsa AAAA")


def test_a_file_that_is_not_there_is_made_for_root_alone(where):
    assert ssh_files.authorize(where, ()) is False
    assert not os.path.exists(where.local("/root"))
    assert ssh_files.authorize(where, KEYS) is True
    local = where.local(ssh_files.authorized_keys(where))
    assert os.stat(local).st_mode & 0o777 == 0o600
    assert os.stat(os.path.dirname(local)).st_mode & 0o777 == 0o700
    assert os.listdir(os.path.dirname(local)) == ["authorized_keys"]


def test_mode_and_link_stay_and_the_file_is_replaced_as_a_whole(where, tmp_path):
    local = put(where, OTHERS, mode=0o640)
    target = tmp_path / "elsewhere"
    os.rename(local, target)
    os.symlink(target, local)
    with open(target, "rb") as reader:
        assert ssh_files.authorize(where, KEYS) is True
        assert reader.read() == OTHERS  # who has it open goes on reading the old one
    assert os.path.islink(local)
    assert os.stat(local).st_mode & 0o777 == 0o640
    before = os.stat(target).st_ino
    assert ssh_files.authorize(where, KEYS) is False
    assert os.stat(target).st_ino == before


def test_on_a_real_node_it_is_the_file_in_the_home_of_root():
    home = pwd.getpwnam("root").pw_dir
    assert ssh_files.authorized_keys(Paths()) == f"{home}/.ssh/authorized_keys"


def test_a_file_that_is_too_large_is_not_touched(where):
    os.truncate(put(where, b"# mine"), 65 << 20)
    with pytest.raises(errors.NodeFailure, match="not touched"):
        ssh_files.authorize(where, KEYS)
    assert len(os.listdir(where.local("/root/.ssh"))) == 1


def test_modes_that_the_server_would_not_take_are_told(where):
    put(where, b"", mode=0o620)
    os.chmod(where.local("/root/.ssh"), 0o777)
    assert [text.split()[0] for text in ssh_files.problems(where)] == ["/root/.ssh", "/root/.ssh/authorized_keys"]
    put(where, b"")
    os.chmod(where.local("/root/.ssh"), 0o700)
    assert ssh_files.problems(where) == ()


def write(env, serial, **texts):
    return ssconf.write(SsconfWrite(files=texts, serial=serial), env, Context(term=1))


def test_lists_come_with_the_ssconf_files_and_older_ones_change_nothing(env):
    local = put(env.paths, OTHERS)
    texts = {SSH_AUTHORIZED: f"node1 {key(1)}\n", SSH_KNOWN_HOSTS: f"node1,192.0.2.1 {key(9)}\n"}
    assert write(env, 5, **texts) == 2
    assert write(env, 5, **texts) == 0
    assert write(env, 4, **{SSH_AUTHORIZED: "", SSH_KNOWN_HOSTS: ""}) == 0
    assert ssh_files.ours(ssh_files.read(env.paths)) == (key(1),)
    assert files.read_text(env.paths.local(paths.KNOWN_HOSTS)) == texts[SSH_KNOWN_HOSTS]
    assert write(env, 6, **{SSH_AUTHORIZED: "", SSH_KNOWN_HOSTS: ""}) == 2
    with open(local, "rb") as file:
        assert file.read() == OTHERS
    assert not os.path.exists(env.paths.local(paths.KNOWN_HOSTS))


def test_what_somebody_damaged_is_repaired_by_the_same_list(env):
    write(env, 5, **{SSH_AUTHORIZED: f"node1 {key(1)}\n"})
    put(env.paths, OTHERS)
    assert write(env, 5, **{SSH_AUTHORIZED: f"node1 {key(1)}\n"}) == 1
    assert ssh_files.ours(ssh_files.read(env.paths)) == (key(1),)


@pytest.mark.parametrize("name", [SSH_AUTHORIZED, SSH_KNOWN_HOSTS])
def test_a_bad_list_is_refused_before_anything_is_written(env, name):
    put(env.paths, OTHERS)
    with pytest.raises(errors.NodeFailure):
        write(env, 5, **{"cluster_name": "c\n", name: f'node1 command="id" {key(1)}\n'})
    assert ssh_files.read(env.paths) == OTHERS
    assert not os.path.exists(env.paths.local(paths.ssconf("cluster_name")))


def begin(env, kind="ed25519", bits=0):
    return ssh.begin(SshKeyBegin(request="r", kind=kind, bits=bits), env, Context())


def switch(env, public):
    ssh.switch(SshKeySwitch(request="s", public_key=public), env, Context())


def test_a_pair_is_made_waits_and_takes_its_place(env):
    public = begin(env)
    assert begin(env) == public
    assert ssh.public_key(env.paths) == ""
    switch(env, public)
    switch(env, public)
    assert ssh.public_key(env.paths) == public
    assert os.listdir(env.paths.local(paths.RENEWAL_DIR)) == []
    assert os.stat(env.paths.local(paths.SSH_KEY)).st_mode & 0o777 == 0o600
    new = begin(env)
    assert new != public
    switch(env, new)
    directory = env.paths.local(paths.SSH_DIR)
    assert len(os.listdir(directory)) == 3  # logins that have begun find the old one
    switch(env, new)
    assert len(os.listdir(directory)) == 2
    assert ssh.public_key(env.paths) == new


def test_a_node_that_died_in_the_middle_of_a_switch_goes_on(env):
    switch(env, begin(env))
    public = begin(env)
    staged, link = env.paths.local(paths.staged(ssh.STAGED)), env.paths.local(paths.SSH_KEY)
    waiting = files.read_text(staged)
    os.symlink("nowhere", f"{link}.new")  # before the link was renamed
    switch(env, public)
    files.write_atomic(staged, waiting.encode(), mode=0o600)  # after it was
    switch(env, public)
    switch(env, public)
    assert ssh.public_key(env.paths) == public
    assert not os.path.exists(staged)
    assert sorted(os.listdir(os.path.dirname(link))) == ["identity", os.readlink(link)]


def test_a_pair_that_waits_is_made_anew_if_it_is_of_another_kind_or_damaged(env):
    first = begin(env)
    second = begin(env, "ecdsa", 384)
    assert (first.split()[0], second.split()[0]) == ("ssh-ed25519", "ecdsa-sha2-nistp384")
    with open(env.paths.local(paths.staged(ssh.STAGED)), "w", encoding="ascii") as file:
        file.write("half")
    assert begin(env, "ecdsa", 384) != second


def test_a_pair_that_was_not_made_here_is_not_used(env):
    switch(env, begin(env))
    before = ssh.public_key(env.paths)
    begin(env)
    with pytest.raises(errors.NodeFailure, match="not made here"):
        switch(env, key(1))
    assert ssh.public_key(env.paths) == before


def test_kinds_that_are_not_taken_are_refused(env):
    with pytest.raises(errors.NodeFailure, match="dsa"):
        begin(env, "dsa", 1024)


@pytest.mark.parametrize(("kind", "bits"), [("rsa", 2048), ("ecdsa", 256), ("ecdsa", 521), ("ed25519", 256)])
def test_openssh_reads_the_keys(tmp_path, kind, bits):
    private = ssh_keys.make(kind, bits)
    path = tmp_path / "k"
    files.write_atomic(str(path), private.encode(), mode=0o600)
    shown = subprocess.run(
        ["ssh-keygen", "-y", "-P", "", "-f", path], capture_output=True, text=True, check=True
    ).stdout
    assert shown.split()[:2] == ssh_keys.public_of(private).split()
    assert ssh_keys.is_of(private, kind, bits)
    assert not ssh_keys.is_of(private, "rsa", 4096)


def test_leaving_takes_all_of_it_away_and_may_be_repeated(env):
    local = put(env.paths, OTHERS)
    switch(env, begin(env))
    write(env, 1, **{SSH_AUTHORIZED: f"node1 {key(1)}\n", SSH_KNOWN_HOSTS: f"node1 {key(9)}\n"})
    for _ in range(2):
        ssh_files.forget(env.paths)
        with open(local, "rb") as file:
            assert file.read() == OTHERS
        for file in (paths.SSH_DIR, paths.KNOWN_HOSTS):
            assert not os.path.exists(env.paths.local(file))


class Logins:
    """A runner whose logins on node3 fail; they come in any order."""

    def run(self, argv, *, timeout_s):
        assert argv[-1] == "true"
        if argv[-2] == "root@node3":
            raise errors.CommandFailed(tuple(argv), 255, "x\nPermission denied.\n")
        return Finished(tuple(argv), 0, "", "")


def test_a_look_tells_keys_and_who_cannot_be_reached(where):
    os.makedirs(where.local("/etc/ssh"))
    for name, text in (
        ("ssh_host_rsa_key.pub", key(7, "ssh-rsa") + " root@x\n"),
        ("ssh_host_dsa_key.pub", "ssh-dss A"),
    ):
        with open(where.local(f"/etc/ssh/{name}"), "w", encoding="ascii") as file:
            file.write(text)
    put(where, OTHERS)
    env = NodeEnv(paths=where, runner=Logins(), clock=SystemClock(), hypervisors={}, storage={})
    unready = ssh.look(SshLook(reach=("node2",)), env, Context())
    assert "no key" in unready.unreachable["node2"]
    switch(env, begin(env))
    ssh_files.write_known_hosts(where, f"node2 {key(1)}\n")
    ssh_files.authorize(where, KEYS)
    found = ssh.look(SshLook(reach=("node2", "node3"), foreign=True), env, Context())
    assert found.host_keys == (key(7, "ssh-rsa"),)
    assert found.authorized == (key(1), key(2))
    assert found.unreachable == {"node3": "Permission denied."}
    assert found.public_key == ssh.public_key(where)
    assert len(found.foreign) == 3
    assert found.problems == ()
    with pytest.raises(errors.NodeFailure):
        ssh.look(SshLook(reach=("-oProxyCommand=id",)), env, Context())
