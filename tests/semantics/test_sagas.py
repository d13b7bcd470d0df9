"""C7, O5, P10: sagas. What is undone, in which order, and how the run ends."""

from __future__ import annotations

from typing import Any

import pytest

from durable_async import Durable, Limits, RunCancelled, RunFailed, RunTimeout, Status

from . import flows_sagas as flows
from .harness import IS_CROWD, World

FLOWS = [flows]


def given(world: World, *charges: str, **more: Any) -> dict[str, Any]:
    return {"ledger": world.ledger.path, "charges": list(charges), **more}


def undone(world: World) -> list[str]:
    """What was undone, in order. In a crowd a step may run again, before the next one begins."""
    found: list[str] = []
    for line in world.ledger.starting("refund "):
        if not found or found[-1] != line:
            found.append(line)
    return found


async def until_noted(world: World, line: str) -> None:
    await world.until(lambda: line in world.ledger.lines(), f"{line!r} is noted")


async def test_c07_newest_first_with_the_result_of_each_step(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.saga, given(world, "x:a", "flow:b", "x:c"), id="r")
        with pytest.raises(RunFailed) as caught:
            await world.result(handle)
    assert (caught.value.error.type, caught.value.error.message) == ("ValueError", "out of stock")
    info = await handle.info()
    assert info.status is Status.COMPENSATED
    assert info.error is not None and info.error.type == "ValueError"
    assert undone(world) == ["c", "b", "a"]
    kinds = [(e.kind, e.name) for e in await world.durable.history("r")]
    assert ("compensating", "") in kinds and kinds[-1] == ("compensated", "")
    assert [e.name for e in await world.durable.history("r") if e.detail.get("compensation")] == ["refund", "refund"]


async def test_c07_a_run_that_completes_undoes_nothing(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.saga, given(world, "x:a", end="return"), id="r")
        caught = await world.durable.start(flows.catches, given(world), id="catches")
        assert await world.result(handle) == await world.result(caught) == "fine"
    assert undone(world) == []


async def test_c07_nothing_to_compensate_is_plain_failed(world: World) -> None:
    async with world.workers():
        first = await world.durable.start(flows.first_fails, given(world), id="first")
        second = await world.durable.start(flows.saga, given(world, "none:a"), id="second")
        assert [(await world.outcome(h)).status for h in (first, second)] == [Status.FAILED, Status.FAILED]
        third = await world.durable.start(flows.saga, given(world, "none:a", end="wait"), id="third")
        await world.until_status("third", "waiting")
        assert await third.cancel("enough")
        assert (await world.outcome(third)).status is Status.CANCELLED
    assert undone(world) == []
    kinds = {e.kind for id in ("first", "second", "third") for e in await world.durable.history(id)}
    assert "compensating" not in kinds


async def test_c07_one_failing_handler_does_not_stop_the_chain(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.saga, given(world, "x:a", "broken:b", "x:c"), id="r")
        with pytest.raises(RunFailed) as caught:
            await world.result(handle)
    assert (caught.value.error.type, caught.value.error.message) == ("ValueError", "out of stock")
    info = await handle.info()
    assert info.status is Status.COMPENSATION_FAILED
    assert info.error is not None and info.error.message == "out of stock"
    assert undone(world) == ["c", "a"]
    failed = [e for e in await world.durable.history("r") if e.kind == "undo_failed"]
    assert [(e.name, e.error and e.error.message) for e in failed] == [("broken", "the bank is closed")]


async def test_c07_each_handler_has_its_own_retry(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.saga, given(world, "x:a", "flaky:b"), id="r")
        assert (await world.outcome(handle)).status is Status.COMPENSATED
    assert undone(world) == ["b", "a"]
    assert IS_CROWD or world.ledger.counts()["flaky b"] == 3
    attempts = [e for e in await world.durable.history("r") if e.kind == "attempt_failed"]
    assert attempts and all(e.detail["compensation"] for e in attempts)


async def test_c07_a_plain_function_compensates(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.saga, given(world, "plain:a"), id="r")
        assert (await world.outcome(handle)).status is Status.COMPENSATED
    world.assert_ran("plain a")


async def test_c07_on_cancel(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.saga, given(world, "x:a", "x:b", end="wait"), id="r")
        await world.until_status("r", "waiting")
        assert await handle.cancel("changed my mind")
        with pytest.raises(RunCancelled, match="changed my mind"):
            await world.result(handle)
    info = await handle.info()
    assert (info.status, info.reason) == (Status.CANCELLED, "changed my mind")
    assert undone(world) == ["b", "a"]


async def test_c07_on_cancel_with_a_failing_handler(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.saga, given(world, "x:a", "broken:b", end="wait"), id="r")
        await world.until_status("r", "waiting")
        assert await handle.cancel("changed my mind")
        with pytest.raises(RunFailed) as caught:
            await world.result(handle)
    assert (caught.value.error.type, caught.value.error.message) == ("RunCancelled", "changed my mind")
    info = await handle.info()
    assert (info.status, info.reason) == (Status.COMPENSATION_FAILED, "changed my mind")
    assert undone(world) == ["a"]


async def test_c07_order_is_that_of_completion_in_the_journal(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.together, given(world), id="r")

        async def has(count: int) -> bool:
            names = [e.name for e in await world.durable.history("r") if e.kind == "step"]
            return names.count("charge") >= count

        await world.until(lambda: has(2), "c and a are in the journal")
        await world.durable.send_event("r", "a is in")
        assert (await world.outcome(handle)).status is Status.COMPENSATED
    order = undone(world)
    assert order[0] == "b" and sorted(order) == ["a", "b", "c"]
    assert IS_CROWD or order == ["b", "a", "c"]


async def test_c07_siblings_end_first_and_a_step_without_outcome_is_not_undone(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.sibling_cancelled, given(world), id="r")
        assert (await world.outcome(handle)).status is Status.COMPENSATED
    assert undone(world) == ["done"]
    lines = world.ledger.lines()
    assert lines.index("sibling cleaned") < lines.index("refund done")


async def test_c07_pushed_by_hand(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.by_hand, given(world), id="r")
        assert (await world.outcome(handle)).status is Status.COMPENSATED
    assert undone(world) == ["b", "flow", "by hand", "a"]
    world.assert_ran("by hand plain", "from cleanup")
    lines = world.ledger.lines()
    assert lines.index("from cleanup") < lines.index("refund b")
    assert lines.index("refund flow") < lines.index("by hand plain") < lines.index("refund by hand")


async def test_c07_a_result_that_cannot_be_read_is_a_failed_compensation(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.cannot_be_read, given(world), id="r")
        info = await world.outcome(handle)
    assert info.status is Status.COMPENSATION_FAILED
    assert info.error is not None and info.error.type == "InvalidInput"
    assert undone(world) == ["a"]


async def test_c07_a_crash_in_the_middle_resumes(world: World) -> None:
    handle = await world.durable.start(flows.saga, given(world, "x:a", "held:b", "x:c"), id="r")
    first = world.process()
    await until_noted(world, "undoing b")
    first.kill()
    world.ledger.note("release b")
    async with world.workers(lease=1.0):
        assert (await world.outcome(handle)).status is Status.COMPENSATED
    assert undone(world) == ["c", "b", "a"]
    assert IS_CROWD or world.ledger.counts()["refund c"] == 1
    assert [e.kind for e in await world.durable.history("r")].count("compensating") == 1


async def test_c07_status_while_it_compensates_and_a_cancel_then(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.saga, given(world, "x:a", "held:b"), id="r")
        await until_noted(world, "undoing b")
        assert (await world.until_status("r", "compensating")).id == "r"
        listed = await world.durable.list(status=Status.COMPENSATING)
        assert [run.id for run in listed.items] == ["r"]
        assert not (await world.durable.list(status=[Status.RUNNING, Status.WAITING])).items
        # It has failed: there is nothing left to cancel, and what it does now is not to be stopped half-way.
        assert await handle.cancel("too late") is False
        world.ledger.note("release b")
        info = await world.outcome(handle)
    assert (info.status, info.reason) == (Status.COMPENSATED, None)
    assert undone(world) == ["b", "a"]


async def test_c07_terminate_cuts_compensations(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.saga, given(world, "x:a", "held:b"), id="r")
        await until_noted(world, "undoing b")
        assert await world.durable.terminate("r", "now")
        with pytest.raises(RunCancelled, match="terminated: now"):
            await world.result(handle)
        world.ledger.note("release b")
        await world.settled()
    assert (await handle.info()).status is Status.CANCELLED
    assert undone(world) in ([], ["b"])  # a process that was killed over it may have let it go on


async def test_c07_no_grace_cuts_compensations(world: World) -> None:
    world.limits["cancel_grace"] = 0.5
    async with world.workers():
        handle = await world.durable.start(flows.saga, given(world, "x:a", "held:b", end="wait"), id="r")
        await world.until_status("r", "waiting")
        impatient = Durable(world.url, namespace=world.namespace, limits=Limits(cancel_grace=0.5))
        async with impatient:
            assert await impatient.cancel("r", "enough")
        await until_noted(world, "undoing b")
        await world.until(lambda: "gr" not in world.look().timers, "the grace is over")
        world.ledger.note("release b")
        info = await world.outcome(handle)
    assert (info.status, info.reason) == (Status.CANCELLED, "enough")
    assert undone(world) == ["b", "a"]


async def test_c07_cleanup_is_cut_after_the_grace_and_what_was_done_is_undone(world: World) -> None:
    world.limits["cancel_grace"] = 0.5
    async with world.workers():
        handle = await world.durable.start(flows.never_cleans_up, given(world), id="r")
        await world.until_status("r", "waiting")
        impatient = Durable(world.url, namespace=world.namespace, limits=Limits(cancel_grace=0.3))
        async with impatient:
            assert await impatient.cancel("r", "enough")
        info = await world.outcome(handle)
        assert (info.status, info.reason) == (Status.CANCELLED, "enough")
        await world.until_status("r/child", "cancelled")
    # In a crowd the grace may be over before anybody has come to clean up.
    assert undone(world) == (["a"] if not world.ledger.counts()["charge b"] else ["b", "a"])
    kinds = [e.kind for e in await world.durable.history("r")]
    assert kinds.index("cleanup_cut") < kinds.index("compensating")


# ---------------------------------------------------------------------- children

TRIP = ["own", "started", "by flow", "awaited"]


@pytest.mark.parametrize("how", ["fails", "is cancelled"])
async def test_c07_a_parent_undoes_completed_children_that_declare_it(world: World, how: str) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.trip, given(world), id="r")
        await world.until_status("r/forgotten", "completed")
        await world.until_status("r", "waiting")
        await world.until(lambda: "charge own" in world.ledger.lines(), "the parent is at its last wait")
        if how == "fails":
            await world.durable.send_event("r", "go")
        else:
            await handle.cancel("enough")
        info = await world.outcome(handle)
    assert info.status is (Status.COMPENSATED if how == "fails" else Status.CANCELLED)
    # Of the one nobody awaited the parent hears last.
    assert undone(world) == ["forgotten", *TRIP]
    statuses = {run.ref: run.status for run in await world.durable.list_children("r")}
    assert statuses == dict.fromkeys(["booking", "booking_by_flow", "started", "forgotten", "undo_flow"], "completed")


async def test_c07_children_that_go_on_or_were_cut_are_not_undone_by_the_parent(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.leaves, given(world), id="r")
        for id in ("r", "r/left", "r/cut"):
            await world.until_status(id, "waiting")
        await world.until(lambda: "charge own" in world.ledger.lines(), "the parent is at its last wait")
        await world.durable.send_event("r", "go")
        assert (await world.outcome(handle)).status is Status.COMPENSATED
        assert (await world.durable.get("r/cut")).status is Status.CANCELLED
        assert (await world.durable.get("r/left")).status is Status.WAITING
        await world.durable.send_event("r/left", "go")
        await world.until_status("r/left", "completed")
    # The one that was cut undid its own step before it was told of as cancelled.
    assert undone(world) == ["cut", "own"]
    lines = world.ledger.lines()
    assert lines.index("cut cleaned") < lines.index("refund cut") < lines.index("refund own")


@pytest.mark.parametrize(("charges", "status"), [(["x:a"], "compensated"), (["broken:a"], "compensation_failed")])
async def test_o05_a_child_that_undid_itself_is_a_failed_one(world: World, charges: list[str], status: str) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.calls_saga, given(world, *charges), id="r")
        found = await world.result(handle)
    assert (found["type"], found["message"]) == ("ValueError", "out of stock")
    assert (await world.durable.get("r/saga")).status == status
    told = [e for e in await world.durable.history("r") if e.kind == f"child_{status}"]
    assert [e.error and e.error.type for e in told] == ["ValueError"]


async def test_o05_a_child_that_is_cancelled_and_undoes_itself(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.calls_saga, given(world, "x:a", end="wait"), id="r")
        await world.until_status("r/saga", "waiting")
        assert await world.durable.cancel("r/saga", "enough")
        assert await world.result(handle) == {"cancelled": "enough"}
    assert undone(world) == ["a"]


async def test_o13_a_compensated_child_is_run_again(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.tries_again, given(world), id="r")
        assert await world.result(handle) == "fine"
    assert undone(world) == ["a"]
    assert (await world.durable.get("r/second_time_lucky")).attempt == 2


# ---------------------------------------------------------------------- with retries and timeouts of the run


def rounds(world: World) -> list[str]:
    """What was noted of charges and refunds, without what a crash had repeated."""
    found: list[str] = []
    for line in world.ledger.lines():
        if line.startswith(("charge", "refund")) and found[-1:] != [line]:
            found.append(line)
    return found


async def test_c07_each_attempt_of_a_run_is_undone_before_the_next_one(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.attempts, given(world), id="r")
        assert await world.result(handle) == "fine"
    assert (await handle.info()).attempt == 3
    assert rounds(world) == [*["charge own", "refund own", "refund kid"] * 2, "charge own"]
    assert IS_CROWD or world.ledger.counts()["kept"] == 1


async def test_c07_the_last_attempt_is_undone_as_well(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.attempts, given(world, for_good=True), id="r")
        info = await world.outcome(handle)
    assert (info.status, info.attempt) == (Status.COMPENSATED, 3)
    assert rounds(world) == ["charge own", "refund own", "refund kid"] * 3


async def test_c07_a_failed_compensation_ends_the_attempts(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.broken_attempts, given(world), id="r")
        info = await world.outcome(handle)
    assert (info.status, info.attempt) == (Status.COMPENSATION_FAILED, 1)
    assert info.error is not None and info.error.message == "out of stock"


async def test_c07_a_run_that_took_too_long_is_undone(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.too_long, given(world), id="r")
        with pytest.raises(RunTimeout):
            await world.result(handle)
    # In a crowd its time may be over before the step has run.
    assert IS_CROWD or undone(world) == ["b", "a"]
    assert (await handle.info()).status is (Status.COMPENSATED if undone(world) else Status.FAILED)
