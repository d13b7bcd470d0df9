"""V4: histories that earlier versions have recorded go on with this one, from every line of them."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from durable_async import Limits, NonDeterministicReplay
from durable_async.client.registration import collect
from durable_async.codec import MsgpackCodec
from durable_async.engine.failures import unpack_error
from durable_async.engine.records import AS_RECORDED, Kind, parse_outcome, parse_record
from durable_async.engine.run import Run
from durable_async.worker.rebuild import begin_run, identity_of

from .history import FOLDER, Recorded, load
from .stories import MODULES, STORIES

FILES = sorted(FOLDER.glob("*/*.json"))
CODEC = MsgpackCodec()
SPECS = {name: definition.spec for name, definition in collect(MODULES).items()}


made: list[Run] = []


@pytest.fixture(autouse=True)
def _dropped() -> Iterator[None]:
    yield
    for run in made:
        run.abandon()
    made.clear()


def rebuilt(recorded: Recorded, length: int, workflow: str | None = None) -> Run:
    """The run as a worker has it that takes it over when its journal has this length."""
    claimed = recorded.claimed(length)
    run = Run(SPECS[workflow or claimed.workflow], identity_of(recorded.id, claimed), CODEC, Limits())
    made.append(run)
    begin_run(run, claimed)
    assert run.corrupt is None
    return run


def asked_for(run: Run) -> list[list[Any]]:
    """What the run wants to have recorded, but for its time."""
    return [without_time(entry.value) for entry in run.take_turn().entries if entry.letter == "R"]


def without_time(line: bytes) -> list[Any]:
    kind, _, *rest = parse_record(line)
    # Errors have tracebacks, which name lines of today's files.
    return [kind, *(rest[:1] if kind in AS_RECORDED else rest)]


def records(journal: list[bytes]) -> list[list[Any]]:
    return [parse_record(line) for line in journal if line[:1] == b"R"]


@pytest.fixture(params=FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def history(request: pytest.FixtureRequest) -> list[Recorded]:
    path: Path = request.param
    return load(path)


def test_it_ends_as_it_did(history: list[Recorded]) -> None:
    for recorded in history:
        run = rebuilt(recorded, len(recorded.journal) - 1)
        found, ended = run.take_turn(), parse_outcome(recorded.journal[-1])
        assert (found.want, found.entries) == (ended.status, []), recorded.id
        if ended.status in ("completed", "cancelled"):
            assert found.payload == ended.payload
        else:
            # A traceback names lines of today's files.
            now, then = (unpack_error(payload, CODEC) for payload in (found.payload, ended.payload))
            assert (now.type, now.message) == (then.type, then.message)


def test_it_goes_on_from_every_line(history: list[Recorded]) -> None:
    """Whatever it then wants to have recorded is what was recorded."""
    for recorded in history:
        # What came over from earlier lives of the run was written with its first line.
        carried = [values for values in records(recorded.journal) if values[0] in (Kind.PAST, Kind.CARRY)]
        for length in range(1 + len(carried), len(recorded.journal)):
            if recorded.journal[length - 1][:1] == b"Z":
                continue  # it has failed: nobody goes on before it is taken up again
            run = rebuilt(recorded, length)
            rest = recorded.journal[length : recorded.end(length)]
            later = [without_time(line) for line in rest if line[:1] == b"R"]
            wanted = asked_for(run)
            # It has ended only where nothing but what it asks for was recorded after this line.
            assert run.outcome is None or len(rest) == len(wanted)
            assert [values for values in wanted if values not in later] == [], f"{recorded.id} after {length} lines"


def test_other_code_does_not_fit(history: list[Recorded]) -> None:
    """Or the tests above would prove nothing: each run that has records, against another body."""
    for recorded in history:
        if any(values[0] != Kind.TICK for values in records(recorded.journal)):
            other = "naps" if recorded.record["workflow"] != "naps" else "events"
            with pytest.raises(NonDeterministicReplay):
                rebuilt(recorded, len(recorded.journal) - 1, other)


def test_there_is_one_of_each_story_and_each_kind() -> None:
    """New kinds of records need a story: record it (CONTRIBUTING.md says how)."""
    latest = [path for path in FILES if path.parent.name == version("durable-async")]
    assert {path.stem for path in latest} == set(STORIES)
    kinds = {values[0] for path in FILES for run in load(path) for values in records(run.journal)}
    assert {value for name, value in vars(Kind).items() if name.isupper()} == kinds
