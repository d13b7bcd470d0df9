"""A calls B, B calls C: a child is a workflow like any other, and may have children of its own."""

import asyncio

from durable_async import Durable, RunTree, call_workflow, step, workflow


@step
async def measure(text: str) -> int:
    return len(text)


@workflow
async def c(text: str) -> int:
    return await measure(text)


@workflow
async def b(text: str) -> int:
    return 10 * await call_workflow(c, text)


@workflow
async def a(text: str) -> str:
    return f"{text} is worth {await call_workflow(b, text)}"


def show(tree: RunTree, level: int = 0) -> None:
    run = tree.run
    print(f"{'  ' * level}{run.workflow} {run.status}, ref {run.ref}, output {run.output!r}")
    for child in tree.children:
        show(child, level + 1)


async def main() -> None:
    async with Durable(workflows=[a, b, c]) as durable, durable.worker():
        handle = await durable.start(a, "abc")
        print(await handle.result())
        show(await durable.tree(handle.id))


if __name__ == "__main__":
    asyncio.run(main())
