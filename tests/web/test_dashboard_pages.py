"""What the dashboard shows: everything that a listing would, as text, and payloads only where they are wanted."""

from __future__ import annotations

import asyncio
import re
from html import unescape
from urllib.parse import quote

import httpx
import pytest

from durable_async import Durable, Encrypted, RunFailed
from durable_async.codec import PeekCodec
from durable_async.server.ephemeral import ephemeral_server
from durable_async.types import Status
from durable_async.web import guard

from .conftest import SECRET, MakeClient, many, order, pay, refuse

XSS = "</script><img src=x onerror=alert(1)>\x1b[31m\u202e"


def words_of(page: httpx.Response) -> str:
    """What a reader sees."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", page.text)).split())


async def until_waiting(durable: Durable, id: str) -> None:
    async for event in durable.run(id).watch():
        if event.kind == "status" and event.data["status"] == Status.WAITING:
            return


async def stories(durable: Durable) -> None:
    async with durable.worker() as worker:
        await durable.start(order, SECRET, id="o")
        with pytest.raises(RunFailed):
            await (await durable.start(refuse, SECRET, id="bad")).result()
        await (await durable.start(many, 150, id="long")).result()
        await worker.until_idle()


async def test_pages_without_payloads(durable: Durable, browse: MakeClient) -> None:
    """C29, I18: unless it is told to, the dashboard shows no payload, and no text of an exception."""
    await stories(durable)
    client = browse()
    paths = ("/", "/runs", "/runs?show=all", "/runs/o", "/runs/o/pay", "/runs/bad", "/inputs")
    pages = {path: await client.get(path) for path in paths}
    for path, page in pages.items():
        assert page.status_code == 200, path
        assert SECRET not in page.text, path
        assert "data-action" not in page.text, f"{path}: it only reads"
    assert "default 0 0 1" in words_of(pages["/"])
    runs = words_of(pages["/runs"])
    assert "o order waiting" in runs and "bad refuse failed" in runs and "o/pay" not in runs
    assert "o/pay pay completed" in words_of(pages["/runs?show=all"])
    run = words_of(pages["/runs/o"])
    for said in ("waiting", "input size", "pay pay completed", "child started o/pay", "input asked size"):
        assert said in run, run
    assert "Runs / o pay completed" in words_of(pages["/runs/o/pay"])
    assert "Context card" in words_of(pages["/runs/o/pay"])
    assert "ValueError" in words_of(pages["/runs/bad"])
    assert "o size order · asked" in words_of(pages["/inputs"])
    for path in ("/static/dashboard.css", "/static/dashboard.js"):
        found = await client.get(path)
        assert found.status_code == 200 and "http" not in found.text.replace("/html", ""), (
            "nothing comes from elsewhere"
        )


async def test_pages_with_payloads(durable: Durable, browse: MakeClient) -> None:
    await stories(durable)
    client = browse(show_payloads=True, read_only=False)
    assert "ValueError: " + SECRET in words_of(await client.get("/runs/bad"))
    child = words_of(await client.get("/runs/o/pay"))
    assert f'Input "{SECRET}" Output "{SECRET}" Context {{ "card": "{SECRET}" }}' in child
    page = await client.get("/inputs")
    assert SECRET in words_of(page)
    assert re.findall(r'data-value="([^"]*)"', page.text) == ["&#34;S&#34;", "3"]


async def test_without_the_keys(durable: Durable, browse: MakeClient) -> None:
    """What a `durable dashboard` without MODULE:OBJECT sees of a store whose codec encrypts."""
    url, options = str(durable._session.url), {"namespace": durable.namespace}
    keyed = Durable(url, workflows=[pay, order, refuse, many], codec=Encrypted({"k": Encrypted.new_key()}), **options)
    async with keyed:
        await stories(keyed)
        for codec, is_seen in ((PeekCodec(), False), (keyed.codec, True)):
            async with Durable(url, codec=codec, **options) as looking:
                client = browse(app=looking.dashboard(show_payloads=True, read_only=False))
                for path in ("/runs?show=all", "/runs/o", "/runs/o/pay", "/runs/bad", "/inputs"):
                    page = await client.get(path)
                    assert page.status_code == 200, (path, page.text)
                    assert (SECRET in page.text, "(encrypted)" in page.text) == (is_seen, not is_seen), path


async def test_what_is_stored_is_shown_as_text(durable: Durable, browse: MakeClient) -> None:
    """Bad input 59: markup, escapes of terminals and turned text do nothing."""
    async with durable.worker():
        with pytest.raises(RunFailed):
            await (await durable.start(refuse, XSS, id="bad")).result()
        await durable.start(order, XSS, id="o")
        await until_waiting(durable, "o")
        await durable.start(pay, "x" * 500_000, id="large")
        await durable.run("large").result()
        await durable.cancel("o", XSS)
    client = browse(show_payloads=True)
    for path in ("/runs", "/runs/bad", "/runs/o", "/runs/o/pay", "/inputs", f"/runs?id={quote(XSS)}"):
        page = await client.get(path)
        assert "<img" not in page.text and "\x1b" not in page.text and "\u202e" not in page.text, path
        assert page.text.count("<script") == 1
    assert r"\x1b[31m\u202e" in (await client.get("/runs/o")).text
    large = await client.get("/runs/large")
    assert "(500,002 characters)" in large.text and len(large.text) < 60_000


async def test_pages_of_pages(durable: Durable, browse: MakeClient) -> None:
    """C38: never more than a hundred rows at once."""
    await stories(durable)
    client = browse()
    first = await client.get("/runs/long")
    assert first.text.count("<tr>") == 1 + 100
    following = re.search(r'href="([^"]*from=\d+)"', first.text)
    assert following is not None
    second = await client.get(following[1])
    assert second.text.count("<tr>") == 1 + 52 and "What comes next" not in second.text
    one = await client.get("/runs?limit=1")
    assert one.text.count("<tr>") == 1 + 1
    older = re.search(r'href="([^"]*cursor=[^"]*)"', one.text)
    assert older is not None
    two = await client.get(unescape(older[1]))
    assert two.status_code == 200 and two.text.count("<tr>") == 1 + 1
    ids = [re.search(r'href="/runs/(\w+)"', page.text) for page in (one, two)]
    assert ids[0] is not None and ids[1] is not None and ids[0][1] != ids[1][1]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/runs?limit=101", 400),
        ("/runs?limit=0", 400),
        ("/runs?limit=-1", 400),
        ("/runs?limit=٨", 400),
        ("/runs?limit=1000000000", 400),
        ("/runs?cursor=bogus", 400),
        ("/runs?status=bogus", 400),
        ("/runs?show=bogus", 400),
        ("/runs?workflow=" + "x" * 10_000, 400),
        ("/runs/nobody", 404),
        ("/runs/nobody?from=bogus", 400),
        ("/runs/..%2f..%2fetc", 404),
        ("/runs/%00", 404),
        ("/runs/a%252fb", 404),
        ("/runs/a//b", 404),
        ("/runs/x%0d%0aSet-Cookie:a", 404),
        ("/static/../guard.py", 404),
        ("/static/guard.py", 404),
        ("/elsewhere", 404),
    ],
)
async def test_bad_paths(browse: MakeClient, path: str, status: int) -> None:
    """Bad input 56, 60: an answer, never a traceback."""
    for accept in ("text/html", "application/json"):
        page = await browse().get(path, headers={"accept": accept})
        assert page.status_code == status, page.text
        assert "Traceback" not in page.text and "set-cookie" not in page.headers


async def test_mounted_below_a_path(durable: Durable, browse: MakeClient) -> None:
    from starlette.applications import Starlette

    app = Starlette()
    app.mount("/durable", durable.dashboard())
    await durable.start(pay, "x", id="p")
    client = browse(app=app)
    page = await client.get("/durable/runs")
    links = re.findall(r'(?:href|src|action)="([^"]*)"', page.text)
    assert "/durable/runs/p" in links and all(link.startswith("/durable/") for link in links)
    for link in {link for link in links if "?" not in link}:
        assert (await client.get(link)).status_code == 200, link


async def test_a_store_that_does_not_answer(monkeypatch: pytest.MonkeyPatch, browse: MakeClient) -> None:
    """Requests do not pile up behind it."""
    monkeypatch.setattr(guard, "PATIENCE_S", 0.2)
    with ephemeral_server() as server:
        async with Durable(server.url) as durable:
            client = browse(app=durable.dashboard())
            assert (await client.get("/runs")).status_code == 200
            server.pause()
            page = await client.get("/runs")
            server.resume()
            assert (page.status_code, page.headers["retry-after"]) == (503, "5")
            async with asyncio.timeout(30):
                while (await client.get("/runs")).status_code != 200:
                    pass


async def test_a_durable_that_is_not_open(browse: MakeClient) -> None:
    """Bad input 64: 503, without a traceback or a URL."""
    closed = Durable("redis://u:secret@localhost:1")
    page = await browse(app=closed.dashboard()).get("/")
    assert (page.status_code, page.headers["retry-after"]) == (503, "5")
    assert "is not open" in page.text and "secret" not in page.text
