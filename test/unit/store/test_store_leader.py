"""The leader with real voters behind an RPC that can fail."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from unit.store.world import NOTE, Crash, World, put, run

from ganeti import errors
from ganeti.calls.store import StoreAppend, StoreSnapshot
from ganeti.store.api import Batch, Write
from ganeti.store.batch import seal
from ganeti.store.db import Retention
from ganeti.store.quorum import Limits

Scenario = Callable[[World], Coroutine[Any, Any, None]]


@pytest.fixture
def play(tmp_path):
    def play(scenario: Scenario, **kwargs: Any) -> None:
        async def main() -> None:
            world = World(str(tmp_path), **kwargs)
            try:
                await scenario(world)
            finally:
                await world.close()

        run(main())

    return play


def test_commit_is_on_a_majority_published_and_readable_when_it_returns(play):
    async def scenario(world: World) -> None:
        leader = await world.master()
        heard: list[Batch] = []
        leader.on_publish(heard.append)
        position = await leader.commit(put("a", "1"), NOTE)
        assert leader.term == 2
        assert leader.position == position
        assert [batch.writes for batch in heard] == [tuple(put("a", "1"))]
        assert heard[0].notes == (NOTE,)
        assert await leader.rows("object") == [("a", "1")]
        assert await leader.rows("object", prefix="b") == []
        assert sum(world.position(node)[1] == position.serial for node in world.nodes) >= 2
        await world.until_equal(world.nodes)

    play(scenario)


def test_concurrent_commits_share_batches(play):
    async def scenario(world: World) -> None:
        leader = await world.master()
        before = leader.position.serial
        await asyncio.gather(*(leader.commit(put(f"k{n}"), NOTE) for n in range(200)))
        assert leader.position.serial - before <= 2
        assert len(await leader.rows("object")) == 200

    play(scenario)


def test_commits_keep_the_order_of_their_calls(play):
    async def scenario(world: World) -> None:
        leader = await world.master()
        await asyncio.gather(*(leader.commit(put("same", str(n)), NOTE) for n in range(5)))
        assert await leader.rows("object") == [("same", "4")]

    play(scenario)


def test_commit_that_no_message_could_carry_is_refused_and_blocks_nobody(play):
    async def scenario(world: World) -> None:
        leader = await world.master()
        before = leader.position
        with pytest.raises(errors.StoreError, match="too large"):
            await leader.commit(put("a", '"' * (13 << 20)), NOTE)
        with pytest.raises(errors.StoreError, match="too large"):
            await leader.commit(put("a", "1"), NOTE, secrets={"job/1/0": '"' * (13 << 20)})
        assert leader.position == before
        await leader.commit(put("b", "1"), NOTE)
        await world.until_equal(world.nodes)

    play(scenario)


def test_single_voter_needs_nobody(play):
    async def scenario(world: World) -> None:
        leader = await world.master()
        started = asyncio.get_running_loop().time()
        await leader.commit(put("a"), NOTE)
        assert asyncio.get_running_loop().time() - started < 0.001
        assert not leader.is_solo
        assert not leader.missing_voters()

    play(scenario, nodes=1, voters=1)


def test_one_of_three_down_goes_on_and_catches_up_from_history(play):
    async def scenario(world: World) -> None:
        leader = await world.master()
        await world.crash("n2")
        for number in range(5):
            await leader.commit(put(f"k{number}"), NOTE)
        leader.check_quorum()
        await world.until(lambda: list(leader.missing_voters()) == ["n2"])
        assert not leader.is_solo
        leader.check_quorum()
        world.boot("n2")
        await world.until_equal(world.nodes)
        await world.until(lambda: not leader.missing_voters())
        assert ("n2", "store_snapshot") not in world.calls
        await world.stop("n0")
        assert world.content("n0") == world.content("n2")

    play(scenario)


def test_two_of_three_down_refuses_by_name_and_waiters_get_through_later(play):
    async def scenario(world: World) -> None:
        leader = await world.master()
        await leader.commit(put("a", "1"), NOTE)
        await world.crash("n1")
        await world.crash("n2")
        waiting = asyncio.create_task(leader.commit(put("a", "2"), NOTE))
        await asyncio.sleep(5)
        with pytest.raises(errors.QuorumError, match=r"n1\.example\.com.*n2\.example\.com"):
            leader.check_quorum()
        assert not waiting.done()
        assert await leader.rows("object") == [("a", "1")], "what is not acknowledged is not shown"
        assert ("object", "a", "1") in await leader.all_rows()
        assert leader.position.serial == (await leader.history())[-1].serial
        world.boot("n1")
        position = await waiting
        assert leader.position == position
        leader.check_quorum()
        assert await leader.rows("object") == [("a", "2")]

    play(scenario)


def test_quorum_loss_is_noticed_without_commits(play):
    async def scenario(world: World) -> None:
        leader = await world.master()
        await leader.commit(put("a"), NOTE)
        await world.crash("n1")
        await world.crash("n2")
        await asyncio.sleep(4)
        with pytest.raises(errors.QuorumError, match="1 of 3"):
            leader.check_quorum()

    play(scenario)


def test_a_cancelled_waiter_does_not_cancel_its_commit(play):
    async def scenario(world: World) -> None:
        leader = await world.master()
        waiting = asyncio.create_task(leader.commit(put("a"), NOTE))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.sleep(1)
        assert waiting.cancelled()
        assert await leader.rows("object") == [("a", "x")]

    play(scenario)


def test_commit_soon_rides_along_or_goes_after_a_second(play):
    async def scenario(world: World) -> None:
        leader = await world.master()
        serial = leader.position.serial
        leader.commit_soon(put("log"), NOTE)
        await leader.commit(put("a"), NOTE)
        assert leader.position.serial == serial + 1
        leader.commit_soon(put("log2"), NOTE)
        await asyncio.sleep(0.9)
        assert leader.position.serial == serial + 1
        await asyncio.sleep(0.2)
        assert leader.position.serial == serial + 2

    play(scenario)


def test_two_voters_go_solo_with_the_other_one_down(play):
    async def scenario(world: World) -> None:
        leader = await world.master()
        assert not leader.is_solo
        await world.crash("n1")
        await leader.commit(put("a"), NOTE)
        assert leader.is_solo
        leader.check_quorum()
        assert list(leader.missing_voters()) == ["n1"]
        world.boot("n1")
        await world.until_equal(["n0", "n1"])
        await world.until(lambda: not leader.is_solo)

    play(scenario, nodes=2, voters=2)


def test_two_voters_need_both_to_become_master_unless_forced(play):
    async def scenario(world: World) -> None:
        await world.crash("n1")
        with pytest.raises(errors.QuorumError, match=r"1 of 2 .*n1\.example\.com"):
            await world.master("n0")
        assert world.position("n0")[0] == 1, "nothing was changed"
        leader = await world.master("n0", no_voting=True)
        assert leader.is_solo
        await leader.commit(put("a"), NOTE)

    play(scenario, nodes=2, voters=2)


def test_forced_claim_of_one_of_three_is_solo_until_a_majority_is_back(play):
    async def scenario(world: World) -> None:
        await world.crash("n1")
        await world.crash("n2")
        leader = await world.master("n0", no_voting=True)
        await leader.commit(put("a"), NOTE)
        assert leader.is_solo
        world.boot("n1")
        await world.until_equal(["n0", "n1"])
        await leader.commit(put("b"), NOTE)
        assert not leader.is_solo
        await world.crash("n1")
        await asyncio.sleep(4)
        with pytest.raises(errors.QuorumError):
            leader.check_quorum()

    play(scenario)


def test_new_master_knows_every_acknowledged_commit(play):
    async def scenario(world: World) -> None:
        leader = await world.master("n0")
        await world.crash("n2")
        await leader.commit(put("a", "1"), NOTE)
        await world.crash("n0")
        world.boot("n2")
        with pytest.raises(errors.StaleTermError, match=r"n1\.example\.com has a newer state"):
            await world.master("n2")
        successor = await world.master("n1")
        assert successor.term > leader.term
        assert await successor.rows("object") == [("a", "1")]
        await successor.commit(put("b"), NOTE)
        world.boot("n0")
        await world.until_equal(world.nodes)

    play(scenario)


def test_old_master_loses_when_a_new_one_was_made(play):
    async def scenario(world: World) -> None:
        old = await world.master("n0")
        world.cut |= {frozenset(("n0", "n1")), frozenset(("n0", "n2"))}
        waiting = asyncio.create_task(old.commit(put("lost"), NOTE))
        new = await world.master("n1")
        await new.commit(put("kept"), NOTE)
        world.cut.clear()
        with pytest.raises(errors.StaleTermError):
            await waiting
        assert old.lost.is_set()
        with pytest.raises(errors.StaleTermError):
            old.check_quorum()
        with pytest.raises(errors.StaleTermError):
            await old.commit(put("more"), NOTE)
        await world.stop("n0")
        await world.until_equal(world.nodes)
        assert ("n0", "store_snapshot") in world.calls, "its tail is off the chain"
        await world.stop("n1")
        assert world.content("n0") == world.content("n1")
        assert ("object", "lost", "x") not in world.content("n0")["rows"]

    play(scenario)


def test_returning_old_master_is_refused_and_told_who_is_ahead(play):
    async def scenario(world: World) -> None:
        await world.master("n0")
        await world.crash("n0")
        new = await world.master("n1")
        await new.commit(put("a"), NOTE)
        world.boot("n0")
        with pytest.raises(errors.StaleTermError, match=r"n[12]\.example\.com has a newer state"):
            await world.master("n0")
        await new.commit(put("b"), NOTE)
        assert not new.lost.is_set()

    play(scenario)


def test_restarted_master_fetches_what_only_a_voter_has(play):
    async def scenario(world: World) -> None:
        leader = await world.master("n0")
        await leader.commit(put("a"), NOTE)
        position = leader.position
        # the master dies after sending, before its own disk has the batch
        await world.until_equal(world.nodes)
        await world.stop("n0")
        ahead = Batch(position.term, position.serial + 1, 1e9, (Write("object", "tail", "1"),))
        call = StoreAppend(
            previous_hash=position.hash,
            batches=(seal(ahead, position.hash).text,),
            secrets={"s": "v"},
            leader="n0",
            leader_term=position.term,
        )
        assert world.replicas["n1"].append(call).accepted
        again = await world.start("n0")
        heard: list[Batch] = []
        again.on_publish(heard.append)
        await again.claim(world.nodes)
        assert heard[0] == ahead
        assert await again.rows("object", prefix="tail") == [("tail", "1")]
        assert await again.secret("s") == "v"

    play(scenario)


def test_claim_needs_a_majority_of_all_nodes(play):
    async def scenario(world: World) -> None:
        for node in ("n3", "n4", "n5", "n6"):
            await world.crash(node)
        with pytest.raises(errors.QuorumError, match="3 of 7 nodes accept term 2, 4 are needed") as caught:
            await world.master("n0")
        assert not isinstance(caught.value, errors.ContendedError)
        world.boot("n3")
        leader = await world.master("n0")
        assert leader.term == 3

    play(scenario, nodes=7)


def test_second_claimant_of_a_term_is_refused(play):
    async def scenario(world: World) -> None:
        first, second = await world.start("n0"), await world.start("n1")
        results = await asyncio.gather(first.claim(world.nodes), second.claim(world.nodes), return_exceptions=True)
        assert sum(result is None for result in results) <= 1
        refusals = [result for result in results if result is not None]
        assert all(isinstance(refusal, errors.ContendedError | errors.StaleTermError) for refusal in refusals)

    play(scenario)


def test_voter_with_a_new_empty_disk_grants_nothing_and_is_sent_the_state(play, tmp_path):
    async def scenario(world: World) -> None:
        leader = await world.master("n0")
        await leader.commit(put("a"), NOTE)
        await world.stop("n0")
        await world.crash("n1")
        await world.crash("n2")
        (tmp_path / "n1" / "state.db").rename(tmp_path / "n1" / "broken")
        world.boot("n1")
        with pytest.raises(errors.QuorumError, match="has no copy of the state"):
            await world.master("n0")
        world.boot("n2")
        leader = await world.master("n0")
        await world.until_equal(world.nodes)

    play(scenario)


def test_added_voter_counts_after_it_has_everything(play):
    async def scenario(world: World) -> None:
        leader = await world.master("n0")
        await leader.commit(put("a"), NOTE, secrets={"password": "hidden"})
        await leader.add_voter("n1", put("candidate"), NOTE)
        assert [voter.node for voter in leader.voters()] == ["n0", "n1"]
        await leader.commit(put("b"), NOTE)
        await world.until_equal(["n0", "n1"])
        await leader.add_voter("n2", [], NOTE)
        await world.until_equal(world.nodes)
        await world.stop("n0")
        assert world.content("n0") == world.content("n2")
        assert world.content("n2")["secrets"] == {"password": "hidden"}
        successor = await world.master("n2")
        assert len(await successor.rows("object")) == 3

    play(scenario, voters=1)


def test_voter_that_cannot_be_reached_is_not_added(play):
    async def scenario(world: World) -> None:
        leader = await world.master("n0")
        await world.crash("n1")
        serial = leader.position.serial
        with pytest.raises(errors.StoreError, match=r"n1\.example\.com cannot be brought up to date"):
            await leader.add_voter("n1", put("candidate"), NOTE)
        assert leader.position.serial == serial
        assert [voter.node for voter in leader.voters()] == ["n0"]

    play(scenario, voters=1)


def test_removed_voter_counts_no_more_and_its_copy_is_put_aside(play, tmp_path):
    async def scenario(world: World) -> None:
        leader = await world.master("n0")
        await leader.remove_voter("n2", put("demoted"), NOTE)
        assert [voter.node for voter in leader.voters()] == ["n0", "n1"]
        await world.until(lambda: world.position("n2")[1] == 0)
        assert (tmp_path / "n2" / "state.db.dropped").exists()
        assert world.replicas["n2"].state().promised_term == leader.term
        with pytest.raises(errors.StoreError, match="empty"):
            await world.master("n2")
        with pytest.raises(errors.PrereqError):
            await leader.remove_voter("n0", [], NOTE)

    play(scenario)


def test_dead_voters_can_be_removed_while_there_is_a_majority(play):
    async def scenario(world: World) -> None:
        leader = await world.master("n0")
        await world.crash("n2")
        await leader.remove_voter("n2", [], NOTE)
        await world.crash("n1")
        await leader.commit(put("a"), NOTE)
        assert leader.is_solo
        await leader.remove_voter("n1", [], NOTE)
        assert not leader.is_solo

    play(scenario)


def test_slow_voter_delays_nobody(play):
    async def scenario(world: World) -> None:
        leader = await world.master("n0")
        world.cut.add(frozenset(("n0", "n2")))
        started = asyncio.get_running_loop().time()
        for number in range(10):
            await leader.commit(put(f"k{number}"), NOTE)
        assert asyncio.get_running_loop().time() - started < 0.1

    play(scenario)


def test_pruned_history_makes_a_snapshot(play):
    async def scenario(world: World) -> None:
        leader = await world.master("n0")
        await world.crash("n2")
        for number in range(300):
            await leader.commit(put(f"k{number}"), NOTE, secrets={"s": "1"})
        world.boot("n2")
        await world.until_equal(world.nodes)
        assert ("n2", "store_snapshot") in world.calls
        await leader.commit(put("after"), NOTE)
        await world.until_equal(world.nodes)
        await world.stop("n0")
        assert world.content("n0") == world.content("n2")

    play(scenario, retention=Retention(batches=100), limits=Limits(recent_size=1))


def test_lost_calls_and_replies_do_no_harm(play):
    async def scenario(world: World) -> None:
        leader = await world.master("n0")
        world.lose_calls = world.lose_replies = 0.3
        for number in range(30):
            await leader.commit(put(f"k{number}", str(number)), NOTE, secrets={f"s{number}": str(number)})
            await leader.commit([], NOTE, secrets={f"s{number - 1}": None})
        world.lose_calls = world.lose_replies = 0.0
        await world.until_equal(world.nodes)
        await asyncio.sleep(10)
        await world.stop("n0")
        assert world.content("n0") == world.content("n1") == world.content("n2")
        assert world.content("n1")["secrets"] == {"s29": "29"}

    play(scenario)


def test_snapshot_interrupted_by_a_crash_starts_again(play):
    async def scenario(world: World) -> None:
        old = await world.master("n0")
        await world.until_equal(world.nodes)
        world.cut |= {frozenset(("n0", "n1")), frozenset(("n0", "n2"))}
        tail = asyncio.create_task(old.commit([Write("object", f"t{n}", "z" * 1000) for n in range(3000)], NOTE))
        await asyncio.sleep(0.5)
        await world.crash("n0")
        with pytest.raises(errors.GanetiError):
            await tail
        new = await world.master("n1")
        await new.commit([Write("object", f"k{n}", "y" * 1000) for n in range(5000)], NOTE)
        world.cut.clear()
        parts: list[int] = []

        def die(node: str, call: Any) -> None:
            if isinstance(call, StoreSnapshot):
                parts.append(call.part)
                if parts == [0, 1, 2]:
                    raise Crash

        world.before_call = die
        world.boot("n0")
        await world.until(lambda: "n0" in world.down)
        assert world.position("n0")[2] != world.position("n1")[2]
        world.boot("n0")
        await world.until_equal(world.nodes)
        assert parts[3] == 0
        await world.stop("n1")
        assert world.content("n0") == world.content("n1")

    play(scenario)


def test_full_disk_of_the_master_stops_new_work_and_heals(play):
    async def scenario(world: World) -> None:
        leader = await world.master("n0", max_pages=40)
        big = [Write("object", f"k{n}", "y" * 1000) for n in range(300)]
        waiting = asyncio.create_task(leader.commit(big, NOTE))
        await asyncio.sleep(3)
        with pytest.raises(errors.StoreError, match="no space left"):
            leader.check_quorum()
        assert not waiting.done()
        assert await leader.rows("object") == []
        world.grow("n0")
        await waiting
        leader.check_quorum()
        assert len(await leader.rows("object")) == 300
        await world.until_equal(world.nodes)

    play(scenario)


def test_full_disk_of_a_voter_is_named_and_heals(play):
    async def scenario(world: World) -> None:
        world.max_pages["n2"] = 40
        world.boot("n2")
        leader = await world.master("n0")
        await leader.commit([Write("object", f"k{n}", "y" * 1000) for n in range(300)], NOTE)
        await world.until(lambda: list(leader.missing_voters()) == ["n2"])
        assert [voter.why for voter in leader.voters() if voter.why] == [
            "node n2.example.com: no space left for the state on its disk"
        ]
        await leader.commit(put("a"), NOTE)
        del world.max_pages["n2"]
        world.boot("n2")
        await world.until_equal(world.nodes)

    play(scenario)


def test_add_voter_after_catch_up_keeps_the_order_of_commits(play):
    async def scenario(world: World) -> None:
        leader = await world.master("n0")
        for number in range(50):
            await leader.commit(put(f"k{number}"), NOTE)
        await leader.catch_up("n1")
        assert [voter.node for voter in leader.voters()] == ["n0"]
        await asyncio.gather(
            leader.commit(put("same", "1"), NOTE),
            leader.add_voter("n1", put("same", "2"), NOTE),
            leader.commit(put("same", "3"), NOTE),
        )
        assert await leader.rows("object", prefix="same") == [("same", "3")]
        batches = await leader.history(after=leader.position.serial - 3)
        assert [batch.writes[0].value for batch in batches] == ["1", "2", "3"]
        with pytest.raises(errors.StoreError, match="cannot be brought up to date"):
            await world.crash("n2")
            await leader.catch_up("n2")

    play(scenario, voters=1)
