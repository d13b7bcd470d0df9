"""Two children in parallel, results by name. `return_exceptions=True` lets both end, whatever one of them does."""

import asyncio
from dataclasses import dataclass

from durable_async import ChildFailed, Durable, call_workflow, step, workflow


@dataclass
class Order:
    customer: str
    item: str


@step
async def find_customer(name: str) -> str:
    return f"{name}, since 2019"


@step
async def count_stock(item: str) -> str:
    if item == "unicorn":
        raise LookupError(f"no such item: {item}")
    return f"12 of {item}"


@workflow
async def customer_details(name: str) -> str:
    return await find_customer(name)


@workflow
async def stock_level(item: str) -> str:
    return await count_stock(item)


@workflow
async def enrich_order(order: Order) -> dict[str, str]:
    calls = {
        "customer": call_workflow(customer_details, order.customer, ref="customer"),
        "stock": call_workflow(stock_level, order.item, ref="stock"),
    }
    results = await asyncio.gather(*calls.values(), return_exceptions=True)
    return {name: str(found) for name, found in zip(calls, map(known, results), strict=True)}


def known(result: str | BaseException) -> str:
    return f"unknown: {result.error.message}" if isinstance(result, ChildFailed) else str(result)


async def main() -> None:
    async with Durable(workflows=[enrich_order, customer_details, stock_level]) as durable, durable.worker():
        for item in ("teapot", "unicorn"):
            handle = await durable.start(enrich_order, Order("ada", item))
            print(await handle)


if __name__ == "__main__":
    asyncio.run(main())
