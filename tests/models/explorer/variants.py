"""Known-bad variants, of scripts and of what calls them: each must be found, by the schedules that are named."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from durable_async.worker.intake import Intake
from durable_async.worker.reaper import Reaper
from durable_async.worker.runner import Runner

from .play import Bounds
from .world import FAULTS

Changes = Mapping[str, Sequence[tuple[str, str]]]


@dataclass(frozen=True)
class Variant:
    """What is wrong, and where it shows."""

    name: str
    pair: str
    bounds: Bounds
    scripts: Changes = field(default_factory=dict)
    methods: Sequence[tuple[type, str, Callable[..., Any]]] = ()
    kinds: tuple[str, ...] = FAULTS
    """The faults that are tried."""

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """Inside, the methods are the bad ones."""
        before = [(owner, name, getattr(owner, name)) for owner, name, _ in self.methods]
        try:
            for owner, name, bad in self.methods:
                setattr(owner, name, bad)
            yield
        finally:
            for owner, name, good in before:
                setattr(owner, name, good)


async def _no_reconciliation(reaper: Reaper, streams: Any) -> None:
    """Whatever was read and got lost on its way stays lost."""


def _advance_at_once(runner: Runner, resident: Any) -> None:
    """Steps begin before the commit that says what led to them was acknowledged."""
    if not resident.is_dropped and not resident.trouble:
        for call in resident.run.steps.take_launches():
            runner.steps.launch(resident, call)
    _advance(runner, resident)


def _judge_by_memory(intake: Intake, stream_key: str, letter: str, entries: Any) -> None:
    """An entry of a run that is being worked on is taken for surplus, and acked."""
    kept = []
    for entry_id, kind, run_id in entries:
        resident = intake._residents.get(run_id)
        if kind == "r" and resident is not None and not resident.is_parked:
            intake._store.ack_entries(stream_key, [entry_id], lambda reply: None)
        else:
            kept.append((entry_id, kind, run_id))
    _take_entries(intake, stream_key, letter, kept)


_advance, _take_entries = Runner.advance, Intake.take_entries

VARIANTS = (
    Variant(
        "a park does not look at the mail",
        "park-finish",
        Bounds(0),
        {"commit_run": [("(leaves and (mail > taken or n_tells > 0))", "false")]},
    ),
    Variant(
        "an end does not look at the cancel",
        "finish-cancel",
        Bounds(0),
        {"commit_run": [("(ending and stays)", "false")]},
    ),
    Variant(
        "a child is created below a cancel",
        "spawn-cancel",
        Bounds(0),
        {"commit_run": [("is_cancelled = cancel_at > 0", "is_cancelled = false")]},
    ),
    Variant(
        "an event wakes nobody",
        "event-wait",
        Bounds(0),
        {"send_event": [("if run.wake_key then", "if false then")]},
    ),
    Variant(
        "a stale owner is believed",
        "claim-claim",
        Bounds(1, 0),
        kinds=("freeze",),
        scripts={
            "commit_run": [
                ("f[2] ~= epoch or f[3] ~= nonce", "false"),
                ("if f[4] == seq then", "if f[4] == seq and f[2] == epoch then"),
                ("not is_next or f[1] ~= 'running' or f[5] ~= entry", "false"),
            ]
        },
    ),
    Variant(
        "a worker does not look for what it has forgotten",
        "claim-claim",
        Bounds(1, 0),
        kinds=("lose-reply",),
        methods=[(Reaper, "reconcile", _no_reconciliation)],
    ),
    Variant(
        "a late pause counts",
        "pause-claim",
        Bounds(1, 0),
        {"pause_queue": [("if latest ~= last then", "if false then")]},
        kinds=("late-request",),
    ),
    Variant(
        "steps begin before their commit",
        "release-reap",
        Bounds(1, 0),
        kinds=("crash-before",),
        methods=[(Runner, "advance", _advance_at_once)],
    ),
    Variant(
        "entries are judged by memory",
        "event-wait",
        Bounds(1, 1),
        kinds=("slow-reply",),
        methods=[(Intake, "take_entries", _judge_by_memory)],
    ),
)
