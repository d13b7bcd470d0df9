"""The part of a `Durable` that applications mount: its dashboard."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, cast

from durable_async.client.base import Base
from durable_async.errors import ConfigurationError

if TYPE_CHECKING:
    from durable_async.client.durable import Durable


class Mounting(Base):
    """What is served to browsers."""

    def dashboard(
        self,
        auth: str | Callable[[Any], bool | Awaitable[bool]] | None = None,
        read_only: bool = True,
        *,
        show_payloads: bool = False,
        hosts: Iterable[str] = (),
    ) -> Any:
        """An ASGI app that shows runs, queues, workers, schedules and open questions:
        ``app.mount("/durable", durable.dashboard())``.

        The `Durable` has to be open in the loop that serves, as it is with `lifespan`; until then requests are answered
        with 503. Pages are rendered here, read at most 100 rows, and fetch nothing from elsewhere.

        Args:
            auth: a token of 16 characters or more, which people type in once and programs send as
                ``Authorization: Bearer``; or a function of the request (starlette's) that returns True, or an awaitable
                of it, for those who are let in. None (default) lets in this machine alone, and nothing that came
                through a proxy that says so.
            read_only: False also cancels, terminates and retries runs, answers questions, and pauses and resumes queues
                and schedules.
            show_payloads: True also shows inputs, outputs, contexts, questions and what errors say.
            hosts: names, without a port, under which it may be reached; by default any with `auth`, and ``localhost``,
                ``127.0.0.1`` and ``[::1]`` without.

        Raises:
            ConfigurationError: if the token is too short, `auth` is something else, or the extra `web` is not
                installed.
        """
        try:
            from durable_async.web.app import make_dashboard
        except ModuleNotFoundError as error:
            if (error.name or "").startswith("durable_async"):
                raise
            raise ConfigurationError(
                f"the dashboard needs the package {error.name!r}; install it with: pip install 'durable-async[web]'"
            ) from None
        return make_dashboard(
            cast("Durable", self), auth=auth, read_only=read_only, show_payloads=show_payloads, hosts=hosts
        )
