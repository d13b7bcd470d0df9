"""S1-S5, S7-S10: steps, their retries, time-outs and failures."""

from __future__ import annotations

import logging
import os
from itertools import pairwise
from time import perf_counter
from typing import Any

import pytest

from durable_async import HistoryEvent, NotSerializable, PayloadTooLarge, RunFailed, Status, StepTimeout
from durable_async.worker import runner

from . import flows_s as flows
from .harness import IS_CROWD, Process, World

log = logging.getLogger("semantics")
FLOWS = [flows]
STEPS = int(os.environ.get("DURABLE_TEST_STEPS", "5000" if not IS_CROWD else "1000"))


async def steps_of(world: World, id: str) -> list[HistoryEvent]:
    """What the history tells of steps and their attempts."""
    return [e for e in await world.durable.history(id) if e.kind in ("step", "step_failed", "attempt_failed")]


async def test_s01_fails_twice_then_succeeds(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.stumbles, {"ledger": world.ledger.path}, id="r")
        assert await world.result(handle) == "done"
    *failed, last = await steps_of(world, "r")
    assert [e.kind for e in failed] == ["attempt_failed"] * len(failed)
    assert [e.attempt for e in (*failed, last)] == list(range(1, len(failed) + 2))
    assert last.kind == "step" and last.name == "third_time"
    # A worker that dies before it has recorded a failure leaves the try in the ledger only.
    assert len(failed) == 2 or (IS_CROWD and len(failed) < 2)
    for event in failed:
        assert event.error is not None and event.error.type == "ValueError"
        assert "raise ValueError" in event.error.traceback


async def test_s02_restart_after_two_of_three_attempts_takes_exactly_one_more(world: World) -> None:
    handle = await world.durable.start(flows.stumbles_late, {"ledger": world.ledger.path}, id="r")
    first = world.process()

    async def two_have_failed() -> bool:
        return len(await steps_of(world, "r")) == 2

    await world.until(two_have_failed, "two attempts have failed")
    first.kill()
    await world.until(lambda: not first.is_alive, "the worker is dead")
    world.process()
    assert await world.result(handle) == "done"
    assert [(e.kind, e.attempt) for e in await steps_of(world, "r")] == [
        ("attempt_failed", 1),
        ("attempt_failed", 2),
        ("step", 3),
    ]
    assert world.ledger.counts()["try"] == 3


async def test_s03_back_off_holds_no_slot_and_survives_a_restart(world: World) -> None:
    given = {"ledger": world.ledger.path}
    handle = await world.durable.start(flows.backs_off, given, id="r")
    async with world.workers(concurrency=1):
        info = await world.until_status("r", Status.WAITING)
        assert info.waiting_for is not None and "tomorrow" in info.waiting_for
        other = await world.durable.start(flows.marks, {**given, "line": "other"})
        assert await world.result(other) == "other"
    (attempt,) = await steps_of(world, "r")
    due_ms = round(attempt.detail["retry_at"].timestamp() * 1000)
    assert world.look().timers == {"wr": due_ms}
    # Whoever looks after a restart neither repeats the attempt nor moves its time.
    async with world.workers():
        other = await world.durable.start(flows.marks, {**given, "line": "another"})
        assert await world.result(other) == "another"
    assert await steps_of(world, "r") == [attempt]
    assert world.look().timers == {"wr": due_ms}
    async with world.workers():
        assert await handle.cancel()
        await world.outcome(handle)


async def fail(world: World, policy: str, error: str) -> list[HistoryEvent]:
    """The attempts of a step that always fails."""
    async with world.workers():
        handle = await world.durable.start(flows.fails_by_policy, {"policy": policy, "error": error}, id="r")
        with pytest.raises(RunFailed):
            await world.result(handle)
    events = await steps_of(world, "r")
    assert [e.kind for e in events] == ["attempt_failed"] * (len(events) - 1) + ["step_failed"]
    assert [e.attempt for e in events] == list(range(1, len(events) + 1))
    return events


def delays_ms(events: list[HistoryEvent]) -> list[int]:
    return [round((e.detail["retry_at"] - e.at).total_seconds() * 1000) for e in events[:-1]]


async def test_s03_factor_and_maximum(world: World) -> None:
    assert delays_ms(await fail(world, "factor", "value")) == [10, 20, 30, 30]


async def test_s03_attempts_wait_for_their_time(world: World) -> None:
    events = await fail(world, "factor", "value")
    for before, after in pairwise(events):
        assert after.at >= before.detail["retry_at"]


async def test_s03_jitter(world: World) -> None:
    delays = delays_ms(await fail(world, "jitter", "value"))
    assert len(delays) == 5 and all(10 <= ms <= 30 for ms in delays)
    assert len(set(delays)) > 1


async def test_s03_max_elapsed(world: World) -> None:
    events = await fail(world, "max_elapsed", "value")
    assert 1 <= len(events) <= 4 + 1
    assert all(
        e.detail["retry_at"] <= events[0].at + 4 * (events[0].detail["retry_at"] - events[0].at) for e in events[:-1]
    )


@pytest.mark.parametrize(
    ("policy", "error", "attempts"),
    [
        ("retry_on", "worse", 3),
        ("retry_on", "value", 1),
        ("never_on", "bad", 3),
        ("never_on", "worse", 1),
        ("non_retryable", "value", 3),
        ("non_retryable", "final", 1),
    ],
)
async def test_s03_which_errors_are_retried(world: World, policy: str, error: str, attempts: int) -> None:
    assert len(await fail(world, policy, error)) == attempts


async def test_s04_time_out_cancels_an_async_step(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.times_out, {"kind": "async", "ledger": world.ledger.path}, id="r")
        await world.until_status("r", Status.WAITING)
        await handle.send_event("go")
        got = await world.result(handle)
    assert got == {"type": "StepTimeout", "text": "step 'never_returns' took longer than 0.1 s"}
    world.assert_ran("begun", "cancelled")
    (event,) = await steps_of(world, "r")
    assert event.kind == "step_failed" and event.error is not None and event.error.type == StepTimeout.__name__


async def test_s04_thread_that_ignores_its_time_out_is_abandoned_and_fenced(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.times_out, {"kind": "thread", "ledger": world.ledger.path}, id="r")
        await world.until_status("r", Status.WAITING)
        before = await world.durable.history("r")
        world.ledger.note("release")
        if not IS_CROWD:  # there, the process with the thread in it may be dead by now
            await world.until(lambda: "late" in world.ledger.lines(), "the thread ends late")
        assert await world.durable.history("r") == before
        await handle.send_event("go")
        assert (await world.result(handle))["type"] == "StepTimeout"
    assert [e.kind for e in await steps_of(world, "r")] == ["step_failed"]


SEEN = {
    "value": ["ValueError", "('bad', 3)", "('bad', 3)"],
    "key": ["KeyError", "('k',)", "'k'"],
    "os": ["FileNotFoundError", "(2, 'no such file')", "[Errno 2] no such file: 'f.txt'", 2, "f.txt"],
    "declared": ["DeclinedError", "(7, 'poor')", "(7, 'poor')", 7],
    "undeclared": ["StepFailed", "SecretError", "hidden", None],
    "chained": ["StepFailed", "SecretError", "outer", "KeyError"],
    "timeout": ["TimeoutError", "('slow',)", "slow", None, None],
    "final": ["NonRetryable", "('never again',)", "never again"],
}
OTHERS = ("unicode", "stop", "group", "object_in_builtin", "object_in_own", "cancelled", "exit")


@pytest.mark.parametrize("kind", ["async", "thread"])
@pytest.mark.parametrize("error", [*SEEN, *OTHERS])
async def test_s05_exceptions_are_the_same_live_and_on_replay(world: World, error: str, kind: str) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.sees_error, {"kind": kind, "error": error}, id="r")
        got = await world.result(handle)
    assert got[0] != "CancelledError", "the body was not cancelled: only its step was"
    assert (await handle.info()).context == {"seen": got}
    if error in SEEN:
        assert got == SEEN[error]
    else:
        assert got


@pytest.mark.parametrize(
    ("kind", "error", "where"),
    [
        ("object", NotSerializable, "returns"),
        ("nested", NotSerializable, ".a[1].b"),
        ("large", PayloadTooLarge, "returns"),
    ],
)
async def test_s07_result_that_cannot_be_stored_fails_typed_and_without_a_loop(
    world: World, kind: str, error: type[Exception], where: str
) -> None:
    async with world.workers():
        given = {"kind": kind, "ledger": world.ledger.path}
        handle = await world.durable.start(flows.unstorable_result, given, id="r")
        with pytest.raises(RunFailed) as caught:
            await world.result(handle)
    assert caught.value.error.type == error.__name__
    assert where in caught.value.error.message
    assert [(e.kind, e.attempt) for e in await steps_of(world, "r")] == [("step_failed", 1)]
    world.assert_ran("try")


async def test_s08_poison_step_is_a_crash_loop_after_five_claims(world: World) -> None:
    given = {"ledger": world.ledger.path}
    pool: list[Process] = []

    def ended() -> bool:
        return world.raw.hget(world.keys.run("p/kid"), "status") == "failed"

    def pool_is_kept() -> bool:
        """What a supervisor does."""
        pool[:] = [process for process in pool if process.is_alive]
        while len(pool) < 2:
            pool.append(world.process(["poison"], lease=0.5))
        return ended()

    async with world.workers():
        handle = await world.durable.start(flows.calls_poison, given, id="p")
        await world.until(pool_is_kept, "the child is a CrashLoop")
        got = await world.result(handle)
        assert got["failed"] == "CrashLoop" and "p/kid" in got["message"]
        assert world.ledger.counts()["poison"] == 5
        # The pool lives.
        handle = await world.durable.start(flows.marks, {**given, "line": "healthy"}, queue="poison")
        assert await world.result(handle) == "healthy"
    assert (await world.durable.get("p/kid")).status is Status.FAILED
    assert [e.kind for e in await world.durable.history("p/kid")] == ["started", "failed"]


async def test_s09_gather_of_a_hundred_steps(world: World) -> None:
    async with world.workers():
        given = {"n": 100, "width": 7, "ledger": world.ledger.path}
        handle = await world.durable.start(flows.gathers, given, id="r")
        await world.until_status("r", Status.WAITING)
        await world.until(lambda: world.raw.hget(world.keys.run("r"), "status") == "parked", "it is parked")
        await handle.send_event("go")
        assert await world.result(handle) == [n * n for n in range(100)]
    world.assert_ran(*(f"-{n}" for n in range(100)))
    ended = [line for line in world.ledger.lines() if line.startswith("-")]
    assert len([e for e in await steps_of(world, "r") if e.kind == "step"]) == 100
    if not IS_CROWD:
        assert ended != sorted(ended, key=lambda line: int(line[1:])), "they end out of order"
        busy = most = 0
        for line in world.ledger.lines():
            busy += 1 if line[0] == "+" else -1
            most = max(most, busy)
        assert most == 7


async def test_s10_replay_of_thousands_of_steps(
    world: World, record_property: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.long_one, {"n": STEPS, "ledger": world.ledger.path}, id="r")
        await world.until_status("r", Status.WAITING)
    world.assert_ran(*map(str, range(STEPS)))
    times = []
    begin_run = runner.begin_run

    def timed(*args: Any) -> None:
        before = perf_counter()
        begin_run(*args)
        times.append(perf_counter() - before)

    monkeypatch.setattr(runner, "begin_run", timed)
    world.ledger.note("restart")
    with world.counting() as commands:
        async with world.worker():
            await handle.send_event("go")
            assert await world.result(handle) == sum(range(STEPS))
    assert world.ledger.lines()[-1] == "restart", "no step has run again"
    assert len(times) == 1
    # Its own page travels with the claim; the others are a thousand lines each.
    assert commands["lrange"] <= STEPS / 1000 + 10
    assert len(await world.durable.history("r")) == STEPS + 3
    record_property("replay_ms", round(times[0] * 1000))
    log.info("replay of %d steps: %d ms", STEPS, times[0] * 1000)
