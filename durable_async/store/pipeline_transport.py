"""`PipelineTransport`: the same interface over redis-py's public ``pipeline(transaction=False)``.

It exists to keep `MuxTransport` honest, since the same tests run on both, and to go on working should redis-py change
what the other one relies on. One batch is under way at a time, so order holds. It costs about six times as
much per command, and notices a lost connection only when it sends.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import redis.exceptions

from durable_async.store.connect import ConnectionSpec, firmly
from durable_async.store.errors import ConnectionLost, ServerError
from durable_async.store.transport_base import CLOSED, Args, Reply, Transport, is_on, pack, process

# redis-py cuts the code off the message of the errors it knows; version 8 keeps it in `status_code`.
_CODES: Final = (
    ("NoScriptError", "NOSCRIPT"),
    ("OutOfMemoryError", "OOM"),
    ("BusyLoadingError", "LOADING"),
    ("ReadOnlyError", "READONLY"),
    ("NoPermissionError", "NOPERM"),
    ("ExecAbortError", "EXECABORT"),
    ("TryAgainError", "TRYAGAIN"),
    ("MasterDownError", "MASTERDOWN"),
    ("ClusterDownError", "CLUSTERDOWN"),
    ("ClusterCrossSlotError", "CROSSSLOT"),
    ("MovedError", "MOVED"),
    ("AskError", "ASK"),
)


class PipelineTransport(Transport):
    """The fallback. Use `open_transport` to get the better one where possible."""

    def __init__(self, spec: ConnectionSpec, *, role: str = "main", reply_timeout_s: float = 10.0) -> None:
        super().__init__(spec, role=role, reply_timeout_s=reply_timeout_s)
        self._client: Any = None
        self._queue: list[tuple[Args, Reply]] = []
        self._batch: list[tuple[Args, Reply]] = []
        self._pump: asyncio.Task[None] | None = None
        self._discards: set[asyncio.Task[None]] = set()

    @property
    def is_connected(self) -> bool:
        """Whether a command submitted now would be sent."""
        return self._client is not None

    def submit(self, args: Args, on_reply: Reply) -> None:
        """As `Transport.submit`."""
        loop = self._loop
        if loop is None or not is_on(loop, self._thread) or self._pid != process.pid:
            self._refuse()
        # Only to refuse a wrong argument here rather than for the whole batch.
        size_bytes = len(pack(args))
        if size_bytes > self.max_command_bytes:
            raise self._too_large(size_bytes)
        if self._client is None:
            self._fail_soon(on_reply)
            return
        self._queue.append((args, on_reply))
        if self._pump is None:
            # The task starts in the next tick, so everything submitted in this one is in its first batch.
            self._pump = loop.create_task(self._run(), name=f"durable:{self.role}:pipeline")

    def reconnect(self, why: str) -> None:
        """As `Transport.reconnect`."""
        if self._client is not None:
            self._drop(why)

    async def _establish(self) -> None:
        client: Any = await self.spec.client(self.role, reply_timeout_s=self.reply_timeout_s)
        # Replies as the server gives them, not as redis-py dresses them up.
        client.response_callbacks.clear()
        try:
            # Not PING: while the disk is full it is refused like a write.
            await firmly(client.execute_command("CLIENT", "GETNAME"))
            if self._is_closed:
                raise ConnectionLost(CLOSED, sent=False)
        except BaseException as error:
            await _discard(client)
            if isinstance(error, Exception):
                self.spec.explain(error)
            raise
        self._client = client
        self._connected()

    async def _shut(self) -> None:
        pump = self._pump
        self._drop(CLOSED)
        leftover = self._discards | ({pump} if pump is not None else set())
        if leftover:
            await asyncio.wait(leftover)

    async def _run(self) -> None:
        client = self._client
        while self._queue and client is self._client:
            self._batch, self._queue = self._queue, []
            pipeline = client.pipeline(transaction=False)
            for args, _ in self._batch:
                pipeline.execute_command(*args)
            try:
                replies = await pipeline.execute(raise_on_error=False)
            except (redis.exceptions.RedisError, OSError, TimeoutError) as error:
                if client is self._client:
                    self._drop(f"the connection broke: {type(error).__name__}")
                return
            if client is not self._client:
                # Given up meanwhile: everybody was told.
                return
            batch, self._batch = self._batch, []
            self._tries = 0
            for (_, on_reply), reply in zip(batch, replies, strict=True):
                self._deliver(on_reply, _as_server_error(reply) if isinstance(reply, Exception) else reply)
        if self._pump is asyncio.current_task():
            self._pump = None

    def _drop(self, why: str) -> None:
        client, pump = self._client, self._pump
        self._client, self._pump = None, None
        if client is not None and self._loop is not None:
            discard = self._loop.create_task(_discard(client), name=f"durable:{self.role}:discard")
            self._discards.add(discard)
            discard.add_done_callback(self._discards.discard)
        batch, self._batch = self._batch, []
        queue, self._queue = self._queue, []
        if pump is not None and pump is not asyncio.current_task():
            pump.cancel()
        for _, on_reply in batch:
            self._deliver(on_reply, ConnectionLost(why, sent=True))
        for _, on_reply in queue:
            self._deliver(on_reply, ConnectionLost(why, sent=False))
        if client is not None:
            self._lost()


async def _discard(client: Any) -> None:
    """Disconnect without letting a broken socket complain."""
    try:
        await client.aclose(close_connection_pool=True)
        await client.connection_pool.disconnect(inuse_connections=True)
    except (redis.exceptions.RedisError, OSError, TimeoutError):
        pass


def _as_server_error(error: Exception) -> Exception:
    """A redis-py exception as the reply line it was made from."""
    if not isinstance(error, redis.exceptions.RedisError):
        return error
    text = str(error)
    code = getattr(error, "status_code", None)
    if code is None:
        names = {each.__name__ for each in type(error).__mro__}
        code = next((code for name, code in _CODES if name in names), None)
        if code is None and isinstance(error, redis.exceptions.AuthenticationError):
            code = "NOAUTH"
    return ServerError(text if code is None or text.startswith(f"{code} ") else f"{code} {text}")
