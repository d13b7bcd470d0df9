"""`durable dashboard`: where it listens, whom it lets in, how it leaves."""

from __future__ import annotations

import asyncio
import contextlib
import signal

import httpx
import pytest

from durable_async import Durable
from durable_async.cli import dashboard_command

from ._support import PATIENCE, Process, Project

TOKEN = "a-token-of-some-length"


def place(process: Process) -> str:
    return str(process.wait_for(r"the dashboard is on (http://\S+)")[0][1])


def test_it_serves_until_it_is_told_to_leave(project: Project) -> None:
    project.start("gated", '"S3CR3T"', "--id", "x")
    process = project.spawn("dashboard", "--port", "0")
    base = place(process)
    page = httpx.get(f"{base}/runs/x")
    assert page.status_code == 200 and "S3CR3T" not in page.text
    assert "uvicorn" not in str(page.headers)
    assert httpx.get(f"{base}/runs", headers={"host": "evil.com"}).status_code == 403
    refused = httpx.post(f"{base}/actions/cancel", json={"id": "x"}, headers={"origin": base})
    assert refused.status_code == 403 and "only reads" in refused.text
    process.send(signal.SIGTERM)
    assert process.wait() == 0
    assert not any("S3CR3T" in line or "/runs/x" in line for line in process.lines)


def test_what_it_is_told_to_show_and_do(project: Project) -> None:
    project.start("gated", '"S3CR3T"', "--id", "x")
    env: dict[str, str | None] = {"DURABLE_TOKEN": TOKEN, "DURABLE_PORT": "0", "DURABLE_WRITE": "1"}
    process = project.spawn("dashboard", "shop:durable", "--host", "0.0.0.0", "--payloads", env=env)
    base = place(process).replace("0.0.0.0", "127.0.0.1")
    assert httpx.get(f"{base}/runs/x").status_code == 401
    bearer = {"authorization": f"Bearer {TOKEN}"}
    assert "S3CR3T" in httpx.get(f"{base}/runs/x", headers=bearer).text
    done = httpx.post(f"{base}/actions/cancel", json={"id": "x"}, headers=bearer)
    assert done.json() == {"done": "is being cancelled"}
    assert project.status("x") == "cancelled"
    process.send(signal.SIGINT)
    assert process.wait() == 0
    assert not any(TOKEN in line for line in process.lines)


async def test_who_says_half_a_request_is_cut_off(monkeypatch: pytest.MonkeyPatch, project: Project) -> None:
    """Bad input 55: slow headers, and connections that never say anything."""
    monkeypatch.setattr(dashboard_command, "IDLE_S", 0.2)
    with dashboard_command._listening("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    async with Durable(project.url, namespace=project.env["DURABLE_NAMESPACE"]) as durable:
        serving = asyncio.create_task(dashboard_command._serve(durable.dashboard(), "127.0.0.1", port))
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client, asyncio.timeout(PATIENCE):
                while not serving.done():
                    with contextlib.suppress(httpx.ConnectError):
                        assert (await client.get("/runs")).status_code == 200
                        break
                for begun in (b"", b"GET / HTTP/1.1\r\nhost: localhost\r\n"):
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.write(begun)
                    assert await reader.read() == b""
                    writer.close()
                many = await client.get("/runs", headers=[(f"x-{n}", "y") for n in range(10_000)])
                assert many.status_code in (200, 400)
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"GET /runs HTTP/1.0\r\nhost: localhost\r\n\r\n")
                assert b" 200 " in await reader.read()
                writer.close()
        finally:
            serving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await serving


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--host", "0.0.0.0"], 2, "wants a token, in DURABLE_TOKEN"),
        (["--host", "::"], 2, "wants a token"),
        (["--host", "example.com"], 2, "wants a token"),
        (["--token", "short"], 2, "16 printable ASCII characters"),
        (["--port", "65536"], 2, "is not in the range"),
        (["--allow-host", "a b"], 2, "names without a port"),
        (["nothing:here"], 2, "there is no module 'nothing'"),
        (["--url", "redis://127.0.0.1:1"], 3, "cannot connect to the server"),
        (["--host", "192.0.2.1", "--token", TOKEN], 2, "cannot listen on 192.0.2.1"),
    ],
    ids=lambda part: "-".join(part) if isinstance(part, list) else "",
)
def test_what_it_refuses(project: Project, arguments: list[str], code: int, said: str) -> None:
    done = project.run("dashboard", *arguments)
    assert (done.code, said in done.err) == (code, True), done.err
    assert "Traceback" not in done.err
