"""Drives the real scripts and the reference model side by side.

`Lockstep` stands where the store's caller stands: whatever a method of the store sends, the model is asked as well, and
replies and whole stores are compared; then the same command is sent once more, for its reply might have been lost.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgpack
from redis.connection import Connection
from redis.exceptions import NoScriptError, ResponseError

from durable_async.codec.flat import unpack_flat
from durable_async.store.keys import Keys
from durable_async.store.scripts import with_source
from durable_async.store.status import Answer

from .lockstep_properties import PROPERTIES, Step
from .reference import Reference
from .reference.keyspace import CLAIM_FIELDS, DUMP, WATCH_FIELDS, picked, state_of, tidy
from .reference.state import Run, State
from .reference.wire import Slots, play, play_plain

PLAIN_WRITES = ("DEL", "RPUSH", "PEXPIRE", "HSET", "XADD")
REPEATED = frozenset({"open_client", "poll_due"})
"""What is done once more by a repeat: another hint, other timers."""


class Divergence(AssertionError):
    """The scripts do something else than the model, or break a property."""


class Lockstep:
    """A partition on a server, and its model.

    Args:
        server: a connection; its database is emptied.
        keys: the names of the partition's keys.
        properties: what must hold of every step.
        repeats: whether every script is sent twice.
        mutate: by the SHA of a script, the text that is run in its place.
    """

    def __init__(
        self,
        server: Connection,
        keys: Keys,
        properties: Sequence[Callable[[Step], None]] = PROPERTIES,
        *,
        repeats: bool = True,
        mutate: Mapping[str, bytes] | None = None,
    ) -> None:
        self.server, self.keys, self.base, self.properties, self.repeats = server, keys, keys.base, properties, repeats
        self._mutants: dict[str, str] = {}
        for sha, body in (mutate or {}).items():
            self._mutants[sha] = self.send("SCRIPT", "LOAD", body).decode()
        self.send("FLUSHDB")
        self._dump = self.send("SCRIPT", "LOAD", DUMP).decode()
        self.model = Reference(self._mint)
        self.raw: list[Any] = []
        self.state = State()
        self._fresh: dict[str, list[str]] = {}
        self.history: list[tuple[Any, ...]] = []
        """Every script's command so far."""
        self.trace: list[str] = []
        """What has happened, in words."""

    # ------------------------------------------------------------------ as the store's caller

    async def call(self, args: tuple[Any, ...], *, deadline_s: float | None = None) -> Any:
        return self.execute(args)

    def run(self, args: tuple[Any, ...], on_reply: Any, *, deadline_s: float | None = None) -> None:
        on_reply(self.execute(args))

    def execute(self, command: tuple[Any, ...]) -> Any:
        """One command; what writes is compared."""
        if command[0] == "EVALSHA":
            return self.play(command)
        if command[0] in PLAIN_WRITES:
            return self.environment(
                " ".join(str(part) for part in command[:4]),
                lambda: self.send(*command),
                lambda: play_plain(self.model, command, self.base),
            )
        return self.send(*command)

    def send(self, *command: Any) -> Any:
        """To the server alone; the reply as it is on the wire."""
        self.server.send_command(*command)
        return self.server.read_response()

    # ------------------------------------------------------------------ side by side

    def play(self, command: tuple[Any, ...], *, is_repeat: bool = False) -> Any:
        """A script, and its repeat."""
        slots = Slots(command, self.base)
        before, raw = self.state, self.raw
        reply = self._send(command)
        self._look(before)
        if not is_repeat:
            self.history.append(command)
        self.trace.append(("  again: " if is_repeat else "") + describe(slots, reply))
        expected = play(self.model, command, self.base)
        self._compare("reply", normal(slots.name, reply), normal(slots.name, expected))
        self._compare("store", self.state, tidy(self.model.state))
        step = Step(slots, reply, before, self.state, changed_keys(raw, self.raw), command, is_repeat=is_repeat)
        self._check(step)
        if self.repeats and not is_repeat:
            again = self.play(command, is_repeat=True)
            if slots.name not in REPEATED and changed_keys(self._after, self.raw):
                self.fail("P1: a repeat has changed the store")
            self._check(dataclasses.replace(step, again=again))
            self.trace.pop()
        return reply

    def environment(self, what: str, act: Callable[[], Any], model: Callable[[], Any]) -> Any:
        """Something that is no script: a read of a stream, a key that expires."""
        before = self.state
        reply = act()
        self._look(before)
        self.trace.append(f"({what})")
        model()
        self._compare("store", self.state, tidy(self.model.state))
        return reply

    def _send(self, command: tuple[Any, ...]) -> Any:
        if self._mutants:
            command = (command[0], self._mutants[command[1]], *command[2:])
        try:
            return self.send(*command)
        except NoScriptError:
            return self.send(*(with_source(command) or ()))
        except ResponseError as error:
            self.trace.append(describe(Slots(command, self.base), [str(error)]))
            return self.fail(f"P9: a script has failed: {error}")

    def _look(self, before: State) -> None:
        self._after = self.raw
        self.raw = self.send("EVALSHA", self._dump, 0)
        self.state = state_of(self.raw, self.base)
        self._fresh = {
            name: [id for id in stream.entries if name not in before.streams or id not in before.streams[name].entries]
            for name, stream in self.state.streams.items()
        }

    def _mint(self, stream: str) -> str:
        # The model does not know which ids the server gives: it is told those that are new, in their order.
        fresh = self._fresh.get(stream)
        return fresh.pop(0) if fresh else f"0-{len(self.trace)}"

    def _check(self, step: Step) -> None:
        for holds in self.properties:
            try:
                holds(step)
            except AssertionError as error:
                self.fail(f"{(holds.__doc__ or '').partition('.')[0]}: {error}")

    def _compare(self, what: str, real: Any, expected: Any) -> None:
        if real != expected:
            found = "\n".join(differences(what, real, expected))
            self.fail(f"P13: the server (left) and the model (right) disagree\n{found}")

    def fail(self, why: str) -> Any:
        """With everything that led to it."""
        raise Divergence(f"{why}\n\nafter\n" + "\n".join(self.trace)) from None


def changed_keys(before: Sequence[Any], after: Sequence[Any]) -> set[str]:
    """The keys of which something is different."""
    old = {item[0]: (item[1], item[2] == -1, item[3]) for item in before}
    new = {item[0]: (item[1], item[2] == -1, item[3]) for item in after}
    return {key.decode() for key in old.keys() | new.keys() if old.get(key) != new.get(key)}


# ---------------------------------------------------------------------- replies


def plain(value: Any) -> Any:
    """Without the difference of texts and bytes."""
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, int):
        return int(value)
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, Mapping):
        return {plain(key): plain(each) for key, each in value.items()}
    return b"" if value is None else value


def _record(value: Any, names: Sequence[str]) -> Any:
    if isinstance(value, Run):
        return {name: getattr(value, name) for name in names}
    if isinstance(value, bytes):
        value = unpack_flat(value)
    return value if isinstance(value, dict) else picked(names, value)


def _hash(value: Any) -> Any:
    if isinstance(value, dict):
        return value
    if value and isinstance(value[0], list):
        return dict(value)  # some servers answer pairs
    return dict(zip(value[::2], value[1::2], strict=True))


def normal(name: str, reply: Any) -> Any:
    """A reply as it is compared: what the server answers in no order has one."""
    reply = list(reply)
    if name == "claim_runs":
        reply[1:] = [[*r[:2], _record(r[2], CLAIM_FIELDS), *r[3:]] if len(r) > 3 else r for r in reply[1:]]
    elif name == "watch_run" and len(reply) > 2:
        reply[2] = _record(reply[2], WATCH_FIELDS)
    elif name == "poll_due":
        reply[4:] = [_hash(reply[4]), _hash(reply[5])]
    elif name == "poll_schedules":
        reply[2] = float(reply[2] or 0)
        reply[4] = [[name, float(at)] for name, at in reply[4]]
    elif name == "take_sweep" and len(reply) > 4:
        reply[4] = sorted(plain(reply[4]))
    elif name == "repair_run" and len(reply) > 2:
        reply[2] = sorted(plain(reply[2]))
    return plain(reply)


def describe(slots: Slots, reply: Any) -> str:
    """A call in words."""
    said = [
        f"{name}={short(words(msgpack.unpackb(value, raw=True)) if name.endswith('_packed') else value)}"
        for name, value in slots.args.items()
        if value and name != "given_now"
    ]
    said += [short(value) for value in slots.more_args if value]
    answer = reply[0] if reply else ""
    rest = reply[1:]
    if slots.name in ("claim_runs", "resume_runs"):
        answer, rest = rest[0][0], rest[0][1:2]
    word = Answer(answer).name if isinstance(answer, int) and answer in set(Answer) else answer
    at = f"{slots.number('given_now')} " if slots.args.get("given_now") else ""
    return f"{at}{slots.name}({', '.join(said)}) -> {word} {short(rest)}"


def words(flat: Sequence[Any]) -> str:
    """Fields of a record, as they are read."""
    texts = [each.decode("utf-8", "backslashreplace") if isinstance(each, bytes) else str(each) for each in flat]
    return " ".join(f"{name}={value}" for name, value in zip(texts[::2], texts[1::2], strict=True))


def short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value) if not isinstance(value, bytes) else repr(value)[2:-1]
    return text if len(text) < 120 else text[:117] + "..."


def differences(path: str, real: Any, expected: Any) -> list[str]:
    """Where two values differ, one line each."""
    if real == expected:
        return []
    if dataclasses.is_dataclass(real) and type(real) is type(expected):
        names = [f.name for f in dataclasses.fields(real)]
        return [line for n in names for line in differences(f"{path}.{n}", getattr(real, n), getattr(expected, n))]
    if isinstance(real, dict) and isinstance(expected, dict):
        gone = object()
        found = []
        for key in sorted({*real, *expected}, key=repr):
            one, other = real.get(key, gone), expected.get(key, gone)
            if one is gone or other is gone:
                found.append(f"{path}[{key!r}]: {'-' if one is gone else one!r} | {'-' if other is gone else other!r}")
            else:
                found += differences(f"{path}[{key!r}]", one, other)
        return found
    if isinstance(real, list) and isinstance(expected, list) and len(real) == len(expected):
        return [
            line
            for at, (one, other) in enumerate(zip(real, expected, strict=True))
            for line in differences(f"{path}[{at}]", one, other)
        ]
    return [f"{path}: {real!r} | {expected!r}"]
