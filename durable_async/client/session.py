"""The connection of a `Durable`: opened with the first entrance, closed with the last."""

from __future__ import annotations

import asyncio
import os
from _thread import get_ident

from durable_async.client.listener import Listener
from durable_async.engine.swapping import STEPPED
from durable_async.errors import ConfigurationError, StoreUnavailable
from durable_async.server.embedded import ensure_server_async
from durable_async.store.connect import ConnectionSpec, check_server, mask_url
from durable_async.store.keys import Keys
from durable_async.store.retry import Caller
from durable_async.store.scripts import FORMS, with_source
from durable_async.store.store import Store
from durable_async.store.transport import open_transport
from durable_async.store.transport_base import Transport, is_on, process

DEADLINE_S = 30.0
"""How long a call keeps trying while the store is in trouble."""


class Session:
    """What is open while a `Durable` is entered."""

    def __init__(self, url: str | None, namespace: str) -> None:
        self.url = url
        """With its password; None for an embedded server."""
        self._spec = ConnectionSpec.from_url(url) if url is not None else None
        self._entered = 0
        self._lock: asyncio.Lock | None = None
        self._transport: Transport | None = None
        self._caller: Caller | None = None
        self._store: Store | None = None
        self._listener: Listener | None = None
        self._pid = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self.keys = Keys(namespace)

    @property
    def shown_url(self) -> str | None:
        """The URL without its password."""
        return None if self.url is None else mask_url(self.url)

    @property
    def spec(self) -> ConnectionSpec:
        """How to connect; known once entered."""
        if self._spec is None:
            raise ConfigurationError("the Durable is not open: use `async with durable:` first")
        return self._spec

    @property
    def store(self) -> Store:
        """The store, if it is open in this process and loop.

        Raises:
            StoreUnavailable: if it is not.
        """
        self._check_usable()
        assert self._store is not None
        return self._store

    @property
    def listener(self) -> Listener:
        """Who waits for results."""
        self._check_usable()
        assert self._listener is not None
        return self._listener

    def _check_usable(self) -> None:
        thread = self._thread
        # A body has a loop of its own, stepped in the thread of the other one.
        if self._store is None or process.pid != self._pid or thread in STEPPED or not is_on(self._loop, thread):
            self._refuse()

    def _refuse(self) -> None:
        if self._store is None:
            raise StoreUnavailable("the Durable is not open; use it inside `async with durable:`")
        if process.pid != self._pid:
            raise StoreUnavailable("the Durable was opened before a fork; open it again in this process")
        if asyncio.get_running_loop() is not self._loop:
            raise StoreUnavailable("the Durable was opened in another event loop; open one for this loop")

    async def enter(self) -> None:
        """Opens with the first call.

        Raises:
            StoreUnavailable, IncompatibleServer, ConfigurationError: if the server cannot be used.
        """
        if self._entered:
            self._check_usable()
            self._entered += 1
            return
        if self._lock is None:
            self._lock = asyncio.Lock()
        async with self._lock:
            if self._entered:
                self._entered += 1
                return
            await self._open()
            self._entered = 1

    async def _open(self) -> None:
        if self._spec is None:
            endpoint = await ensure_server_async()
            self._spec = ConnectionSpec.from_url(endpoint.url)
        transport = await open_transport(self._spec, role="client", wait_s=5.0)
        try:
            await check_server(transport)
        except BaseException:
            await transport.close()
            raise
        self._transport = transport
        self._caller = Caller(transport, on_noscript=with_source, forms=FORMS)
        self._store = Store(self._caller, self.keys, deadline_s=DEADLINE_S)
        self._listener = Listener(self._spec, self._store)
        self._pid = os.getpid()
        self._loop = asyncio.get_running_loop()
        self._thread = get_ident()

    async def leave(self) -> None:
        """Closes with the last call."""
        self._entered = max(0, self._entered - 1)
        if self._entered > 0:
            return
        listener, caller, transport = self._listener, self._caller, self._transport
        self._listener = self._caller = self._transport = self._store = None
        self._lock = None
        if os.getpid() != self._pid:
            return  # in a forked child: connection and stream are its parent's
        if listener is not None:
            await listener.close()
        if caller is not None:
            caller.close()
        if transport is not None:
            await transport.close()
        if self.url is None:
            self._spec = None
