"""V8: schedules."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from durable_async import (
    ConfigurationError,
    Durable,
    Encrypted,
    RunFailed,
    RunInfo,
    RunTimeout,
    ScheduleInfo,
    Status,
    UnknownWorkflow,
)
from durable_async.worker.scheduler import scheduled

from . import flows_schedules as flows
from .harness import IS_CROWD, World

FLOWS = [flows]
WEEK = timedelta(days=7)
EACH_SECOND = ("each_second", "one_at_a_time")


def tick_before(now: datetime, weeks: int = 0) -> datetime:
    """The newest tick of a weekly schedule, or one some weeks before it."""
    return datetime.fromtimestamp((now.timestamp() // WEEK.total_seconds() - weeks) * WEEK.total_seconds(), UTC)


def run_id(name: str, tick: datetime) -> str:
    return f"{name}@{tick:%Y-%m-%dT%H:%M:%SZ}"


async def info(world: World, name: str) -> ScheduleInfo:
    found = {each.name: each for each in await world.durable.schedules()}

    def there() -> bool:
        return name in found

    assert there(), found
    return found[name]


async def runs(world: World, name: str) -> list[RunInfo]:
    """Of a schedule, oldest tick first."""
    page = await world.durable.list(workflow=name, limit=1000)
    return sorted(page.items, key=lambda run: run.id)


async def known(world: World) -> None:
    """As after a worker was there; those of each second are paused."""
    store, codec = world.durable._session.store, world.durable.codec
    for mine in scheduled(world.durable.workflows.values(), 60_000):
        _, now_ms, _ = await store.register_schedule(mine.record(codec))
        assert (await store.register_schedule(mine.record(codec, now_ms, mine.schedule.next_after(now_ms))))[0]
        if mine.name in EACH_SECOND:
            await world.durable.pause_schedule(mine.name)


@asynccontextmanager
async def three_workers(world: World) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(world.workers())
        if not IS_CROWD:
            for _ in range(2):
                await stack.enter_async_context(world.worker())
        yield


def down_for(world: World, name: str, weeks: int) -> None:
    """Nobody was there for its last ticks."""
    cursor = tick_before(datetime.now(UTC), weeks).timestamp() * 1000
    world.raw.hset(world.keys.schedule(name), "cursor", str(int(cursor)))
    world.raw.zadd(world.keys.schedules, {name: cursor + WEEK.total_seconds() * 1000})


async def test_v08_one_run_for_each_tick_with_three_workers(world: World) -> None:
    await known(world)
    async with three_workers(world):
        await world.durable.resume_schedule("each_second")

        async def three_are_over() -> bool:
            return len([run for run in await runs(world, "each_second") if run.status is Status.COMPLETED]) >= 3

        await world.until(three_are_over, "three ticks have come")
        await world.durable.pause_schedule("each_second")
        await world.settled()
    found = await runs(world, "each_second")
    ticks = [datetime.fromisoformat(run.output) for run in found]
    assert [run.id for run in found] == [run_id("each_second", tick) for tick in ticks]
    assert [run.input for run in found] == ticks
    assert {later - earlier for earlier, later in pairwise(ticks)} == {timedelta(seconds=1)}
    assert all(run.created_at >= tick for run, tick in zip(found, ticks, strict=True))
    for run in found:
        assert [event.kind for event in await world.durable.history(run.id)].count("step") == 1
    shown = await info(world, "each_second")
    assert (shown.last_at, shown.last_run_id, shown.paused) == (ticks[-1], found[-1].id, True)


async def test_v08_everybody_was_down(world: World) -> None:
    await known(world)
    last = tick_before(datetime.now(UTC))
    for name in ("newest", "all_of_them", "none_of_them"):
        down_for(world, name, 3)
    async with three_workers(world):

        async def all_have_moved_on() -> bool:
            return all(
                each.next_at == last + WEEK for each in await world.durable.schedules() if "of_them" in each.name
            )

        await world.until(all_have_moved_on, "what was missed has been dealt with")
        await world.until_status(run_id("newest", last), Status.COMPLETED)
        await world.settled()
    assert [(run.id, run.output) for run in await runs(world, "newest")] == [(run_id("newest", last), last.isoformat())]
    assert [(run.id, run.output) for run in await runs(world, "all_of_them")] == [
        (run_id("all_of_them", last - n * WEEK), "default") for n in (2, 1, 0)
    ]
    assert await runs(world, "none_of_them") == []


async def test_v08_a_worker_that_leaves_when_it_is_idle_does_what_is_due(world: World) -> None:
    await known(world)
    down_for(world, "newest", 2)
    async with world.worker() as worker:
        await worker.until_idle()
        last = tick_before(datetime.now(UTC))
        assert (await world.durable.get(run_id("newest", last))).status is Status.COMPLETED


async def test_v08_overlap(world: World) -> None:
    await known(world)
    async with three_workers(world):
        await world.durable.resume_schedule("one_at_a_time")

        async def two_were_left_out() -> str | None:
            shown = await info(world, "one_at_a_time")
            if shown.last_at is None or shown.next_at is None or shown.next_at - shown.last_at < timedelta(seconds=3):
                return None
            return shown.last_run_id

        first = await world.until(two_were_left_out, "two ticks were left out")
        assert [run.id for run in await runs(world, "one_at_a_time")] == [first]
        await world.durable.send_event(first, "go", "on")

        async def another() -> str | None:
            id = (await info(world, "one_at_a_time")).last_run_id
            return id if id != first else None

        second = await world.until(another, "the next one is started once the first is over")
        await world.durable.pause_schedule("one_at_a_time")
        assert (await world.durable.get(first)).output == "on"
        await world.durable.send_event(second, "go", "home")
        assert await world.result(world.durable.run(second)) == "home"


async def test_v08_out_of_turn(world: World) -> None:
    """Also while it is paused; ticks stay as they are."""
    await known(world)
    before = await info(world, "newest")
    await world.durable.pause_schedule(flows.newest)
    async with world.workers():
        handle = await world.durable.trigger(flows.newest)
        assert handle.id.startswith("newest@") and handle.id != (await world.durable.trigger("newest")).id
        at = (await handle.info()).input
        assert await world.result(handle) == at.isoformat()
        assert abs(at - datetime.now(UTC)) < timedelta(minutes=5)
        assert await world.result(await world.durable.trigger("all_of_them")) == "default"
        await world.settled()
    shown = await info(world, "newest")
    assert (shown.paused, shown.next_at) == (True, None)
    assert shown.last_run_id in [run.id for run in await runs(world, "newest")]
    async with world.workers():
        await world.durable.resume_schedule("newest")

        async def looked() -> bool:
            return (await info(world, "newest")).next_at == before.next_at

        await world.until(looked, "a worker has found the next tick")
    assert len(await runs(world, "newest")) == 2


async def test_v08_out_of_turn_by_one_who_cannot_make_the_input(world: World) -> None:
    await known(world)
    codec = Encrypted([b"k" * 32])
    async with Durable(world.url, namespace=world.namespace, codec=codec) as other:
        with pytest.raises(ConfigurationError, match="another codec"):
            await other.trigger("newest")
        # Without an input there is nothing to be read.
        handle = await other.trigger("all_of_them")
    async with world.workers():
        assert await world.result(world.durable.run(handle.id)) == "default"
    assert await runs(world, "newest") == []


async def test_v08_a_start_that_fails_is_visible(world: World) -> None:
    await known(world)
    last = tick_before(datetime.now(UTC))
    taken = await world.durable.start(flows.unscheduled, id=run_id("newest", last))
    down_for(world, "newest", 1)
    async with world.workers():

        async def said() -> str | None:
            return (await info(world, "newest")).error

        assert run_id("newest", last) in await world.until(said, "the schedule says what is the matter")
        assert await world.result(taken) == "nothing of that"
        # It goes on with the next one.
        assert (await info(world, "newest")).next_at == last + WEEK
        await world.durable.trigger("newest")
        assert (await info(world, "newest")).error is None
        await world.settled()


async def test_v08_a_run_that_fails_is_a_failed_run(world: World) -> None:
    await known(world)
    down_for(world, "fails", 2)
    last = tick_before(datetime.now(UTC))
    async with world.workers():
        await world.until_status(run_id("fails", last), Status.FAILED)
        with pytest.raises(RunFailed, match="every time"):
            await world.durable.run(run_id("fails", last)).result()
        shown = await info(world, "fails")
        assert (shown.error, shown.next_at) == (None, last + WEEK)


async def test_v08_with_a_timeout_and_with_attempts(world: World) -> None:
    await known(world)
    for name in ("too_long", "second_time"):
        down_for(world, name, 1)
    last = tick_before(datetime.now(UTC))
    async with world.workers():
        await world.until_status(run_id("too_long", last), Status.FAILED)
        with pytest.raises(RunTimeout):
            await world.durable.run(run_id("too_long", last)).result()
        await world.until_status(run_id("second_time", last), Status.COMPLETED)
        assert await world.result(world.durable.run(run_id("second_time", last))) == 2
        with pytest.raises(RunTimeout):
            await world.result(await world.durable.trigger("too_long"))
        assert (await info(world, "too_long")).error is None


async def test_v08_what_is_shown(world: World) -> None:
    await known(world)
    shown = {each.name: each for each in await world.durable.schedules()}
    assert list(shown) == sorted(shown)
    daily = shown["office_hours"]
    assert daily.expression == "cron 0 9 * * MON-FRI America/New_York"
    assert (daily.workflow, daily.catch_up, daily.overlap) == ("office_hours", "one", "allow")
    assert daily.next_at is not None and daily.next_at > datetime.now(UTC) and daily.next_at.hour in (13, 14)
    assert (daily.last_at, daily.last_run_id, daily.error, daily.paused) == (None, None, None, False)
    assert shown["none_of_them"].catch_up == "none" and shown["one_at_a_time"].overlap == "skip"


async def test_v08_removed(world: World) -> None:
    await known(world)
    await world.durable.remove_schedule("newest")
    assert "newest" not in [each.name for each in await world.durable.schedules()]
    for call in (world.durable.trigger, world.durable.pause_schedule, world.durable.remove_schedule):
        with pytest.raises(UnknownWorkflow, match="newest"):
            await call("newest")
    # Who has the code makes it known again.
    async with world.workers():

        async def is_back() -> bool:
            return "newest" in [each.name for each in await world.durable.schedules()]

        await world.until(is_back, "it is known again")
    assert (await info(world, "newest")).last_run_id is None


async def test_v08_names_that_are_none(world: World) -> None:
    for name in ("", "a b", "x" * 129, "a/b", 5, None):
        for call in ("trigger", "pause_schedule", "resume_schedule", "remove_schedule"):
            with pytest.raises(ValueError, match="schedule"):
                await getattr(world.durable, call)(name)
    with pytest.raises(UnknownWorkflow, match="no schedule"):
        await world.durable.resume_schedule(flows.unscheduled)
