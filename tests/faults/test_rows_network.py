"""D23 to D29: lost, torn, doubled, late and slow traffic, through a proxy, and workers that are cut off."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import pytest

from durable_async.server.ephemeral import EphemeralServer

from .book import clock
from .fleet import injecting, until
from .proxy import KINDS, Proxy, Shape, Strike, chance
from .rows import Row, sizes

pytestmark = pytest.mark.slow
HANDSHAKE = frozenset({"CLIENT", "HELLO", "SELECT", "AUTH", "INFO", "CONFIG"})
"""Not struck: a client that cannot even connect says so at once."""


def rows_of(kind: str) -> list[pytest.MarkDecorator]:
    names = [pytest.mark.row("D24" if kind.endswith("request") else "D23")]
    # The kind that most mistakes would show with runs each time.
    return names if kind == "lose-reply" else [*names, pytest.mark.faults]


@sizes(8)
@pytest.mark.parametrize("kind", [pytest.param(kind, marks=rows_of(kind)) for kind in KINDS])
async def test_d23_d24_on_the_wire(kind: str, trees: int, shared_server: EphemeralServer, row: Row) -> None:
    """Any command of any process, a few in a hundred: one effect each, wherever the wire broke."""
    with Proxy(shared_server.url) as proxy:
        fleet = row.fleet(shared_server.url, via=proxy.url, lease=4.0)
        draw = chance(0.03, row.seed)
        strike = proxy.strike = Strike(kind, lambda name: name not in HANDSHAKE and draw(name))
        async with fleet.serving():
            await fleet.load(trees)
            proxy.strike = None
        await fleet.judge()
    fleet.faults = len(strike.hits)
    assert len(set(strike.hits)) > 3, strike.hits
    row.tell(fleet, variant=kind)


@pytest.mark.faults
@pytest.mark.row("D25")
async def test_d25_a_reply_comes_after_its_time(shared_server: EphemeralServer, row: Row) -> None:
    """Later than any timeout: the connection was given up, and nobody takes the reply for another one's."""
    with Proxy(shared_server.url) as proxy:
        fleet = row.fleet(shared_server.url, via=proxy.url, lease=4.0, size=2)
        left = {"commit_run", "start_run", "claim_runs"}

        def picks(name: str) -> bool:
            if name in left:
                left.discard(name)
                fleet.hit("late reply", cuts_steps=False)
                return True
            return False

        strike = proxy.strike = Strike("late-reply", picks, late_s=14.0)
        async with fleet.serving():
            await fleet.load(4)
        await fleet.judge()
        assert len(strike.hits) == 3
    row.tell(fleet)


@pytest.mark.faults
@pytest.mark.row("D26")
async def test_d26_a_connection_is_half_open(shared_server: EphemeralServer, row: Row) -> None:
    """The server has delivered an entry to a dead connection that is not closed: the worker finds it, and notices."""
    with Proxy(shared_server.url) as proxy:
        fleet = row.fleet(shared_server.url, via=proxy.url, lease=1.0, size=1)
        strike = proxy.strike = Strike("half-open", lambda name: name == "XREADGROUP")
        async with fleet.serving():
            # The client of `load` reads no group: it is the worker that is struck.
            await fleet.load(3)
            fleet.hit("half-open", cuts_steps=False)
            assert strike.hits == ["half-open"]
            await until(lambda: proxy.noticed, "the worker has noticed")
            await fleet.load(2)
        await fleet.judge()
    row.tell(fleet)


@pytest.mark.faults
@pytest.mark.row("D27")
async def test_d27_byte_by_byte(shared_server: EphemeralServer, row: Row) -> None:
    with Proxy(shared_server.url) as proxy:
        proxy.shape = Shape(segment=1)
        fleet = row.fleet(shared_server.url, via=proxy.url, lease=15.0, size=2)
        async with fleet.serving():
            await fleet.load(2)
        await fleet.judge()
    row.tell(fleet)


SLOW = Shape(delay_s=0.03, jitter_s=0.02, bytes_per_s=64_000, stall_s=1.0, stall_chance=0.01)
VERY_SLOW = Shape(delay_s=0.2, jitter_s=0.05, bytes_per_s=64_000, stall_s=2.0, stall_chance=0.01)


@pytest.mark.faults
@pytest.mark.row("D28")
@pytest.mark.parametrize("shape", [SLOW, pytest.param(VERY_SLOW, marks=pytest.mark.long)], ids=["slow", "very-slow"])
async def test_d28_a_slow_line(shape: Shape, shared_server: EphemeralServer, row: Row) -> None:
    with Proxy(shared_server.url, seed=row.seed) as proxy:
        proxy.shape = shape
        fleet = row.fleet(shared_server.url, via=proxy.url, lease=15.0)
        fleet.faults = 1
        async with fleet.serving():
            await fleet.load(5)
        await fleet.judge()
    row.tell(fleet)


@pytest.mark.faults
@pytest.mark.row("D29")
@sizes(12)
@pytest.mark.parametrize("how", ["held-back", "swallowed"])
async def test_d29_a_worker_is_cut_off(how: str, trees: int, shared_server: EphemeralServer, row: Row) -> None:
    """For two leases: it lets its runs go, others finish them, and what it says later is refused."""
    with ExitStack() as stack:
        fleet = row.fleet(shared_server.url, size=1)
        proxies = [stack.enter_context(Proxy(shared_server.url)) for _ in range(2)]

        async def cut_off() -> None:
            proxy, began = fleet.random.choice(proxies), clock()
            proxy.hold() if how == "held-back" else setattr(proxy, "is_hole", True)
            await asyncio.sleep(2 * fleet.lease)
            proxy.release()
            proxy.is_hole = False
            # What it did in the dark may be begun again until it is taken over, and that takes a lease and a sweep.
            fleet.hit(how, t=began, until=clock() + 2 * fleet.lease)

        async with fleet.serving():
            for proxy in proxies:
                fleet.spawn(via=proxy.url)
            async with injecting(cut_off, lambda: fleet.random.uniform(0.3, 1)):
                await fleet.load(trees, pace_s=0.4)
        await fleet.judge()
    row.tell(fleet, variant=how)
