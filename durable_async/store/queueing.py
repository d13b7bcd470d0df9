"""The transitions of queues: what stands in the way of their runs, and the rooms of those that are limited."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from durable_async.store.base import WRONGTYPE, StoreBase, pairs_of, text_of
from durable_async.store.gather import gather_calls
from durable_async.store.scripts import SCRIPTS
from durable_async.store.status import Answer

Reply = Callable[[Any], None]
_enter = SCRIPTS["enter_queue"]
SWEPT = 500
"""Of those that wait for a limited queue, as many are looked at in a round: those that would be let in next."""


class QueueCalls(StoreBase):
    """One method per transition."""

    async def gates(self) -> dict[str, str]:
        """What stands in the way of queues: see `gates` in lua/README.md. What is of a wrong type does not."""
        command = ("HGETALL", self.keys.gates)
        (flat,) = await gather_calls(self.caller, [command], deadline_s=self.deadline_s, passes=WRONGTYPE)
        return {} if isinstance(flat, Exception) else pairs_of(flat)

    async def pause_queue(self, queue: str) -> bool:
        """Pauses a queue. Redis: pause_queue.lua after a read.

        Returns: False if it was paused before, or somebody else has paused it or let it go at the same time.
        """
        told = (queue, await self.turn(queue), secrets.token_hex(8))
        reply = await self._call("pause_queue", (self.keys.gates, self.keys.meta), (self.given_now, *told))
        return bool(reply[0] == Answer.OK)

    async def resume_queue(self, queue: str) -> bool:
        """Lets a paused queue go on. Redis: resume_queue.lua after a read.

        Returns: False if it was not paused, or somebody else has paused it or let it go at the same time.
        """
        told = (queue, await self.turn(queue), secrets.token_hex(8))
        reply = await self._call("resume_queue", (self.keys.meta, *self.keys.room(queue)), (self.given_now, *told))
        return bool(reply[0] == Answer.OK)

    async def turn(self, queue: str) -> str:
        """Whose the last change of a queue was: who has seen another one comes too late."""
        return text_of(await self.caller.call(("HGET", self.keys.meta, f"turn:{queue}"), deadline_s=self.deadline_s))

    async def limit_queue(self, queue: str, limits: str) -> str | None:
        """Sets what limits a queue, as four numbers in a text: see limit_queue.lua.

        Returns: the limits before, empty for none; None if they were the same.
        """
        reply = await self._call("limit_queue", self.keys.room(queue), (self.given_now, queue, limits))
        return text_of(reply[1]) if reply[0] == Answer.OK else None

    def enter_queue(self, id: str, source_key: str, queue: str, entry: str, on_reply: Reply) -> None:
        """Asks for a slot of a limited queue; see enter_queue.lua for the answers."""
        keys = (self.keys.run(id), source_key, *self.keys.room(queue))
        self.caller.run(_enter.call(keys, (self.given_now, id, entry, queue)), on_reply)

    async def admit_runs(self, queue: str) -> None:
        """Lets in whom time has made room for. Redis: admit_runs.lua."""
        await self._call("admit_runs", self.keys.room(queue), (self.given_now, queue))

    async def sweep_rooms(self) -> list[tuple[str, str]]:
        """Puts out whoever is in the room of a limited queue, or has a slot of it, without right.

        Returns: queue and run id of each.
        Redis: a few reads per limited queue, and leave_queue.lua for whom it may concern.
        """
        found = []
        for name in await self.gates():
            if name[:1] != "l":
                continue
            queue, (_, _, room, _, slots, *_) = name[1:], self.keys.room(name[1:])
            held = pairs_of(await self.caller.call(("HGETALL", slots), deadline_s=self.deadline_s))
            first = await self.caller.call(("ZRANGE", room, 0, SWEPT - 1), deadline_s=self.deadline_s)
            known = {id: slot.partition("\n")[::2] for id, slot in held.items()}
            known.update(
                (text_of(member).partition("\n")[0], ("G", text_of(member).partition("\n")[2])) for member in first
            )
            rows = await self.fields(list(known), ("entry",))
            for (id, (entry, key)), row in zip(known.items(), rows, strict=True):
                named = text_of(row[0])
                if named[:1] != "G" and (named != entry or not named) and await self.leave_queue(id, key, queue):
                    found.append((queue, id))
        return found

    async def leave_queue(self, id: str, key: str, queue: str) -> bool:
        """Takes a run out of a room in which its record does not say that it is; False if it does."""
        reply = await self._call(
            "leave_queue", (self.keys.run(id), *self.keys.room(queue)), (self.given_now, id, key, queue)
        )
        return bool(reply[0] == Answer.OK)
