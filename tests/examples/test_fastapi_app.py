"""examples/fastapi_app: in this process over ASGI, and as the server that its README starts."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from time import monotonic
from types import ModuleType
from typing import Any

import httpx
import pytest

from durable_async.client import session
from durable_async.server.ephemeral import EphemeralServer, ephemeral_server

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "fastapi_app"
MODULES = ("app", "orders", "problems")
BODY = {"card": "gold", "items": [{"sku": "tea", "price": "4.20", "quantity": 2}]}
PATIENCE_S = 60


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch, namespace: str) -> Iterator[Any]:
    """Imports the application anew, for a server."""

    def app_for(server: EphemeralServer) -> ModuleType:
        monkeypatch.setenv("DURABLE_URL", server.url)
        monkeypatch.setenv("DURABLE_NAMESPACE", namespace)
        import app

        module: ModuleType = app
        return module

    monkeypatch.syspath_prepend(FOLDER)
    yield app_for
    for name in MODULES:
        sys.modules.pop(name, None)


@asynccontextmanager
async def opened(module: ModuleType) -> AsyncIterator[httpx.AsyncClient]:
    """The application between its start and its shutdown, and a client."""
    transport = httpx.ASGITransport(module.app)
    async with (
        module.app.router.lifespan_context(module.app),
        httpx.AsyncClient(transport=transport, base_url="http://app", timeout=PATIENCE_S) as client,
    ):
        yield client


@pytest.fixture
async def client(load: Any, kept_server: EphemeralServer) -> AsyncIterator[httpx.AsyncClient]:
    async with opened(load(kept_server)) as client:
        yield client


async def place(client: httpx.AsyncClient, key: str = "order_1", **changes: Any) -> httpx.Response:
    return await client.post("/orders", json={**BODY, **changes}, headers={"Idempotency-Key": key})


async def until_waiting(client: httpx.AsyncClient, key: str) -> None:
    give_up_at = monotonic() + PATIENCE_S
    while (run := (await client.get(f"/orders/{key}")).json()).get("waiting_for") != "event shipped":
        assert monotonic() < give_up_at, run
        await asyncio.sleep(0.01)


async def test_an_order_from_its_request_to_its_end(client: httpx.AsyncClient) -> None:
    placed = await place(client)
    assert (placed.status_code, placed.headers["location"], placed.json()) == (
        202,
        "/orders/order_1",
        {"id": "order_1"},
    )
    told = await client.post("/orders/order_1/events/shipped", json="TR-42")
    assert told.status_code == 202
    run = (await client.get("/orders/order_1?wait=30")).json()
    assert (run["status"], run["workflow"], run["parent_id"]) == ("completed", "process_order", None)
    assert run["output"] == {"status": "shipped", "total": "8.40", "tracking": "TR-42"}
    assert run["input"]["items"] == BODY["items"]
    (payment,) = (await client.get("/orders/order_1/children")).json()
    assert (payment["id"], payment["status"], payment["output"]) == ("order_1/payment", "completed", "8.40")


async def test_the_key_makes_an_order_happen_once(client: httpx.AsyncClient) -> None:
    assert {(await place(client)).status_code for _ in range(3)} == {202}
    conflict = await place(client, card="silver")
    assert conflict.status_code == 409 and "another input" in conflict.json()["detail"]


async def test_the_id_of_the_body_and_that_of_nobody(client: httpx.AsyncClient) -> None:
    named = await client.post("/orders", json={**BODY, "id": "order_7"})
    assert named.headers["location"] == "/orders/order_7"
    one, two = [(await client.post("/orders", json=BODY)).json()["id"] for _ in range(2)]
    assert one != two


async def test_a_failed_child_is_shown_without_its_traceback(client: httpx.AsyncClient) -> None:
    await place(client, card="stolen")
    run = (await client.get("/orders/order_1?wait=30")).json()
    assert run["output"]["status"] == "declined: the bank says no"
    (payment,) = (await client.get("/orders/order_1/children")).json()
    assert payment["error"] == {"type": "NonRetryable", "message": "the bank says no"}


async def test_cancel(client: httpx.AsyncClient) -> None:
    await place(client)
    assert (await client.delete("/orders/order_1")).status_code == 202
    run = (await client.get("/orders/order_1?wait=30")).json()
    assert (run["status"], run["reason"]) == ("cancelled", "cancelled by the customer")
    assert (await client.delete("/orders/order_1")).status_code == 409
    late = await client.post("/orders/order_1/events/shipped", json="TR-42")
    assert late.status_code == 409 and "has ended" in late.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/orders/nobody", None),
        ("GET", "/orders/nobody?wait=1", None),
        ("GET", "/orders/nobody/children", None),
        ("POST", "/orders/nobody/events/shipped", "TR-1"),
        ("DELETE", "/orders/nobody", None),
    ],
)
async def test_an_unknown_order_is_404(client: httpx.AsyncClient, method: str, path: str, body: str | None) -> None:
    answer = await client.request(method, path, json=body)
    assert answer.status_code == 404 and "nobody" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, {**BODY, "items": []}),
        ({}, {**BODY, "items": [{"sku": "tea", "price": "-1"}]}),
        ({}, {**BODY, "id": "a/b"}),
        ({"Idempotency-Key": "a b"}, BODY),
    ],
)
async def test_bad_input_is_422_and_starts_nothing(
    client: httpx.AsyncClient, load: Any, kept_server: EphemeralServer, headers: dict[str, str], body: dict[str, Any]
) -> None:
    assert (await client.post("/orders", json=body, headers=headers)).status_code == 422
    assert (await load(kept_server).durable.list()).items == []


@pytest.mark.slow
async def test_a_store_that_is_gone_is_503(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "DEADLINE_S", 3.0)  # instead of half a minute
    with ephemeral_server(appendonly=True) as server:
        async with opened(load(server)) as client:
            await place(client)
            server.kill()
            gone = await client.get("/orders/order_1")
            assert (gone.status_code, gone.headers["retry-after"]) == (503, "5")
            server.restart()
            await client.post("/orders/order_1/events/shipped", json="TR-42")
            assert (await client.get("/orders/order_1?wait=30")).json()["status"] == "completed"


async def test_a_request_that_is_given_up_does_not_touch_the_run(client: httpx.AsyncClient) -> None:
    await place(client)
    waits = [asyncio.create_task(client.get("/orders/order_1?wait=30")) for _ in range(3)]
    await until_waiting(client, "order_1")
    for wait in waits[:2]:
        wait.cancel()
        with suppress(asyncio.CancelledError):
            await wait
    await client.post("/orders/order_1/events/shipped", json="TR-42")
    assert (await waits[2]).json()["status"] == "completed"


# ---------------------------------------------------------------------- the process


class Server:
    """The application as its README starts it, on a unix socket."""

    def __init__(self, url: str, namespace: str, folder: Path) -> None:
        self.socket = folder / "app.sock"
        self.log = folder / "log"
        self.env = {**os.environ, "DURABLE_URL": url, "DURABLE_NAMESPACE": namespace, "DURABLE_LEASE": "1"}
        self.process: subprocess.Popen[bytes] | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[httpx.AsyncClient]:
        """The server until the end of the block, where it is killed; a client, as soon as it answers."""
        command = [sys.executable, "-m", "uvicorn", "app:app", "--app-dir", str(FOLDER), "--uds", str(self.socket)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, env=self.env, stdout=log, stderr=log)
        transport = httpx.AsyncHTTPTransport(uds=str(self.socket))
        async with httpx.AsyncClient(transport=transport, base_url="http://app", timeout=PATIENCE_S) as client:
            give_up_at = monotonic() + PATIENCE_S
            while not await self._answers(client):
                assert monotonic() < give_up_at and self.process.poll() is None, self.log.read_text()
                await asyncio.sleep(0.02)
            yield client
            self.kill()

    async def _answers(self, client: httpx.AsyncClient) -> bool:
        try:
            return (await client.get("/openapi.json")).is_success
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.socket.unlink(missing_ok=True)

    def drop(self, request: str, body: str = "") -> None:
        """Sends a whole request, and hangs up."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.socket))
            head = f"{request} HTTP/1.1\r\nHost: app\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
            connection.sendall(f"{head}\r\nIdempotency-Key: order_1\r\n\r\n{body}".encode())


@pytest.fixture
def server(kept_server: EphemeralServer, namespace: str, tmp_path: Path) -> Iterator[Server]:
    server = Server(kept_server.url, namespace, tmp_path)
    yield server
    server.kill()


@pytest.mark.slow
async def test_dropped_requests_and_a_killed_application(server: Server) -> None:
    async with server.running() as client:
        body = '{"card": "gold", "items": [{"sku": "tea", "price": "4.20"}]}'
        server.drop("POST /orders", body)
        server.drop("GET /orders/order_1?wait=30")
        server.drop("POST /orders", body)
        await until_waiting(client, "order_1")
    async with server.running() as client:
        await client.post("/orders/order_1/events/shipped", json="TR-42")
        run = (await client.get("/orders/order_1?wait=30")).json()
        assert run["output"] == {"status": "shipped", "total": "4.20", "tracking": "TR-42"}
        assert len((await client.get("/orders/order_1/children")).json()) == 1
