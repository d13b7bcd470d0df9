"""`MuxTransport`: every command of one loop tick leaves in one write, and replies are matched in order.

redis-py makes the connection (TLS, AUTH, SELECT, Sentinel); then its stream is taken over by a protocol of our own, so
that a command costs a pack, two appends and a callback instead of a pool, a lock and a task switch. Blocking reads use
an instance of their own, with ``reply_timeout_s`` of twice the block time plus five seconds: a server may block longer
than asked when another client's wake-up restarts its timer.

The take-over uses two private attributes of redis-py's connection. If they are not what is expected,
`TakeoverUnsupported` is raised before anything was sent, and `open_transport` goes on with `PipelineTransport`.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from typing import Any, Final

from hiredis import HiredisError, Reader

from durable_async.store.batches import SMALL_BYTES, Batch
from durable_async.store.connect import ConnectionSpec, close_quietly
from durable_async.store.errors import ConnectionLost, ServerError, TakeoverUnsupported
from durable_async.store.pipeline_transport import PipelineTransport
from durable_async.store.scripts import Form
from durable_async.store.transport_base import CLOSED, Args, Reply, Transport, is_on, pack, process

log = logging.getLogger("durable_async.store")

_NOTHING: Final = object()
"""What the parser answers while a reply is incomplete; None is a reply."""
_CHECKS: Final = 4
"""How often the watchdog looks within one reply timeout."""
_MAX_PATIENCE: Final = 8
_WRITE_HIGH_BYTES: Final = 1024 * 1024
_CLOSE_WAIT_S: Final = 1.0


class MuxTransport(Transport):
    """The transport in use: 3-5 µs per command, one write per tick."""

    def __init__(self, spec: ConnectionSpec, *, role: str = "main", reply_timeout_s: float = 10.0) -> None:
        super().__init__(spec, role=role, reply_timeout_s=reply_timeout_s)
        self._link: _Link | None = None
        self._patience = 1

    @property
    def is_connected(self) -> bool:
        """Whether a command submitted now would be sent."""
        return self._link is not None

    @property
    def outstanding(self) -> int:
        """Commands whose reply has not arrived."""
        return len(self._link.pending) if self._link is not None else 0

    @property
    def is_congested(self) -> bool:
        """Whether the socket takes no more for now; commands queue up here meanwhile."""
        return self._link is not None and self._link.is_paused

    def submit(self, args: Args, on_reply: Reply) -> None:
        """As `Transport.submit`."""
        loop = self._loop
        if loop is None or not is_on(loop, self._thread) or self._pid != process.pid:
            self._refuse()
        link = self._link
        form = self.forms.get(args[1]) if args[0] == "EVALSHA" else None  # type: ignore[arg-type]  # its name is a str
        if form is not None and link is not None and form in link.joinable and link.join(form, args, on_reply):
            return
        packed = pack(args)
        if len(packed) > self.max_command_bytes:
            raise self._too_large(len(packed))
        if link is None:
            self._fail_soon(on_reply)
            return
        if form is not None and len(packed) <= SMALL_BYTES:
            link.joinable[form] = (len(link.unsent), args)
        link.put(packed, on_reply)

    def _put(self, packed: bytes, on_reply: Reply) -> None:
        if self._link is None:
            self._fail_soon(on_reply)
        else:
            self._link.put(packed, on_reply)

    def reconnect(self, why: str) -> None:
        """As `Transport.reconnect`."""
        if self._link is not None:
            self._link.drop(why)

    def flush_soon(self) -> None:
        """As `Transport.flush_soon`."""
        link = self._link
        if link is not None and not link.is_scheduled:
            link.is_scheduled = True
            link.loop.call_soon(link.flush)

    async def _establish(self) -> None:
        conn = await self.spec.connect(self.role)
        # No await from here to the end of the take-over: not a byte may reach redis-py's own reader.
        try:
            if self._is_closed:
                raise ConnectionLost(CLOSED, sent=False)
            self._link = _Link(self, conn)
        except BaseException:
            close_quietly(conn)
            raise
        self._connected()

    async def _shut(self) -> None:
        link = self._link
        if link is not None:
            link.drop(CLOSED)
            # Without this the socket would still be open when the loop is closed right after us.
            await asyncio.wait({link.closed}, timeout=_CLOSE_WAIT_S)

    def _link_lost(self, link: _Link) -> None:
        if link.replied:
            self._tries = 0
        if self._link is link:
            self._link = None


class _Link(asyncio.Protocol):
    """One established connection: what is not yet written, and who waits for which reply.

    `pending` holds the callbacks of all commands without a reply, oldest first; the last ``len(unsent)`` of them were
    not yet handed to the socket.
    """

    def __init__(self, owner: MuxTransport, conn: Any) -> None:
        assert owner._loop is not None
        self.owner = owner
        self.conn = conn
        self.loop = owner._loop
        self.unsent: list[bytes | Batch] = []
        self.joinable: dict[Form, Batch | tuple[int, Args]] = {}
        """Of scripts that take many calls, the batch being made, or where in `unsent` there is one alone."""
        self.pending: deque[Reply] = deque()
        self.is_scheduled = False
        self.is_paused = False
        self.is_dead = False
        self.replied = 0
        self.closed: asyncio.Future[None] = self.loop.create_future()
        self._reader = Reader(replyError=ServerError, notEnoughData=_NOTHING)
        self._has_heard = False
        self._quiet_checks = 0
        self._seen = 0
        self._marks: deque[int] = deque(maxlen=_CHECKS + 1)
        self._check_s = owner.reply_timeout_s * owner._patience / _CHECKS
        self.transport = _take_over(conn, self)
        self._watchdog = self.loop.call_later(self._check_s, self._check)

    def put(self, packed: bytes, on_reply: Reply) -> None:
        """Packed bytes for the next write."""
        self.unsent.append(packed)
        self.pending.append(on_reply)
        if not self.is_scheduled:
            self.is_scheduled = True
            self.loop.call_soon(self.flush)

    def join(self, form: Form, args: Args, on_reply: Reply) -> bool:
        """Lets a call travel with the one of its script that has not left; not if one of them is too long for that."""
        with_it = self.joinable[form]
        if isinstance(with_it, Batch):
            return with_it.add(args, on_reply)
        at, first = with_it
        batch = Batch(form, self.owner._deliver, self.owner._put)
        # From the right: what has left stands before it.
        behind = at - len(self.unsent)
        if not batch.add(first, self.pending[behind]) or not batch.add(args, on_reply):
            return False
        self.unsent[at] = self.pending[behind] = self.joinable[form] = batch
        return True

    def flush(self) -> None:
        """Write everything submitted since the last flush, in one call."""
        self.is_scheduled = False
        # On a closing socket the bytes would vanish silently: kept back, they count as never sent.
        if self.is_paused or not self.unsent or self.transport.is_closing() or self.owner._pid != process.pid:
            return
        unsent = [each if isinstance(each, bytes) else each.packed() for each in self.unsent]
        self.unsent = []
        self.joinable.clear()
        self.transport.write(unsent[0] if len(unsent) == 1 else b"".join(unsent))

    def data_received(self, data: bytes) -> None:
        self._has_heard = True
        reader = self._reader
        pending = self.pending
        try:
            reader.feed(data)
            gets = reader.gets
            reply = gets()
            while reply is not _NOTHING:
                if self.is_dead:
                    return
                on_reply = pending.popleft()
                self.replied += 1
                try:
                    on_reply(reply)
                except Exception as error:  # noqa: BLE001 - it must not reach its neighbours' replies
                    self.owner._report(error, "a reply callback")
                reply = gets()
        except HiredisError:
            self.drop("the server sent something that is not a reply")
        except IndexError:
            self.drop("the server sent a reply to nothing")

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(None)
        self.drop("the server closed the connection" if exc is None else f"the connection broke: {type(exc).__name__}")

    def pause_writing(self) -> None:
        self.is_paused = True

    def resume_writing(self) -> None:
        self.is_paused = False
        self.flush()

    def drop(self, why: str) -> None:
        """Give the connection up: every outstanding command fails, neighbours never see each other's replies."""
        if self.is_dead:
            return
        self.is_dead = True
        self._watchdog.cancel()
        owner = self.owner
        owner._link_lost(self)
        self.transport.abort()
        close_quietly(self.conn)
        pending, self.pending = self.pending, deque()
        sent = len(pending) - len(self.unsent)
        self.unsent = []
        for index, on_reply in enumerate(pending):
            owner._deliver(on_reply, ConnectionLost(why, sent=index < sent))
        owner._lost()

    def _check(self) -> None:
        """Find out, `_CHECKS` times per reply timeout, whether the oldest command has waited too long.

        Counts its own rounds instead of reading the clock: while this loop was blocked by user code no round passes,
        so a reply that is waiting to be read is never taken for a missing one. Bytes arriving are a sign of life: a
        long reply over a slow line is no reason to give up.
        """
        self._marks.append(self.replied + len(self.pending))
        if self.replied != self._seen:
            self._seen = self.replied
            self.owner._patience = 1
        self._quiet_checks = 0 if self._has_heard else self._quiet_checks + 1
        self._has_heard = False
        is_overdue = len(self._marks) > _CHECKS and self.replied < self._marks[0]
        if is_overdue and self._quiet_checks >= _CHECKS:
            # A request larger than a slow line carries in this time would fail for ever: be twice as patient next time.
            self.owner._patience = min(self.owner._patience * 2, _MAX_PATIENCE)
            log.warning("%s: no reply for %.3g s, reconnecting", self.owner.role, self._check_s * _CHECKS)
            self.drop("the server did not reply in time")
            return
        self._watchdog = self.loop.call_later(self._check_s, self._check)


def _take_over(conn: Any, link: _Link) -> asyncio.Transport:
    """Make `link` the protocol of redis-py's connection.

    Raises:
        TakeoverUnsupported: if the connection is not built as expected.
        ConnectionLost: if the server has already closed it.
    """
    reader, writer = getattr(conn, "_reader", None), getattr(conn, "_writer", None)
    if not isinstance(reader, asyncio.StreamReader) or not isinstance(writer, asyncio.StreamWriter):
        raise TakeoverUnsupported("redis-py's connection has no stream reader and writer")
    buffered = getattr(reader, "_buffer", None)
    parsed = getattr(getattr(conn, "_parser", None), "_reader", None)
    if not isinstance(buffered, bytearray) or parsed is None or parsed.has_data():
        raise TakeoverUnsupported("redis-py's stream reader cannot be emptied")
    transport: asyncio.Transport = writer.transport  # type: ignore[assignment]
    if not hasattr(transport, "set_protocol"):
        raise TakeoverUnsupported("the event loop's transports cannot change their protocol")
    if transport.is_closing() or reader.at_eof() or reader.exception() is not None:
        raise ConnectionLost("the server closed the connection", sent=False)
    if buffered:
        # They answer nothing of ours and would shift every reply by one.
        raise ConnectionLost("the server sent something nobody asked for", sent=False)
    transport.set_protocol(link)
    transport.set_write_buffer_limits(high=_WRITE_HIGH_BYTES)
    if not transport.is_reading():
        transport.resume_reading()
    _bound_silence(transport, link.owner.reply_timeout_s)
    return transport


def _bound_silence(transport: asyncio.Transport, seconds: float) -> None:
    """Let the kernel, too, give up on a peer that acknowledges nothing, where it can."""
    sock = transport.get_extra_info("socket")
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if sock is None or option is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    try:
        sock.setsockopt(socket.IPPROTO_TCP, option, int(_MAX_PATIENCE * seconds * 1000))
    except OSError:  # pragma: no cover - the watchdog does without it
        log.debug("TCP_USER_TIMEOUT is not available")


async def open_transport(
    spec: ConnectionSpec, *, role: str = "main", reply_timeout_s: float = 10.0, wait_s: float = 0.0
) -> Transport:
    """An open `MuxTransport`, or, if redis-py cannot be taken over, an open `PipelineTransport`.

    Raises:
        StoreUnavailable, ConfigurationError: as `Transport.open`.
    """
    transport: Transport = MuxTransport(spec, role=role, reply_timeout_s=reply_timeout_s)
    try:
        await transport.open(wait_s=wait_s)
    except TakeoverUnsupported as error:
        log.warning("using the slower transport: %s", error)
        transport = PipelineTransport(spec, role=role, reply_timeout_s=reply_timeout_s)
        await transport.open(wait_s=wait_s)
    return transport
