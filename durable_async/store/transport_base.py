"""What every transport is: the interface, its hooks, its guards, and the one reconnect loop.

A transport owns one connection: it is opened in one event loop, loses the connection, gets it back in the background,
and tells about both. Commands given to it while there is none fail at once; sending them again is `retry.Caller`'s
work. It must not know what a command means.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import sys
from _thread import get_ident
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Mapping
from functools import partial
from typing import Any, Final, NoReturn, TypeVar

from hiredis import pack_command

from durable_async.errors import ConfigurationError, DurableError, IncompatibleServer, PayloadTooLarge, StoreUnavailable
from durable_async.store.connect import ConnectionSpec
from durable_async.store.errors import ConnectionLost, TakeoverUnsupported

log = logging.getLogger("durable_async.store")
T = TypeVar("T")

Reply = Callable[[object], None]
"""Called once, synchronously, with the decoded reply: bytes, int, None, a list, or an `Exception` instance."""

Arg = str | bytes | float | memoryview
Args = tuple[Arg, ...]
"""One command: its name and arguments. An int is a float to type checkers; it is sent as an int."""

REQUEST_INTERVAL_S: Final = 1.0
RECONNECT_START_S: Final = 0.02
RECONNECT_CAP_S: Final = 2.0
CLOSED: Final = "the connection was closed by its owner"


class _Process:
    """The id of this process, kept up to date through forks: comparing an attribute is cheaper than ``getpid()``."""

    pid = os.getpid()


def _after_fork() -> None:
    _Process.pid = os.getpid()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

process: Final = _Process

if sys.version_info >= (3, 12):

    def is_on(loop: asyncio.AbstractEventLoop | None, thread: int) -> bool:
        """Whether this code is executed by a loop, which was opened in `thread`."""
        return loop is not None and asyncio._get_running_loop() is loop

else:

    def is_on(loop: asyncio.AbstractEventLoop | None, thread: int) -> bool:
        """As above, or by what a callback of the loop steps. Here a look at the running loop is a system call."""
        return loop is not None and get_ident() == thread and loop.is_running()


# Its stub allows only one argument.
pack: Final[Callable[[Args], bytes]] = pack_command  # type: ignore[assignment]


class Transport(ABC):
    """One connection to the server on which callers of one event loop share the round trips.

    Args:
        spec: how to connect.
        role: what the connection is for; the server lists it as ``durable:<role>``.
        reply_timeout_s: seconds without a sign of life, while a reply is due, after which the connection is given up.
            A connection that makes blocking reads needs twice the block time plus five seconds.
    """

    forms: Mapping[str, Any] = {}
    """Of scripts that take many calls (see `batches`), by SHA; a transport may do without."""
    max_command_bytes = 256 * 1024 * 1024
    """Longer commands are refused: a server resets the connection at 512 MB, which would look like a lost reply."""

    def __init__(self, spec: ConnectionSpec, *, role: str = "main", reply_timeout_s: float = 10.0) -> None:
        self.spec = spec
        self.role = role
        self.reply_timeout_s = reply_timeout_s
        self.on_disconnect: list[Callable[[], None]] = []
        """Called after the connection was lost and every outstanding reply was failed."""
        self.on_reconnect: list[Callable[[], None]] = []
        """Called when commands can be sent again."""
        self.last_error: DurableError | None = None
        """Why the last attempt to connect failed; None while connected."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self._pid = process.pid
        self._is_closed = False
        self._tries = 0
        self._requested_at = float("-inf")
        self._connecting: asyncio.Task[None] | None = None

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called, or `open` failed: it will never be connected again."""
        return self._is_closed

    @property
    @abstractmethod
    def is_connected(self) -> bool:
        """Whether a command submitted now would be sent."""

    @abstractmethod
    def submit(self, args: Args, on_reply: Reply) -> None:
        """Send one command; `on_reply` is called exactly once, never before `submit` returns.

        Never blocks, and never raises for connection trouble: that arrives as a `ConnectionLost`.

        Raises:
            TypeError: if an argument is not str, bytes, int, float or memoryview; nothing is sent.
            UnicodeEncodeError: if a str holds a lone surrogate; nothing is sent.
            PayloadTooLarge: if the command is longer than `max_command_bytes`; nothing is sent.
            RuntimeError: if it is not open, or used from another event loop, thread or process.
        """

    @abstractmethod
    def reconnect(self, why: str) -> None:
        """Give this connection up and make another one: outstanding replies fail as `ConnectionLost`."""

    def flush_soon(self) -> None:  # noqa: B027  # a transport may do without
        """What callbacks submit that are ready now is not to wait for one more turn of the loop: a hint."""

    def request_reconnect(self, why: str) -> None:
        """As `reconnect`, after the replies already here were delivered, and at most once a second.

        For errors that another server may answer better: every caller that meets one asks.
        """
        assert self._loop is not None
        now = self._loop.time()
        if now - self._requested_at >= REQUEST_INTERVAL_S:
            self._requested_at = now
            self._loop.call_soon(self.reconnect, why)

    @abstractmethod
    async def _establish(self) -> None:
        """Connect and become usable, or raise."""

    @abstractmethod
    async def _shut(self) -> None:
        """Fail what is outstanding and release the connection."""

    def create_future(self) -> asyncio.Future[Any]:
        """A future of the loop in which it is open.

        Raises:
            RuntimeError: as `submit`.
        """
        if self._loop is None:
            self._refuse()
        return self._loop.create_future()

    async def call(self, *args: Arg) -> Any:
        """Send one command and wait for its reply.

        Cancelling it only forgets the reply: the command was sent and may run.

        Raises:
            ServerError: if the server answers with an error.
            ConnectionLost: if the connection breaks before the reply.
        """
        future = self.create_future()
        self.submit(args, partial(answer, future))
        return await future

    async def call_with(self, args: Args, take: Callable[[Any], T]) -> T:
        """As `call`; returns what `take` makes of the reply, which it gets in the turn of the loop that brings it.

        Raises:
            Exception: what `take` raises; and as `call`.
        """
        future: asyncio.Future[T] = self.create_future()

        def taken(reply: object) -> None:
            if future.done():
                return
            if not isinstance(reply, Exception):
                try:
                    reply = take(reply)
                except Exception as error:  # noqa: BLE001 - the caller's, as if it had taken the reply itself
                    reply = error
            # Whoever it was given to may have cancelled this very call.
            answer(future, reply)

        self.submit(args, taken)
        return await future

    async def open(self, *, wait_s: float = 0.0) -> None:
        """Connect. Once it returned, a lost connection comes back by itself until `close`.

        Args:
            wait_s: seconds to keep trying while the server cannot be reached; 0 tries once.

        Raises:
            StoreUnavailable: if the server could not be reached in time.
            ConfigurationError: if trying again cannot help: wrong password, not a Redis server, a bad certificate.
        """
        if self._loop is not None:
            raise RuntimeError("this transport was opened before: make a new one")
        self._loop = asyncio.get_running_loop()
        self._thread = get_ident()
        self._pid = process.pid
        give_up_at = self._loop.time() + wait_s
        try:
            while True:
                try:
                    await self._establish()
                except StoreUnavailable as error:
                    self.last_error = error
                    pause_s = self._pause_s()
                    if self._loop.time() + pause_s >= give_up_at:
                        raise
                    await asyncio.sleep(pause_s)
                else:
                    return
        except BaseException:
            self._is_closed = True
            await self._shut()
            raise

    async def close(self) -> None:
        """Disconnect for good. Outstanding replies fail as `ConnectionLost`; closing twice is fine."""
        self._is_closed = True
        if self._loop is None or self._pid != process.pid:
            return
        task, self._connecting = self._connecting, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
        await self._shut()

    def _pause_s(self) -> float:
        """Full jitter, so that a whole fleet does not come back in one instant."""
        ceiling = min(RECONNECT_CAP_S, RECONNECT_START_S * 2.0 ** min(self._tries, 16))
        self._tries += 1
        return random.random() * ceiling

    def _connected(self) -> None:
        self.last_error = None

    def _lost(self) -> None:
        """Tell about the loss and start to reconnect."""
        self._tell(self.on_disconnect)
        loop = self._loop
        if self._is_closed or loop is None or self._connecting is not None:
            return
        self._connecting = loop.create_task(self._come_back(), name=f"durable:{self.role}:reconnect")

    async def _come_back(self) -> None:
        while not self._is_closed:
            await asyncio.sleep(self._pause_s())
            try:
                await self._establish()
            except (StoreUnavailable, ConfigurationError, IncompatibleServer, TakeoverUnsupported) as error:
                # A wrong password or a foreign server may be put right while we wait; giving up would need a restart.
                if self.last_error is None or str(self.last_error) != str(error):
                    log.warning("%s: cannot reconnect: %s", self.role, error)
                self.last_error = error
            except Exception:
                log.exception("%s: cannot reconnect", self.role)
            else:
                self._connecting = None
                if self.is_connected:
                    self._tell(self.on_reconnect)
                return

    def _tell(self, hooks: list[Callable[[], None]]) -> None:
        for hook in tuple(hooks):
            try:
                hook()
            except Exception as error:  # noqa: BLE001 - a hook may raise anything; it is reported
                self._report(error, "a connection hook")

    def _report(self, error: BaseException, what: str) -> None:
        """A callback raised: that is its owner's trouble and must not reach the replies of its neighbours."""
        assert self._loop is not None
        self._loop.call_exception_handler({"message": f"durable_async: {what} raised", "exception": error})

    def _deliver(self, on_reply: Reply, reply: object) -> None:
        try:
            on_reply(reply)
        except Exception as error:  # noqa: BLE001 - a callback may raise anything; it is reported
            self._report(error, "a reply callback")

    def _fail_soon(self, on_reply: Reply) -> None:
        assert self._loop is not None
        why = CLOSED if self._is_closed else "there is no connection to the server"
        # Not at once: a callback that submits again would recurse, and no caller expects it before submit returns.
        self._loop.call_soon(self._deliver, on_reply, ConnectionLost(why, sent=False))

    def _too_large(self, size_bytes: int) -> PayloadTooLarge:
        return PayloadTooLarge(f"a command of {size_bytes} bytes is longer than {self.max_command_bytes}")

    def _refuse(self) -> NoReturn:
        """Explain a use from where no reply could arrive."""
        if self._pid != process.pid:
            raise RuntimeError(
                "this connection was opened before a fork and belongs to the parent process: "
                "open the client or worker after forking"
            )
        if self._loop is None:
            raise RuntimeError("this transport is not open yet: await open() first")
        raise RuntimeError(
            "this connection belongs to another event loop: every event loop and thread needs a client of its own"
        )


@contextlib.asynccontextmanager
async def opened(transport: Transport, *, wait_s: float = 0.0) -> AsyncGenerator[Transport, None]:
    """The transport, opened, and closed at the end."""
    await transport.open(wait_s=wait_s)
    try:
        yield transport
    finally:
        await transport.close()


def answer(future: asyncio.Future[Any], reply: object) -> None:
    """Gives a reply, or the exception that it is, to whoever still waits for it."""
    if not future.done():
        if isinstance(reply, Exception):
            future.set_exception(reply)
        else:
            future.set_result(reply)
