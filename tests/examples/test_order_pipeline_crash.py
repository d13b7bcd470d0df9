"""The order pipeline over the death of a worker: every order ends once, and only what was in flight is done again."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pipeline_worker
import pytest

from durable_async import Durable, Status
from durable_async.server.ephemeral import EphemeralServer

PATIENCE_S = 60
ORDERS = [f"order_{n}" for n in range(20)]
GO_ON = 6
"""Executions of the step in question that the doomed worker brings to their end."""

CHILD_OF = {"charge_card": "payment", "send_mail": "confirmation"}
"""Which child of an order runs which step."""


class Pipeline:
    """One test's client, ledger and worker processes."""

    def __init__(self, url: str, namespace: str, ledger: Path) -> None:
        self.module = pipeline_worker.load_pipeline()
        self.durable = Durable(
            url, workflows=[self.module.process_order, self.module.payment, self.module.email], namespace=namespace
        )
        self.env = {**os.environ, "DURABLE_URL": url, "DURABLE_NAMESPACE": namespace}
        self.ledger = ledger
        self.processes: list[subprocess.Popen[bytes]] = []

    def worker(self, held: str, go_on: int = sys.maxsize) -> subprocess.Popen[bytes]:
        """Starts a worker process."""
        command = [sys.executable, pipeline_worker.__file__, str(self.ledger), held, str(go_on)]
        with open(self.ledger.with_name("log"), "ab") as log:
            process = subprocess.Popen(command, env=self.env, stdin=subprocess.PIPE, stdout=log, stderr=log)
        self.processes.append(process)
        return process

    async def start(self) -> list[Any]:
        """Starts every order."""
        order = self.module.Order
        return [
            await self.durable.start(self.module.process_order, order(id, f"{id}@example.com", 1.0), id=id)
            for id in ORDERS
        ]

    def noted(self, what: str, step: str) -> Counter[str]:
        """How often each order's step is in the ledger with this word."""
        lines = self.ledger.read_text().splitlines() if self.ledger.exists() else []
        return Counter(line.split()[2] for line in lines if line.split()[:2] == [what, step])

    async def until(self, predicate: Callable[[], bool], description: str) -> None:
        """Waits for a fact about another process."""
        give_up_at = monotonic() + PATIENCE_S
        while not predicate():
            log = self.ledger.with_name("log")
            assert monotonic() < give_up_at, f"never came true: {description}\n{log.read_text()}"
            await asyncio.sleep(0.01)

    async def outcomes(self, step: str) -> set[str]:
        """The orders whose step has a recorded outcome."""
        children = {id: f"{id}/{CHILD_OF[step]}" for id in ORDERS}
        known = {child.id for id in ORDERS for child in await self.durable.list_children(id)}
        return {
            id
            for id, child in children.items()
            if child in known and any(e.kind == "step" for e in await self.durable.history(child))
        }

    async def assert_every_order_ended_once(self, handles: list[Any]) -> None:
        """Completed, with one payment and one e-mail each."""
        for handle in handles:
            result = await handle.result(timeout=PATIENCE_S)
            mail = f"{handle.id}/confirmation"
            assert result == {"status": "paid", "charge": f"charge-{handle.id}", "mail": mail}
            await self.durable.run(mail).result(timeout=PATIENCE_S)
            children = await handle.children()
            assert [(c.ref, c.status) for c in children] == [
                ("payment", Status.COMPLETED),
                ("confirmation", Status.COMPLETED),
            ]
            history = Counter(e.kind for e in await self.durable.history(handle.id))
            assert (history["child_started"], history["child_completed"], history["completed"]) == (2, 1, 1)


@pytest.fixture
def pipeline(kept_server: EphemeralServer, namespace: str, tmp_path: Path) -> Iterator[Pipeline]:
    """The processes end with the test."""
    pipeline = Pipeline(kept_server.url, namespace, tmp_path / "ledger")
    yield pipeline
    for process in pipeline.processes:
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("held", ["charge_card", "send_mail"])
async def test_o01_o07_killed_half_way_with_steps_in_flight(pipeline: Pipeline, held: str) -> None:
    doomed = pipeline.worker(held, GO_ON)
    async with pipeline.durable:
        handles = await pipeline.start()

        def is_half_way() -> bool:
            in_flight = pipeline.noted("begin", held) - pipeline.noted("end", held)
            return len(pipeline.noted("end", held)) == GO_ON and len(in_flight) == len(ORDERS) - GO_ON

        await pipeline.until(is_half_way, f"{GO_ON} of the steps {held} have ended, the others are in flight")
        doomed.kill()
        doomed.wait()
        # Nobody is alive: what is recorded now is what the next worker finds.
        recorded = {step: await pipeline.outcomes(step) for step in CHILD_OF}
        begun = {step: pipeline.noted("begin", step) for step in CHILD_OF}

        pipeline.worker(held)
        await pipeline.assert_every_order_ended_once(handles)
    for step in CHILD_OF:
        in_flight = set(begun[step]) - recorded[step]
        assert pipeline.noted("begin", step) == {id: 2 if id in in_flight else 1 for id in ORDERS}, step
    assert len(set(begun[held]) - recorded[held]) >= len(ORDERS) - GO_ON


@pytest.mark.slow
async def test_o01_o07_a_worker_dies_beside_another_one(pipeline: Pipeline) -> None:
    """Three workers, of which two die at some moment of their work."""
    doomed = [pipeline.worker("charge_card", 3), pipeline.worker("send_mail", 3)]
    async with pipeline.durable:
        handles = await pipeline.start()
        await pipeline.until(lambda: len(pipeline.noted("end", "charge_card")) >= 3, "some orders are paid")
        pipeline.worker("charge_card")
        for process in doomed:
            process.kill()
        await pipeline.assert_every_order_ended_once(handles)
    for step in CHILD_OF:
        counts = pipeline.noted("end", step)
        assert set(counts) == set(ORDERS)
        # Two deaths: nothing can have been in flight more than twice.
        assert max(pipeline.noted("begin", step).values()) <= 3
