"""Parallel branches that sleep and wait: they park together, and none of them holds the one slot of this worker."""

import asyncio

from durable_async import Durable, call_workflow, seconds, sleep, step, wait_for_event, workflow


@step
async def wake_up(who: str) -> str:
    return f"{who} is awake"


@workflow
async def nap(who: str) -> str:
    await sleep(seconds(0.1))
    return await wake_up(who)


@workflow
async def listen() -> str:
    heard: str = await wait_for_event("whisper", str, timeout=seconds(0.1), timeout_value="nothing")
    return heard


@workflow
async def delegate(who: str) -> str:
    return await call_workflow(nap, who)


@workflow
async def all_together() -> dict[str, str]:
    async with asyncio.TaskGroup() as group:  # the first failure cancels the others, and their children
        branches = {
            "nap": group.create_task(call_workflow(nap, "ada")),
            "delegate": group.create_task(call_workflow(delegate, "bob")),
            "listen": group.create_task(call_workflow(listen)),
            "event": group.create_task(wait_for_event("hello", str)),
        }
    return {name: branch.result() for name, branch in branches.items()}


async def main() -> None:
    workflows = [all_together, nap, delegate, listen]
    async with Durable(workflows=workflows) as durable, durable.worker(concurrency=1):
        handle = await durable.start(all_together)
        await handle.send_event("hello", "you")  # is kept until somebody waits for it
        print(await handle)


if __name__ == "__main__":
    asyncio.run(main())
