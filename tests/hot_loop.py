"""The engine's hot loop as a program: runs fed by hand, with no store, no worker and no clock.

`python -I -S hot_loop.py PACKAGE SITE CASE=COUNT…`, under an instruction counter. The package is imported without its
public names, and so without most of what those import: what is counted besides the runs is as little as it can be.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import types
from collections.abc import Callable
from typing import Any

package = types.ModuleType("durable_async")
package.__path__ = [sys.argv[1]]
sys.modules["durable_async"] = package
sys.path.append(sys.argv[2])

from durable_async.codec import MsgpackCodec  # noqa: E402 - once it can be found
from durable_async.engine.run import Run  # noqa: E402
from durable_async.engine.spec import RunIdentity  # noqa: E402
from durable_async.types import Limits  # noqa: E402
from durable_async.workflow.calls import call_workflow  # noqa: E402
from durable_async.workflow.definitions import step, workflow  # noqa: E402

CODEC, LIMITS = MsgpackCodec(), Limits()
FIVE = CODEC.encode(5, limit=100)


@step
async def work(n: int) -> int:
    return n


@workflow
async def noop(n: int) -> int:
    return await work(n)


@workflow
async def steps10(n: int) -> int:
    for _ in range(10):
        n = await work(n)
    return n


@workflow
async def call_child(n: int) -> int:
    return await call_workflow(noop, n)


def begun(definition: Any, number: int, *, has_past: bool = False) -> Run:
    identity = RunIdentity(f"{number:08}", f"{number:08}", None, None, "default", 0, 1, 1_000, 1_000)
    run = Run(definition.spec, identity, CODEC, LIMITS, asyncio.get_running_loop())
    run.begin(b"S" + FIVE, has_past=has_past)
    return run


def finished(run: Run) -> list[bytes]:
    """Feeds the outcomes of all steps; the lines of its journal."""
    lines, now_ms = [], 1_000
    while True:
        turn = run.take_turn()
        lines += [entry.value for entry in turn.entries]
        if turn.want == "completed":
            return lines
        for call in run.steps.take_launches():
            now_ms += 1
            run.step_returned(call, 5, now_ms, 0)


def live(definition: Any) -> Callable[[int], None]:
    def one(number: int) -> None:
        run = begun(definition, number)
        finished(run)
        run.abandon()

    return one


def with_child(number: int) -> None:
    run = begun(call_child, number)
    turn = run.take_turn()
    assert turn.want == "park", turn
    run.feed_messages([b"M1 2000 Cc%08d/noop\n" % number + FIVE])
    assert run.take_turn().want == "completed"
    run.abandon()


def replayed() -> Callable[[int], None]:
    lines: list[bytes] = []

    def one(number: int) -> None:
        if not lines:
            lines.extend(finished(begun(steps10, 0)))
        run = begun(steps10, number, has_past=True)
        run.replay(lines)
        run.replayed()
        assert run.take_turn().want == "completed"
        run.abandon()

    return one


CASES = {"noop": live(noop), "steps10": live(steps10), "call_child": with_child, "replay10": replayed()}


async def main() -> None:
    """Within a loop, as a worker does: from outside of one, stepping a run takes more."""
    for word in sys.argv[3:]:
        case, _, count = word.partition("=")
        for i in range(int(count)):
            CASES[case](i)


if __name__ == "__main__":
    gc.collect()
    gc.freeze()
    gc.disable()
    asyncio.run(main())
