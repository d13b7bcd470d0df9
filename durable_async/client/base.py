"""What every part of a `Durable` stands on: its settings, its workflows, and the connection while it is entered."""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Any, Final, Self

from durable_async.checking import check_queue, to_ms
from durable_async.client.checks import check_parts
from durable_async.client.registration import collect
from durable_async.client.session import Session
from durable_async.client.settings import Settings
from durable_async.codec import HARD_LIMIT, Codec, MsgpackCodec
from durable_async.engine.spec import WorkflowSpec
from durable_async.types import Duration, Limits, days
from durable_async.workflow.definitions import Workflow

RETENTION: Final = days(3)
LIMITS: Final = Limits()


class Base:
    """Opened with the first entrance, closed with the last. `Durable` says what the arguments mean."""

    def __init__(
        self,
        url: str | None = None,
        *,
        workflows: Iterable[Any] = (),
        namespace: str | None = None,
        codec: Codec | None = None,
        retention: Duration = RETENTION,
        limits: Limits | None = None,
        lifespan: Any = None,
        settings: Settings | None = None,
    ) -> None:
        self.settings = settings if settings is not None else Settings.from_env()
        self.codec: Codec = codec if codec is not None else MsgpackCodec()
        self.limits = limits if limits is not None else LIMITS
        check_parts(self.settings, self.codec, self.limits, lifespan)
        self.namespace = check_queue(namespace or self.settings.namespace or "durable", "namespace")
        self._read_limit = max(HARD_LIMIT, 2 * self.limits.payload)
        self._retention_ms = to_ms(retention, "retention")
        self._workflows = collect(workflows)
        self._worker_lifespan = lifespan
        self._session = Session(url or self.settings.url, self.namespace)

    # ------------------------------------------------------------------ life

    async def __aenter__(self) -> Self:
        await self._session.enter()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.leave()

    def _move(self, *, url: str | None = None, namespace: str | None = None, is_embedded: bool = False) -> None:
        # For the command line: the same object at another store, before it is opened, because steps may use it, too.
        self.namespace = check_queue(namespace or self.namespace, "namespace")
        self._session = Session(None if is_embedded else url or self._session.url, self.namespace)

    @property
    def url(self) -> str | None:
        """Where the store is, without its password; None for an embedded server that has not been started."""
        return self._session.shown_url

    @property
    def workflows(self) -> dict[str, Workflow[Any, Any]]:
        """The registered workflows by name."""
        return dict(self._workflows)

    def register(self, *workflows: Any) -> None:
        """Adds workflows or modules; workers that were started before do not learn of them."""
        self._workflows = collect([*self._workflows.values(), *workflows])

    def _specs(self) -> dict[str, WorkflowSpec]:
        return {name: workflow.spec for name, workflow in self._workflows.items()}
