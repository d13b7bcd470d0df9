"""Workflows' own `retry=` and `timeout=`, and `continue_as_new`: several lives of one id, one after the other."""

from __future__ import annotations

from typing import Any

import pytest

from durable_async import (
    RunCancelled,
    RunFailed,
    RunNotFound,
    RunNotWaiting,
    RunTimeout,
    Status,
    WorkflowIdConflict,
)

from . import flows_generations as flows
from .harness import IS_CROWD, World

FLOWS = [flows]


def given(world: World, **more: Any) -> dict[str, Any]:
    return {"ledger": world.ledger.path, **more}


class TestRetry:
    async def test_o13_runs_again_and_keeps_what_its_children_had_completed(self, world: World) -> None:
        async with world.workers():
            handle = await world.durable.start(flows.stubborn, given(world, good=3), id="r")
            assert await world.result(handle) == [7, 3, 1]
        world.assert_ran("leaf", "attempt 1", "attempt 2", "attempt 3")
        run = await handle.info()
        assert (run.status, run.attempt, run.context) == (Status.COMPLETED, 3, {f"seen {n}": n for n in (1, 2, 3)})
        failures = [e for e in await world.durable.history("r") if e.kind == "run_attempt_failed"]
        told = [(e.attempt, e.error.message if e.error else "") for e in failures]
        assert told == [(1, "attempt 1"), (2, "attempt 2")]

    async def test_attempts_run_out(self, world: World) -> None:
        async with world.workers():
            handle = await world.durable.start(flows.stubborn, given(world, good=9), id="r")
            with pytest.raises(RunFailed, match="attempt 3"):
                await world.result(handle)
        assert (await handle.info()).attempt == 3

    async def test_what_is_not_to_be_retried(self, world: World) -> None:
        async with world.workers():
            handle = await world.durable.start(flows.refuses, given(world))
            with pytest.raises(RunFailed, match="never"):
                await world.result(handle)
        world.assert_ran("refused")

    async def test_the_parent_is_told_of_the_last_attempt_only(self, world: World) -> None:
        async with world.workers():
            good = await world.durable.start(flows.calls_stubborn, given(world, good=2), id="good")
            assert await world.result(good) == [7, 2, 1]
            bad = await world.durable.start(flows.calls_stubborn, given(world, good=9), id="bad")
            assert await world.result(bad) == ["ValueError", "attempt 3"]

    async def test_cancelled_between_attempts(self, world: World) -> None:
        async with world.workers():
            handle = await world.durable.start(flows.leaves_children_behind, given(world), id="r")
            await world.until_status("r/called", "waiting")
            assert await handle.cancel("enough")
            with pytest.raises(RunCancelled, match="enough"):
                await world.result(handle)
            await world.settled()
        assert (await handle.info()).attempt == 1

    async def test_what_the_first_attempt_left_behind(self, world: World) -> None:
        async with world.workers():
            handle = await world.durable.start(flows.leaves_children_behind, given(world), id="r")
            for kid in ("r/called", "r/started"):
                await world.until_status(kid, "waiting")
            await handle.send_event("go")

            await world.until(lambda: "cleaned up" in world.ledger.lines(), "the first attempt's call has cleaned up")
            before = world.ledger.counts()["called begins"]
            await world.until(
                lambda: world.ledger.counts()["called begins"] > before or world.ledger.lines()[-1] == "called begins",
                "it is called again",
            )
            await world.until_status("r/called", "waiting")
            # The call went down with the first attempt and is run again; what was started is the same child still.
            await world.durable.send_event("r/called", "end")
            await world.until_status("r/called", "completed")
            await world.durable.send_event("r/started", "end")
            assert await world.result(handle) == ["called", "started"]
        world.assert_ran("started begins")
        assert world.ledger.counts()["called begins"] >= 2

    async def test_o13_a_child_that_the_attempt_before_awaited_is_awaited_again(self, world: World) -> None:
        async with world.workers():
            handle = await world.durable.start(flows.starts_then_awaits, given(world), id="r")
            assert await world.result(handle) == [7, 2]
        world.assert_ran("leaf", "between 1", "between 2")


class TestContinueAsNew:
    async def test_context_stays_and_numbers_differ(self, world: World) -> None:
        async with world.workers():
            handle = await world.durable.start(flows.counts_down, 3, id="r")
            seen = await world.result(handle)
        assert [(n, attempt) for n, _, attempt in seen] == [(3, 1), (2, 1), (1, 1), (0, 1)]
        assert len({u for _, u, _ in seen}) == 4
        again = await world.durable.start(flows.counts_down, 3, id="r")
        assert await world.result(again) == seen

    async def test_unconsumed_events_stay_in_order(self, world: World) -> None:
        handle = await world.durable.start(flows.drains, given(world), id="r")
        for n in range(6):
            await handle.send_event("item", n)
        async with world.workers():
            assert await world.result(handle) == list(range(6))

    async def test_a_child_met_again_is_run_again(self, world: World) -> None:
        async with world.workers():
            handle = await world.durable.start(flows.calls_every_life, given(world, n=2), id="r")
            assert await world.result(handle) == []
        assert world.ledger.counts()["echo same"] >= 3
        assert [c.id for c in await handle.children()] == ["r/kid"]

    async def test_what_is_still_there_is_waited_for_even_if_nobody_awaits_it(self, world: World) -> None:
        async with world.workers():
            handle = await world.durable.start(flows.starts_every_life, given(world, n=1), id="r")
            await world.until_status("r", "waiting")
            await world.durable.send_event("r/kid", "end")
            assert await world.result(handle) == "done"
            await world.until_status("r/kid", "waiting")
            await world.durable.send_event("r/kid", "end")
            await world.until_status("r/kid", "completed")
        assert world.ledger.counts()["started begins"] >= 2

    async def test_from_a_task_of_the_body(self, world: World) -> None:
        async with world.workers():
            handle = await world.durable.start(flows.continues_in_a_group, 1, id="r")
            assert await world.result(handle) == 0

    async def test_a_cancel_wins(self, world: World) -> None:
        async with world.workers():
            handle = await world.durable.start(flows.continues_under_cancel, given(world), id="r")
            await world.until_status("r", "waiting")
            assert await handle.cancel("enough")
            with pytest.raises(RunCancelled):
                await world.result(handle)


class TestTimeout:
    async def test_the_body_is_told_and_its_call_goes_with_it(self, world: World) -> None:
        async with world.workers():
            handle = await world.durable.start(flows.takes_too_long, given(world), id="r")
            with pytest.raises(RunTimeout) as caught:
                await world.result(handle)
            await world.until_status("r/kid", "cancelled")
        assert caught.value.error.type == "RunTimeout"
        world.assert_ran("told", "sleeper ends 1")

    async def test_whatever_it_returns(self, world: World) -> None:
        async with world.workers():
            handle = await world.durable.start(flows.takes_too_long, given(world, swallows=True), id="r")
            with pytest.raises(RunTimeout):
                await world.result(handle)

    async def test_cut_after_the_grace(self, world: World) -> None:
        world.limits["cancel_grace"] = 0.3
        async with world.workers():
            handle = await world.durable.start(flows.never_lets_go, given(world), id="r")
            with pytest.raises(RunTimeout):
                await world.result(handle)
        world.assert_ran("told")

    async def test_a_timed_out_attempt_is_followed_by_another(self, world: World) -> None:
        async with world.workers():
            handle = await world.durable.start(flows.too_long_twice, given(world), id="r")
            assert await world.result(handle) == 2

    async def test_in_time(self, world: World) -> None:
        async with world.workers():
            handle = await world.durable.start(flows.in_time, given(world), id="r")
            assert await world.result(handle) == 7
        assert world.look().timers == {}

    async def test_o5_the_parent_is_told_also_if_nobody_serves_the_child(self, world: World) -> None:
        async with world.workers():
            handle = await world.durable.start(flows.calls_what_is_late, given(world), id="r")
            assert await world.result(handle) == ["RunTimeout", "RunTimeout"]

    async def test_nobody_serves_a_root(self, world: World) -> None:
        async with world.workers():
            handle = await world.durable.start(flows.nobody_serves, given(world), id="r")
            with pytest.raises(RunTimeout, match="no worker served it"):
                await world.result(handle)


class TestTakenUpAgain:
    async def failed(self, world: World, workflow: Any, id: str = "r", **more: Any) -> Any:
        handle = await world.durable.start(workflow, given(world, **more), id=id)
        with pytest.raises(RunFailed):
            await world.result(handle)
        return handle

    async def test_from_where_it_failed(self, world: World) -> None:
        async with world.workers():
            handle = await world.durable.start(flows.branches_that_fail, given(world), id="r")
            await world.until_status("r/kid", "waiting", "cancelled")
            with pytest.raises(RunFailed):
                await world.result(handle)
            world.ledger.note("mended bad")
            again = await world.durable.retry("r")
            # The child is of another life, too: what is sent to the one that is being cancelled goes down with it.
            kid = world.keys.run("r/kid")
            await world.until(lambda: world.raw.hget(kid, "gen") == "2", "the child lives again")
            await world.until_status("r/kid", "waiting")
            await world.durable.send_event("r/kid", "end", "ended")
            assert await world.result(again) == ["good", "bad", "ended"]
        world.assert_ran("before", "after")
        info = await again.info()
        assert (info.status, info.error, info.attempt) == (Status.COMPLETED, None, 1)
        assert [e.kind for e in await world.durable.history("r") if e.kind in ("failed", "retried")] == [
            "failed", "retried"
        ]  # fmt: skip
        with pytest.raises(RunNotWaiting):
            await world.durable.retry("r")

    async def test_a_child_that_failed_runs_again_and_what_completed_stays(self, world: World) -> None:
        async with world.workers():
            await self.failed(world, flows.calls_fragile)
            world.ledger.note("mended child")
            again = await world.durable.retry("r")
            assert await world.result(again) == [7, "child"]
        world.assert_ran("leaf")

    async def test_it_may_fail_again_and_be_taken_up_again(self, world: World) -> None:
        async with world.workers():
            await self.failed(world, flows.calls_fragile)
            for _ in range(2):
                again = await world.durable.retry("r")
                with pytest.raises(RunFailed):
                    await world.result(again)
            world.ledger.note("mended child")
            assert await world.result(await world.durable.retry("r")) == [7, "child"]
        world.assert_ran("leaf")

    async def test_a_failure_of_the_code_itself_goes_away_with_other_code_only(self, world: World) -> None:
        async with world.workers():
            await self.failed(world, flows.fails_by_itself)
            with pytest.raises(RunFailed, match="a bug"):
                await world.result(await world.durable.retry("r"))
        world.assert_ran("once")

    async def test_one_whose_time_was_over(self, world: World) -> None:
        async with world.workers():
            handle = await world.durable.start(flows.waits_too_long, given(world), id="r")
            with pytest.raises(RunTimeout):
                await world.result(handle)
            again = await world.durable.retry("r")
            await world.durable.send_event("r", "go", 5)
            assert await world.result(again) == 5
        world.assert_ran("once")

    async def test_a_step_that_runs_at_most_once_is_launched_again_by_a_person(self, world: World) -> None:
        async with world.workers():
            await self.failed(world, flows.fails_at_most_once)
            world.ledger.note("mended it")
            again = await world.durable.retry("r")
            if IS_CROWD:
                assert (await world.outcome(again)).status in (Status.COMPLETED, Status.FAILED)
                return
            assert await world.result(again) == "it"
            with pytest.raises(ValueError, match="it has mark, fragile_once"):
                await world.durable.fork("r", from_step="nothing")
        world.assert_ran("before")

    async def test_the_parent_is_not_told_again(self, world: World) -> None:
        async with world.workers():
            await self.failed(world, flows.calls_fragile)
            world.ledger.note("mended child")
            assert await world.result(await world.durable.retry("r/kid")) == "child"
        assert (await world.durable.get("r")).status is Status.FAILED

    async def test_what_cannot_be(self, world: World) -> None:
        with pytest.raises(RunNotFound):
            await world.durable.retry("nobody")
        await world.durable.start(flows.leaf, given(world), id="r")
        with pytest.raises(RunNotWaiting, match="is ready"):
            await world.durable.retry("r")


class TestFork:
    async def test_from_a_step(self, world: World) -> None:
        async with world.workers():
            handle = await world.durable.start(flows.three_steps, given(world), id="r")
            await world.until_status("r/kid", "waiting")
            await world.durable.send_event("r/kid", "end", "first")
            old = await world.result(handle)
            fork = await world.durable.fork("r", from_step="said#3")
            await world.until_status(f"{fork.id}/kid", "waiting")
            await world.durable.send_event(f"{fork.id}/kid", "end", "second")
            new = await world.result(fork)
        assert old[3:] == ["7", "first"] and new[3:] == ["7", "second"]
        # What was kept is the old outcome, whatever a crash has done to the ledger; the rest is new.
        assert new[:2] == old[:2]
        assert new[2] != old[2]
        assert (await handle.info()).status is Status.COMPLETED

    async def test_from_an_entry_of_the_history(self, world: World) -> None:
        async with world.workers():
            handle = await world.durable.start(flows.three_steps, given(world), id="r")
            await world.until_status("r/kid", "waiting")
            fork = await world.durable.fork("r", from_step=1)
            await world.until_status(f"{fork.id}/kid", "waiting")
            for id in ("r", fork.id):
                await world.durable.send_event(f"{id}/kid", "end", "end")
            old, new = await world.result(handle), await world.result(fork)
        assert new[0] != old[0]

    async def test_what_cannot_be(self, world: World) -> None:
        with pytest.raises(RunNotFound):
            await world.durable.fork("nobody", from_step="said")
        async with world.workers():
            handle = await world.durable.start(flows.leaf, given(world), id="r")
            await world.result(handle)
        with pytest.raises(ValueError, match="no step 'nothing'; it has mark"):
            await world.durable.fork("r", from_step="nothing")
        for wrong in (0, 99, -1):
            with pytest.raises(ValueError, match="no entry"):
                await world.durable.fork("r", from_step=wrong)
        with pytest.raises(TypeError):
            await world.durable.fork("r", from_step=True)


class TestReplace:
    async def test_v1_an_ended_run_goes_with_its_tree(self, world: World) -> None:
        async with world.workers():
            handle = await world.durable.start(flows.calls_every_life, given(world, n=0), id="r")
            await world.result(handle)
            other = await world.durable.start(flows.three_steps, given(world), id="r", on_conflict="replace")
            await world.until_status("r/kid", "waiting")
            with pytest.raises(WorkflowIdConflict, match="active"):
                await world.durable.start(flows.leaf, given(world), id="r", on_conflict="replace")
            await other.cancel()
            with pytest.raises(RunCancelled):
                await world.result(other)
            last = await world.durable.start(flows.leaf, given(world), id="r", on_conflict="replace")
            assert await world.result(last) == 7
        assert await last.children() == []
        with pytest.raises(RunNotFound):
            await world.durable.get("r/kid")

    async def test_v1_an_id_that_is_free(self, world: World) -> None:
        async with world.workers():
            handle = await world.durable.start(flows.leaf, given(world), id="r", on_conflict="replace")
            assert await world.result(handle) == 7
