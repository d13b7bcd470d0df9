"""The one place that knows the slots of the scripts: a command as it is sent becomes a call of the model.

Slots are looked up by the names that a script gives them; what comes behind the named ones is read in its order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgpack

from durable_async.store.scripts import BY_SHA

from .base import Above
from .family import NewChild
from .model import Reference
from .owners import CommitCall
from .schedules import TickCall
from .state import Lines


class Slots:
    """A call of a script: its named keys and arguments, and those behind them, from the left and from the right."""

    def __init__(self, command: Sequence[Any], base: str) -> None:
        script, n_keys = BY_SHA[command[1]], command[2]
        keys = [str(key).removeprefix(base) for key in command[3 : 3 + n_keys]]
        args = [arg if isinstance(arg, bytes) else str(arg).encode() for arg in command[3 + n_keys :]]
        self.name = script.name
        self.keys = dict(zip(script.keys, keys, strict=False))
        self.args = dict(zip(script.args, args, strict=False))
        self.more_keys, self.more_args = keys[len(script.keys) :], args[len(script.args) :]

    def text(self, name: str) -> str:
        return self.args[name].decode()

    def number(self, name: str) -> int:
        return int(self.args[name] or 0)

    def id_in(self, name: str) -> str:
        """What a key is of."""
        return self.keys[name].partition(":")[2]

    def more_texts(self) -> list[str]:
        return [arg.decode() for arg in self.more_args]

    def take(self, count: int) -> list[bytes]:
        """The next arguments."""
        taken, self.more_args = self.more_args[:count], self.more_args[count:]
        return taken

    def take_keys(self, count: int) -> list[str]:
        taken, self.more_keys = self.more_keys[:count], self.more_keys[count:]
        return taken

    def above(self, id: str, owner: str) -> Above | None:
        """The parent: run, inbox, worker and queue are the next keys."""
        if not id:
            return None
        *_, lane = self.take_keys(4)
        return Above(id, owner, lane.removeprefix("queue:"))


def _chunks(values: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (values[at : at + size] for at in range(0, len(values), size))


def _flat(packed: bytes) -> list[Any]:
    return list(msgpack.unpackb(packed, raw=True)) if packed else []


def _times(text: bytes) -> tuple[int, int]:
    delay, timeout = map(int, text.split()) if text else (0, 0)
    return delay, timeout


def _start_run(m: Reference, s: Slots) -> Any:
    lane = s.id_in("queue_key") if s.more_keys else ""
    times = _times(s.args["times"])
    return m.start_run(
        s.text("id"), _flat(s.args["fields_packed"]), s.args["record"], *times, s.text("token"), lane=lane
    )


def _claim_runs(m: Reference, s: Slots) -> Any:
    entries = [(id, entry) for id, entry in _chunks(s.more_texts(), 2)]
    limit, page, has_entered = s.number("crash_limit"), s.number("page"), s.text("has_entered") == "1"
    return m.claim_runs(s.text("owner"), s.text("nonce"), limit, page, entries, has_entered=has_entered)


def _resume_runs(m: Reference, s: Slots) -> Any:
    fences = list(_chunks(s.more_texts(), 4))
    ids = [key.partition(":")[2] for key in s.more_keys[: 2 * len(fences) : 2]]
    copies = [(id, *copy) for id, copy in zip(ids, fences, strict=True)]
    return m.resume_runs(s.number("page"), copies, has_entered=s.text("has_entered") != "")


def _commit_run(m: Reference, s: Slots) -> Any:
    counts, page = s.text("counts"), s.text("page").split()
    has_room, counts = counts.endswith("g"), counts.removesuffix("g")
    counts, _, n_shared = counts.partition("s")
    # Mostly there is the list and nothing else.
    numbers = counts or f"{len(s.more_args) // 2} 0 0 0 0 0"
    n_lines, n_new, n_await, n_walks, n_asked, has_parent = map(int, numbers.split())
    call = CommitCall(
        s.text("id"), s.text("epoch"), s.text("nonce"), s.number("seq"), s.text("entry"), s.text("want"),
        [(letter.decode(), line) for letter, line in _chunks(s.take(2 * n_lines), 2)], int(page[0]), int(page[1]),
        due=s.text("due_ms"), payload=s.args["payload"], sets=_flat(s.args["set_packed"]),
    )  # fmt: skip
    for letter, name, head, rest in _chunks(s.take(4 * n_asked), 4):
        call.questions.append((letter.decode(), name.decode(), head, rest))
    s.take_keys(2 if n_asked else 0)
    n_shared, _, n_above = n_shared.partition("u")
    s.take_keys((3 + 3 * int(n_above) if n_shared else 2) if n_new else 0)
    call.shared = [(fingerprint, value) for fingerprint, value in _chunks(s.take(2 * int(n_shared or 0)), 2)]
    for id, fields, start, times, mode in _chunks(s.take(5 * n_new), 5):
        call.children.append(NewChild(id.decode(), _flat(fields), start, *_times(times), mode.decode()))
        s.take_keys(4 if b"v" in mode else 3)
    call.awaits = [id.decode() for id in s.take(n_await)]
    s.take_keys(2 * n_await)
    call.walks = [(item.decode(), value) for item, value in _chunks(s.take(2 * n_walks), 2)]
    if has_parent:
        id, owner = s.take(2)
        call.parent = s.above(id.decode(), owner.decode())
    elif call.want == "renew":
        call.lane = s.take_keys(1)[0].removeprefix("queue:")
    if has_room:
        call.slot_of = s.take(1)[0].decode()
    assert not s.more_args, f"nobody reads {s.more_args}"
    return m.commit_run(call)


def _release_entry(m: Reference, s: Slots) -> Any:
    return m.release_entry(
        s.text("id"), s.keys["source_key"], s.id_in("queue_key"), s.text("entry"), s.text("epoch"),
        s.number("delay_ms"), s.text("waiting"), s.text("queue"), is_crash=s.text("keep_claim") == "1",
    )  # fmt: skip


def _cancel_run(m: Reference, s: Slots) -> Any:
    parent = s.above(s.text("parent_id"), s.text("parent_owner"))
    return m.cancel_run(
        s.text("id"), s.text("reason"), s.text("token"), s.number("grace_ms"), s.text("owner"), parent, s.text("walk"),
        s.id_in("queue_key"), s.more_texts()[-1],
    )  # fmt: skip


def _settle_run(m: Reference, s: Slots) -> Any:
    parent = s.above(s.text("parent_id"), s.text("parent_owner"))
    return m.settle_run(
        s.text("id"), s.text("cause"), s.text("status"), s.args["payload"], s.text("owner"), parent, s.number("bound"),
        s.text("token"), s.id_in("queue_key"), s.more_texts()[-1],
    )  # fmt: skip


def _send_event(m: Reference, s: Slots) -> Any:
    return m.send_event(
        s.text("id"), s.text("event_id"), s.args["body"], s.text("owner"), s.number("inbox_limit"), s.id_in("queue_key")
    )


def _provide_input(m: Reference, s: Slots) -> Any:
    expires_ms = s.number("expires_ms") if s.args["expires_ms"] else None
    return m.provide_input(
        s.text("id"), s.text("name"), s.args["head"], expires_ms, s.text("token"), s.args["body"], s.text("owner"),
        s.number("inbox_limit"), s.id_in("queue_key"),
    )  # fmt: skip


def _unblock_runs(m: Reference, s: Slots) -> Any:
    return m.unblock_runs(s.text("worker"), s.text("token"), [(id, lane) for id, lane in _chunks(s.more_texts(), 2)])


def _fork_run(m: Reference, s: Slots) -> Any:
    fields, length = _flat(s.args["fields_packed"]), s.number("n_lines")
    return m.fork_run(s.text("id"), fields, s.text("token"), length, s.number("timeout_ms"))


def _walk(s: Slots) -> tuple[str, bytes, bytes]:
    return s.text("item"), s.args["cursor"], s.args["next_cursor"]


def _poll_schedules(m: Reference, s: Slots) -> Any:
    return m.poll_schedules(s.number("lease_ms"), [(name, text) for name, text in _chunks(s.more_texts(), 2)])


def _register_schedule(m: Reference, s: Slots) -> Any:
    flat = _flat(s.args["fields_packed"])
    fields = {
        name.decode(): value if isinstance(value, bytes) else str(value).encode() for name, value in _chunks(flat, 2)
    }
    texts = (s.text("name"), s.text("expression"), s.text("cursor"), s.text("next_ms"))
    return m.register_schedule(*texts, fields, s.number("never_ms"))


def _tick_schedule(m: Reference, s: Slots) -> Any:
    texts = [s.text(name) for name in ("want", "name", "expression", "cursor", "last_run", "new_cursor", "next_ms")]
    fields, times = _flat(s.args["fields_packed"]), _times(s.args["times"])
    return m.tick_schedule(
        TickCall(
            *texts, s.number("look_ms"), s.text("overlap"), s.text("id"), fields, s.args["record"], s.text("token"),
            s.text("trouble"), *times,
        )
    )  # fmt: skip


def _repair_run(m: Reference, s: Slots) -> Any:
    length = s.number("length")
    awaited = [
        (child, flag == "1" and length == len(m.journal(s.text("id")))) for child, flag in _chunks(s.more_texts(), 2)
    ]
    return m.repair_run(s.text("id"), s.text("owner"), s.text("queue"), s.text("parent_id"), awaited)


CALLS: dict[str, Callable[[Reference, Slots], Any]] = {
    "ack_entries": lambda m, s: m.ack_entries(s.keys["stream_key"], s.more_texts()),
    "admit_runs": lambda m, s: m.admit_runs(s.text("queue")),
    "advance_walk": lambda m, s: m.advance_walk(*_walk(s)),
    "cancel_run": _cancel_run,
    "change_schedule": lambda m, s: m.change_schedule(s.text("want"), s.text("name"), s.number("never_ms")),
    "claim_runs": _claim_runs,
    "close_worker": lambda m, s: m.close_worker(s.text("worker"), s.text("beat")),
    "commit_run": _commit_run,
    "drop_consumer": lambda m, s: m.drop_consumer(s.keys["stream_key"], s.text("consumer")),
    "enter_queue": lambda m, s: m.enter_queue(s.text("id"), s.keys["source_key"], s.text("entry"), s.text("queue")),
    "expire_children": lambda m, s: m.expire_children(*_walk(s), s.number("retention_ms"), s.more_texts()),
    "fire_timer": lambda m, s: m.fire_timer(s.text("member"), s.text("owner"), s.id_in("queue_key")),
    "fork_run": _fork_run,
    "leave_queue": lambda m, s: m.leave_queue(s.text("id"), s.text("key"), s.text("queue")),
    "limit_queue": lambda m, s: m.limit_queue(s.text("queue"), s.text("limits")),
    "open_client": lambda m, s: m.open_client(s.id_in("stream_key"), s.number("ttl_ms")),
    "pause_queue": lambda m, s: m.pause_queue(s.text("queue"), s.text("last"), s.text("token")),
    "persist_children": lambda m, s: m.persist_children(*_walk(s), s.more_texts()),
    "poll_due": lambda m, s: m.poll_due(s.number("limit"), s.number("lease_ms")),
    "poll_schedules": _poll_schedules,
    "provide_input": _provide_input,
    "purge_index": lambda m, s: m.purge_index(s.more_texts()),
    "register_schedule": _register_schedule,
    "release_entry": _release_entry,
    "remove_run": lambda m, s: m.remove_run(s.text("id"), s.id_in("parents_children_key")),
    "repair_run": _repair_run,
    "resume_queue": lambda m, s: m.resume_queue(s.text("queue"), s.text("last"), s.text("token")),
    "resume_runs": _resume_runs,
    "retry_run": lambda m, s: m.retry_run(
        s.text("id"), s.text("token"), s.number("timeout_ms"), s.text("queue"), s.id_in("queue_key")
    ),
    "send_event": _send_event,
    "settle_run": _settle_run,
    "sift_runs": lambda m, s: m.sift_runs(
        [key.partition(":")[2] for key in s.more_keys], looks_at_all=s.text("looks_at_all") == "1"
    ),
    "start_run": _start_run,
    "subscribe_client": lambda m, s: m.subscribe_client(s.id_in("run_key"), s.text("client")),
    "take_sweep": lambda m, s: m.take_sweep(s.number("pause_ms"), s.number("runs"), s.number("others")),
    "tick_schedule": _tick_schedule,
    "unblock_runs": _unblock_runs,
    "unwatch_run": lambda m, s: m.unwatch_run(s.id_in("run_key"), s.text("mark")),
    "watch_run": lambda m, s: m.watch_run(
        s.id_in("run_key"), s.text("mark"), s.text("gen"), s.number("position"), s.number("page")
    ),
}
"""The model's call of every script."""


def play(model: Reference, command: Sequence[Any], base: str) -> Any:
    """A script's command, on the model."""
    slots = Slots(command, base)
    if slots.args.get("given_now"):
        model.now = slots.number("given_now")
    return CALLS[slots.name](model, slots)


def play_plain(model: Reference, command: Sequence[Any], base: str) -> None:
    """The commands that are no scripts, and write: a fork's journal, the place of the sweep, a hint for a worker."""
    name, key, *rest = command
    key = str(key).removeprefix(base)
    kind, _, id = key.partition(":")
    if name == "DEL":
        model.state.journals.pop(id, None)
    elif name == "RPUSH":
        model.journal(id).extend(rest)
    elif name == "PEXPIRE" and id in model.state.journals:
        model.state.journals[id] = Lines(model.journal(id), rest[0])
    elif name == "HSET":
        model.state.meta.update({field: str(value) for field, value in _chunks(rest, 2)})
    elif name == "XADD" and key in model.state.streams:
        *_, field, value = rest
        model.add(key, field, value)
    assert kind in ("journal", "meta", "worker"), f"{command} is no command of the store"
