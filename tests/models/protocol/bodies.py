"""What workflows do: a fold over what a run has been told, the same for the first time and for a replay.

An id in a statement is a letter and a name: `s` a step, `x` a step that fails until its run is retried, `c` a call of a
child, `f` a child that is only started, `t` a sleep, `e` an event. `all` waits for all of them, `any` for the first.
"""

from __future__ import annotations

from typing import Any

from .words import Broken, Program

Item = tuple[Any, ...]


class Kid:
    """A child as its parent's body knows it."""

    def __init__(self, name: str, mode: str, *, notify: bool) -> None:
        self.name, self.mode, self.notify = name, mode, notify
        self.creations = self.attempt = 1
        self.status = ""
        self.is_given_up = self.is_occupied = self.is_resting = False


class Body:
    """A body that has been told some items."""

    def __init__(self, program: Program, life: int, seen: tuple[Item, ...] = ()) -> None:
        self.program, self.life = program, life
        self.plan = program.lives[min(life, len(program.lives) - 1)]
        before = program.lives[min(life - 1, len(program.lives) - 1)] if life else None
        self.is_attempt = before is not None and before.end == "retry"
        self.asks: list[Item] = []
        self.kids: dict[str, Kid] = {}
        self.mail: list[str] = []
        self.timers: list[str] = []
        self.got: set[str] = set()
        self.at = self.revivals = 0
        self.is_cancelled = self.is_cleaning = False
        self.ending = self.done = ""
        carried = [item[1] for item in seen if item[0] == "carry"]
        self.mail += carried
        self._enter()
        for item in seen[len(carried) :]:
            self.feed(item)

    # ------------------------------------------------------------------ what it wants

    @property
    def ids(self) -> tuple[str, ...]:
        """What the statement that it is in waits for."""
        return self.plan.statements[self.at][1] if self.at < len(self.plan.statements) else ()

    def steps(self) -> frozenset[str]:
        """The steps that are to run now."""
        if self.done or self.ending:
            return frozenset()
        if self.is_cancelled:
            return frozenset({"k"} if self.is_cleaning else ())
        return frozenset(id for id in self.ids if id[0] in "sx" and id not in self.got)

    @property
    def timer(self) -> str:
        """The time it waits for, by a name of its own."""
        return f"{self.timers[0]}.{self.life}" if self.timers and not self.done else ""

    def waits_for(self, child: str) -> bool:
        """Whether it is waiting for the end of this child, and can not go on without."""
        kid = self.kids.get(child)
        if kid is None or kid.status or kid.is_given_up or kid.is_resting or self.done:
            return False
        if kid.is_occupied:
            return not self.is_cancelled
        return not self.is_cancelled and not self.ending and "c" + child in self.ids and "c" + child not in self.got

    def wants(self, item: Item) -> bool:
        """Whether a message has somebody to tell it to."""
        kind = item[0]
        if kind == "cancel":
            return not self.is_cancelled
        if kind == "event":
            return not self.done or self.done in ("renew", "retry")
        kid = self.kids.get(item[1])
        if kid is None or kid.status or kid.is_given_up:
            return False
        if self.done:
            return kind == "occupied" and not self.is_cancelled
        return kind == "occupied" or kid.is_occupied or kid.notify

    # ------------------------------------------------------------------ what it is told

    def feed(self, item: Item) -> None:
        """Goes on with an outcome, a message or a time that is over."""
        kind = item[0]
        if kind == "step":
            if item[1] not in self.steps():
                raise Broken(f"a replay does not find step {item[1]}")
            self._step(item[1], item[2])
        elif kind == "tick":
            if self.timer != item[1]:
                raise Broken(f"a replay does not find timer {item[1]}")
            self._tick()
        elif kind == "revive":
            self._revive()
        elif not self.wants(item):
            raise Broken(f"a replay does not find {' '.join(map(str, item))}")
        elif kind == "cancel":
            self._cancel()
        elif kind == "event":
            self.mail.append(item[1])
            self._look_at_mail()
        elif kind == "occupied":
            self.kids[item[1]].is_occupied = True
            self.done = ""
        else:
            self._child(self.kids[item[1]], item[2])

    def _step(self, id: str, outcome: str) -> None:
        if id == "k":
            self.done = "cancelled"
        elif outcome == "bad":
            self._leave_rest()
            self._end("failed")
        else:
            self._got(id)

    def _tick(self) -> None:
        id = self.timers.pop(0)
        if id[0] == "t":
            self._got(id)
            return
        kid = self.kids[id[1:]]
        kid.is_resting = False
        if not kid.is_given_up:
            self._create_again(kid)

    def _child(self, kid: Kid, status: str) -> None:
        if kid.is_occupied:
            kid.is_occupied = False
            self._create_again(kid)
            if self.ending:
                self._end(self.ending)
        elif status == "failed" and kid.attempt < self.program.attempts:
            kid.attempt += 1
            kid.is_resting = True
            self.timers.append("u" + kid.name)
        else:
            kid.status = status
            if not self.is_cancelled and not self.ending and "c" + kid.name in self.ids:
                self._got("c" + kid.name)

    def _cancel(self) -> None:
        self.is_cancelled = True
        if self.done or self.ending:
            self.done = "cancelled"
            return
        self._leave_rest()
        self.is_cleaning = self.program.cleans_up
        if not self.is_cleaning:
            self.done = "cancelled"

    def _revive(self) -> None:
        self.revivals += 1
        for kid in self.kids.values():
            if not kid.status and not kid.is_given_up and not kid.is_resting:
                kid.is_occupied = False
                kid.mode = kid.mode.replace("k", "") + "k"
                self._create_again(kid)

    # ------------------------------------------------------------------ its statements

    def _enter(self) -> None:
        while self.at < len(self.plan.statements):
            kind, ids = self.plan.statements[self.at]
            self.got = set()
            for id in ids:
                self._ask(id)
            if kind != "start" and not self._is_passed():
                return
            self._leave_rest()
            self.at += 1
        self._end(self.plan.end)

    def _is_passed(self) -> bool:
        kind, ids = self.plan.statements[self.at]
        return self.got >= set(ids) if kind == "all" else bool(self.got)

    def _got(self, id: str) -> None:
        self.got.add(id)
        if self._is_passed():
            self._leave_rest()
            self.at += 1
            self._enter()

    def _look_at_mail(self) -> None:
        if self.done or self.ending or self.is_cancelled:
            return
        for id in self.ids:
            if id[0] == "e" and id not in self.got and id in self.mail:
                self.mail.remove(id)
                self._got(id)
                return

    def _ask(self, id: str) -> None:
        name, kid = id[1:], self.kids.get(id[1:])
        if id[0] == "t":
            self.timers.append(id)
        elif id[0] == "e" and id in self.mail:
            self.mail.remove(id)
            self.got.add(id)
        elif id[0] in "cf" and kid is None:
            mode = ("c" if self.is_cancelled else "") + ("k" if self.is_attempt or self.revivals else "")
            kid = self.kids[name] = Kid(name, mode, notify=id[0] == "c")
            self._create(kid)
        elif id[0] == "c" and kid is not None:
            if not kid.notify:
                kid.notify = True
                self.asks.append(("await", name))
            if kid.status:
                self.got.add(id)

    def _create(self, kid: Kid) -> None:
        life = self.life + kid.creations - 1
        self.asks.append(("child", kid.name, kid.creations, kid.notify, kid.mode, life))

    def _create_again(self, kid: Kid) -> None:
        kid.creations += 1
        self._create(kid)

    def _leave_rest(self) -> None:
        kind, ids = self.plan.statements[self.at]
        for id in ids if kind != "start" else ():
            if id in self.got:
                continue
            if id in self.timers:
                self.timers.remove(id)
            kid = self.kids.get(id[1:]) if id[0] == "c" else None
            if kid is not None and not kid.status and not kid.is_given_up:
                kid.is_given_up = True
                self.asks.append(("giveup", kid.name))
                if "u" + kid.name in self.timers:
                    self.timers.remove("u" + kid.name)

    def _end(self, how: str) -> None:
        self.ending = how
        if not any(kid.is_occupied and not kid.is_given_up for kid in self.kids.values()):
            self.done = how


def surviving(journal: tuple[Item, ...]) -> tuple[list[Item], bool]:
    """The lines of a journal that count, and whether it was taken up again and nobody has found out what is void."""
    lines: list[Item] = []
    is_pending = False
    for line in journal:
        if line[0] == "V":
            is_pending = True
        elif line[0] == "R" and line[1] == "revive":
            lines = [kept for at, kept in enumerate(lines) if at not in line[2]]
            is_pending = False
            lines.append(line)
        elif line[0] not in "ZS":
            lines.append(line)
    return lines, is_pending


def item_of(line: Item) -> Item | None:
    """What the body was told by a line; None for what it asked for."""
    if line[0] == "M":
        return line[2]  # type: ignore[no-any-return]
    if line[1] == "ask":
        return None
    return ("revive",) if line[1] == "revive" else tuple(line[1:])


def items_of(lines: list[Item]) -> tuple[Item, ...]:
    """What the body was told, in order."""
    return tuple(item for line in lines if (item := item_of(line)) is not None)


def find_void(program: Program, life: int, lines: list[Item]) -> tuple[int, ...]:
    """Which lines do not count after a failure: what has failed, and what does not fit without it."""
    gone: list[int] = []
    kept: tuple[Item, ...] = ()
    for at, line in enumerate(lines):
        item = item_of(line)
        body = Body(program, life, kept)
        if item is None:
            if line[2] not in body.asks:
                gone.append(at)
            continue
        is_cancelled_child = item[0] == "child" and item[2] == "cancelled"
        if item[0] in ("carry", "revive", "tick"):
            fits = item[0] != "tick" or body.timer == item[1]
        elif item[0] == "step":
            fits = item[2] != "bad" and item[1] in body.steps()
        else:
            fits = item[0] not in ("cancel", "occupied") and not is_cancelled_child and body.wants(item)
        if fits:
            kept += (item,)
        else:
            gone.append(at)
    return tuple(gone)
