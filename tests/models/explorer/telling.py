"""A trace that a person can read: who, which transition, of which run, which fault, what was answered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from durable_async.store.scripts import BY_SHA
from durable_async.store.status import Answer

from .loop import Clock
from .wire import Call, Names

SHOWN = (
    "id",
    "entry",
    "want",
    "member",
    "item",
    "cursor",
    "next_cursor",
    "queue",
    "worker",
    "event_id",
    "owner",
    "seq",
)
DULL = frozenset(
    {
        "XGROUP", "HSCAN", "HGETALL", "XPENDING", "XINFO", "HGET", "close_worker", "poll_due", "take_sweep",
        "sift_runs", "SCAN", "ZMSCORE", "HMGET", "PEXPIRE", "HSET", "PTTL",
    }
)  # fmt: skip
"""Commands that are told only while everything is tried, or if a fault strikes them: there are many of them."""
LONGEST = 90


def _not_sent() -> str:
    return "not sent"


class Teller:
    """Writes one schedule down."""

    def __init__(self, clock: Clock) -> None:
        self.lines: list[tuple[float, str, str | Call, str, Callable[[], str]]] = []
        """When, who, what, which fault, what was answered: put into words when it is to be read."""
        self._clock = clock
        self._is_silent = False
        self.tells_all = False
        self.calls: list[tuple[str, Call, Any]] = []
        """What was executed, for those who check it."""

    @contextmanager
    def silent(self) -> Iterator[None]:
        """What is always the same is left out."""
        was, self._is_silent = self._is_silent, True
        try:
            yield
        finally:
            self._is_silent = was

    def call(self, who: str, call: Call, reply: Any, fault: str = "", *, is_sent: bool = True) -> None:
        """A command, and what came of it."""
        if is_sent:
            self.calls.append((who, call, reply))
        if not self._is_silent and (call.name not in DULL or fault or self.tells_all):
            self.lines.append((self._clock.now, who, call, fault, partial(answer, reply) if is_sent else _not_sent))

    def move(self, who: str, what: str) -> None:
        """Something that is no call."""
        self._add(who, what)

    def note(self, who: str, what: str) -> None:
        """Something that the reader should know."""
        self._add(who, what)

    def _add(self, who: str, what: str) -> None:
        if not self._is_silent:
            self.lines.append((self._clock.now, who, what, "", str))

    def text(self) -> str:
        """The whole trace, one line each."""
        names, start = Names(), self.lines[0][0] if self.lines else 0.0
        lines = []
        for when, who, told, fault, reply in self.lines:
            mark = f"  !! {fault}" if fault else ""
            said = reply()
            back = f"  -> {said}" if said else ""
            what = told if isinstance(told, str) else describe(told)
            lines.append(names.of(f"{when - start:7.2f} {who:>8}  {what}{mark}{back}"))
        return "\n".join(lines)


def describe(call: Call) -> str:
    """A command in words."""
    args = call.args
    script = BY_SHA.get(str(args[1])) if args[0] == "EVALSHA" else None
    if script is None:
        return " ".join(_short(arg) for arg in args[:9])
    n_keys = int(args[2])
    keys, given = args[3 : 3 + n_keys], args[3 + n_keys :]
    named = {slot: _short(value) for slot, value in zip(script.args, given, strict=False)}
    shown = [f"{slot}={named[slot]}" for slot in SHOWN if named.get(slot)]
    if "id" not in named:
        shown = [f"of {', '.join(_runs(keys))}", *shown] if _runs(keys) else shown
    more = given[len(script.args) :]
    if script.name in ("claim_runs", "resume_runs", "ack_entries"):
        shown += [_short(arg) for arg in more if isinstance(arg, str)]
    if script.name == "commit_run":
        letters = [str(arg) for arg in more[::2] if isinstance(arg, str) and len(arg) == 1]
        shown.append(f"[{''.join(letters)}]")
    return " ".join([script.name, *shown])


def _runs(keys: Any) -> list[str]:
    names = [_short(key) for key in keys]
    return [name.removeprefix("run:") for name in names if name.startswith("run:")]


def _short(value: Any) -> str:
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    text = text.rpartition("}:")[2] if "}:" in text else text
    return "".join(c if c.isprintable() else "." for c in text)[:LONGEST]


def answer(reply: Any) -> str:
    """A reply in words: its status, and as much of the rest as fits."""
    if isinstance(reply, Exception):
        return f"{type(reply).__name__}: {reply}"
    if isinstance(reply, list) and reply and isinstance(reply[0], int):
        if reply[0] in Answer._value2member_map_:
            return Answer(reply[0]).name
        rest = [_status(item) for item in reply[1:]]
        return " ".join(text for text in rest if text)
    return _flat(reply)


def _status(item: Any) -> str:
    if isinstance(item, list) and item and isinstance(item[0], int) and item[0] in Answer._value2member_map_:
        return Answer(item[0]).name
    return _flat(item)


def _flat(reply: Any) -> str:
    if isinstance(reply, list):
        return f"[{', '.join(_flat(item) for item in reply)}]"[:LONGEST]
    return "" if reply is None else _short(reply)
