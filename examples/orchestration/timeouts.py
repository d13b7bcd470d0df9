"""How long a call waits, what it returns when the time is over, and what becomes of the child then."""

import asyncio

from durable_async import CHILD_TIMEOUT, RAISE, ChildTimeout, Durable, call_workflow, seconds, wait_for_event, workflow

A_MOMENT = seconds(0.05)


@workflow
async def ask_supplier(item: str) -> int:
    price: int = await wait_for_event("price", int)
    return price


@workflow
async def buy(item: str) -> list[object]:
    # By default the falsy CHILD_TIMEOUT, which a type checker does not let you calculate with.
    price = await call_workflow(ask_supplier, item, ref="first", timeout=A_MOMENT)
    if price is CHILD_TIMEOUT:
        price = -1
    # A value of your own. The child is cancelled, unless it is told to go on, as here.
    guess = await call_workflow(
        ask_supplier, item, ref="second", timeout=A_MOMENT, timeout_value=100, on_timeout="leave"
    )
    # Or an exception.
    try:
        third = await call_workflow(ask_supplier, item, ref="third", timeout=A_MOMENT, timeout_value=RAISE)
    except ChildTimeout:
        third = 0
    return [price, guess, third]


async def main() -> None:
    async with Durable(workflows=[buy, ask_supplier]) as durable, durable.worker():
        handle = await durable.start(buy, "tea")
        print(await handle)
        await durable.send_event(f"{handle.id}/second", "price", 95)
        print("too late for its parent:", await durable.run(f"{handle.id}/second"))
        for ref in ("first", "third"):
            child = durable.run(f"{handle.id}/{ref}")
            await asyncio.gather(child, return_exceptions=True)  # its cancel may still be on its way
            print(f"{ref}:", await child.status())


if __name__ == "__main__":
    asyncio.run(main())
