"""O1: every file of examples/orchestration is run as a reader would run it, and says what it should.

Also with every run dropped from memory at each park, so that each await is a replay: the answers are the same.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from durable_async.server.embedded import EmbeddedServer
from durable_async.server.ephemeral import EphemeralServer

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "orchestration"
PATIENCE_S = 120

SAYS = {
    "cancel_cascade": """
        cancelled: True
        shipment cancelled
        load completed
        unload cancelled
        transport cancelled
        truck cancelled
    """,
    "enrich_order": """
        {'customer': 'ada, since 2019', 'stock': '12 of teapot'}
        {'customer': 'ada, since 2019', 'stock': 'unknown: no such item: unicorn'}
    """,
    "fire_and_forget": """
        the parent is completed
        /summary -> summary of May, 12 pages
        /details -> details of May, 12 pages
    """,
    "list_children": """
        all: door completed (fine) roof failed (it leaks) cellar pending (None)
        failed: roof failed (it leaks)
        not done: cellar pending (None)
        cellar: fine
    """,
    "nested": """
        abc is worth 30
        a completed, ref None, output 'abc is worth 30'
          b completed, ref b, output 30
            c completed, ref c, output 3
    """,
    "order_pipeline": """
        charging 42.00 for order_123
        mail to ada@example.com: thank you for order_123
        {'status': 'paid', 'charge': 'charge-order_123', 'mail': 'order_123/confirmation'}
    """,
    "refs": """
        sending to ada
        sending to bob
        sending to boss
        sending to archive
        ['sent to ada', 'sent to ada', 'RefConflict']
        refs: mail-ada mail-bob mail mail-2
    """,
    "resilient_order": """
        order_1 {'paid': 'charged to gold'}
        order_2 {'paid': 'invoice for order_2', 'because': 'NonRetryable: the card has expired'}
    """,
    "resume": """
        one worker, which does not serve the child's queue
          step before
        another one, which does
          step first
          step second
        ['before', 'first', 'first', 'second']
        children: first second
    """,
    "timeouts": """
        [-1, 100, 0]
        too late for its parent: 95
        first: cancelled
        third: cancelled
    """,
    "saga": """
        called back: the driver of order_123
        put back: 2 teapots
        refunded: 42.00
        run order_123 ended compensated: ValueError: the address does not exist
    """,
    "waiting_branches": """
        {'nap': 'ada is awake', 'delegate': 'bob is awake', 'listen': 'nothing', 'event': 'you'}
    """,
}
"""What each example prints."""

UNORDERED = {"order_pipeline", "refs"}
"""Examples with steps that print while other steps do: the lines are the same, their order is not."""


def run(example: str, folder: Path, env: Mapping[str, str]) -> list[str]:
    """The lines that an example prints."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("DURABLE_")}
    binary = {k: v for k, v in os.environ.items() if k == "DURABLE_SERVER_BIN"}
    done = subprocess.run(
        [sys.executable, str(FOLDER / f"{example}.py")],
        cwd=folder,
        env={**inherited, **binary, **env},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout.splitlines()


def expected(example: str) -> list[str]:
    """The lines of `SAYS`, without the indentation that they have here."""
    return [line.removeprefix(" " * 8) for line in SAYS[example].splitlines() if line.strip()]


def test_every_example_is_tested() -> None:
    assert {path.stem for path in FOLDER.glob("*.py")} == set(SAYS)


@pytest.mark.parametrize("max_resident", ["10000", "0"])
@pytest.mark.parametrize("example", sorted(SAYS))
def test_o01_example(
    example: str, max_resident: str, kept_server: EphemeralServer, namespace: str, tmp_path: Path
) -> None:
    env = {"DURABLE_URL": kept_server.url, "DURABLE_NAMESPACE": namespace, "DURABLE_MAX_RESIDENT": max_resident}
    said, wanted = run(example, tmp_path, env), expected(example)
    if example in UNORDERED:
        said, wanted = sorted(said), sorted(wanted)
    assert said == wanted


def test_o01_without_a_url_there_is_a_server_and_what_was_done_is_kept(tmp_path: Path) -> None:
    try:
        first = run("order_pipeline", tmp_path, {})
        assert sorted(first) == sorted(expected("order_pipeline"))
        # The order is known by its id: nobody is charged again.
        assert run("order_pipeline", tmp_path, {}) == [line for line in first if line.startswith("{")]
    finally:
        EmbeddedServer(tmp_path / ".durable").stop()
