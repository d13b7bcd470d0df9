"""Workflows' own `retry=` and `timeout=`, and `continue_as_new`: several lives of one id, one after the other."""

from __future__ import annotations

from typing import Any

import pytest

from durable_async import RunCancelled, RunFailed, RunTimeout, Status

from . import flows_generations as flows
from .harness import World

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
