"""The workflows behind the application. `durable worker orders:durable` runs them in a process of their own."""

from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints

from durable_async import ChildFailed, Durable, NonRetryable, Retry, call_workflow, days, step, wait_for_event, workflow

OrderId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:@+-]{1,128}$")]


class Item(BaseModel):
    sku: str
    price: Decimal = Field(gt=0)
    quantity: int = Field(default=1, ge=1)


class Order(BaseModel):
    id: OrderId | None = None
    card: str
    items: list[Item] = Field(min_length=1)


class Receipt(BaseModel):
    status: str
    total: Decimal
    tracking: str | None = None


@step(retry=Retry(max_attempts=3))
async def charge_card(card: str, total: Decimal) -> str:
    if card == "stolen":
        raise NonRetryable("the bank says no")
    return f"{total} from {card}"  # call the payment provider here


@workflow
async def payment(order: Order) -> Decimal:
    total = sum((item.price * item.quantity for item in order.items), Decimal(0))
    await charge_card(order.card, total)
    return total


@workflow
async def process_order(order: Order) -> Receipt:
    try:
        total = await call_workflow(payment, order, ref="payment")
    except ChildFailed as failure:
        return Receipt(status=f"declined: {failure.error.message}", total=Decimal(0))
    tracking = await wait_for_event("shipped", str, timeout=days(14), timeout_value=None)
    return Receipt(status="shipped" if tracking else "lost", total=total, tracking=tracking)


durable = Durable(workflows=[process_order, payment])
