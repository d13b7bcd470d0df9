"""`start_workflow` does not wait: the parent knows the child's id, ends first, and the child goes on by itself."""

import asyncio

from durable_async import Durable, start_workflow, step, wait_for_event, workflow


@step
async def render(report: str) -> str:
    return f"{report}, 12 pages"


@workflow(queue="reports")
async def make_report(name: str) -> str:
    await wait_for_event("numbers are in")
    return await render(name)


@workflow
async def close_the_books(month: str) -> list[str]:
    summary = await start_workflow(make_report, f"summary of {month}", ref="summary")
    details = await start_workflow(make_report, f"details of {month}", ref="details")
    return [summary.id, details.id]


async def main() -> None:
    async with Durable(workflows=[close_the_books, make_report]) as durable, durable.worker(["default", "reports"]):
        handle = await durable.start(close_the_books, "May")
        children = await handle.result()
        print("the parent is", await handle.status())
        for id in children:
            await durable.send_event(id, "numbers are in")
            print(id.removeprefix(handle.id), "->", await durable.run(id, make_report))


if __name__ == "__main__":
    asyncio.run(main())
