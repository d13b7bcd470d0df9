"""A worker process of the order pipeline whose steps keep a ledger outside of the store; the test imports it, too.

    python pipeline_worker.py LEDGER STEP GO_ON

Each execution of a step notes ``begin STEP ORDER`` and ``end STEP ORDER``. Executions of STEP past the first GO_ON
never come to their end. The process ends when its standard input is closed.
"""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SLOTS = 30
LEASE_S = 1.0


def load_pipeline() -> ModuleType:
    """The example, as a module."""
    found = importlib.util.spec_from_file_location("order_pipeline", ROOT / "examples/orchestration/order_pipeline.py")
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules["order_pipeline"] = module
    found.loader.exec_module(module)
    return module


def note(ledger: str, line: str) -> None:
    """Appends a line in one write: lines of several processes do not mix."""
    fd = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(fd, f"{line}\n".encode())
    finally:
        os.close(fd)


def recorded(step: Any, ledger: str, go_on: float) -> None:
    """Has a step note its executions; those after the first `go_on` hang."""
    original = step.function
    begun = 0

    @functools.wraps(original)
    async def recording(*args: Any) -> Any:
        nonlocal begun
        begun += 1
        number = begun
        order = args[0].id if step.name == "charge_card" else args[1].rpartition(" ")[2]
        note(ledger, f"begin {step.name} {order}")
        if number > go_on:
            await asyncio.Event().wait()
        result = await original(*args)
        note(ledger, f"end {step.name} {order}")
        return result

    step.function = recording


async def main(ledger: str, held: str, go_on: str) -> None:
    pipeline = load_pipeline()
    for step in (pipeline.charge_card, pipeline.send_mail):
        recorded(step, ledger, int(go_on) if step.name == held else float("inf"))
    asyncio.get_running_loop().add_reader(0, os._exit, 0)
    async with pipeline.durable, pipeline.durable.worker(concurrency=SLOTS, lease=LEASE_S):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
