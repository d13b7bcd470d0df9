"""Entries, wake-ups and nudges that come late, are lost on the way, or meet a call under way; a canceller that dies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from durable_async import Durable, Status
from durable_async.store.scripts import SCRIPTS
from durable_async.store.store import GROUP
from durable_async.worker.worker import Worker

from . import flows_lost_entries as flows
from .harness import World

FLOWS = [flows]
LEASE_S = 0.5
COMMIT = SCRIPTS["commit_run"].sha


def given(world: World, name: str = "") -> dict[str, Any]:
    return {"ledger": world.ledger.path, "name": name}


def read_as(world: World, consumer: str) -> str:
    """Reads one entry of the default queue in somebody's name, who never learns of it; the run's id."""
    queue = world.keys.queue("default")
    found: Any = world.raw.xreadgroup(GROUP, consumer, {queue: ">"}, count=1)
    ((_, ((_, fields),)),) = found
    return str(fields["r"])


class Delayed:
    """Replies of commits come when the test lets them."""

    def __init__(self, worker: Worker) -> None:
        self._submit: Callable[[Any, Any], None] = worker.caller._submit
        self._kept: list[Callable[[], None]] = []
        self.is_on = False
        worker.caller._submit = self.submit

    def submit(self, args: Any, on_reply: Any) -> None:
        def replied(reply: Any) -> None:
            if self.is_on and args[:2] == ("EVALSHA", COMMIT):
                self._kept.append(lambda: on_reply(reply))
            else:
                on_reply(reply)

        self._submit(args, replied)

    def has_some(self) -> bool:
        return bool(self._kept)

    def let_go(self) -> None:
        """From here on they come at once."""
        self.is_on, kept = False, self._kept
        self._kept = []
        for reply in kept:
            reply()


async def test_d02_a_dead_worker_whose_read_is_served_late_is_reaped_again(world: World) -> None:
    async with world.worker(concurrency=1, lease=LEASE_S):
        busy = await world.durable.start(flows.one_step, given(world, "busy"), id="busy")
        await world.until(lambda: "busy begins" in world.ledger.lines(), "the only slot is taken")
        late = await world.durable.start(flows.waits, given(world), id="late")
        for _ in range(2):
            # The second time it had been cleared away, and what it held was in the queue again.
            assert read_as(world, "ghost") == "late"
            await world.until(lambda: not has_consumer(world, "ghost"), "the dead worker is cleared away")
        world.ledger.note("release busy")
        assert await world.result(busy) == "busy"
        await world.durable.send_event("late", "go", 1)
        assert await world.result(late) == 1


def has_consumer(world: World, name: str) -> bool:
    found: Any = world.raw.xinfo_consumers(world.keys.queue("default"), GROUP)
    return any(one["name"] == name for one in found)


async def test_b13_an_entry_that_was_read_and_never_arrived_is_found(world: World) -> None:
    async with world.worker(concurrency=1, lease=LEASE_S) as worker:
        busy = await world.durable.start(flows.one_step, given(world, "busy"), id="busy")
        await world.until(lambda: "busy begins" in world.ledger.lines(), "the only slot is taken")
        lost = await world.durable.start(flows.waits, given(world), id="lost")
        assert read_as(world, worker.id) == "lost"
        world.ledger.note("release busy")
        assert await world.result(busy) == "busy"
        await world.durable.send_event("lost", "go", 1)
        assert await world.result(lost) == 1


async def test_b13_a_wake_up_that_never_arrived_is_found_also_if_its_run_is_here(world: World) -> None:
    async with world.worker(lease=LEASE_S) as worker:
        handle = await world.durable.start(flows.waits, given(world), id="p")
        await world.until_status("p", Status.WAITING)
        reader, lost = worker._own_reader, []
        take = reader._take
        reader._take = lambda key, entries: lost.append(entries)
        await world.durable.send_event("p", "go", 1)
        await world.until(lambda: lost, "the wake-up is read, and lost")
        reader._take = take
        assert await world.result(handle) == 1


async def test_m5_a_wake_up_that_comes_before_the_reply_to_the_park_waits_for_it(world: World) -> None:
    async with world.worker() as worker:
        delayed = Delayed(worker)
        delayed.is_on = True
        handle = await world.durable.start(flows.waits, given(world), id="p")
        await world.until(delayed.has_some, "the park is answered, and nobody knows")
        await world.durable.send_event("p", "go", 1)
        await world.until(lambda: not unread(world, worker), "the wake-up is read")
        delayed.let_go()
        assert await world.result(handle) == 1


def unread(world: World, worker: Worker) -> int:
    """Entries of the worker's own stream that nobody has."""
    key = world.keys.worker(worker.id)
    (group,) = world.raw.xinfo_groups(key)  # type: ignore[misc]  # redis-py's own union
    return int(world.raw.xlen(key)) - int(group["pending"])  # type: ignore[arg-type]  # as above


async def test_o21_a_nudge_that_comes_before_the_reply_to_a_commit_is_not_forgotten(world: World) -> None:
    async with world.worker() as worker:
        delayed = Delayed(worker)
        handle = await world.durable.start(flows.waits_beside_a_step, given(world), id="p")
        delayed.is_on = True
        await world.until(delayed.has_some, "the outcome of the quick step is recorded, and nobody knows")
        await world.durable.send_event("p", "go", 1)
        await world.until(lambda: not unread(world, worker), "the nudge is read")
        delayed.let_go()
        await world.until(lambda: "went on" in world.ledger.lines(), "the body has gone on beside the step")
        world.ledger.note("release beside")
        assert await world.result(handle) == ["beside", 1]


async def test_o21_what_came_while_a_living_worker_had_no_stream_is_looked_for(world: World) -> None:
    """A reaper that took it for dead has removed its stream: nobody could nudge it."""
    async with world.worker() as worker:
        handle = await world.durable.start(flows.waits_beside_a_step, given(world), id="p")
        await world.until(lambda: {"before", "beside begins"} <= set(world.ledger.lines()), "both have begun")
        (resident,) = worker.runner.residents
        await world.until(lambda: not resident.is_out and len(resident.tasks) == 1, "the quick one is recorded")
        key = world.keys.worker(worker.id)
        # However fast the stream is made anew: nobody nudges twice, until a commit has said that the first was heard.
        with world.raw.pipeline() as pipe:
            pipe.delete(key)
            pipe.hset(world.keys.run("p"), "nudged", "1")
            pipe.execute()
        await world.durable.send_event("p", "go", 1)
        await world.until(lambda: "went on" in world.ledger.lines(), "the body has gone on beside the step")
        world.ledger.note("release beside")
        assert await world.result(handle) == ["beside", 1]


async def test_o21_a_message_for_a_run_whose_claim_the_server_has_lost_is_heard_beside_a_step(world: World) -> None:
    """Its record is ready again, under an entry that this worker holds: nobody is woken or nudged."""
    handle = await world.durable.start(flows.waits_beside_a_step, given(world), id="p")
    keys = world.keys
    kept = [keys.run("p"), keys.journal("p"), keys.inbox("p"), keys.queue("default")]
    disk = {key: world.raw.dump(key) for key in kept}
    async with world.worker(lease=LEASE_S):
        await world.until(lambda: {"before", "beside begins"} <= set(world.ledger.lines()), "both have begun")
        with world.raw.pipeline() as pipe:
            for key, was in disk.items():
                pipe.delete(key)
                if was is not None:
                    pipe.restore(key, 0, was)
            pipe.execute()
        await world.durable.send_event("p", "go", 1)
        await world.until(lambda: "went on" in world.ledger.lines(), "the body has gone on beside the step")
        world.ledger.note("release beside")
        assert await world.result(handle) == ["beside", 1]


async def test_o21_a_lost_nudge_is_made_up_for_beside_a_step(world: World) -> None:
    """It was acked before the server lost what followed from it, or the stream was gone that it was meant for."""
    async with world.worker(lease=LEASE_S) as worker:
        handle = await world.durable.start(flows.waits_beside_a_step, given(world), id="p")
        await world.until(lambda: {"before", "beside begins"} <= set(world.ledger.lines()), "both have begun")
        (resident,) = worker.runner.residents
        await world.until(lambda: not resident.is_out and len(resident.tasks) == 1, "the quick one is recorded")
        # As if it had been nudged: nobody nudges twice, until a commit has said that the first was heard.
        world.raw.hset(world.keys.run("p"), "nudged", "1")
        await world.durable.send_event("p", "go", 1)
        await world.until(lambda: "went on" in world.ledger.lines(), "the body has gone on beside the step")
        world.ledger.note("release beside")
        assert await world.result(handle) == ["beside", 1]
        assert world.ledger.lines().count("before") == 1


async def test_i5_a_step_starts_once_the_commit_before_it_was_acknowledged(world: World) -> None:
    """Else it could work with an outcome that never is recorded."""
    async with world.worker() as worker:
        delayed = Delayed(worker)
        delayed.is_on = True
        handle = await world.durable.start(flows.in_turn, given(world), id="p")
        await world.until(delayed.has_some, "the first outcome is recorded, and nobody knows")
        assert world.ledger.lines() == ["one"]
        delayed.let_go()
        assert await world.result(handle) == ["one", "two"]


async def test_c05_a_worker_that_is_told_that_its_run_has_ended_starts_nothing(world: World) -> None:
    async with world.worker():
        handle = await world.durable.start(flows.one_after_another, given(world), id="p")
        await world.until(lambda: "one begins" in world.ledger.lines(), "the step is in flight")
        assert await world.durable.terminate("p")
        world.ledger.note("release one")
        await world.settled()
        other = await world.durable.start(flows.in_turn, {"ledger": world.ledger.path + ".other"}, id="q")
        assert await world.result(other) == ["one", "two"]
    assert (await handle.info()).status is Status.CANCELLED
    assert world.ledger.lines() == ["one begins", "release one"]


class Died(Exception):
    pass


async def test_c03_a_canceller_that_dies_once_the_root_is_marked_leaves_nothing_undone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world.workers():
        await world.durable.start(flows.starts, given(world), id="p")
        await world.until_status("p/kid", Status.WAITING)
        async with Durable(world.url, namespace=world.namespace) as caller:
            store = caller._session.store
            cancel_run = store.cancel_run

            async def and_dies(*args: Any) -> Any:
                await cancel_run(*args)
                raise Died

            monkeypatch.setattr(store, "cancel_run", and_dies)
            with pytest.raises(Died):
                await caller.cancel("p", "enough")
        await world.until_status("p", Status.CANCELLED)
        assert (await world.until_status("p/kid", Status.CANCELLED)).reason == "ancestor p was cancelled: enough"


async def test_b9_what_was_queued_before_there_was_a_group_is_read(world: World) -> None:
    handle = await world.durable.start(flows.waits, given(world), id="p")
    await world.durable.send_event("p", "go", 1)
    async with world.workers():
        assert await world.result(handle) == 1
