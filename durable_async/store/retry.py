"""`Caller`: commands that are sent again until the server has really answered.

Every script is repeat-safe by its token, so after "nothing ran" and after "unknown" the right thing is the same: the
same bytes again, later. What may be tried again is decided by the table in `errors`, nowhere else.

While calls are being retried `Caller.trouble` names the reason, so that workers stop fetching: with a full memory the
server refuses every write but still hands out work. It is cleared only when the calls that met trouble are settled;
an unrelated success proves nothing, since reads go on.

It must not know what a command means: the source of a script comes from a hook.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from durable_async.errors import ConfigurationError, StoreUnavailable
from durable_async.store.batches import Forms
from durable_async.store.deadlines import Deadlines
from durable_async.store.errors import Kind, ServerError, Verdict, classify
from durable_async.store.transport_base import Arg, Args, Reply, Transport, answer

log = logging.getLogger("durable_async.store")

START_S: Final = 0.02
NoScript = Callable[[Args], Args | None]
"""Given ``("EVALSHA", sha, ...)``: the same as EVAL with the source, or None if it does not know the script."""


class Caller:
    """Sends commands over one transport, again if need be.

    Args:
        transport: open, and closed by whoever opened it.
        on_noscript: gives the EVAL form of a script the server does not know.
        forms: of scripts that take many calls, by SHA: calls made in one tick leave together where the transport can.
        start_s: the first pause between two tries in seconds; it doubles up to the cap of each error, and each pause
            is drawn from its second half, so that callers part.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        on_noscript: NoScript | None = None,
        forms: Forms | None = None,
        start_s: float = START_S,
    ) -> None:
        self.transport = transport
        if forms is not None:
            transport.forms = forms
        self.on_noscript = on_noscript
        self.start_s = start_s
        self.trouble: str | None = None
        """Why calls are being retried, in a word such as ``OOM``; None while all is well."""
        self.on_trouble: list[Callable[[str | None], None]] = []
        """Called with `trouble` whenever it changes."""
        self._troubled: dict[_Call, Verdict] = {}
        self._deadlines: dict[float, Deadlines] = {}
        self._submit = transport.submit
        self._is_closed = False
        transport.on_reconnect.append(self._retry_lost)

    def run(self, args: Args, on_reply: Reply, *, deadline_s: float | None = None) -> None:
        """Send a repeat-safe command; `on_reply` gets the reply, or an `Exception`, exactly once.

        Args:
            deadline_s: seconds after which `on_reply` gets `StoreUnavailable`; the command may still run. None tries
                for ever, through lost passwords too: a worker must not drop results because of an ACL mistake. With a
                deadline such a refusal is delivered at once.

        Raises:
            TypeError, UnicodeEncodeError, PayloadTooLarge, RuntimeError: as `Transport.submit`.
        """
        call = _Call(self, args, on_reply)
        self._submit(args, call)
        if deadline_s is not None:
            self._watch(call, deadline_s)

    async def call(self, args: Args, *, deadline_s: float | None = None) -> Any:
        """Send a repeat-safe command and wait for its reply. Cancelling it stops the tries, not what was sent.

        Raises:
            StoreUnavailable: if the server has not answered within `deadline_s`.
            ConfigurationError: if it refuses our credentials or rights and there is a deadline.
            ServerError: if the server answers with an error that trying again cannot change.
        """
        future = self.transport.create_future()
        call = _Call(self, args, partial(answer, future))
        self._submit(args, call)
        if deadline_s is not None:
            self._watch(call, deadline_s)
        try:
            return await future
        except asyncio.CancelledError:
            call.abandon()
            raise

    def _watch(self, call: _Call, deadline_s: float) -> None:
        deadlines = self._deadlines.get(deadline_s)
        if deadlines is None:
            deadlines = self._deadlines[deadline_s] = Deadlines(deadline_s)
        deadlines.watch(call)
        call.deadline = deadlines

    def close(self) -> None:
        """No further retries: calls waiting for one get `StoreUnavailable` now, others at their first failure.

        The transport stays open. Closing that has the same effect on what is then outstanding.
        """
        self._is_closed = True
        for call in tuple(self._troubled):
            call.give_up("the client was closed")
        if self._retry_lost in self.transport.on_reconnect:
            self.transport.on_reconnect.remove(self._retry_lost)

    def _retry_lost(self) -> None:
        # They wait for nothing but this connection.
        for call, verdict in tuple(self._troubled.items()):
            if verdict.trouble == "CONNECTION" and call.pause is not None:
                call.pause.cancel()
                call.send()

    def _enter(self, call: _Call, verdict: Verdict) -> None:
        self._troubled.pop(call, None)
        self._troubled[call] = verdict
        self._announce(verdict.trouble)

    def _leave(self, call: _Call) -> None:
        if self._troubled.pop(call, None) is not None:
            last = next(reversed(self._troubled.values()), None)
            self._announce(last.trouble if last is not None else None)

    def _announce(self, trouble: str | None) -> None:
        if trouble == self.trouble:
            return
        self.trouble = trouble
        if trouble is not None:
            log.warning("%s: trouble with the store (%s), retrying", self.transport.role, trouble)
        else:
            log.info("%s: the store works again", self.transport.role)
        for listener in tuple(self.on_trouble):
            try:
                listener(trouble)
            except Exception:
                log.exception("a listener of Caller.on_trouble raised")


class _Call:
    """One command on its way to an answer. The instance is the transport's callback: no closure on the happy path."""

    __slots__ = ("args", "caller", "deadline", "has_sent_source", "is_done", "on_reply", "pause", "tries", "verdict")

    def __init__(self, caller: Caller, args: Args, on_reply: Reply) -> None:
        self.caller = caller
        self.args = args
        self.on_reply = on_reply
        self.is_done = False
        self.deadline: Deadlines | None = None
        self.pause: asyncio.TimerHandle | None = None
        self.verdict: Verdict | None = None
        self.has_sent_source = False
        self.tries = 0

    def __call__(self, reply: object) -> None:
        if self.is_done:
            return
        if isinstance(reply, Exception):
            self._failed(reply)
        else:
            self._settle(reply)

    def send(self) -> None:
        """Once more, from the start: EVALSHA first, the source only if it is missing again."""
        self.pause = None
        self.has_sent_source = False
        self.caller._submit(self.args, self)

    def expire(self) -> None:
        """The deadline has passed."""
        self.give_up("it did not answer in time")

    def give_up(self, why: str) -> None:
        """Deliver `StoreUnavailable`: what was asked may or may not have happened."""
        if self.is_done:
            return
        cause = self.verdict
        reason = f" (last trouble: {cause.trouble})" if cause is not None else ""
        advice = f": {cause.advice}" if cause is not None and cause.advice else ": check that the server runs"
        error = StoreUnavailable(
            f"the store gave no answer: {why}{reason}{advice}. What was asked may still have happened; "
            "asking again with the same id is safe"
        )
        self._settle(error)

    def abandon(self) -> None:
        """Nobody waits any more: no further try."""
        if not self.is_done:
            self._finish()

    def _settle(self, reply: object) -> None:
        if self.verdict is not None:
            self._finish()
        elif self.deadline is not None:
            self.deadline.forget(self)
        self.is_done = True
        self.on_reply(reply)

    def _finish(self) -> None:
        self.is_done = True
        if self.deadline is not None:
            self.deadline.forget(self)
        if self.pause is not None:
            self.pause.cancel()
        self.caller._leave(self)

    def _failed(self, error: Exception) -> None:
        caller = self.caller
        verdict = classify(error)
        if verdict.trouble == "NOSCRIPT" and not self.has_sent_source:
            source = caller.on_noscript(self.args) if caller.on_noscript is not None else None
            if source is not None:
                self.has_sent_source = True
                caller._submit(source, self)
                return
        if verdict.kind is Kind.BUG or (verdict.trouble == "NOSCRIPT" and not self.has_sent_source):
            self._log_bug(error, verdict)
            self._settle(error)
        elif verdict.is_retryable or (verdict.kind is Kind.FATAL and self.deadline is None):
            self._again(verdict)
        elif verdict.kind is Kind.FATAL:
            self._settle(ConfigurationError(f"the server refused the command ({verdict.trouble}): {verdict.advice}"))
        else:
            self._settle(error)

    def _again(self, verdict: Verdict) -> None:
        caller = self.caller
        if self.verdict is None or self.verdict.trouble != verdict.trouble:
            # Another trouble than before: its first try is soon again.
            self.tries = 0
        self.verdict = verdict
        if caller._is_closed or caller.transport.is_closed:
            self.give_up("the client was closed")
            return
        ceiling = min(verdict.cap_s, caller.start_s * 2.0 ** min(self.tries, 16))
        self.tries += 1
        loop = asyncio.get_running_loop()
        self.pause = loop.call_later(ceiling * (0.5 + random.random() / 2), self.send)
        caller._enter(self, verdict)
        if verdict.needs_reconnect:
            caller.transport.request_reconnect(f"the server answered {verdict.trouble}")

    def _log_bug(self, error: Exception, verdict: Verdict) -> None:
        what = self.args[:2] if self.args[0] in ("EVALSHA", b"EVALSHA") else self.args[:1]
        text = str(error) if isinstance(error, ServerError) else type(error).__name__
        log.critical("%s failed and will not be sent again (%s): %s", _named(what), verdict.trouble, text)


def _named(what: tuple[Arg, ...]) -> str:
    return " ".join(each.decode() if isinstance(each, bytes) else str(each) for each in what)
