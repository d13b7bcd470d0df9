"""A saga over steps and a child: what was done is undone, newest first, and each of it as often as it takes."""

import asyncio

from durable_async import Durable, Retry, RunFailed, call_workflow, compensate, step, workflow

bank_is_open = iter([False, True])


@step(retry=Retry(max_attempts=3, initial=0.01))
async def refund(payment: str) -> None:
    if not next(bank_is_open):
        raise ConnectionError("the bank is closed")
    print("refunded:", payment)


@step(compensate=refund)
async def charge(amount: float) -> str:
    return f"{amount:.2f}"


@step
async def call_back(driver: str) -> None:
    print("called back:", driver)


@workflow(compensate=call_back)
async def delivery(order: str) -> str:
    return f"the driver of {order}"


@step
async def put_back(item: str, count: int) -> None:
    print("put back:", count, item)


@workflow
async def purchase(order: str) -> None:
    await charge(42.0)
    compensate(put_back, "teapots", 2)  # by hand: it belongs to no step
    await call_workflow(delivery, order)
    raise ValueError("the address does not exist")


async def main() -> None:
    async with Durable(workflows=[purchase, delivery]) as durable, durable.worker():
        handle = await durable.start(purchase, "order_123", id="order_123")
        try:
            await handle
        except RunFailed as failed:
            print(failed)


if __name__ == "__main__":
    asyncio.run(main())
