"""Cancelling a run cancels its tree: pending, running and waiting children, recursively. What was done stays done."""

import asyncio

from durable_async import Durable, RunTree, call_workflow, start_workflow, step, workflow

on_the_road = asyncio.Event()


@step
async def drive() -> None:
    on_the_road.set()
    await asyncio.Event().wait()  # CancelledError comes out of it


@workflow
async def load() -> str:
    return "loaded"


@workflow(queue="nobody-serves-it")
async def unload() -> None: ...  # pending


@workflow
async def truck() -> None:
    await drive()  # running


@workflow
async def transport() -> None:
    await call_workflow(truck)  # waiting for its child


@workflow
async def shipment() -> None:
    await call_workflow(load)
    await start_workflow(unload)
    await call_workflow(transport)


def flat(tree: RunTree) -> list[RunTree]:
    return [tree, *[each for child in tree.children for each in flat(child)]]


async def main() -> None:
    workflows = [shipment, load, unload, transport, truck]
    async with Durable(workflows=workflows) as durable, durable.worker():
        handle = await durable.start(shipment)
        await on_the_road.wait()
        print("cancelled:", await handle.cancel("the ship has sunk"))
        for member in flat(await durable.tree(handle.id)):  # the rest of the tree follows by itself
            await asyncio.gather(durable.run(member.run.id), return_exceptions=True)
            print(member.run.workflow, await durable.run(member.run.id).status())


if __name__ == "__main__":
    asyncio.run(main())
