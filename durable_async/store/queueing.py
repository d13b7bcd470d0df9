"""The transitions of queues: what stands in the way of their runs."""

from __future__ import annotations

from durable_async.store.base import StoreBase, pairs_of
from durable_async.store.status import Answer


class QueueCalls(StoreBase):
    """One method per transition."""

    async def gates(self) -> dict[str, str]:
        """What stands in the way of queues: `p<queue>` for one that is paused, with the time in ms."""
        flat = await self.caller.call(("HGETALL", self.keys.gates), deadline_s=self.deadline_s)
        return pairs_of(flat)

    async def pause_queue(self, queue: str) -> bool:
        """Pauses a queue; False if it was paused before. Redis: pause_queue.lua."""
        reply = await self._call("pause_queue", (self.keys.gates,), (self.given_now, queue))
        return bool(reply[0] == Answer.OK)

    async def resume_queue(self, queue: str) -> bool:
        """Lets a paused queue go on; False if it was not paused. Redis: resume_queue.lua."""
        reply = await self._call("resume_queue", (self.keys.gates,), (queue,))
        return bool(reply[0] == Answer.OK)
