"""The Lua and the reference model in lock-step: every script, every reply, the whole store after each call.

The short run is the same every time. The long one is another one every time; a failure shows what was called.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import budget
import pytest
import redis
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from redis.connection import Connection

from durable_async.server.ephemeral import EphemeralServer
from durable_async.store import scripts, store, watching

from .lockstep import Divergence
from .lockstep_actors import PAGE
from .lockstep_machine import machine, play_seed

DATABASE = 7
"""One that nobody else uses: it is emptied before every program."""
COMMON: dict[str, Any] = {
    "deadline": None, "suppress_health_check": list(HealthCheck), "database": None, "print_blob": False
}  # fmt: skip
SHORT = settings(**COMMON, max_examples=50, stateful_step_count=40, derandomize=True, phases=(Phase.generate,))
SEEDS, MOVES = 450, 80
PROGRAMS = int(os.environ.get("DURABLE_TEST_PROGRAMS", "20000"))
AT_A_TIME = 250
LONG = settings(
    **COMMON, max_examples=min(PROGRAMS, AT_A_TIME), stateful_step_count=80, phases=(Phase.generate, Phase.shrink)
)


LUA = Path(scripts.__file__).parent / "lua"
MUTANTS = [
    # Each is found by one of the first programs; tests/lua/test_mutants.py has all that the tests of the Lua find.
    ("commit_run", "(leaves and (mail > taken or n_tells > 0))", "(want == 'park' and n_tells > 0)"),
    ("commit_run", "if f[4] == seq then", "if false then"),
    ("commit_run", "cancel_at > taken or (", "("),
    ("commit_run", "set[i] ~= 'gen' and set[i] ~= 'attempt'", "true"),
    ("claim_runs", "f[3] and tostring(epoch + 1) or '1'", "f[3] or '1'"),
    ("claim_runs", "f[2] ~= entry or (", "("),
    ("claim_runs", "status == 'running' and f[4] == nonce and f[5] == owner", "false"),
    ("cancel_run", "TERMINAL[run.status] and run.cancel_at == 0 and run.client or ''", "run.client"),
    ("send_event", "if f[6] then return { STATUS.OK, now } end", ""),
    ("drop_consumer", "if #pending > 0 then return { STATUS.RETRY } end", ""),
    ("lib/entry", "if worker_key and redis.call('TYPE', worker_key).ok == 'stream' then", "if worker_key then"),
    ("lib/deliver", "if run.status == 'parked' then", "if false then"),
    ("lib/family", "unpack(links_of(family, child.fields))", "unpack(child.fields)"),
    ("lib/finish", "(told.gen or '1') == (run.pgen or '1') and ", ""),
    ("lib/finish", "(TERMINAL[told.status] and redis.call('PTTL', parent.run_key) ~= -1)", "true"),
]


@pytest.fixture
def connection(shared_server: EphemeralServer) -> Iterator[Connection]:
    pool = redis.ConnectionPool.from_url(shared_server.url, protocol=2, db=DATABASE)
    made = pool.get_connection()
    yield made
    made.send_command("FLUSHDB")
    made.read_response()
    pool.disconnect()


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "PAGE", PAGE)
    monkeypatch.setattr(watching, "PAGE", PAGE)


@pytest.mark.slow
def test_the_scripts_do_what_the_model_does(connection: Connection, loop: asyncio.AbstractEventLoop) -> None:
    run_state_machine_as_test(machine(connection, loop), settings=SHORT)


@pytest.mark.slow
def test_the_scripts_do_what_the_model_does_in_long_programs(
    connection: Connection, loop: asyncio.AbstractEventLoop
) -> None:
    for seed in range(SEEDS):
        play_seed(connection, loop, seed, MOVES)


@pytest.mark.long
def test_the_scripts_do_what_the_model_does_in_many_programs(
    connection: Connection, loop: asyncio.AbstractEventLoop
) -> None:
    done = 0
    while done < PROGRAMS and not budget.is_spent():
        run_state_machine_as_test(machine(connection, loop), settings=LONG)
        done += LONG.max_examples
    if path := os.environ.get("DURABLE_FAULTS_REPORT"):
        with Path(path).open("a") as out:
            out.write(json.dumps({"row": "Programs in lock-step with the reference model", "count": done}) + "\n")


def mutated(name: str, good: str, bad: str) -> dict[str, scripts.Script]:
    """All scripts, one line of one file changed."""
    original = scripts._read

    def read(each: str) -> str:
        text = original(each)
        if each != name:
            return text
        assert good in text, "the transition has changed: so must its mutant"
        return text.replace(good, bad, 1)

    scripts._read = read
    try:
        return scripts.load()
    finally:
        scripts._read = original


@pytest.mark.long
@pytest.mark.parametrize(("name", "good", "bad"), MUTANTS)
def test_a_mutant_is_caught(
    connection: Connection, loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch, name: str, good: str,
    bad: str,
) -> None:  # fmt: skip
    """Or the test above would mean nothing."""
    changed = mutated(name, good, bad)
    bodies = {scripts.SCRIPTS[each].sha: changed[each].body for each in changed}

    def play() -> None:
        for seed in range(SEEDS):
            play_seed(connection, loop, seed, MOVES, mutate=bodies)

    with pytest.raises(Divergence):
        play()


def test_every_mutant_still_applies() -> None:
    for name, good, _ in MUTANTS:
        assert good in (LUA / f"{name}.lua").read_text(encoding="utf-8"), f"{name} has changed: so must {good!r}"
