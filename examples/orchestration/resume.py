"""A worker leaves in the middle, another takes over: what was done is not done again, and no child is started twice."""

import asyncio

from durable_async import Durable, call_workflow, step, workflow

begun = asyncio.Event()


@step
async def work(what: str) -> str:
    print(f"  step {what}")
    begun.set()
    return what


@workflow(queue="kids")
async def child(name: str) -> str:
    return await work(name)


@workflow
async def parent() -> list[str]:
    done = [await work("before"), await call_workflow(child, "first", ref="first")]
    # Whoever takes the run over replays the lines above: outcomes come from the store, nothing is called again.
    again = await call_workflow(child, "first", ref="first")  # the same child: it has ended, and answers at once
    return [*done, again, await call_workflow(child, "second", ref="second")]


async def main() -> None:
    async with Durable(workflows=[parent, child]) as durable:
        print("one worker, which does not serve the child's queue")
        async with durable.worker():
            handle = await durable.start(parent)
            await begun.wait()
        print("another one, which does")
        async with durable.worker(["default", "kids"]):
            print(await handle)
        print("children:", *[info.ref for info in await handle.children()])


if __name__ == "__main__":
    asyncio.run(main())
