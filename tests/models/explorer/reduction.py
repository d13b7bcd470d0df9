"""Orders that cannot differ are tried once: sleep sets, together with the states that were met.

Two steps are independent if neither touches what the other one has written: the same key of the store, or the same
actor. Then the other order of the two leads to the same state: whoever was tried at a place, and could as well go on
after the next step, sleeps until somebody does what is not independent of it. P. Godefroid, Partial-Order Methods for
the Verification of Concurrent Systems (LNCS 1032, 1996), chapter 5; figure 5.2 has how this goes together with states
that are met again.

What a step has touched is what the server says it was asked, down to each command of a script (`MONITOR`), and which
actors went on because of it; all there is if a fault struck, or somebody made a move that is no call.

Dynamic partial-order reduction (C. Flanagan, P. Godefroid, POPL 2005; with source sets: P. Abdulla et al., POPL 2014)
was tried, and plays more: it cannot use that most orders of calls that touch the same end in the same state.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .wire import Line, Server
from .world import Option, World

READS = frozenset(
    {
        "ECHO", "EXISTS", "HEXISTS", "HGET", "HGETALL", "HKEYS", "HLEN", "HMGET", "HSCAN", "LINDEX", "LLEN", "LRANGE",
        "PTTL", "TIME", "TYPE", "XINFO", "XLEN", "XPENDING", "XRANGE", "XREAD", "XREVRANGE", "ZCARD", "ZCOUNT",
        "ZMSCORE", "ZRANGE", "ZRANGEBYLEX", "ZRANGEBYSCORE", "ZRANK", "ZREVRANGE", "ZSCORE",
    }
)  # fmt: skip
"""Commands that change nothing."""
WRITES = frozenset(
    {
        "COPY", "DEL", "EXPIRE", "HDEL", "HINCRBY", "HSET", "HSETNX", "LPOP", "LPUSH", "LREM", "LTRIM", "PERSIST",
        "PEXPIRE", "PEXPIREAT", "RENAME", "RPUSH", "SET", "UNLINK", "XACK", "XADD", "XAUTOCLAIM", "XCLAIM", "XDEL",
        "XGROUP", "XREADGROUP", "XSETID", "XTRIM", "ZADD", "ZINCRBY", "ZPOPMIN", "ZREM", "ZREMRANGEBYLEX",
        "ZREMRANGEBYRANK", "ZREMRANGEBYSCORE",
    }
)  # fmt: skip
"""Commands that change the keys they name; any other is taken for one that touches all there is."""
CALLS = frozenset({"EVALSHA", "EVAL", "SCRIPT"})
"""They do nothing themselves: what they call is told too."""
_LINE = re.compile(rb"^[0-9.]+ \[\d+ (?P<who>[^\]]*)\] (?P<what>.*)$", re.DOTALL)
_QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Touch:
    """What a step has touched."""

    read: frozenset[str] = frozenset()
    written: frozenset[str] = frozenset()
    is_all: bool = False

    def meets(self, other: Touch) -> bool:
        """Whether the order of the two may matter."""
        return (
            self.is_all
            or other.is_all
            or not self.written.isdisjoint(other.written)
            or not self.written.isdisjoint(other.read)
            or not self.read.isdisjoint(other.written)
        )


EVERYTHING = Touch(is_all=True)
State = Callable[[], Any]
"""What tells the state that was reached."""


class Watch:
    """Listens to what the server is asked."""

    def __init__(self, server: Server, base: str) -> None:
        self._server = server
        self._base = base.encode()
        self._line = Line(server.url)
        self._is_on = False
        self._count = 0

    def begin(self) -> None:
        """From here on."""
        if not self._is_on:
            self._line.send(("MONITOR",))
            assert self._line.receive() == b"OK"
            self._is_on = True

    def end(self) -> None:
        """Up to here."""
        if self._is_on:
            self._is_on = False
            self._line.send(("RESET",))
            while self._line.receive() != b"RESET":
                pass

    def take(self, world: World) -> Touch:
        """What was touched since it was asked the last time, apart from what the explorer itself has looked at."""
        self._count += 1
        mark = f"mark {self._count}".encode()
        self._server.ask(("ECHO", mark))
        read: set[str] = set()
        written = {f"actor {name}" for name in world.touched}
        is_all, is_ours = world.is_all_touched, False
        world.forget_touched()
        while True:
            found = _LINE.match(self._line.receive())
            assert found is not None
            words = _QUOTED.findall(found["what"])
            name = words[0].decode().upper()
            if name == "ECHO":
                if words[1] == mark:
                    return Touch(frozenset(read), frozenset(written), is_all)
                continue
            if found["who"] != b"lua":
                is_ours = name == "EVALSHA" and words[1] in self._server.own
            if is_ours or name in CALLS:
                continue
            keys = {word.decode() for word in words[1:] if word.startswith(self._base)}
            if name in READS:
                read |= keys
            else:
                written |= keys
                is_all = is_all or name not in WRITES

    def close(self) -> None:
        """Closes its connection."""
        self._line.close()


@dataclass
class Node:
    """A place on the way of the schedule that is being played."""

    keys: list[str]
    """What may happen here."""
    todo: list[int]
    """Which of it is still to be tried."""
    sleep: dict[str, Touch]
    """What needs not to be tried, or has been, and what it touches."""
    taken: int = 0
    touch: Touch = EVERYTHING
    """What that which was taken has touched."""
    kept: tuple[int, list[tuple[Any, ...]]] = (0, [])
    """How to come back here, if there is anything left to be tried."""
    is_before_pause: bool = False
    """Nobody could go on after that, and time passed: all that follows comes after all that was before."""

    @property
    def key(self) -> str:
        """What was taken."""
        return self.keys[self.taken]


class Tree:
    """All the ways, depth first.

    Args:
        server: what is to be as it was at a place when it is come back to.
        watch: tells what was touched; without it nothing sleeps.
        merges: whether a way ends where it meets a state of another one.
    """

    def __init__(self, server: Server, watch: Watch | None, *, merges: bool = True) -> None:
        self._server = server
        self._watch = watch
        self._merges = merges
        self._way: list[Node] = []
        self._depth = 0
        self._known: dict[Any, frozenset[str]] = {}
        """The states that were met, and what was not tried there."""

    def begin(self) -> None:
        """A schedule begins."""
        self._depth = 0
        self._server.begin(*(self._way[-1].kept if self._way else ()))

    def take(self, world: World, options: list[Option], state: State) -> int | None:
        """Which option is next; None if nothing that follows from here is new."""
        keys = [option.key for option in options]
        if self._depth < len(self._way):
            node = self._way[self._depth]
            assert node.keys == keys, f"the same decisions have led elsewhere: {keys} and not {node.keys}"
        else:
            sleep = self._arrived(world)
            assert set(sleep) <= set(keys), f"{sorted(set(sleep) - set(keys))} cannot go on any more"
            todo, sleep = self._chosen(keys, sleep, state)
            if not todo:
                return None
            kept = self._server.keep() if len(todo) > 1 else (0, [])
            node = Node(keys, todo[1:], sleep, todo[0], kept=kept)
            self._way.append(node)
        self._depth += 1
        if self._is_at_end and self._watch is not None:
            self._watch.begin()
            self._watch.take(world)
        return node.taken

    def paused(self, world: World) -> None:
        """Nobody can go on, and time passes."""
        if self._way and self._is_at_end and not self._way[-1].is_before_pause:
            self._step(world)
            self._way[-1].is_before_pause = True

    def is_new_end(self, world: World, end: Any) -> bool:
        """Nobody can go on. Whether no other schedule has ended in this state."""
        self._arrived(world)
        is_new = not self._merges or end not in self._known
        self._known[end] = frozenset()
        return is_new

    def turn(self) -> bool:
        """Goes back to the last place where something is left to be tried; whether there is one."""
        if self._watch is not None:
            self._watch.end()
        while self._way:
            node = self._way[-1]
            node.sleep[node.key] = node.touch
            if node.todo:
                node.taken, node.is_before_pause = node.todo.pop(0), False
                return True
            self._way.pop()
        return False

    @property
    def _is_at_end(self) -> bool:
        return self._depth == len(self._way)

    def _step(self, world: World) -> None:
        """The last step is over."""
        if self._watch is not None:
            self._way[-1].touch = self._watch.take(world)

    def _arrived(self, world: World) -> dict[str, Touch]:
        """What needs not to be tried here."""
        if self._watch is None or not self._way:
            return {}
        last = self._way[-1]
        if last.is_before_pause:
            self._watch.take(world)
            return {}
        self._step(world)
        return {key: touch for key, touch in last.sleep.items() if not touch.meets(last.touch)}

    def _chosen(self, keys: list[str], sleep: dict[str, Touch], state: State) -> tuple[list[int], dict[str, Touch]]:
        """What is to be tried here, and what needs not to be."""
        if not self._merges:
            return [at for at, key in enumerate(keys) if key not in sleep], sleep
        here = state()
        untried = self._known.get(here)
        if untried is None:
            todo = [at for at, key in enumerate(keys) if key not in sleep]
        else:
            todo = [at for at, key in enumerate(keys) if key in untried and key not in sleep]
            sleep = {key: touch for key, touch in sleep.items() if key in untried}
        self._known[here] = frozenset(sleep)
        return todo, sleep
