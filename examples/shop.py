"""An order that is paid and confirmed, whatever crashes meanwhile. Run it: `python examples/shop.py`."""

import asyncio
from dataclasses import dataclass

from durable_async import Durable, Retry, call_workflow, hours, start_workflow, step, workflow


@dataclass
class Order:
    id: str
    email: str
    total: float


class PaymentTimedOut(Exception):
    pass


@step(retry=Retry(max_attempts=5))
async def charge_card(amount: float) -> str:
    return f"charge-{amount}"  # real I/O lives in steps: call your payment provider here


@step
async def deliver(to: str) -> None:
    print(f"mail to {to}: thank you for your order")


@workflow
async def payment(amount: float) -> dict[str, str]:
    return {"payment_id": await charge_card(amount)}  # a step called in a workflow is durable


@workflow
async def send_email(to: str) -> None:
    await deliver(to)


@workflow(queue="orders")
async def process_order(order: Order) -> dict[str, str]:
    paid = await call_workflow(payment, order.total, timeout=hours(1), timeout_value=None)
    if paid is None:
        raise PaymentTimedOut(order.id)
    await start_workflow(send_email, order.email, ref="confirmation_email")
    return paid


durable = Durable(workflows=[payment, send_email, process_order])


async def main() -> None:
    async with durable, durable.worker(queues=["orders", "default"]):
        order = Order(id="order_123", email="ada@example.com", total=42.0)
        handle = await durable.start(process_order, order, id=order.id)
        print(await handle.result())


if __name__ == "__main__":
    asyncio.run(main())
