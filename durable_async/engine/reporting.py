"""Where errors go that nobody else can see: those of plain callbacks, and of tasks that nobody awaited.

It owns the exception handler of a loop. Such an error never changes what a run does, because the moment at which a task
is found to be unawaited depends on when it is freed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from durable_async.engine.no_io import NoIOLoop

logger = logging.getLogger("durable_async.engine")

KEPT = 100
Handler = Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object]


class ReportingLoop(NoIOLoop):
    """The exception handler of a loop that is silent once closed."""

    def __init__(self) -> None:
        self.errors: list[BaseException] = []
        """The first exceptions raised by plain callbacks (not by tasks), `KEPT` at most. All are reported as well."""
        self._is_closed = False
        self._exception_handler: Handler | None = None

    def is_closed(self) -> bool:
        """Whether the loop was closed or abandoned."""
        return self._is_closed

    def set_exception_handler(self, handler: Any) -> None:
        """Report to ``handler(loop, context)`` instead of the log; None restores the log."""
        self._exception_handler = handler

    def get_exception_handler(self) -> Any:
        """The handler set, or None."""
        return self._exception_handler

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Report an error that nobody else can see. Silent once the loop is closed or being abandoned."""
        if self._is_closed:
            return
        if self._exception_handler is None:
            self.default_exception_handler(context)
            return
        try:
            self._exception_handler(self, context)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001  # as asyncio does
            self.default_exception_handler({"message": "the exception handler raised", "exception": error})

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Log the error."""
        error = context.get("exception")
        logger.error(context.get("message", "error in a workflow"), exc_info=error if error is not None else False)

    def _report(self, message: str, error: BaseException | None, **details: Any) -> None:
        self.call_exception_handler({"message": message, "exception": error, **details})
