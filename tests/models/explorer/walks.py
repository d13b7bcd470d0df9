"""What random walks go through: several trees at once, every kind of wait, and a keeper that looks again and again."""

from __future__ import annotations

from collections.abc import Iterator

from . import flows
from .actors import LEASE_S
from .pairs import IDLE, is_told
from .play import Bounds, Play, Scenario

LOOKS = 4


def _many(play: Play) -> None:
    for name in ("A", "B"):
        play.worker(name, "a", "b", "line", max_resident=2)
    play.client("client")
    play.operator = play.client("operator")


def _everything(play: Play) -> None:
    client, keeper = play.actor("client"), play.keeper
    play.stage.open("gate", "kid", "")
    play.start(client, flows.calls_twice, "", "twice", ["first", "first", "last"], "twice")
    play.start(client, flows.parent, "", "tree", ["first", "last"], "tree")
    play.start(client, flows.member, "", "m1", "last", "m1")
    play.start(client, flows.pausing, "", "m2", "went", "m2")
    play.start(client, flows.timed, "", "late", "late", "late")
    play.start(client, flows.caller, "", "doomed", None, "doomed")
    durable = play.operator.durable

    async def outside() -> None:
        await play.operator.move("begins", lambda: None)
        for id in ("m2", "doomed"):
            # Where they are does not matter: they are there once the client was told so, or a moment later.
            while not (await durable.list(id_prefix=id)).items:
                await play.operator.move("looks again", lambda: None)
        await durable.send_event("m2", "go", "went", event_id="e1")
        play.book.write("event", id="m2", name="go", event="went")
        play.book.write("cancel", id="doomed", did=await durable.cancel("doomed", "enough"))

    play.operator.tell("outside", outside())
    acts = []
    for _ in range(LOOKS):
        acts += [keeper.look_at_timers, keeper.sweep, lambda: play.world.advance(0.3 * LEASE_S)]
    play.later(keeper, "some time passes", *acts)


def _all_well(play: Play) -> Iterator[str]:
    yield from is_told(play, "client", "twice", ["first", "first", "last"])
    yield from is_told(play, "client", "tree", ["first", "last"])
    for what, value in (("m1", "last"), ("m2", "went"), ("late", "late"), ("doomed", "cancelled")):
        yield from is_told(play, "client", what, value)
    yield from is_told(play, "operator", "outside", None)


MANY = Scenario("many", _many, _everything, _all_well, queues=("a", "b", "line"), keeper=IDLE)
BOUNDS = Bounds(3)
