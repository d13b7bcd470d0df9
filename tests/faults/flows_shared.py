"""Children of one large input for the fault tests."""

from __future__ import annotations

import asyncio

from durable_async import call_workflow, info, start_workflow, wait_for_event, workflow

from .flows import Given, note, work

FILLING = "0123456789" * 200


@workflow
async def measures(given: Given) -> int:
    await work(given["ledger"], info().id, "measure", {})
    return len(given["filling"])


@workflow
async def fans_out(given: Given) -> int:
    same = {"ledger": given["ledger"], "filling": FILLING}
    return sum(await asyncio.gather(*(call_workflow(measures, same, ref=f"c{n}") for n in range(3))))


@workflow
async def waits(given: Given) -> int:
    await wait_for_event("go")
    await note(given["ledger"], "measured", {"run": info().id, "length": len(given["filling"])})
    return len(given["filling"])


@workflow
async def leaves(given: Given) -> None:
    same = {"ledger": given["ledger"], "filling": FILLING}
    for n in range(2):
        await start_workflow(waits, same, ref=f"c{n}", on_parent_close="leave")


@workflow
async def passes_on(given: Given) -> int:
    return sum(await asyncio.gather(*(call_workflow(measures, given, ref=f"g{n}") for n in range(2))))


@workflow
async def fans_out_twice(given: Given) -> int:
    same = {"ledger": given["ledger"], "filling": FILLING}
    return sum(await asyncio.gather(*(call_workflow(passes_on, same, ref=f"c{n}") for n in range(2))))


@workflow
async def ends_first(given: Given) -> None:
    await start_workflow(waits, given, ref="c0", on_parent_close="leave")
    await start_workflow(waits, given, ref="c1", on_parent_close="leave")


@workflow
async def leaves_below(given: Given) -> None:
    same = {"ledger": given["ledger"], "filling": FILLING}
    await asyncio.gather(*(call_workflow(ends_first, same, ref=f"e{n}") for n in range(2)))
