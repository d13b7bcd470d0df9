"""What stands in the way of this worker's queues, and so which streams it reads.

It is told by every look at the timers, and at once by a script that refuses a run. What it believes decides only what
is read: whether a run may be taken is decided by the script that takes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from durable_async.store.keys import Keys


class Gates:
    """The queues of one worker.

    Args:
        keys: the names of the partition's keys.
        queues: what the worker serves.
    """

    def __init__(self, keys: Keys, queues: Sequence[str]) -> None:
        self._keys = keys
        self._queues = queues
        self._fields: Mapping[str, str] = {}
        self.streams = [keys.queue(queue) for queue in queues]
        """The keys of the streams to be read now."""
        self.on_change: Callable[[], None] = lambda: None

    def learn(self, fields: Mapping[str, str]) -> None:
        """What the store says now."""
        self._fields = fields
        streams = [self._keys.queue(queue) for queue in self._queues if f"p{queue}" not in fields]
        if streams != self.streams:
            self.streams = streams
            self.on_change()

    def shut(self, queue: str) -> None:
        """A run of this queue was refused, since it is paused."""
        self.learn({**self._fields, f"p{queue}": ""})
