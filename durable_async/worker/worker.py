"""Composition and lifecycle of one worker: what is started, in which order, and how it leaves.

Leaving is a drain: no more reading, unbegun entries go back at once, running steps get their time, then their runs are
released, so that other workers take over without waiting for a lease.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from time import monotonic, time
from typing import Any, TypeVar

import orjson

from durable_async.checking import to_ms
from durable_async.codec import Codec
from durable_async.engine.spec import WorkflowSpec
from durable_async.errors import StoreUnavailable
from durable_async.store.beats import BeatConnection, BeatError
from durable_async.store.connect import ConnectionSpec, check_server
from durable_async.store.errors import ConnectionLost, ServerError, classify
from durable_async.store.keys import Keys
from durable_async.store.retry import Caller
from durable_async.store.scripts import FORMS, with_source
from durable_async.store.store import Store
from durable_async.store.transport import open_transport
from durable_async.store.transport_base import Transport
from durable_async.types import Limits
from durable_async.worker.background import place_of
from durable_async.worker.clock import ServerClock
from durable_async.worker.consumer import READ_TIMEOUT_S, StreamReader, ensure_group
from durable_async.worker.endings import Endings
from durable_async.worker.gates import Gates
from durable_async.worker.heartbeat import Heartbeat
from durable_async.worker.lookback import Lookback
from durable_async.worker.purger import Purger
from durable_async.worker.reaper import Reaper
from durable_async.worker.runner import Runner, RunnerSettings
from durable_async.worker.scheduler import Scheduled, Scheduler
from durable_async.worker.settings import WorkerSettings
from durable_async.worker.sweeper import Sweeper
from durable_async.worker.timers import Timers
from durable_async.worker.unblocker import Unblocker
from durable_async.worker.walks import Walker

log = logging.getLogger("durable_async.worker")

T = TypeVar("T")

OWN_STREAM_ROOM = 500
START_PAUSE_S = 0.05
IDLE_BLOCK_MS = 50
"""How long a read waits for entries when the worker is to leave once there are none."""


class Worker:
    """One worker: reads queues, runs workflows and steps, until it is drained."""

    def __init__(
        self,
        spec: ConnectionSpec,
        keys: Keys,
        registry: dict[str, WorkflowSpec],
        settings: WorkerSettings,
        *,
        codec: Codec,
        limits: Limits,
        schedules: Sequence[Scheduled] = (),
    ) -> None:
        self._spec = spec
        self._keys = keys
        self._registry = registry
        self.settings = settings
        self._codec = codec
        self._limits = limits
        self._schedules = schedules
        self._scheduler: Scheduler | None = None
        # The random part makes a restarted worker another one: what the dead one held is not its own.
        self.id = f"{settings.name or socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}".replace("/", "_")
        self.clock = ServerClock()
        self.gates = Gates(keys, settings.queues)
        self._started = time()
        self._transports: list[Transport] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._is_stopping = False

    # ------------------------------------------------------------------ start

    async def start(self, *, wait_s: float = 10.0) -> None:
        """Connects, registers and begins to work.

        Raises:
            StoreUnavailable: if the server cannot be reached within `wait_s` seconds.
            IncompatibleServer, ConfigurationError: if it cannot be used.
        """
        try:
            await self._connect(wait_s)
        except BaseException:
            await self._close_transports()
            raise
        self._compose()
        self._heartbeat.start()
        loop = asyncio.get_running_loop()
        for name, coroutine in (
            ("own", self._own_reader.run()),
            ("queues", self._queue_reader.run()),
            ("timers", self._keep("timers", self._timers.run)),
            ("housekeeping", self._keep("housekeeping", self._housekeeping)),
            ("lease", self._keep("lease", self._judge_itself)),
        ):
            self._tasks.append(loop.create_task(coroutine, name=f"durable-{name}"))
        self.runner.background.spawn(self._unblocker.run())
        if self._schedules:
            self._scheduler = Scheduler(self.store, self._schedules, self._codec, self._limits.payload)
            running = self._keep("schedules", self._scheduler.run)
            self._tasks.append(loop.create_task(running, name="durable-schedules"))

    async def _connect(self, wait_s: float) -> None:
        give_up_at = monotonic() + wait_s
        main = await open_transport(self._spec, role="worker", wait_s=wait_s)
        self._transports.append(main)
        info = await _persist(lambda: check_server(main), give_up_at)
        for warning in info.warnings:
            log.warning("%s", warning)
        for role in ("worker-own", "worker-queues"):
            transport = await open_transport(self._spec, role=role, reply_timeout_s=READ_TIMEOUT_S, wait_s=wait_s)
            self._transports.append(transport)
        self.caller = Caller(main, on_noscript=with_source, forms=FORMS)
        self.store = Store(self.caller, self._keys)
        # Before the stream: what a worker that dies in between leaves behind is found by its heartbeat.
        await _persist(lambda: asyncio.to_thread(self._first_beat), give_up_at)
        for key in (self._keys.worker(self.id), *map(self._keys.queue, self.settings.queues)):
            await _persist(partial(ensure_group, main, key), give_up_at)
        await _persist(partial(self.gates.start, self.store, main, self._limits_of_queues()), give_up_at)

    def _limits_of_queues(self) -> dict[str, str]:
        queues = [spec.limits for spec in self._registry.values() if spec.limits is not None]
        return {queue.name: queue.limits for queue in queues}

    def _beat_connection(self) -> BeatConnection:
        return BeatConnection(self._spec, self._keys, min(5.0, self.settings.lease / 3))

    def _first_beat(self) -> None:
        connection = self._beat_connection()
        try:
            connection.beat(self.id, self._describe())
        finally:
            connection.close()

    def _compose(self) -> None:
        settings = self.settings
        self._heartbeat = Heartbeat(self._beat_connection, self.id, self._describe, settings.lease)
        self.runner = Runner(
            self.store,
            self._registry,
            RunnerSettings(self.id, settings.concurrency, settings.max_resident, self._limits, self._codec),
            self.clock,
            may_launch=self._heartbeat.may_launch,
        )
        runner = self.runner
        grace_ms = to_ms(self._limits.cancel_grace)
        self._walker = Walker(self.store, runner.outbox, grace_ms, lambda: self._timers.look_now())
        self._endings = Endings(self.store, runner.outbox, self._codec, self._limits)
        self._timers = Timers(self.store, self.clock, runner.outbox, self._walk, self.gates.learn, self._endings)
        runner.on_due = self._timers.armed
        runner.on_walk = self._timers.look_now
        runner.intake.on_poison = self._settle
        runner.intake.on_paused = self.gates.shut
        self._reaper = Reaper(self.store, runner.intake, self.id, self.gates.lanes, settings.lease)
        self._lookback = Lookback(self.store, runner.residents, runner.nudged)
        self._purger = Purger(self.store)
        self._sweeper = Sweeper(self.store, settings.lease, self._reaper.suspect)
        self._unblocker = Unblocker(
            self.store,
            self.id,
            self._registry.__contains__,
            settings.queues,
            room=self._free_room,
            wait_for_room=self._room,
            is_stopping=lambda: self._is_stopping,
        )
        own_key = self._keys.worker(self.id)
        own_plan = [[own_key]]
        self._own_reader = StreamReader(
            self._transports[1],
            self.id,
            lambda: own_plan,
            room=lambda: OWN_STREAM_ROOM,
            wait_for_room=self._room,
            take=lambda key, entries: runner.intake.take_entries(key, "W", entries),
            on_lost_group=self._lost_group,
        )
        self._queue_reader = StreamReader(
            self._transports[2],
            self.id,
            lambda: self.gates.plan,
            room=self._free_room,
            wait_for_room=self._room,
            take=lambda key, entries: runner.intake.take_entries(key, "Q", entries),
            on_lost_group=self._lost_group,
        )
        self.gates.attach(self._queue_reader, runner.intake, runner.background)

    def _describe(self) -> bytes:
        runner = getattr(self, "runner", None)
        return orjson.dumps(
            {
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "queues": list(self.settings.queues),
                "concurrency": self.settings.concurrency,
                "lease": self.settings.lease,
                "running": runner.intake.slots.active if runner is not None else 0,
                "resident": len(runner.residents) if runner is not None else 0,
                "since": self._started,
                # Judged by others: by the server's clock, once it is known.
                "seen": self.clock.now_ms() / 1000 if self.clock.is_set else time(),
            }
        )

    # ------------------------------------------------------------------ while it runs

    def _free_room(self) -> int:
        if self.caller.trouble is not None or not self._heartbeat.may_launch():
            return 0
        return self.runner.intake.room

    async def _room(self) -> None:
        event = self.runner.intake.slots.changed
        event.clear()
        try:
            # The time-out covers reasons other than slots: trouble of the store has no event here.
            async with asyncio.timeout(0.2):
                await event.wait()
        except TimeoutError:
            return

    def _lost_group(self, key: str) -> None:
        log.error("stream %s had vanished and was made anew: the store may have lost data", key)
        if key == self._keys.worker(self.id):
            # While it was away nobody could nudge: not after a loss, and not if a reaper took this worker for dead.
            self.runner.intake.missed_nudges()

    def _walk(self, items: list[tuple[str, bytes]]) -> None:
        self.runner.background.spawn(self._walker.do(items))

    def _settle(self, id: str) -> None:
        self.runner.background.spawn(self._endings.poison(id))

    async def _keep(self, what: str, run: Callable[[], Awaitable[None]]) -> None:
        """Runs a loop again after an error, which is logged: one bad answer must not end the worker's timers."""
        while not self._is_stopping:
            try:
                await run()
            except (ServerError, StoreUnavailable) as error:
                log.error("%s failed and go on: %s", what, error)
                await asyncio.sleep(1.0)
            except Exception as error:  # noqa: BLE001  # one bad answer must not end the worker's loops; it is logged
                log.error("%s failed and go on: %s%s", what, type(error).__name__, place_of(error))
                await asyncio.sleep(1.0)

    async def _housekeeping(self) -> None:
        """Recovery and tidying, a few times per lease."""
        lease = self.settings.lease
        last_reconcile = monotonic()
        while not self._is_stopping:
            await asyncio.sleep(lease / 5)
            if self._heartbeat.is_lost:
                continue
            try:
                await self._reaper.sweep()
                await self._purger.sweep()
                await self._sweeper.sweep()
                if monotonic() - last_reconcile > lease / 2:
                    last_reconcile = monotonic()
                    await self._lookback.look()
                    await self._reaper.reconcile(
                        [(self._keys.worker(self.id), "W"), *((self._keys.queue(q), "Q") for q in self.gates.lanes)]
                    )
            except (ServerError, StoreUnavailable) as error:
                log.error("a sweep failed and is tried again: %s", error)

    async def _judge_itself(self) -> None:
        """Lets runs go once the lease is over; apart from housekeeping, which waits while the store gives no answer."""
        while not self._is_stopping:
            await asyncio.sleep(self.settings.lease / 5)
            if self._heartbeat.is_lost:
                self._let_go()

    def _let_go(self) -> None:
        running = [r for r in self.runner.residents if not r.is_parked]
        if running:
            log.error("no heartbeat for a whole lease: %d runs are let go", len(running))
        for resident in running:
            held = resident.held
            self.runner.drop(resident)
            self.runner.intake.lose(held)

    async def failed(self) -> None:
        """Returns only by raising: what has ended one of the worker's loops, none of which ends by itself."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        if self._is_stopping:
            await asyncio.Event().wait()
        for task in done:
            task.result()
        raise RuntimeError(f"the worker's loop {sorted(t.get_name() for t in done)} ended by itself")

    def hurry(self) -> None:
        """Makes reads that find nothing return soon: right after `start`, so that `until_idle` need not wait."""
        for reader in (self._own_reader, self._queue_reader):
            reader.block_ms = IDLE_BLOCK_MS
        if self._scheduler is not None:
            self._scheduler.refresh_s = IDLE_BLOCK_MS / 1000

    async def until_idle(self) -> None:
        """Returns when nothing is runnable now: no run active, nothing in the streams, no timer due."""
        self.hurry()
        timers, own, queues = self._timers.looks, self._own_reader.looks, self._queue_reader.looks
        while True:
            # Before the timers and streams, since what ticks start is queued.
            if self._scheduler is not None:
                await self._scheduler.looks.whole()
            found = timers.found + own.found + queues.found
            was_resting = self._is_resting()
            self._timers.look_now()
            await timers.whole()
            # After the timers, since what they fire is read.
            await asyncio.gather(own.whole(), queues.whole())
            # Resting at first, and nothing found by looks begun after that: what runs had written before was seen.
            if was_resting and self._is_resting() and found == timers.found + own.found + queues.found:
                return

    def _is_resting(self) -> bool:
        return not self.runner.intake.slots.active and not self.runner.background

    # ------------------------------------------------------------------ stop

    async def stop(self, *, drain_timeout: float | None = None) -> bool:
        """Drains and leaves. True if nothing was cut: every running step ended within its time."""
        self._is_stopping = True
        runner = self.runner
        runner.is_draining = runner.intake.is_closed = True
        for loop in (self._own_reader, self._queue_reader, self._timers):
            loop.is_stopping = True
        if self._scheduler is not None:
            self._scheduler.stop()
        for held in runner.intake.take_backlog():
            runner.background.spawn(runner.intake.give_back(held))
        patience = self.settings.drain_timeout if drain_timeout is None else drain_timeout
        is_clean = await self._let_steps_end(patience)
        try:
            async with asyncio.timeout(max(2.0, patience / 2)):
                await self._leave()
        except (TimeoutError, ServerError, StoreUnavailable) as error:
            log.warning("could not leave cleanly (%s): the others take over after a lease", type(error).__name__)
            is_clean = False
        await self._close()
        return is_clean

    async def _let_steps_end(self, patience: float) -> bool:
        """Waits for running steps; then releases every run that still holds an entry."""
        runner = self.runner
        give_up_at = monotonic() + patience
        for resident in runner.residents:
            if not resident.is_parked and not resident.is_out and not resident.tasks:
                runner.release(resident)
        while runner.intake.slots.active > 0 and monotonic() < give_up_at:  # noqa: ASYNC110  # once in a worker's life
            await asyncio.sleep(0.01)
        rest = [r for r in runner.residents if not r.is_parked]
        for resident in rest:
            runner.release(resident)
        return not rest

    async def _leave(self) -> None:
        runner = self.runner
        # A read still blocked at the server would be served after this worker has looked for the last time.
        for transport in self._transports[1:]:
            await transport.close()
        await runner.background.wait()
        runner.outbox.flush()
        # A beat that comes later would have it listed again.
        self._heartbeat.stop()
        await asyncio.to_thread(self._heartbeat.join)
        key = self._keys.worker(self.id)
        while not await self.store.close_worker(self.id, ""):
            # Wake-ups that came while the worker was leaving.
            await self._reaper._put_back(key, "W", await self._reaper_entries(key))
        for queue in self.gates.lanes:
            while entries := await self._reaper.pending(self._keys.queue(queue), self.id):
                await self._reaper._put_back(self._keys.queue(queue), "Q", entries)
            await self.store.drop_consumer(queue, self.id)

    async def _reaper_entries(self, key: str) -> Any:
        from durable_async.worker.consumer import parse_entry

        return [parse_entry(e) for e in await self.store.caller.call(("XRANGE", key, "-", "+", "COUNT", 100))]

    async def _close(self) -> None:
        self._heartbeat.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for resident in self.runner.residents:
            self.runner.forget(resident)
        self.runner.steps.close()
        await asyncio.to_thread(self._heartbeat.join)
        await self._close_transports()

    async def _close_transports(self) -> None:
        caller = getattr(self, "caller", None)
        if caller is not None:
            caller.close()
        for transport in self._transports:
            await transport.close()
        self._transports.clear()

    def kill(self) -> None:
        """For tests: stops at once, as a crash would: nothing is released, nothing is said."""
        self._is_stopping = self.runner.intake.is_closed = True
        self._heartbeat.stop()
        for task in self._tasks:
            task.cancel()
        self.runner.background.cancel()
        for resident in self.runner.residents:
            self.runner.forget(resident)


async def _persist(attempt: Callable[[], Awaitable[T]], give_up_at: float) -> T:
    """A repeat-safe part of the start, again while the connection breaks over it or the server refuses for now."""
    while True:
        try:
            return await attempt()
        except (ConnectionLost, BeatError, ServerError) as error:
            if isinstance(error, ServerError) and not classify(error).is_retryable:
                raise
            if monotonic() > give_up_at:
                raise StoreUnavailable(f"the worker cannot start: {error}") from error
            await asyncio.sleep(START_PAUSE_S)
