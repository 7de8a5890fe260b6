"""Whose users of the REST interface count when they are edited here and there, and masters come and go."""

import asyncio
import hashlib
from types import SimpleNamespace

import pytest
from logic.plan_env import make_config, make_node, node_uuid

from ganeti import errors, paths
from ganeti.calls.node import NodeVerify, VerifyReply
from ganeti.calls.renewal import Secrets, SecretsRead, SecretsWrite
from ganeti.master.users_file import UsersFile
from ganeti.model.jobs import Flags, UsersRecord

OLD, NEW, OTHER = "anna old write\n", "anna new write\n", "eve mine write\n"


class World:
    """Three nodes with their copies, by number; those in `silent` do not answer. Implements the ways to both."""

    def __init__(self, *copies, master=1):
        self.copies = dict(enumerate(copies, start=1))
        self.silent = set()
        self.written = []
        self.flags = Flags()
        self.commits = 0
        self.starts(master)

    def starts(self, master):
        nodes = [make_node(number) for number in self.copies]
        self.state = SimpleNamespace(config=make_config(nodes=nodes, master_node=node_uuid(master)))
        self.file = UsersFile(self.state, self, self, new_request=lambda: "r")
        return self

    def look(self):
        asyncio.run(self.file.look())
        return tuple(self.copies.values())

    def _answer(self, node, call):
        number = int(node[-1])
        if number in self.silent:
            return errors.RpcError(node, "unreachable", "it does not answer")
        text = self.copies[number]
        if isinstance(call, NodeVerify):
            digest = hashlib.sha256(text.encode()).hexdigest() if text is not None else None
            return VerifyReply(files={paths.RAPI_USERS.path: digest} if digest else {})
        if isinstance(call, SecretsRead):
            return Secrets({"rapi-users": text} if text is not None else {})
        assert isinstance(call, SecretsWrite)
        self.written.append(number)
        (self.copies[number],) = call.secrets.files.values()
        return None

    async def one(self, node, call, *, progress=None):
        answer = self._answer(node, call)
        if isinstance(answer, errors.RpcError):
            raise answer
        return answer

    async def many(self, nodes, call):
        return {node: self._answer(node, call) for node in nodes}

    async def commit(self, note, *, flags):
        self.commits += 1
        self.flags = flags(self.flags)


def test_an_edit_on_the_master_goes_to_all_and_then_there_is_nothing_to_do():
    world = World(OLD, OLD, None)
    assert world.look() == (OLD, OLD, OLD)
    world.copies[1] = NEW
    assert world.look() == (NEW, NEW, NEW)
    assert world.flags.rest_users == UsersRecord(digest=hashlib.sha256(NEW.encode()).hexdigest(), master=node_uuid(1))
    world.written.clear()
    commits = world.commits
    world.look()
    assert (world.written, world.commits) == ([], commits)


def test_an_edit_elsewhere_does_not_count():
    world = World(OLD, OLD, OLD)
    world.look()
    world.copies[3] = OTHER
    assert world.look() == (OLD, OLD, OLD)


def test_a_node_that_was_away_gets_it_when_it_is_back():
    world = World(OLD, OLD, OLD)
    world.look()
    world.silent = {3}
    world.copies[1] = NEW
    assert world.look() == (NEW, NEW, OLD)
    world.silent = set()
    assert world.look() == (NEW, NEW, NEW)


@pytest.mark.parametrize("here", [OTHER, OLD])
def test_a_new_master_takes_what_counts_from_a_node_that_has_it(here):
    world = World(NEW, NEW, NEW)
    world.look()
    world.copies[2] = here  # edited there, or left over from when it was away
    world.silent = {1}
    assert world.starts(2).look() == (NEW, NEW, NEW)
    assert world.flags.rest_users.master == node_uuid(2)
    world.copies[2] = OTHER  # on the master from now on
    world.silent = set()
    assert world.look() == (OTHER, OTHER, OTHER)


def test_what_nobody_has_now_is_waited_for_and_an_edit_of_the_new_master_counts_all_the_same():
    for edited in (False, True):
        world = World(NEW, OLD, OLD)
        world.silent = {2, 3}
        world.look()
        world.silent = {1}
        world.copies[3] = OTHER
        assert world.starts(2).look() == (NEW, OLD, OTHER)
        if edited:
            world.copies[2] = "bob"
            assert world.look() == (NEW, "bob", "bob")
        world.silent = set()
        assert world.look() == (("bob",) * 3 if edited else (NEW, NEW, NEW))


def test_what_was_distributed_by_command_counts():
    world = World(NEW, OLD, OTHER)
    world.silent = {2, 3}
    world.look()
    world.silent = {1}
    world.starts(2).look()
    world.copies[3] = OLD  # gnt-cluster redist-conf
    world.look()
    world.silent = set()
    assert world.look() == (OLD, OLD, OLD)


def test_an_edit_while_the_master_daemon_was_down_counts():
    world = World(OLD, OLD, OLD)
    world.look()
    world.copies[1] = NEW
    assert world.starts(1).look() == (NEW, NEW, NEW)


def test_a_removed_file_is_not_removed_elsewhere():
    world = World(OLD, OLD, OLD)
    world.look()
    world.copies[1] = None
    assert world.look() == (None, OLD, OLD)
    world.copies[1] = ""
    assert world.look() == ("", "", "")


def test_it_looks_again_when_it_is_told_of_an_edit_and_goes_on_after_a_failure():
    world = World(OLD, OLD, OLD)

    async def body():
        edited = asyncio.Event()
        task = asyncio.create_task(world.file.keep(edited))
        while not world.commits:
            await asyncio.sleep(0)
        world.copies[1] = NEW
        usual, world.commit = world.commit, refuse
        edited.set()
        while not failed:
            await asyncio.sleep(0)
        world.commit = usual
        edited.set()
        while world.copies[3] != NEW:
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    failed = []

    async def refuse(note, *, flags):
        failed.append(note)
        raise errors.StoreError("no majority")

    asyncio.run(asyncio.wait_for(body(), 60))
