"""Two children in parallel, results by name. `complete_all` lets both end, whatever one of them does."""

import asyncio

from durable_async import ChildFailed, Durable, Err, Ok, call_workflow, parallel, step, workflow


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
async def enrich_order(order: list[str]) -> dict[str, str]:
    customer, item = order
    calls = {
        "customer": call_workflow(customer_details, customer, ref="customer"),
        "stock": call_workflow(stock_level, item, ref="stock"),
    }
    outcomes = await parallel(calls, on_error="complete_all")
    return {name: known(outcome) for name, outcome in outcomes.items()}


def known(outcome: Ok[str] | Err) -> str:
    match outcome:
        case Ok(found):
            return found
        case Err(error):
            return f"unknown: {error.error.message if isinstance(error, ChildFailed) else error}"


async def main() -> None:
    async with Durable(workflows=[enrich_order, customer_details, stock_level]) as durable, durable.worker():
        for item in ("teapot", "unicorn"):
            handle = await durable.start(enrich_order, ["ada", item])
            print(await handle)


if __name__ == "__main__":
    asyncio.run(main())
