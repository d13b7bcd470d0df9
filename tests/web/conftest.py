"""A dashboard of a namespace of its own, asked in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from durable_async import Durable, call_workflow, progress, put_context, step, wait_for_event, wait_for_input, workflow
from durable_async.server.ephemeral import EphemeralServer

SECRET = "S3CR3T-4711"
BASE = "http://localhost:8787"
TOKEN = "a-token-of-some-length"


@step
async def charge(card: str) -> str:
    return card


@step
async def decline(card: str) -> str:
    raise ValueError(card)


@workflow
async def pay(card: str) -> str:
    put_context("card", card)
    progress(1, 2, card)
    return await charge(card)


@workflow
async def refuse(card: str) -> str:
    return await decline(card)


@workflow
async def order(card: str) -> str:
    await call_workflow(pay, card, ref="pay")
    await wait_for_input("size", kind="choice", choices=["S", 3], prompt=card, metadata={"card": card})
    return str(await wait_for_event("go"))


@workflow
async def many(count: int) -> int:
    for n in range(count):
        await charge(str(n))
    return count


MakeClient = Callable[..., httpx.AsyncClient]


@pytest.fixture
async def durable(shared_server: EphemeralServer, namespace: str) -> AsyncIterator[Durable]:
    async with Durable(shared_server.url, workflows=[pay, refuse, order, many], namespace=namespace) as durable:
        yield durable


@pytest.fixture
async def browse(durable: Durable) -> AsyncIterator[MakeClient]:
    """Makes a client of a dashboard with these options, which comes from `peer`."""
    made: list[httpx.AsyncClient] = []

    def make(peer: str = "127.0.0.1", base: str = BASE, app: Any = None, **options: Any) -> httpx.AsyncClient:
        found = app if app is not None else durable.dashboard(**options)
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(found, client=(peer, 4711)), base_url=base, headers={"accept": "text/html"}
        )
        made.append(client)
        return client

    yield make
    for client in made:
        await client.aclose()
