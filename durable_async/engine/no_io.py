"""The part of an event loop that a workflow body may not use.

It owns the refusals: every method of ``AbstractEventLoop`` that reaches outside the process, another thread, or another
run of the loop raises `DeterminismError` and names itself. It must not know how a loop schedules.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, NoReturn

from durable_async.errors import DeterminismError

IO_METHODS: Final = (
    *("run_in_executor", "set_default_executor", "getaddrinfo", "getnameinfo"),
    *("create_connection", "create_server", "create_unix_connection", "create_unix_server"),
    *("create_datagram_endpoint", "connect_accepted_socket", "start_tls", "sendfile", "sock_sendfile"),
    *("connect_read_pipe", "connect_write_pipe", "subprocess_shell", "subprocess_exec"),
    *("add_reader", "remove_reader", "add_writer", "remove_writer"),
    *("sock_recv", "sock_recv_into", "sock_recvfrom", "sock_recvfrom_into"),
    *("sock_sendall", "sock_sendto", "sock_connect", "sock_accept"),
    *("add_signal_handler", "remove_signal_handler"),
)
"""Methods refused because they do I/O or leave the thread."""


def _refusing(name: str) -> Callable[..., NoReturn]:
    def refuse(self: object, *args: object, **kwargs: object) -> NoReturn:
        raise DeterminismError(f"loop.{name}() in a workflow body cannot be replayed; move it into a @step")

    refuse.__name__ = name
    refuse.__qualname__ = f"NoIOLoop.{name}"
    return refuse


class NoIOLoop(asyncio.AbstractEventLoop):
    """An event loop whose I/O methods refuse. They raise when called, not when awaited."""

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

    def get_debug(self) -> bool:
        """False: asyncio's debug mode measures wall time."""
        return False

    def set_debug(self, enabled: bool) -> None:
        """Do nothing: asyncio's debug mode measures wall time."""


for _name in IO_METHODS:
    setattr(NoIOLoop, _name, _refusing(_name))
