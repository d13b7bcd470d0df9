"""The child fails, and the parent takes another way: the failure is an exception with the child's error in it."""

import asyncio
from dataclasses import dataclass

from durable_async import ChildCancelled, ChildFailed, Durable, NonRetryable, Retry, call_workflow, step, workflow


@dataclass
class Order:
    id: str
    card: str


@step(retry=Retry(max_attempts=3))
async def charge_card(card: str) -> str:
    if card == "expired":
        raise NonRetryable("the card has expired")  # trying again would not help
    return f"charged to {card}"


@step
async def write_invoice(order_id: str) -> str:
    return f"invoice for {order_id}"


@workflow
async def card_payment(order: Order) -> str:
    return await charge_card(order.card)


@workflow
async def invoice(order: Order) -> str:
    return await write_invoice(order.id)


@workflow
async def resilient_order(order: Order) -> dict[str, str]:
    try:
        return {"paid": await call_workflow(card_payment, order, ref="card")}
    except ChildFailed as failure:
        paid = await call_workflow(invoice, order, ref="fallback")
        return {"paid": paid, "because": f"{failure.error.type}: {failure.error.message}"}
    except ChildCancelled as cancelled:
        return {"paid": "no", "because": cancelled.reason}


async def main() -> None:
    async with Durable(workflows=[resilient_order, card_payment, invoice]) as durable, durable.worker():
        for order in (Order("order_1", "gold"), Order("order_2", "expired")):
            print(order.id, await (await durable.start(resilient_order, order)))


if __name__ == "__main__":
    asyncio.run(main())
