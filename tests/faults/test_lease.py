"""A worker that the server does not hear, and that does not hear the server: it lets its runs go by itself."""

from __future__ import annotations

from pathlib import Path

import redis

from durable_async import Durable
from durable_async.server.ephemeral import ephemeral_server

from . import flows
from .book import Book
from .fleet import PATIENCE_S, until
from .invariants import check_invariants


async def test_c23_steps_stop_when_the_lease_is_over_and_the_store_gives_no_answer(
    namespace: str, tmp_path: Path
) -> None:
    book = Book(tmp_path / "ledger")
    book.write("namespace", namespace=namespace)
    with ephemeral_server() as server, redis.Redis.from_url(server.url) as raw:
        durable = Durable(server.url, workflows=[flows], namespace=namespace)
        async with durable, durable.worker(lease=0.5, drain_timeout=5.0) as worker:
            handle = await durable.start(flows.long_step, {"ledger": book.path}, id="p")
            book.write("start", id="p")
            book.write("expect", id="p", value="last")
            await until(lambda: book.lines("begin"), "the step runs")
            with book.fault("the server is frozen"):
                server.pause()
                await until(lambda: not list(worker.runner.residents), "the run has been let go")
                assert worker.runner.intake.slots.active == 0
                server.resume()
                await until(lambda: len(book.lines("begin")) > 1, "it has been taken up again")
            book.write("release")
            assert await handle.result(timeout=PATIENCE_S) == "last"
        found = check_invariants(raw, book)
        assert not found, "\n".join(found)
