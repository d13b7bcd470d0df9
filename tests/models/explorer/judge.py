"""The end of a schedule: faults stop, everybody goes on, and then what there is is held against what must be."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from faults.invariants import check_invariants
from faults.snapshot import Run, Snapshot
from semantics.leaks import LOOK, Look, parse_look

from durable_async.client.doctor import Report, examine

from .actors import LEASE_S, SimClient
from .world import World

if TYPE_CHECKING:
    from .stage import MemoryBook

ROUNDS = 12
FRESH = "fresh"


def look_at(world: World) -> Look:
    """Everything that the namespace holds now, in one script."""
    (answer,) = world.server.execute(("EVAL", LOOK, 0, world.keys.base))
    assert not isinstance(answer, Exception), answer
    return parse_look(answer)


def left_over(world: World) -> list[str]:
    """What must be gone when all is over, and is there."""
    living = {f"key worker:{worker.name} stays for ever" for worker in world.workers}
    return [line for line in look_at(world).left(world.keys, FRESH) if line not in living]


def unanswered(world: World) -> list[str]:
    """What clients were told to do and have not done."""
    return [
        f"{actor.name} has no answer to {task.get_name()}"
        for actor in world.actors
        if isinstance(actor, SimClient) and not actor.is_gone
        for task in actor.tasks
        if not task.done()
    ]


def heal(world: World, queues: tuple[str, ...]) -> list[str]:
    """Without further faults, with a worker more: until nothing is left to do. What is left after a while."""
    world.budget = 0
    world.teller.note("", "all faults are over")
    for actor in world.actors:
        actor.is_frozen = False
    world.settle()
    for worker in world.workers:
        worker.tell("judge", worker.judge_itself())
    world.advance(0.1)
    left = left_over(world) + unanswered(world)
    if not left:
        return []
    world.teller.note("", "a worker joins")
    fresh = world.worker(FRESH, *queues)
    for _ in range(ROUNDS):
        for worker in world.workers:
            worker.tell("reconcile", worker.reconcile())
        fresh.tell("sweep", fresh.sweep())
        # It may not have anything to mend; but it tells of streams that belong to nobody.
        fresh.tell("look for strays", fresh.look_for_damage())
        fresh.tell("timers", fresh.look_at_timers())
        world.settle()
        left = left_over(world) + unanswered(world)
        if not left:
            return []
        world.advance(1.2 * LEASE_S)
    return left


def shape(world: World) -> str:
    """What the namespace holds, without times and ids: schedules that have ended in the same are examined once."""
    look = look_at(world)
    rows = {id: [row[0], row[3], *row[4:9]] for id, row in look.runs.items()}
    return repr((sorted(look.keys), sorted(rows.items()), look.streams, look.timers, look.walks, look.slots))


def examined(world: World) -> list[str]:
    """What the doctor finds."""
    client = world.client("doctor")
    with world.teller.silent():
        client.tell("doctor", _examine(client))
        world.settle()
    report = client.results.get("doctor")
    if not isinstance(report, Report):
        return [f"the doctor: {report!r}"]
    found = [f"the doctor finds {each}" for each in report.damage]
    found += [f"the doctor finds that {kind} was mended" for kind in report.mended_before]
    found += [f"the doctor finds {what}" for what in (*report.strangers, *report.stuck, *report.blocked)]
    if report.garbage:
        found.append(f"the doctor finds {report.garbage} entries that no run has")
    return found


def snapshot(world: World) -> Snapshot:
    """As `faults.snapshot.take`, in two writes and by the world's clock."""
    keys, ask = world.keys, world.server.execute
    snap = Snapshot(keys, world.clock.ms())
    names = sorted(name.decode() for name in ask(("KEYS", "*"))[0])
    short = [name.removeprefix(keys.base) for name in names]
    ids = [name.removeprefix("run:") for name in short if name.startswith("run:")]
    streams = [name for name in short if name.startswith(("queue:", "worker:"))]
    commands: list[Any] = [("PTTL", name) for name in names]
    for id in ids:
        commands += [("HGETALL", keys.run(id)), ("LRANGE", keys.journal(id), 0, -1), ("LRANGE", keys.inbox(id), 0, -1)]
        commands.append(("ZRANGE", keys.children(id), 0, -1, "WITHSCORES"))
    for name in streams:
        commands += [("XRANGE", keys.base + name, "-", "+"), ("XPENDING", keys.base + name, "workers")]
    commands += [("ZRANGE", keys.timers, 0, -1), ("HKEYS", keys.walks), ("ZRANGE", keys.index, 0, -1)]
    replies = iter(ask(*commands, ("HKEYS", keys.beats)))
    snap.ttls = {name: next(replies) for name in short}
    for id in ids:
        record, journal, inbox, children = (next(replies) for _ in range(4))
        fields = dict(zip(_texts(record[::2]), _texts(record[1::2]), strict=True))
        kids = [(child, float(score)) for child, score in zip(_texts(children[::2]), children[1::2], strict=True)]
        snap.runs[id] = Run(id, fields, journal, inbox, kids)
    for name in streams:
        found, pending = next(replies), next(replies)
        snap.streams[name] = len(found), pending[0]
        snap.entries[name] = set(_texts(row[0] for row in found))
    snap.timers, snap.walks = _texts(next(replies)), _texts(next(replies))
    snap.index, snap.beats = set(_texts(next(replies))), set(_texts(next(replies)))
    return snap


def _texts(values: Iterable[bytes]) -> list[str]:
    return [value.decode(errors="replace") for value in values]


async def _examine(client: SimClient) -> Report:
    return await examine(client.durable._session.store, may_fix=False)


def judged(world: World, book: MemoryBook) -> list[str]:
    """The invariants, and what was raised where nobody looked."""
    found = check_invariants(snapshot(world), book)
    for actor in world.actors:
        found += [f"{actor.name}: {error}" for error in actor.loop.errors]
        for what, result in actor.results.items():
            is_expected = isinstance(actor, SimClient) or isinstance(result, asyncio.CancelledError)
            if isinstance(result, Exception) and not is_expected:
                found.append(f"{actor.name} could not {what}: {result!r}")
    return found


def statuses(world: World) -> dict[str, Any]:
    """How every run has ended."""
    return {id: row[0] for id, row in look_at(world).runs.items()}
