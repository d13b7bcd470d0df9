"""V8: several workers look after schedules while time goes by: clocks change, everybody is down, code is deployed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import pytest

from durable_async import ConfigurationError, MsgpackCodec, Schedule, Workflow, cron, every, hours, workflow
from durable_async.codec import Codec
from durable_async.errors import NotSerializable
from durable_async.store.errors import ServerError
from durable_async.store.scheduling import Tick
from durable_async.store.store import Store
from durable_async.worker.scheduler import FOREIGN_MS, Scheduler, scheduled
from durable_async.workflow.schedules import tick_text

from .world import DAY_MS, World

MINUTE = 60_000
HOUR = 60 * MINUTE
NEW_YORK = "America/New_York"


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def job(schedule: Schedule, catch_up: str = "one", overlap: str = "allow", name: str = "job") -> Workflow[None, None]:
    async def body() -> None: ...

    return workflow(name=name, queue="q", schedule=schedule, catch_up=catch_up, overlap=overlap)(body)


def workers(world: World, *jobs: Workflow[None, None], count: int = 3, codec: Codec | None = None) -> list[Scheduler]:
    known = scheduled(jobs, DAY_MS)
    return [Scheduler(world.store, known, codec or MsgpackCodec(), 1000) for _ in range(count)]


async def pass_time(world: World, until: int, living: Sequence[Scheduler], step: int = 10 * MINUTE) -> None:
    """Everybody looks, again and again."""
    for now in (*range(world.now, until, step), until):
        world.now = now
        for worker in living:
            await worker.look()


def runs(world: World) -> list[str]:
    """The ticks that have a run, without `job@`, the date's year and the seconds; each run has one entry."""
    ids = [value for _, value in world.stream(world.keys.queue("q"))]
    assert len(set(ids)) == len(ids)
    return [id.partition("@")[2].removeprefix("2026-").removesuffix(":00Z") for id in ids]


async def test_one_run_for_each_tick(world: World) -> None:
    world.now = ms("2026-01-01T08:50")
    await pass_time(world, ms("2026-01-01T12:05"), workers(world, job(every(hours(1)))))
    assert runs(world) == ["01-01T09:00", "01-01T10:00", "01-01T11:00", "01-01T12:00"]
    record = await world.store.schedule("job")
    assert record and record.next_ms == ms("2026-01-01T13:00") and record.last_ms == ms("2026-01-01T12:00")


@pytest.mark.parametrize(
    ("text", "since", "until", "ticks"),
    [
        ("30 2 * * *", "2026-03-07T01:00", "2026-03-09T12:00", ["03-07T07:30", "03-08T07:00", "03-09T06:30"]),
        ("30 1 * * *", "2026-10-31T01:00", "2026-11-02T12:00", ["10-31T05:30", "11-01T05:30", "11-02T06:30"]),
        ("0 * * * *", "2026-11-01T04:30", "2026-11-01T07:30", ["11-01T05:00", "11-01T06:00", "11-01T07:00"]),
        ("0 * * * *", "2026-03-08T05:30", "2026-03-08T08:30", ["03-08T06:00", "03-08T07:00", "03-08T08:00"]),
        ("0 9 * * *", "2026-03-07T00:00", "2026-03-09T00:00", ["03-07T14:00", "03-08T13:00"]),
    ],
)
async def test_when_clocks_change(world: World, text: str, since: str, until: str, ticks: list[str]) -> None:
    world.now = ms(since)
    await pass_time(world, ms(until), workers(world, job(cron(text, tz=NEW_YORK))))
    assert runs(world) == ticks


@pytest.mark.parametrize(
    ("catch_up", "ticks"),
    [
        ("one", ["01-01T12:00"]),
        ("none", []),
        ("all", ["01-01T09:00", "01-01T10:00", "01-01T11:00", "01-01T12:00"]),
    ],
)
async def test_everybody_was_down(world: World, catch_up: str, ticks: list[str]) -> None:
    world.now = ms("2026-01-01T08:50")
    await workers(world, job(every(hours(1)), catch_up))[0].look()
    world.now = ms("2026-01-01T12:30")
    await pass_time(world, ms("2026-01-01T13:05"), workers(world, job(every(hours(1)), catch_up)))
    assert runs(world) == [*ticks, "01-01T13:00"]


async def test_more_was_missed_than_is_computed_at_once(world: World) -> None:
    world.now = ms("2026-01-01T00:00")
    await workers(world, job(every(MINUTE / 1000), "all"))[0].look()
    world.now = ms("2026-01-01T04:10") + 1
    await workers(world, job(every(MINUTE / 1000), "all"))[0].look()
    assert len(runs(world)) == 250


async def test_overlap(world: World) -> None:
    """The first run does not end: the others are left out until it has."""
    world.now = ms("2026-01-01T08:50")
    living = workers(world, job(every(hours(1)), overlap="skip"))
    await pass_time(world, ms("2026-01-01T11:10"), living)
    assert runs(world) == ["01-01T09:00"]
    world.claim("A", "job@2026-01-01T09:00:00Z").commit("failed")
    await pass_time(world, ms("2026-01-01T12:10"), living)
    assert runs(world) == ["01-01T09:00", "01-01T12:00"]


async def test_a_worker_dies_over_a_tick(world: World) -> None:
    """Handed to one that does nothing with it, the tick goes to another one after a while."""
    world.now = ms("2026-01-01T08:50")
    dead, alive = workers(world, job(every(hours(1))), count=2)
    await dead.look()
    await alive.look()
    world.now = ms("2026-01-01T09:00")
    assert (await world.store.poll_schedules([("job", "every 3600 s")]))[2]
    await alive.look()
    assert runs(world) == []
    world.now += 2_000
    await alive.look()
    assert runs(world) == ["01-01T09:00"]


async def test_one_that_has_no_code_does_not_swallow_ticks(world: World) -> None:
    world.now = ms("2026-01-01T08:50")
    (other,), (mine,) = (
        workers(world, job(every(hours(1)), name="other"), count=1),
        workers(world, job(every(hours(1))), count=1),
    )
    await other.look()
    await mine.look()
    world.now = ms("2026-01-01T09:00")
    for _ in range(5):
        await other.look()
    await mine.look()
    assert sorted(id for _, id in world.stream(world.keys.queue("q"))) == [
        "job@2026-01-01T09:00:00Z",
        "other@2026-01-01T09:00:00Z",
    ]


async def test_a_deploy_changes_it(world: World) -> None:
    """Workers of the old code leave the new ticks alone, and start no more of their own."""
    world.now = ms("2026-01-01T08:50")
    old = workers(world, job(cron("0 * * * *")))
    await pass_time(world, ms("2026-01-01T09:10"), old)
    new = workers(world, job(cron("30 * * * *")), count=1)
    await new[0].look()
    await pass_time(world, ms("2026-01-01T11:10"), [*old, *new])
    assert runs(world) == ["01-01T09:00", "01-01T09:30", "01-01T10:30"]


async def test_a_deploy_that_was_rolled_back_by_ending_the_new_workers(world: World) -> None:
    """Nobody has the new code any more: the old one takes its schedule back."""
    world.now = ms("2026-01-01T08:50")
    old = workers(world, job(cron("0 * * * *")))
    await pass_time(world, ms("2026-01-01T08:55"), old)
    await workers(world, job(cron("30 * * * *")), count=1)[0].look()
    world.now = ms("2026-01-01T09:30") + FOREIGN_MS
    for worker in old:
        await worker.look()
    assert (await world.store.schedules())[0].expression == "cron 30 * * * * UTC"
    world.now += 1
    await pass_time(world, ms("2026-01-01T10:05"), old)
    assert runs(world) == ["01-01T10:00"]


async def test_removed_from_the_code_it_is_shown_and_not_fired(world: World) -> None:
    world.now = ms("2026-01-01T08:50")
    await workers(world, job(every(hours(1)), name="gone"))[0].look()
    await pass_time(world, ms("2026-01-01T12:05"), workers(world, job(every(hours(1)))))
    assert runs(world) == ["01-01T09:00", "01-01T10:00", "01-01T11:00", "01-01T12:00"]
    gone, _ = await world.store.schedules()
    assert (gone.name, gone.next_ms, gone.last_run) == ("gone", ms("2026-01-01T09:00"), "")


async def test_paused_and_resumed(world: World) -> None:
    world.now = ms("2026-01-01T08:50")
    living = workers(world, job(every(hours(1)), "all"))
    await living[0].look()
    await world.store.change_schedule("job", "pause")
    # Whoever starts meanwhile leaves it paused.
    living += workers(world, job(every(hours(1)), "all"))
    await pass_time(world, ms("2026-01-01T11:10"), living)
    await world.store.change_schedule("job", "resume")
    await pass_time(world, ms("2026-01-01T12:10"), living)
    assert runs(world) == ["01-01T12:00"]


async def test_the_clock_is_set_back(world: World) -> None:
    world.now = ms("2026-01-01T08:50")
    living = workers(world, job(every(hours(1))))
    await pass_time(world, ms("2026-01-01T09:05"), living)
    assert await living[0].look() == 55 * 60
    world.now = ms("2026-01-01T07:00")
    assert await living[0].look() == 3 * 60 * 60
    await pass_time(world, ms("2026-01-01T10:05"), [*living, *workers(world, job(every(hours(1))))])
    assert runs(world) == ["01-01T09:00", "01-01T10:00"]


class Refusing(MsgpackCodec):
    """Cannot store anything."""

    def encode(self, value: object, *, limit: int = 0, what: str = "") -> bytes:
        raise NotSerializable(f"{what}: no key")


async def test_a_start_that_fails_is_visible(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """V8; and the next one is tried anew."""

    @workflow(name="job", queue="q", schedule=every(hours(1)))
    async def takes_the_tick(at: datetime) -> None: ...

    known = scheduled([takes_the_tick], DAY_MS)
    world.now = ms("2026-01-01T08:50")
    await pass_time(world, ms("2026-01-01T09:05"), [Scheduler(world.store, known, Refusing(), 1000)])
    record = await world.store.schedule("job")
    assert record and record.error.startswith("the tick 2026-01-01T09:00:00Z could not be started: ")
    assert "could not be started" in caplog.text
    assert runs(world) == []
    good = Scheduler(world.store, known, MsgpackCodec(), 1000)
    await pass_time(world, ms("2026-01-01T10:05"), [good])
    record = await world.store.schedule("job")
    assert record and record.error == ""
    assert runs(world) == ["01-01T10:00"]


async def test_a_damaged_queue_is_visible_and_loses_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world.now = ms("2026-01-01T08:50")
    (worker,) = workers(world, job(every(hours(1))), count=1)
    await worker.look()
    world.now = ms("2026-01-01T09:00")
    call = world.caller.call

    async def damaged(args: tuple[object, ...], **more: object) -> object:
        if "start" in args:
            raise ServerError("WRONGTYPE a key holds another type")
        return await call(args)

    monkeypatch.setattr(world.caller, "call", damaged)
    await worker.look()
    monkeypatch.undo()
    record = await world.store.schedule("job")
    assert record and "WRONGTYPE" in record.error
    world.now += 2_000
    await worker.look()
    assert runs(world) == ["01-01T09:00"]


class Hesitant:
    """A caller that lets the others go first, now and then."""

    def __init__(self, world: World, chance: random.Random) -> None:
        self.world = world
        self.chance = chance

    async def call(self, args: tuple[object, ...], *, deadline_s: float | None = None) -> object:
        for _ in range(self.chance.randrange(4)):
            await asyncio.sleep(0)
        reply = self.world.caller.execute(args)
        for _ in range(self.chance.randrange(4)):
            # Done, and whoever asked for it may die before it is told.
            await asyncio.sleep(0)
        return reply

    def run(self, args: tuple[object, ...], on_reply: Callable[[object], None], **_: object) -> None:
        on_reply(self.world.caller.execute(args))


@pytest.mark.parametrize("seed", range(40))
async def test_whoever_dies_whenever_each_tick_has_one_run(world: World, seed: int) -> None:
    """Three workers look at any time, die between any two calls and start again; somebody triggers."""
    chance = random.Random(seed)
    store = Store(Hesitant(world, chance), world.keys, given_now=ms("2026-01-01T08:50"))  # type: ignore[arg-type]
    known = scheduled([job(every(MINUTE / 1000), "all")], DAY_MS)

    def started() -> Scheduler:
        return Scheduler(store, known, MsgpackCodec(), 1000)

    living, triggered = [started() for _ in range(3)], 0
    await living[0].look()
    for _ in range(12):
        world.now = store.given_now = int(store.given_now) + chance.choice((500, 2_500, 30_000, 200_000))
        looks = [asyncio.ensure_future(worker.look()) for worker in living]
        for _ in range(chance.randrange(12)):
            await asyncio.sleep(0)
        if chance.random() < 0.4:
            at = chance.randrange(3)
            looks[at].cancel()
            living[at] = started()
        if chance.random() < 0.3:
            triggered += 1
            run = world.new(f"job@out-of-turn-{triggered}", workflow="job", token=str(triggered))
            await store.tick_schedule(Tick(want="trigger", name="job", new_cursor_ms=world.now, run=run))
        await asyncio.gather(*looks, return_exceptions=True)
    world.now = store.given_now = int(store.given_now) + 5_000
    for _ in range(3):
        for worker in living:
            await worker.look()
        world.now = store.given_now = int(store.given_now) + 2_000
    found = [id.partition("@")[2] for _, id in world.stream(world.keys.queue("q"))]
    ticks = [id for id in found if "turn" not in id]
    first = ms("2026-01-01T08:51")
    last = (world.now - 4_000) // MINUTE * MINUTE
    expected = [tick_text(at) for at in range(first, last + 1, MINUTE)]
    assert ticks[: len(expected)] == expected and len(ticks) <= len(expected) + 1
    assert len(found) == len(ticks) + triggered


class TestInputs:
    def test_what_a_schedule_cannot_give(self) -> None:
        @workflow(schedule=every(5))
        async def needs(text: str) -> None: ...

        with pytest.raises(ConfigurationError, match="an input that a schedule cannot give"):
            scheduled([needs], 5)

    def test_what_it_can(self) -> None:
        @workflow(schedule=every(5))
        async def nothing() -> None: ...
        @workflow(schedule=every(5))
        async def default(text: str = "x") -> None: ...
        @workflow(schedule=every(5))
        async def tick(at: datetime) -> None: ...
        @workflow(schedule=every(5))
        async def perhaps(at: datetime | None = None) -> None: ...

        found = scheduled([nothing, default, tick, perhaps], 5)
        assert [each.takes_tick for each in found] == [False, False, True, True]
