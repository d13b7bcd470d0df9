"""An order calls a payment and waits for it, then starts an e-mail and goes on. Run it twice: nothing is done twice."""

import asyncio
from dataclasses import dataclass

from durable_async import ChildFailed, Durable, Retry, call_workflow, minutes, start_workflow, step, workflow


@dataclass
class Order:
    id: str
    email: str
    total: float


@step(retry=Retry(max_attempts=3))
async def charge_card(order: Order) -> str:
    print(f"charging {order.total:.2f} for {order.id}")  # call the payment provider here
    return f"charge-{order.id}"


@step
async def send_mail(to: str, text: str) -> None:
    print(f"mail to {to}: {text}")  # call the mail server here


@workflow
async def payment(order: Order) -> str:
    return await charge_card(order)


@workflow
async def email(order: Order) -> None:
    await send_mail(order.email, f"thank you for {order.id}")


@workflow
async def process_order(order: Order) -> dict[str, str]:
    try:
        charge = await call_workflow(payment, order, ref="payment", timeout=minutes(10), timeout_value=None)
    except ChildFailed as failure:
        return {"status": "declined", "why": failure.error.message}
    if charge is None:
        return {"status": "payment timed out"}
    mail = await start_workflow(email, order, ref="confirmation")
    return {"status": "paid", "charge": charge, "mail": mail.id}


durable = Durable(workflows=[process_order, payment, email])


async def main() -> None:
    order = Order(id="order_123", email="ada@example.com", total=42.0)
    async with durable, durable.worker():
        print(await (await durable.start(process_order, order, id=order.id)))
        await durable.run("order_123/confirmation")  # the e-mail goes its own way: wait for it before leaving


if __name__ == "__main__":
    asyncio.run(main())
