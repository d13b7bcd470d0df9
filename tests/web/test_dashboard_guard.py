"""C30: who is let in, from where, and what may be asked for. Bad input 54-58, 61-64."""

from __future__ import annotations

import json
import sys
from typing import Any

import httpx
import pytest

from durable_async import ConfigurationError, Durable, RunFailed, Status
from durable_async.web import guard

from .conftest import BASE, TOKEN, MakeClient, order, pay, refuse

ORIGIN = {"origin": BASE, "content-type": "application/json"}


async def post(client: httpx.AsyncClient, path: str, body: Any, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await client.post(path, content=content, headers={**ORIGIN, **headers})


async def test_without_auth_this_machine_alone(browse: MakeClient) -> None:
    for peer, base in (
        ("127.0.0.1", BASE),
        ("::1", "http://[::1]:1"),
        ("127.8.8.8", "http://127.0.0.1"),
    ):
        assert (await browse(peer, base).get("/runs")).status_code == 200, (peer, base)
    for peer, base, headers in (
        ("192.0.2.1", BASE, {}),
        ("testclient", BASE, {}),
        ("127.0.0.1", "http://evil.com:8787", {}),
        ("127.0.0.1", "http://localhost.evil.com", {}),
        ("127.0.0.1", BASE, {"x-forwarded-for": "192.0.2.1"}),
        ("127.0.0.1", BASE, {"host": "localhost@evil.com"}),
    ):
        page = await browse(peer, base).get("/runs", headers=headers)
        assert page.status_code == 403, (peer, base, headers)
    named = browse(base="http://shop.example", hosts=["shop.example"])
    assert (await named.get("/runs")).status_code == 200


async def test_headers_of_every_answer(browse: MakeClient) -> None:
    client = browse()
    for path in ("/runs", "/nowhere", "/runs/nobody", "/static/dashboard.js"):
        found = (await client.get(path)).headers
        policy = found["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
        assert found["x-frame-options"] == "DENY" and found["cache-control"] == "no-store"
        assert found["x-content-type-options"] == "nosniff"
    assert (await browse("192.0.2.1").get("/")).headers["content-security-policy"]


async def test_a_token(browse: MakeClient) -> None:
    client = browse("192.0.2.1", "http://shop.example", auth=TOKEN)
    page = await client.get("/runs")
    assert (page.status_code, page.headers["location"]) == (303, "/login")
    for headers in (
        {"authorization": "Bearer " + TOKEN[:-1]},
        {"authorization": "Basic " + TOKEN},
        {"authorization": "Bearer"},
        {"cookie": f"durable_session={TOKEN}"},
        {"cookie": "durable_session=9999999999.0"},
    ):
        stranger = await client.get("/runs", headers={**headers, "accept": "application/json"})
        assert stranger.status_code == 401, headers
    assert (await client.get(f"/runs?token={TOKEN}")).status_code == 303, "never in a URL"
    assert (await client.get("/runs", headers={"authorization": f"bearer {TOKEN}"})).status_code == 200
    assert (await client.get("/login")).status_code == (await client.get("/static/dashboard.js")).status_code == 200
    origin = {"origin": "http://shop.example"}
    assert (await post(client, "/login", {"token": "wrong"}, **origin)).status_code == 401
    assert (await post(client, "/login", {"token": TOKEN}, origin="http://evil.com")).status_code == 403
    logged_in = await post(client, "/login", {"token": TOKEN}, **origin)
    cookie = logged_in.headers["set-cookie"]
    assert logged_in.status_code == 200
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and TOKEN not in cookie
    assert (await client.get("/runs")).status_code == 200
    assert (await post(client, "/logout", {}, **origin)).status_code == 200
    assert (await client.get("/runs")).status_code == 303


def test_a_session_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    session = guard.make_session(TOKEN)
    assert guard.is_session(session, TOKEN)
    assert not guard.is_session(session, TOKEN + "x"), "another token ends all sessions"
    until, _, signed = session.partition(".")
    for forged in (f"{int(until) + 1}.{signed}", f"{until}.{signed[:-1]}", f"{until}.", ".", "", "é.é"):
        assert not guard.is_session(forged, TOKEN)
    monkeypatch.setattr(guard, "time", lambda: int(until) + 1)
    assert not guard.is_session(session, TOKEN)


async def test_a_function_that_knows_who_it_is(browse: MakeClient) -> None:
    async def knows(request: Any) -> bool:
        return bool(request.headers.get("x-user") == "ann")

    client = browse("192.0.2.1", "http://shop.example", auth=knows, read_only=False)
    assert (await client.get("/runs")).status_code == 401
    assert (await client.get("/static/dashboard.js")).status_code == 401
    assert (await client.get("/runs", headers={"x-user": "ann"})).status_code == 200
    asked = await post(client, "/actions/pause-queue", {"name": "mail"}, **{"x-user": "ann"})
    assert asked.status_code == 403, "of another origin, whoever it is"
    sync = browse("192.0.2.1", auth=lambda request: "yes")
    assert (await sync.get("/runs")).status_code == 401, "True, and nothing that looks like it"


@pytest.mark.parametrize("auth", ["short", "é" * 20, "with\nbreak-and-more", 7])
def test_no_auth(auth: Any) -> None:
    with pytest.raises(ConfigurationError):
        Durable("redis://localhost").dashboard(auth)


@pytest.mark.parametrize("host", ["a b", "a:80", "", 7])
def test_no_host(host: Any) -> None:
    with pytest.raises(ConfigurationError, match="names without a port"):
        Durable("redis://localhost").dashboard(hosts=[host])


async def test_who_may_post(browse: MakeClient) -> None:
    client = browse(read_only=False)
    for headers, status in (
        ({"origin": "http://evil.com"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://localhost:1"}, 403),
        ({"origin": ""}, 403),
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
        ({"content-encoding": "gzip"}, 415),
    ):
        refused = await post(client, "/actions/pause-queue", {"name": "mail"}, **headers)
        assert refused.status_code == status, headers
    no_origin = await client.post("/actions/pause-queue", json={"name": "mail"})
    assert no_origin.status_code == 403
    assert (await client.request("TRACE", "/")).status_code == (await client.delete("/runs/x")).status_code == 405
    override = await client.get("/actions/pause-queue", headers={"x-http-method-override": "POST"})
    assert override.status_code == 405
    program = browse("192.0.2.1", "http://shop.example", auth=TOKEN, read_only=False)
    bearer = {"authorization": f"Bearer {TOKEN}"}
    paused = await program.post("/actions/pause-queue", json={"name": "mail"}, headers=bearer)
    assert (paused.status_code, paused.json()) == (200, {"done": "is paused"})


@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"[]", b'{"name": "mail"', b'\xef\xbb\xbf{"name": "mail"}', b'{"name": "\xff"}',
        b'{"name": "a", "name": "b"}', b'{"name": NaN}', b'{"name": 1e999}', b"[" * 5_000, b'{"name": 7}', b"{}",
        b'{"name": "a b"}', b'{"name": "\\u0000"}', '{"name": "mail"}'.encode("utf-16"),
    ],
)  # fmt: skip
async def test_bad_bodies(browse: MakeClient, body: bytes) -> None:
    refused = await post(browse(read_only=False), "/actions/pause-queue", body)
    assert refused.status_code == 400, refused.text
    assert "Traceback" not in refused.text


async def test_a_large_or_slow_body(browse: MakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    client = browse(read_only=False)

    async def chunks() -> Any:
        for _ in range(100):
            yield b" " * 1024

    large = await client.post("/actions/pause-queue", content=chunks(), headers=ORIGIN)
    assert large.status_code == 413
    monkeypatch.setattr(guard, "BODY_PATIENCE_S", 0.0)
    assert (await post(client, "/actions/pause-queue", {"name": "mail"})).status_code in (200, 408)


async def test_it_only_reads_unless_told_otherwise(durable: Durable, browse: MakeClient) -> None:
    await durable.start(pay, "x", id="p", delay=3600)
    refused = await post(browse(), "/actions/cancel", {"id": "p"})
    assert refused.status_code == 403 and "only reads" in refused.text
    assert await durable.run("p").status() is Status.PENDING


async def test_actions(durable: Durable, browse: MakeClient) -> None:
    client = browse(read_only=False, show_payloads=True)

    async def act(action: str, status: int, **body: Any) -> str:
        found = await post(client, f"/actions/{action}", body)
        assert found.status_code == status, found.text
        return str(found.json().get("done") or found.json()["error"])

    await act("bogus", 404)
    for action in ("cancel", "terminate", "retry"):
        await act(action, 404, id="nobody")
        await act(action, 400, id="a b")
    await durable.start(pay, "x", id="p", delay=3600)
    await act("cancel", 200, id="p", reason="enough")
    await act("cancel", 409, id="p")
    await act("terminate", 409, id="p")
    assert (await durable.get("p")).reason == "enough"
    await act("pause-queue", 200, name="default")
    assert (await durable.queues())[0].paused
    assert "paused" in (await browse().get("/")).text
    await act("resume-queue", 200, name="default")
    await act("pause-schedule", 404, name="nothing")
    async with durable.worker() as worker:
        with pytest.raises(RunFailed):
            await (await durable.start(refuse, "x", id="bad")).result()
        assert await act("retry", 200, id="bad") == "goes on from where it failed"
        await durable.start(order, "x", id="o")
        await worker.until_idle()
        await act("answer", 422, id="o", name="size", value="XL")
        await act("answer", 400, id="o", name="size")
        await act("answer", 200, id="o", name="size", value=3)
        await act("answer", 409, id="o", name="size", value=3)
        await worker.until_idle()
        await act("terminate", 200, id="o")
        await act("retry", 409, id="o")


async def test_an_error_of_our_own_says_nothing(
    durable: Durable, browse: MakeClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken() -> Any:
        raise RuntimeError("S3CR3T")

    monkeypatch.setattr(durable, "queues", broken)
    page = await browse().get("/")
    assert page.status_code == 500
    assert "S3CR3T" not in page.text + caplog.text


def test_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("durable_async.web")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ConfigurationError, match=r"'jinja2'; install it with: pip install 'durable-async\[web\]'"):
        Durable("redis://localhost").dashboard()
