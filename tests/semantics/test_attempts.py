"""O13: `retry=` on a call runs a failed child again as a new attempt of the same child."""

from __future__ import annotations

import pytest

from durable_async import RunFailed, Status

from . import flows_attempts as flows
from .harness import World

FLOWS = [flows]


async def test_o13_failed_child_is_run_again_under_its_id(world: World) -> None:
    given = {"ledger": world.ledger.path, "good": 3, "most": 4}
    async with world.workers():
        handle = await world.durable.start(flows.calls_with_retry, given, id="p")
        assert await world.result(handle) == [7, 3]
    # What had completed below it with the same input is kept.
    world.assert_ran("leaf", "attempt 1", "attempt 2", "attempt 3")
    (kid,) = await handle.children()
    assert (kid.id, kid.status, kid.attempt) == ("p/kid", Status.COMPLETED, 3)
    assert [c.id for c in await world.durable.list_children("p/kid")] == ["p/kid/leaf"]
    kinds = [e.kind for e in await world.durable.history("p") if e.kind.startswith("child")]
    assert kinds == ["child_started", "child_failed"] * 2 + ["child_started", "child_completed"]


async def test_o13_attempts_run_out(world: World) -> None:
    given = {"ledger": world.ledger.path, "good": 9, "most": 2}
    async with world.workers():
        handle = await world.durable.start(flows.calls_with_retry, given, id="p")
        with pytest.raises(RunFailed, match="attempt 2"):
            await world.result(handle)
    assert (await world.durable.get("p/kid")).attempt == 2
    world.assert_ran("leaf", "attempt 1", "attempt 2")


@pytest.mark.parametrize(("how", "error"), [("for good", "NonRetryable"), ("otherwise", "KeyError")])
async def test_o13_errors_that_the_policy_leaves_out(world: World, how: str, error: str) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.calls_what_refuses, {"ledger": world.ledger.path, "how": how})
        assert await world.result(handle) == error
    world.assert_ran("refused")


async def test_o13_timeout_bounds_all_attempts(world: World) -> None:
    given = {"ledger": world.ledger.path, "good": 9}
    async with world.workers():
        handle = await world.durable.start(flows.gives_up_between_attempts, given, id="p")
        assert await world.result(handle) == "late"
    assert (await world.durable.get("p/kid")).status is Status.FAILED


async def test_o13_cancelled_child_is_not_run_again(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.calls_a_cancelled_one, {"ledger": world.ledger.path}, id="p")
        await world.until_status("p/kid", "waiting")
        assert await world.durable.cancel("p/kid", "enough")
        assert await world.result(handle) == "enough"
