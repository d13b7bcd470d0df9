"""A ref names a child within its parent: the same ref is the same child, another ref is another child of its type."""

import asyncio

from durable_async import Durable, RefConflict, call_workflow, start_workflow, step, workflow


@step
async def send(to: str) -> str:
    print(f"sending to {to}")
    return f"sent to {to}"


@workflow
async def mail(to: str) -> str:
    return await send(to)


@workflow
async def newsletter(names: list[str]) -> list[str]:
    for name in names:
        await start_workflow(mail, name, ref=f"mail-{name}")  # one child for each name
    first = await call_workflow(mail, "ada", ref="mail-ada")  # the child that was started: not a second mail
    again = await call_workflow(mail, "ada", ref="mail-ada")  # it has ended: answers at once
    try:
        refused = await call_workflow(mail, "eve", ref="mail-ada")  # another input
    except RefConflict as conflict:
        refused = type(conflict).__name__
    await call_workflow(mail, "boss")  # no ref: the workflow's name, and numbered from the second call on
    await call_workflow(mail, "archive")
    return [first, again, refused]


async def main() -> None:
    async with Durable(workflows=[newsletter, mail]) as durable, durable.worker():
        handle = await durable.start(newsletter, ["ada", "bob"])
        print(await handle.result())
        print("refs:", *[child.ref for child in await handle.children()])


if __name__ == "__main__":
    asyncio.run(main())
