"""The part of an event loop that a workflow body may not use.

It owns the refusals: every method of ``AbstractEventLoop`` that reaches outside the process, another thread, or another
run of the loop raises `DeterminismError` and names itself. It must not know how a loop schedules.
"""

from __future__ import annotations

import asyncio
from typing import Any, NoReturn

from durable_async.errors import DeterminismError


class Refused:
    """A method that refuses, and says its name."""

    __slots__ = ("name",)

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __call__(self, *args: object, **kwargs: object) -> NoReturn:
        """Raise DeterminismError, whatever is passed."""
        raise DeterminismError(f"loop.{self.name}() in a workflow body cannot be replayed; move it into a @step")


class NoIOLoop(asyncio.AbstractEventLoop):
    """An event loop whose I/O methods refuse. They raise when called, not when awaited."""

    run_in_executor: Any = Refused()
    set_default_executor: Any = Refused()
    getaddrinfo: Any = Refused()
    getnameinfo: Any = Refused()
    create_connection: Any = Refused()
    create_server: Any = Refused()
    create_unix_connection: Any = Refused()
    create_unix_server: Any = Refused()
    create_datagram_endpoint: Any = Refused()
    connect_accepted_socket: Any = Refused()
    start_tls: Any = Refused()
    sendfile: Any = Refused()
    sock_sendfile: Any = Refused()
    connect_read_pipe: Any = Refused()
    connect_write_pipe: Any = Refused()
    subprocess_shell: Any = Refused()
    subprocess_exec: Any = Refused()
    add_reader: Any = Refused()
    remove_reader: Any = Refused()
    add_writer: Any = Refused()
    remove_writer: Any = Refused()
    sock_recv: Any = Refused()
    sock_recv_into: Any = Refused()
    sock_recvfrom: Any = Refused()
    sock_recvfrom_into: Any = Refused()
    sock_sendall: Any = Refused()
    sock_sendto: Any = Refused()
    sock_connect: Any = Refused()
    sock_accept: Any = Refused()
    add_signal_handler: Any = Refused()
    remove_signal_handler: Any = Refused()

    def run_forever(self) -> None:
        """Refuse: a deterministic loop is stepped by whoever owns it."""
        raise RuntimeError("a deterministic loop is stepped with run_ready(), it does not run by itself")

    def run_until_complete(self, future: object) -> NoReturn:
        """Refuse: a deterministic loop is stepped by whoever owns it."""
        raise RuntimeError("a deterministic loop is stepped with run_ready(), it does not run by itself")

    def stop(self) -> None:
        """Refuse: a body ends by returning."""
        raise RuntimeError("a deterministic loop cannot be stopped; return from the workflow instead")

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Do nothing: there is no executor."""

    def set_task_factory(self, factory: Any) -> None:
        """Refuse another kind of task.

        Raises:
            DeterminismError: if `factory` is not None: tasks must be of the kind that hashes deterministically.
        """
        if factory is not None:
            raise DeterminismError("a workflow body cannot have a task factory of its own")

    def get_task_factory(self) -> None:
        """None, as there is no factory."""

    get_debug: Any = bool
    """False, as `bool()` is: asyncio's debug mode measures wall time. All futures ask, so it is no Python function."""

    def set_debug(self, enabled: bool) -> None:
        """Do nothing: asyncio's debug mode measures wall time."""
