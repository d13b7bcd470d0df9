"""O1: the examples of the orchestration guide, in every mode. That each runs as a program is tested beside them."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from durable_async import Status

from .harness import World

FLOWS: list[ModuleType] = []
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports one of the examples, under the name by which worker processes know it."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(EXAMPLES)])
    return lambda name: importlib.import_module(f"orchestration.{name}")


async def test_o01_order_pipeline(world: World, example: Any) -> None:
    module = example("order_pipeline")
    order = module.Order(id="order_1", email="ada@example.com", total=42.0)
    async with world.workers(flows=[module]):
        handle = await world.durable.start(module.process_order, order, id=order.id)
        got = await world.result(handle)
        assert got == {"status": "paid", "charge": "charge-order_1", "mail": "order_1/confirmation"}
        await world.until_status("order_1/confirmation", Status.COMPLETED)
        # The same order again is the same run.
        again = await world.durable.start(module.process_order, order, id=order.id)
        assert await world.result(again) == got
    assert [(c.ref, c.status) for c in await handle.children()] == [
        ("payment", Status.COMPLETED),
        ("confirmation", Status.COMPLETED),
    ]


async def test_o01_nested(world: World, example: Any) -> None:
    module = example("nested")
    async with world.workers(flows=[module]):
        handle = await world.durable.start(module.a, "abc", id="p")
        assert await world.result(handle) == "abc is worth 30"
    tree = await world.durable.tree("p")
    (b,) = tree.children
    (c,) = b.children
    assert [(n.run.workflow, n.run.status) for n in (tree, b, c)] == [(name, Status.COMPLETED) for name in "abc"]
    assert (b.run.parent_id, c.run.parent_id, c.run.root_id) == ("p", b.run.id, "p")


@pytest.mark.parametrize(("card", "expected"), [("gold", "charged to gold"), ("expired", "invoice for o")])
async def test_o01_resilient_order(world: World, example: Any, card: str, expected: str) -> None:
    module = example("resilient_order")
    order = module.Order("o", card)
    async with world.workers(flows=[module]):
        got = await world.result(await world.durable.start(module.resilient_order, order))
    assert got["paid"] == expected
    assert ("the card has expired" in got.get("because", "")) is (card == "expired")


@pytest.mark.parametrize(("item", "expected"), [("lamp", "12 of lamp"), ("unicorn", "unknown: no such item: unicorn")])
async def test_o01_enrich_order(world: World, example: Any, item: str, expected: str) -> None:
    module = example("enrich_order")
    order = ["Ada", item]
    async with world.workers(flows=[module]):
        got = await world.result(await world.durable.start(module.enrich_order, order))
    assert got == {"customer": "Ada, since 2019", "stock": expected}


async def test_o01_refs(world: World, example: Any) -> None:
    module = example("refs")
    async with world.workers(flows=[module]):
        handle = await world.durable.start(module.newsletter, ["ada", "bob"], id="p")
        assert await world.result(handle) == ["sent to ada", "sent to ada", "RefConflict"]
        await world.until_status("p/mail-bob", Status.COMPLETED)
        assert [c.ref for c in await handle.children()] == ["mail-ada", "mail-bob", "mail", "mail-2"]
