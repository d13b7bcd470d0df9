"""D2, D23, D24 for clients: each call of `start`, `send_event`, `cancel` and `terminate` is struck; one effect each."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis
from semantics.leaks import LOOK, parse_look

from durable_async import Durable, RunCancelled, RunNotWaiting, WorkflowIdConflict
from durable_async.server.ephemeral import EphemeralServer
from durable_async.store.keys import Keys

from . import flows
from .book import Book
from .conftest import Report
from .fleet import PATIENCE_S, until
from .invariants import check_invariants, figures_of
from .proxy import Proxy
from .rig import STRIKES, Plan, current, until_struck_dead, wired

MORE_THAN_ALL = 18
"""Calls of such a client; the test finds out."""


@pytest.fixture
def raw(shared_server: EphemeralServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(shared_server.url) as connection, wired():
        yield connection


async def session(durable: Durable, book: Book, end: str) -> bool:
    """All a client can do to one run; what it was answered at the end."""
    given = {"ledger": book.path}
    await durable.start(flows.parent, given, id="p", on_conflict="raise" if end == "terminate" else "join")
    await durable.send_event("p", "go", {"event": "e1"}, event_id="e1")
    if end == "cancel":
        return await durable.cancel("p", "enough")
    if end == "terminate":
        return await durable.terminate("p", "enough")
    return True


# A client that died in the middle closes nothing: its connections are collected, with warnings, before this test ends.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("strike", STRIKES)
@pytest.mark.parametrize("end", ["result", "cancel", "terminate"])
async def test_d23_every_call_of_a_client(
    end: str,
    strike: str,
    shared_server: EphemeralServer,
    raw: redis.Redis,
    namespace: str,
    tmp_path: Path,
    report: Report,
) -> None:
    async def one(at: int) -> tuple[Plan, int]:
        book, plan = Book(tmp_path / f"ledger{at}"), Plan(at, strike)
        name = f"{namespace}-{at}"
        book.write("namespace", namespace=name)
        options: dict[str, Any] = {"workflows": [flows], "namespace": name}
        # Inherited by what this task opens until it is reset.
        token = current.set(plan)
        did = await until_struck_dead(plan, _first_client(shared_server.url, options, book, end))
        current.reset(token)
        async with Durable(shared_server.url, **options) as durable:
            if plan.is_dead:
                # The same again, from a client that knows nothing of the first one's answers.
                with suppress(WorkflowIdConflict):
                    await durable.start(flows.parent, {"ledger": book.path}, id="p")
                with suppress(RunNotWaiting):
                    await durable.send_event("p", "go", {"event": "e1"}, event_id="e1")
                await (durable.cancel("p") if end == "cancel" else _nothing())
                await (durable.terminate("p") if end == "terminate" else _nothing())
            else:
                # One effect, and one answer: that of a client to which nothing ever happened.
                assert did is True, f"{strike} at {at} ({plan.what})"
            book.write("start", id="p")
            if end != "result":
                book.write("cancel", id="p", did=True)
            async with durable.worker(drain_timeout=5.0) as worker:
                with suppress(RunCancelled):
                    assert await durable.run("p").result(timeout=PATIENCE_S) == flows.PARENT_RESULT
                    assert end == "result"
                await until(partial(is_clean, raw, name, worker.id), "nothing is left")
        found = check_invariants(raw, book)
        assert not found, f"{strike} at {at} ({plan.what}):\n" + "\n".join(found)
        return plan, figures_of(book)[0]

    ended = await asyncio.gather(*map(one, range(1, MORE_THAN_ALL)))
    plans, again = [plan for plan, _ in ended], sum(count for _, count in ended)
    struck = [plan.what for plan in plans if plan.struck.is_set()]
    assert 4 <= len(struck) < len(plans)
    gc.collect()
    report(
        "D23 client", strike=strike, scenario=end, runs=len(plans), faults=len(struck), steps_again=again, recoveries=[]
    )


async def test_a_clients_second_connection_is_as_patient_as_its_first(
    shared_server: EphemeralServer, namespace: str, tmp_path: Path
) -> None:
    """The one on which results are pushed is opened by the first start; the server may be coming back just then."""
    with Proxy(shared_server.url) as proxy:
        async with Durable(proxy.url, workflows=[flows], namespace=namespace) as durable:
            proxy.is_refusing = True
            starting = asyncio.create_task(durable.start(flows.parent, {"ledger": str(tmp_path / "ledger")}, id="p"))
            await until(lambda: proxy.refused, "it has been refused")
            proxy.is_refusing = False
            assert (await starting).id == "p"


async def _first_client(url: str, options: dict[str, Any], book: Book, end: str) -> bool:
    async with Durable(url, **options) as durable:
        return await session(durable, book, end)


def is_clean(raw: redis.Redis, namespace: str, living: str) -> bool:
    keys = Keys(namespace)
    return not parse_look(raw.eval(LOOK, 0, keys.base)).left(keys, living)  # type: ignore[arg-type]  # a union


async def _nothing() -> None:
    pass
