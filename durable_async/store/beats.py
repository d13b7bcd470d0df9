"""The heartbeat's own blocking connection, for a thread."""

from __future__ import annotations

from redis.exceptions import RedisError

from durable_async.errors import DurableError
from durable_async.store.connect import ConnectionSpec
from durable_async.store.keys import Keys


class BeatError(DurableError):
    """A heartbeat did not reach the server."""


class BeatConnection:
    """Counts a worker's heartbeat up and shows what it says of itself."""

    def __init__(self, spec: ConnectionSpec, keys: Keys, timeout_s: float) -> None:
        self._client = spec.sync_client("heartbeat", timeout_s=timeout_s)
        self._keys = keys

    def beat(self, worker: str, description: bytes) -> None:
        """One beat.

        Raises:
            BeatError: if the server was not reached or refused it.
        """
        try:
            pipe = self._client.pipeline(transaction=False)
            pipe.hincrby(self._keys.beats, worker, 1)
            pipe.hset(self._keys.workers, worker, description)
            pipe.execute()
        except (RedisError, OSError) as error:
            raise BeatError(f"the heartbeat was not accepted: {type(error).__name__}") from None

    def close(self) -> None:
        """Gives the connection back."""
        try:
            self._client.close()
        except (RedisError, OSError):
            return
