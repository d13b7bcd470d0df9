"""D17: a server that is a replica all of a sudden is left by whoever hears of it."""

from __future__ import annotations

import asyncio

import pytest
import redis

from . import flows
from .fleet import until
from .proxy import Proxy
from .rows import Row
from .servers import caught_up, follow, pair, promote

pytestmark = pytest.mark.slow


@pytest.mark.row("D17")
async def test_d17_a_demoted_server_is_left_by_whoever_hears_of_it(row: Row) -> None:
    """A worker without room reads no queue while its server is demoted, so it is not hung up on, and hears later."""
    book = row.book
    with pair() as (one, two), Proxy(one.url) as proxy:
        fleet = row.fleet(one.url, via=proxy.url, lease=8.0, size=1, options={"concurrency": 1})
        async with fleet.client() as durable, fleet.serving():
            handle = await durable.start(flows.long_step, {"ledger": book.path}, id="p")
            book.write("start", id="p")
            book.write("expect", id="p", value="last")
            await until(lambda: book.lines("begin"), "the step runs")
            fleet.hit("demoted", cuts_steps=False)
            with redis.Redis.from_url(one.url) as raw:
                caught_up(raw)
                promote(two)
                proxy.target = fleet.url = two.url
                await asyncio.to_thread(follow, one, two.url)
                raw.execute_command("CLIENT", "UNPAUSE")
            book.write("release")
            assert await handle.result(timeout=20) == "last"
            assert await (await durable.start(flows.long_step, {"ledger": book.path}, id="q")).result(timeout=20)
        await fleet.judge()
    row.tell(fleet)
