"""The workflows of ``durable demo``: an order that takes payment, confirms by email, waits for a parcel and ships.

Written as an application would be; only `noted` is the demo's own. It writes a line when a step begins and one when it
ends to a file outside the store: the evidence that `demo_proof` judges.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import Final

from durable_async import (
    Durable,
    Retry,
    call_workflow,
    get_context,
    put_context,
    seconds,
    sleep,
    start_workflow,
    step,
    workflow,
)

DIRECTORY_VARIABLE: Final = "DURABLE_DEMO_DIR"
QUEUES: Final = ("orders", "payments", "default")


@dataclass(frozen=True)
class Order:
    """What a shop sends; `cents` is its price."""

    number: int
    cents: int
    email: str

    @property
    def id(self) -> str:
        """The id of its run."""
        return f"order_{self.number:04d}"


class ServiceDown(Exception):
    """Somebody else's service did not answer. It will, the next time."""


# ---------------------------------------------------------------------- steps: real I/O lives here


@step(retry=Retry(max_attempts=5, initial=seconds(0.1)), raises=(ServiceDown,))
async def charge_card(order: Order) -> str:
    """Takes the money; every fifth time the bank is down at first."""
    with noted(order, "charge_card"):
        await asyncio.sleep(0.03)
        if order.number % 5 == 0:
            first_time_down(order, "bank")
        return f"pay_{order.number}"


@step(retry=3)
async def reserve_stock(order: Order) -> str:
    """Puts the goods aside."""
    with noted(order, "reserve_stock"):
        await asyncio.sleep(0.01)
        return f"shelf_{order.number % 7}"


@step
def print_label(order: Order) -> str:
    """A step may block: a plain function runs in a thread."""
    with noted(order, "print_label"):
        return f"label_{order.number}"


@step(retry=Retry(max_attempts=5, initial=seconds(0.1)))
async def smtp_send(order: Order, text: str) -> None:
    """Sends a mail; every eleventh time the mail server is down at first."""
    with noted(order, "smtp_send"):
        await asyncio.sleep(0.02)
        if order.number % 11 == 0:
            first_time_down(order, "mail")


@step
async def ship(order: Order, shelf: str, label: str) -> str:
    """Hands the parcel over."""
    with noted(order, "ship"):
        await asyncio.sleep(0.01)
        return f"parcel_{order.number}_{shelf}_{label}"


# ---------------------------------------------------------------------- workflows: plain asyncio, durable


@workflow(queue="payments")
async def payment(order: Order) -> str:
    """Takes the money."""
    return await charge_card(order)


@workflow
async def confirmation(order: Order) -> str:
    """Tells the customer."""
    await smtp_send(order, f"We received your order over {order.cents / 100:.2f}.")
    return order.email


@workflow(queue="orders")
async def process_order(order: Order) -> dict[str, str]:
    """One order, from its arrival to its parcel."""
    shelf = await reserve_stock(order)
    paid = await call_workflow(payment, order, ref="payment", timeout=3600, timeout_value=None)
    if paid is None:
        return {"state": "not paid"}
    put_context("paid", paid)
    await start_workflow(confirmation, order, ref="confirmation")
    await sleep(seconds(0.5))  # the goods are picked; nothing is held meanwhile, and a crash does not matter
    label = await print_label(order)
    parcel = await ship(order, shelf, label)
    return {"state": "shipped", "payment": get_context("paid"), "parcel": parcel}


durable = Durable(workflows=[process_order, payment, confirmation])


def expected_result(order: Order) -> dict[str, str]:
    """What `process_order` has to return, worked out without it."""
    n = order.number
    return {"state": "shipped", "payment": f"pay_{n}", "parcel": f"parcel_{n}_shelf_{n % 7}_label_{n}"}


# ---------------------------------------------------------------------- evidence, outside the store


@contextmanager
def noted(order: Order, name: str) -> Iterator[None]:
    """Notes the begin and the end of an execution of a step."""
    execution = os.urandom(6).hex()
    _note(order, name, execution, "start")
    try:
        yield
    except Exception:
        _note(order, name, execution, "failed")
        raise
    _note(order, name, execution, "end")


def _note(order: Order, name: str, execution: str, mark: str) -> None:
    line = {
        "order": order.number,
        "step": name,
        "execution": execution,
        "pid": os.getpid(),
        "mark": mark,
        "at": time(),
    }
    # One write of a file opened for appending is one whole line, whoever else writes, and survives kill -9.
    target = os.open(_directory() / "ledger.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(target, json.dumps(line).encode() + b"\n")
    finally:
        os.close(target)


def first_time_down(order: Order, service: str) -> None:
    """Fails the first time it is asked for this order, by any process; the service remembers, as a real one would."""
    try:
        os.close(os.open(_directory() / f"{service}-{order.number}", os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return
    raise ServiceDown(f"the {service} does not answer")


def _directory() -> Path:
    return Path(os.environ[DIRECTORY_VARIABLE])
