"""Worker processes for fault tests, from the nursery of the semantics tests, and the report."""

from __future__ import annotations

import gc
import json
import os
import random
import warnings
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from budget import NO_TIME
from semantics.crowd import Nursery

from durable_async.server.ephemeral import EphemeralServer

from .book import Book, append
from .order import longest_first
from .rig import wired
from .rows import Row
from .servers import server_name
from .sweep import EveryCall

Report = Callable[..., None]
TAIL_BYTES = 8_000


def add_line(line: dict[str, Any]) -> None:
    """To `$DURABLE_FAULTS_REPORT`, if that is set."""
    if path := os.environ.get("DURABLE_FAULTS_REPORT"):
        append(path, {"seed": os.environ.get("DURABLE_FAULTS_SEED"), **line})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`matrix.py` runs several tests at a time: what takes long must not begin last."""
    if "DURABLE_LONG_UNTIL" in os.environ:
        # Whatever is left out when the time is over is not the same every time.
        random.Random(os.environ.get("DURABLE_FAULTS_SEED")).shuffle(items)
    elif "DURABLE_FAULTS_REPORT" in os.environ:
        longest_first(items)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: Any, call: Any) -> Generator[None, Any, Any]:
    """What workers said is shown with the test that failed."""
    report = yield
    nursery, mark = getattr(item, "funcargs", {}).get("nursery"), item.get_closest_marker("row")
    is_left_out = report.skipped and NO_TIME in str(report.longrepr)
    if mark is not None and (report.failed or report.skipped) and not is_left_out:
        why = {"failed": True} if report.failed else {"skipped": str(report.longrepr[2])}
        add_line({"row": ", ".join(mark.args), "test": item.name, "server": server_name(), **why})
    if report.failed and nursery is not None and nursery.log is not None:
        text = nursery.log.read_bytes()[-TAIL_BYTES:].decode(errors="replace")
        report.sections.append(("the end of what the workers said", text))
    return report


@pytest.fixture(autouse=True)
def _struck_things_go_here() -> Iterator[None]:
    """What a strike has cut off is never closed: it goes with its own test, not with one that the collector meets."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
def raw(shared_server: EphemeralServer) -> Iterator[redis.Redis]:
    """The server, for looking; workers and clients made meanwhile can be struck."""
    with redis.Redis.from_url(shared_server.url) as connection, wired():
        yield connection


@pytest.fixture
def every_call(shared_server: EphemeralServer, raw: redis.Redis, namespace: str, tmp_path: Path) -> EveryCall:
    """Strikes each call of a worker in turn."""
    return EveryCall(shared_server, raw, namespace, tmp_path)


@pytest.fixture(scope="session")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    """Makes worker processes; what is left of them ends with the session."""
    made = Nursery(log=tmp_path_factory.mktemp("workers") / "log")
    yield made
    made.close()


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """Of this test's random choices; printed if it fails. `$DURABLE_FAULTS_SEED` repeats one."""
    chosen = int(os.environ.get("DURABLE_FAULTS_SEED") or random.randrange(10**6))
    request.node.add_report_section("setup", "seed", f"DURABLE_FAULTS_SEED={chosen}")
    return chosen


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Report:
    """Appends a row's figures, as a line of JSON, to `$DURABLE_FAULTS_REPORT`."""

    def write(row: str, **figures: Any) -> None:
        line = {"row": row, "test": request.node.name, "server": server_name(), **figures}
        request.node.add_report_section("call", "figures", json.dumps(line))
        add_line(line)

    return write


@pytest.fixture
def row(
    request: pytest.FixtureRequest, seed: int, namespace: str, nursery: Nursery, tmp_path: Path, report: Report
) -> Row:
    """The row of the matrix that this test is, named by its innermost mark `row`."""
    mark = request.node.get_closest_marker("row")
    return Row(", ".join(mark.args), seed, namespace, nursery, tmp_path, Book(tmp_path / "ledger"), report)
