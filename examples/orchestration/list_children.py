"""A run's children, oldest first, all of them or by status: how far is it, and what went wrong?"""

import asyncio

from durable_async import Durable, RunInfo, Status, start_workflow, step, workflow


@step
async def look_at(part: str) -> str:
    if part == "roof":
        raise ValueError("it leaks")
    return "fine"


@workflow
async def inspect(part: str) -> str:
    return await look_at(part)


@workflow
async def inspect_house(parts: list[str]) -> list[str]:
    queues = {"cellar": "locksmith"}
    return [(await start_workflow(inspect, part, ref=part, queue=queues.get(part))).id for part in parts]


def show(title: str, children: list[RunInfo]) -> None:
    print(f"{title}:", *[f"{c.ref} {c.status} ({c.output or (c.error and c.error.message)})" for c in children])


async def main() -> None:
    async with Durable(workflows=[inspect, inspect_house]) as durable:
        async with durable.worker():  # serves the queue "default"
            house = await durable.start(inspect_house, ["door", "roof", "cellar"])
            door, roof, cellar = [durable.run(id) for id in await house]
            await asyncio.gather(door, roof, return_exceptions=True)
        show("all", await house.children())
        show("failed", await durable.list_children(house.id, status="failed"))
        show("not done", await durable.list_children(house.id, status=[Status.PENDING, Status.RUNNING, Status.WAITING]))
        async with durable.worker(["locksmith"]):
            print("cellar:", await cellar)


if __name__ == "__main__":
    asyncio.run(main())
