"""O11, O15: names of children, and how deep they go."""

from __future__ import annotations

from durable_async import Status

from . import flows_refs as flows
from .harness import MODE, World

FLOWS = [flows]


async def test_o11_same_ref_and_input_is_one_child(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.same_ref, {"ledger": world.ledger.path}, id="p")
        assert await world.result(handle) == ["child ran"] * 5
    assert [c.id for c in await handle.children()] == ["p/kid", "p/pair"]
    ran = world.ledger.counts()["child ran"]
    assert ran == 2 or (MODE == "crowd" and ran >= 2)


async def test_o11_same_ref_with_another_input_or_workflow_conflicts(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.conflicts, id="p")
        found = await world.result(handle)
    assert len(found) == 4, found
    assert all("'kid'" in text for text in found)
    assert ["another input" in text for text in found] == [True, False, True, True]
    assert [c.id for c in await handle.children()] == ["p/kid"]


async def test_o11_ref_of_a_call_that_timed_out_is_spent(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.spent, id="p")
        assert await world.result(handle) == ["late", "spent"]
        await world.until_status("p/kid", Status.CANCELLED)


async def test_o11_result_of_a_child_that_its_parent_cancelled(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.cancelled_ref, id="p")
        assert await world.result(handle) == "enough"


async def test_o11_calls_without_a_ref_are_numbered(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.numbered, id="p")
        assert await world.result(handle) == [0, 1, "named", 2, 3]
    names = [(c.ref, c.output) for c in await handle.children()]
    assert names == [("echo", 0), ("echo-2", 1), ("echo-3", "named"), ("echo-4", 2), ("echo-5", 3)]


async def test_o11_calls_in_a_loop_of_100(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.loops, 100, id="p")
        assert await world.result(handle) == list(range(100))
    children = await handle.children()
    assert [c.output for c in children] == list(range(100))
    assert [c.ref for c in children] == ["echo", *(f"echo-{n}" for n in range(2, 101))]


async def test_o11_each_branch_of_a_gather_gets_its_own_children(world: World) -> None:
    count = 12
    async with world.workers():
        handles = [await world.durable.start(flows.gathers, count, id=f"p{n}") for n in range(3)]
        for handle in handles:
            assert await world.result(handle) == [[10 * n + at for at in range(3)] for n in range(count)]
            assert len(await handle.children()) == 3 * count


async def test_o15_depth_64_works(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.dives, 64, id="p")
        assert await world.result(handle) in (128, 63)
        page = await world.durable.list(limit=100)
        assert len(page.items) == 65 and {r.root_id for r in page.items} == {"p"}


async def test_o15_depth_65_is_refused_at_the_call(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.depth, 70, id="p")
        assert await world.result(handle) == 1064
        assert len((await world.durable.list(limit=100)).items) == 65


async def test_o15_recursion_with_a_base_case(world: World) -> None:
    async with world.workers():
        assert await world.result(await world.durable.start(flows.factorial, 20)) == 2432902008176640000
