"""What the text of a program uses, as workflows have it; its steps keep a ledger (`faults.book`)."""

from __future__ import annotations

import asyncio
from typing import Any

from faults.book import Book, write
from faults.flows import begin

import durable_async
from durable_async import Err, Ok, Retry, info, step

Given = dict[str, Any]
"""`ledger`: its path. `last`: the step that was done last before, and the nonce that it returned. `chain`: whether this
run's own steps are to be told on, too; not so where a run lives several lives, of which the journal has the last."""

API = (
    "RAISE", "ChildCancelled", "Retry", "Tolerate", "call_workflow", "compensate", "continue_as_new", "info",
    "map_workflow", "now", "parallel", "progress", "put_context", "random", "sleep", "start_workflow", "uuid",
    "wait_for_all", "wait_for_any", "wait_for_event",
)  # fmt: skip


class Refused(Exception):
    """Of no type that a step declares: the body meets it as data."""


ERRORS: dict[str, type[Exception]] = {error.__name__: error for error in (ConnectionError, ValueError, Refused)}


def _begin(ledger: str, run: str, name: str, last: dict[str, str] | None) -> str:
    nonce = begin(ledger, run, name, {})
    if last:
        write(ledger, "got", run=last["run"], step=last["step"], nonce=last["nonce"], by=f"{name} of {run}")
    return nonce


def _end(ledger: str, run: str, name: str, nonce: str, fails: int, error: str) -> dict[str, str]:
    lines = Book(ledger).lines("raise") if fails else []
    kind = "raise" if sum((line["run"], line["step"]) == (run, name) for line in lines) < fails else "end"
    write(ledger, kind, run=run, step=name, nonce=nonce)
    if kind == "raise":
        raise ERRORS[error](name)
    return {"step": name, "nonce": nonce}


@step
async def effect(
    ledger: str, run: str, name: str, last: dict[str, str] | None, fails: int, error: str, pause_s: float
) -> dict[str, str]:
    nonce = _begin(ledger, run, name, last)
    if pause_s:
        await asyncio.sleep(pause_s)
    return _end(ledger, run, name, nonce, fails, error)


@step
def effect_in_thread(
    ledger: str, run: str, name: str, last: dict[str, str] | None, fails: int, error: str
) -> dict[str, str]:
    nonce = _begin(ledger, run, name, last)
    return _end(ledger, run, name, nonce, fails, error)


@step
async def endless(ledger: str, run: str, name: str, last: dict[str, str] | None) -> None:
    _begin(ledger, run, name, last)
    await asyncio.Event().wait()


@step
async def undo(given: Given, name: str) -> None:
    """A compensation."""
    write(given["ledger"], "undone", step=name)


def _named(given: Given, name: str) -> str:
    # Each life of a run has steps of its own.
    life, attempt = given.get("life", 0), info().attempt
    return name if (life, attempt) == (0, 1) else f"{name}@{life}.{attempt}"


async def work(
    given: Given,
    name: str,
    *,
    fails: int = 0,
    attempts: int = 5,
    error: type[Exception] = ConnectionError,
    pause: float = 0.0,
    in_thread: bool = False,
) -> str:
    """A step that fails so often, and then returns its name."""
    me, said, options = info().id, _named(given, name), Retry(max_attempts=attempts, initial=0.01, jitter=0.0)
    arguments = given["ledger"], me, said, given.get("last"), fails, error.__name__
    if in_thread:
        done = await effect_in_thread.options(name=said, retry=options)(*arguments)
    else:
        done = await effect.options(name=said, retry=options)(*arguments, pause)
    if given.get("chain", True):
        given["last"] = {"run": me, **done}
    return name


async def hang(given: Given, name: str, *, timeout: float | None = None) -> None:
    """A step that never returns."""
    said = _named(given, name)
    await endless.options(name=said, timeout=timeout)(given["ledger"], info().id, said, given.get("last"))


def shown(outcomes: dict[str, Ok[Any] | Err]) -> list[tuple[str, str, Any]]:
    """What branches have come to."""
    return [
        (name, "ok", one.value) if isinstance(one, Ok) else (name, "error", type(one.error).__name__)
        for name, one in outcomes.items()
    ]


def names() -> dict[str, Any]:
    """For one program; `workflow` and what it defines are its own."""
    here = {"asyncio": asyncio, "Any": Any, "Refused": Refused, "workflow": durable_async.workflow}
    here |= {"work": work, "hang": hang, "undo": undo, "shown": shown}
    return {**here, **{name: getattr(durable_async, name) for name in API}}
