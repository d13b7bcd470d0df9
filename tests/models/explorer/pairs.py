"""The critical pairs: two things that happen at once to the same run, in every order.

Each begins where it becomes interesting: what leads up to it happens in one order, without faults.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from durable_async import RunNotFound, WorkflowIdConflict

from . import flows
from .actors import LEASE_S
from .play import Play, Scenario

NOTHING = object()
IDLE = ("idle",)


def told(play: Play, actor: str, what: str) -> Any:
    """What somebody was answered."""
    return play.actor(actor).results.get(what, NOTHING)


def is_told(play: Play, actor: str, what: str, *values: object) -> Iterator[str]:
    """Says if somebody was told something else than one of these."""
    got = told(play, actor, what)
    if got not in values:
        yield f"{actor} was told {got!r} of its {what}, and not {' or '.join(map(repr, values))}"


def _begin(play: Play, workflow: Any, expect: Any, *, id: str = "r", gates: tuple[str, ...] = ("gate",)) -> None:
    """A run in queue `a`, which stands at its gate on worker A; B could take it over, and serves queue `b`."""
    play.worker("A", "a")
    play.worker("B", "b", "a")
    client, play.operator = play.client("client"), play.client("operator")
    play.world.settle()
    play.start(client, workflow, gates[0], id, expect)
    play.world.settle()
    assert all(play.stage.is_waiting(gate) for gate in gates), told(play, "client", "result")


# ---------------------------------------------------------------------- finish x cancel


def _open_and_cancel(play: Play) -> None:
    play.stage.open("gate")
    play.cancel(play.operator, "r")


def _promise_kept(expect: Any) -> Any:
    def check(play: Play) -> Iterator[str]:
        yield from is_told(play, "operator", "cancel", True, False)
        yield from is_told(play, "client", "result", "cancelled" if told(play, "operator", "cancel") else expect)

    return check


FINISH_CANCEL = Scenario(
    "finish-cancel", lambda play: _begin(play, flows.short, "first"), _open_and_cancel, _promise_kept("first")
)


# ---------------------------------------------------------------------- create-child x cancel


def _create_cancel(play: Play) -> None:
    _open_and_cancel(play)
    keeper = play.keeper
    play.later(keeper, "walks", keeper.look_at_timers)


def _tree_is_cancelled(play: Play) -> Iterator[str]:
    yield from is_told(play, "operator", "cancel", True)
    yield from is_told(play, "client", "result", "cancelled")
    for id, status in play.statuses().items():
        if status != "cancelled":
            yield f"{id} is {status} in a tree that was cancelled"


CREATE_CANCEL = Scenario(
    "create-cancel",
    lambda play: _begin(play, flows.caller, None),
    _create_cancel,
    _tree_is_cancelled,
    keeper=IDLE,
)


SPAWN_CANCEL = Scenario(
    "spawn-cancel", lambda play: _begin(play, flows.spawner, None), _open_and_cancel, _tree_is_cancelled
)


# ---------------------------------------------------------------------- park x finish


def _park_finish(play: Play) -> None:
    play.stage.open("gate", "kid")


def _parent_is_told(play: Play) -> Iterator[str]:
    yield from is_told(play, "client", "result", ["first", "last"])


PARK_FINISH = Scenario(
    "park-finish",
    lambda play: _begin(play, flows.parent, ["first", "last"], gates=("gate", "kid")),
    _park_finish,
    _parent_is_told,
)


# ---------------------------------------------------------------------- park x timeout


def _park_timeout(play: Play) -> None:
    play.stage.open("gate")
    worker = play.world.workers[1]
    play.later(worker, "the time passes", lambda: play.world.advance(flows.TIMEOUT_S), worker.look_at_timers)


def _is_late(play: Play) -> Iterator[str]:
    yield from is_told(play, "client", "result", "late")


PARK_TIMEOUT = Scenario(
    "park-timeout", lambda play: _begin(play, flows.timed, "late"), _park_timeout, _is_late, keeper=IDLE
)


# ---------------------------------------------------------------------- timeout x event


def _timeout_event(play: Play) -> None:
    play.send(play.operator, "r", "went")
    keeper = play.keeper
    play.later(keeper, "the time passes", lambda: play.world.advance(flows.TIMEOUT_S), keeper.look_at_timers)


def _parked_with_timeout(play: Play) -> None:
    _begin(play, flows.timed, NOTHING)
    play.book.forget(lambda line: line["kind"] == "expect")
    play.stage.open("gate")
    play.world.settle()


def _one_of_them(play: Play) -> Iterator[str]:
    yield from is_told(play, "client", "result", "late", "went")


TIMEOUT_EVENT = Scenario("timeout-event", _parked_with_timeout, _timeout_event, _one_of_them, keeper=IDLE)


# ---------------------------------------------------------------------- event x wait


def _event_wait(play: Play) -> None:
    play.stage.open("gate")
    play.send(play.operator, "r", "went")


def _went(play: Play) -> Iterator[str]:
    yield from is_told(play, "client", "result", "went")


EVENT_WAIT = Scenario("event-wait", lambda play: _begin(play, flows.waiter, "went"), _event_wait, _went)


# ---------------------------------------------------------------------- renewal x deliver


def _renewal_deliver(play: Play) -> None:
    play.stage.open("life1", "life2")
    play.send(play.operator, "r", "went")


RENEWAL_DELIVER = Scenario("renewal-deliver", lambda play: _at_renewal(play), _renewal_deliver, _went)


def _at_renewal(play: Play) -> None:
    play.worker("A", "a")
    play.worker("B", "b", "a")
    client, play.operator = play.client("client"), play.client("operator")
    play.world.settle()
    play.start(client, flows.renewed, 1, "r", "went")
    play.world.settle()
    assert play.stage.is_waiting("life1"), told(play, "client", "result")


# ---------------------------------------------------------------------- start x start, claim x claim


def _two_clients(play: Play) -> None:
    play.worker("A", "a")
    play.worker("B", "b", "a")
    play.client("client")
    play.operator = play.client("operator")


def _start_start(play: Play) -> None:
    for name in ("client", "operator"):
        play.start(play.actor(name), flows.short, "", "r", "first")


def _both_have_it(play: Play) -> Iterator[str]:
    yield from is_told(play, "client", "result", "first")
    yield from is_told(play, "operator", "result", "first")


START_START = Scenario("start-start", _two_clients, _start_start, _both_have_it)


def _start_other(play: Play) -> None:
    play.start(play.actor("client"), flows.short, "", "r", NOTHING)
    play.start(play.actor("operator"), flows.plain, "", "r", NOTHING)


def _one_has_it(play: Play) -> Iterator[str]:
    play.book.forget(lambda line: line["kind"] == "expect")
    results = [told(play, "client", "result"), told(play, "operator", "result")]
    conflicts = [isinstance(result, WorkflowIdConflict) for result in results]
    if conflicts not in ([True, False], [False, True]) or not ({"first", "last"} & {str(result) for result in results}):
        yield f"two runs of one id: {results!r}"


START_CONFLICT = Scenario("start-conflict", _two_clients, _start_other, _one_has_it)


def _claim_claim(play: Play) -> None:
    client = play.actor("client")
    for id in ("r", "s"):
        play.start(client, flows.short, "", id, "first", f"result of {id}")


def _both_ran(play: Play) -> Iterator[str]:
    yield from is_told(play, "client", "result of r", "first")
    yield from is_told(play, "client", "result of s", "first")


CLAIM_CLAIM = Scenario("claim-claim", _two_clients, _claim_claim, _both_ran, faulty=frozenset({"A", "B"}))


# ---------------------------------------------------------------------- release x reap


def _leaving(play: Play) -> None:
    """The run stands at its gate on A, and there is another worker."""
    play.worker("A", "a")
    client, play.operator = play.client("client"), play.client("operator")
    play.world.settle()
    play.start(client, flows.plain, "gate", "r", "last")
    play.world.settle()
    play.worker("B", "b", "a")
    assert play.stage.is_waiting("gate")


def _release_reap(play: Play) -> None:
    """A leaves, and is so slow about it that B takes it for dead."""
    leaves, other = play.actor("A"), play.actor("B")
    play.book.write("fault", what="the worker leaves", until=float("inf"))
    play.later(leaves, "leave", leaves.stop)
    silence = partial(play.world.pass_time_for, other, 1.2 * LEASE_S)
    play.later(other, "a lease passes in which only B beats", other.sweep, silence, other.sweep)
    play.stage.open("gate")


def _ran(play: Play) -> Iterator[str]:
    yield from is_told(play, "client", "result", "last")


RELEASE_REAP = Scenario("release-reap", _leaving, _release_reap, _ran)


# ---------------------------------------------------------------------- sweep x finish


def _sweep_finish(play: Play) -> None:
    play.stage.open("gate", "kid")
    keeper = play.keeper
    play.later(keeper, "sweep", keeper.look_for_damage)


SWEEP_FINISH = Scenario(
    "sweep-finish",
    lambda play: _begin(play, flows.parent, ["first", "last"], gates=("gate", "kid")),
    _sweep_finish,
    _parent_is_told,
    faulty=frozenset({"A", "B"}),
    keeper=IDLE,
)


# ---------------------------------------------------------------------- expiry x consume


def _ended(play: Play) -> None:
    _begin(play, flows.plain, "last")
    play.stage.open("gate")
    play.world.settle()


def _expire(play: Play) -> None:
    client = play.actor("client")
    play.later(client, "the retention of r is over", lambda: play.world.expire("run:r", "journal:r"))
    play.later(play.keeper, "tidy", play.keeper.worker._purger.sweep)


def _expiry_read(play: Play) -> None:
    play.operator.tell("result", play.operator.durable.run("r").result())
    play.operator.tell("history", play.operator.durable.history("r"))
    _expire(play)


def _tidied(play: Play) -> None:
    play.book.forget(lambda line: line["kind"] in ("begin", "got") or (line["kind"] == "start" and not play.is_again))
    for _ in range(2):
        play.keeper.tell("tidy", play.keeper.worker._purger.sweep())
        play.world.settle()


def _whole_or_gone(play: Play) -> Iterator[str]:
    got, history = told(play, "operator", "result"), told(play, "operator", "history")
    if got != "last" and not isinstance(got, RunNotFound):
        yield f"the result of an expiring run is {got!r}"
    if not isinstance(history, RunNotFound) and (not isinstance(history, list) or len(history) < 2):
        yield f"the history of an expiring run is {history!r}"
    play.book.forget(lambda line: line["kind"] in ("start", "expect", "result"))
    _tidied(play)


def _expiry_start(play: Play) -> None:
    """The same id is begun again, and joins what is there, or is the first of its name."""
    play.is_again = True
    play.start(play.operator, flows.plain, "gate", "r", "last")
    _expire(play)


def _again_or_still(play: Play) -> Iterator[str]:
    got = told(play, "operator", "result")
    # Joined a moment before the end of its retention, it is gone when it is asked for.
    if got != "last" and not isinstance(got, RunNotFound):
        yield f"the operator was told {got!r}"
    if isinstance(got, RunNotFound) or "r" not in play.statuses():
        play.book.forget(lambda line: line["kind"] in ("start", "expect", "result"))
    _tidied(play)


MESSAGES = ("lose-request", "lose-reply", "late-request", "slow-reply")
EXPIRY_READ = Scenario("expiry-read", _ended, _expiry_read, _whole_or_gone, kinds=MESSAGES, keeper=IDLE)
EXPIRY_START = Scenario("expiry-start", _ended, _expiry_start, _again_or_still, kinds=MESSAGES, keeper=IDLE)


# ---------------------------------------------------------------------- a limited queue: leave x admit


def _one_in_line(play: Play) -> None:
    """`r` has the one place, `s` waits in the room; `t` is about to come."""
    for name in ("A", "B"):
        play.worker(name, "line")
    client, play.operator = play.client("client"), play.client("operator")
    play.world.settle()
    play.start(client, flows.member, "gate", "r", "last")
    play.world.settle()
    play.start(client, flows.member, "", "s", "last", "result of s")
    play.world.settle()
    assert play.stage.is_waiting("gate")


def _leave_admit(play: Play) -> None:
    play.stage.open("gate")
    durable = play.operator.durable

    async def start_and_send() -> Any:
        handle = await durable.start(flows.pausing, "", id="t")
        play.book.write("start", id="t")
        await handle.send_event("go", "went", event_id="e1")
        return await handle.result()

    play.operator.tell("result", start_and_send())


def _all_have_been_in(play: Play) -> Iterator[str]:
    yield from is_told(play, "client", "result", "last")
    yield from is_told(play, "client", "result of s", "last")
    yield from is_told(play, "operator", "result", "went")


LEAVE_ADMIT = Scenario(
    "leave-admit", _one_in_line, _leave_admit, _all_have_been_in, faulty=frozenset({"A", "B"}), queues=("line",)
)


# ---------------------------------------------------------------------- pause x claim


def _pause_claim(play: Play) -> None:
    client = play.actor("client")
    play.start(client, flows.short, "", "r", "first")
    durable = play.operator.durable
    play.later(
        play.operator,
        "pause",
        partial(durable.pause_queue, "a"),
        lambda: play.mark("paused", claims(play)),
        lambda: play.mark("resumes", claims(play)),
        partial(durable.resume_queue, "a"),
    )


def claims(play: Play) -> int:
    """How many runs have been claimed."""
    calls = play.world.teller.calls
    return sum(row[0] == 0 for _, call, reply in calls if call.name == "claim_runs" for row in reply[1:])


def _not_while_paused(play: Play) -> Iterator[str]:
    yield from is_told(play, "client", "result", "first")
    marks = dict(play.marks)
    if marks["paused"] != marks["resumes"]:
        yield "a run of a queue that was paused has been claimed"


PAUSE_CLAIM = Scenario("pause-claim", _two_clients, _pause_claim, _not_while_paused)

PAIRS = {
    pair.name: pair
    for pair in (
        PARK_FINISH,
        PARK_TIMEOUT,
        FINISH_CANCEL,
        CREATE_CANCEL,
        SPAWN_CANCEL,
        CLAIM_CLAIM,
        RELEASE_REAP,
        EVENT_WAIT,
        TIMEOUT_EVENT,
        START_START,
        START_CONFLICT,
        SWEEP_FINISH,
        EXPIRY_READ,
        EXPIRY_START,
        RENEWAL_DELIVER,
        LEAVE_ADMIT,
        PAUSE_CLAIM,
    )
}
