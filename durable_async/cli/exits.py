"""Exit codes, and what is said on the way out: one line, whatever happened.

| code | meaning |
|---|---|
| 0 | done |
| 1 | the run failed, or is unknown; the demo's proof failed |
| 2 | usage: an argument, a setting or the store cannot work as they are; trying again does not help |
| 3 | the store cannot be reached; trying again may help |
| 4 | drained, but steps were cut |
| 70 | a bug; `DURABLE_DEBUG=1` shows the traceback |
| 128 + n | ended by signal n; 130 also after Ctrl-C |
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import traceback
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

import click

from durable_async.errors import (
    ConfigurationError,
    DurableError,
    IncompatibleServer,
    InvalidInput,
    PayloadError,
    StoreUnavailable,
    UnknownWorkflow,
)

T = TypeVar("T")

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
UNREACHABLE: Final = 3
CUT: Final = 4
BUG: Final = 70
BROKEN_PIPE: Final = 128 + 13

_USAGE_ERRORS: Final = (ConfigurationError, IncompatibleServer, InvalidInput, PayloadError, UnknownWorkflow)


class CliError(Exception):
    """What a command cannot do, as one sentence for a person, and the exit code it means."""

    def __init__(self, message: str, code: int = USAGE) -> None:
        super().__init__(message)
        self.code = code


def code_of(error: BaseException) -> int:
    """The exit code that an exception means."""
    if isinstance(error, CliError):
        return error.code
    if isinstance(error, click.ClickException):
        return USAGE
    if isinstance(error, StoreUnavailable):
        return UNREACHABLE
    if isinstance(error, _USAGE_ERRORS):
        return USAGE
    if isinstance(error, DurableError | TimeoutError):
        return FAILED
    if isinstance(error, OSError):
        return USAGE
    return BUG


def complain(error: BaseException, command: str) -> int:
    """Writes one line about an exception to standard error; returns its exit code."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    code = code_of(error)
    if isinstance(error, click.ClickException):
        text = error.format_message()
    elif code == BUG:
        text = f"{type(error).__name__}: {error} (a bug; set DURABLE_DEBUG=1 for the traceback)"
    else:
        text = str(error) or type(error).__name__
    say(f"{command}: {text}")
    if os.environ.get("DURABLE_DEBUG"):
        traceback.print_exception(error, file=sys.stderr)
    return code


def say(text: str) -> None:
    """One line on standard error; nobody needs to read it."""
    try:
        sys.stderr.write(f"{one_line(text)}\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        return


def one_line(text: str) -> str:
    """`text` with everything that could break the line or steer a terminal made visible.

    Line breaks followed by indentation become one blank; other control characters, and those that turn the direction
    of writing, become their escapes.
    """
    text = " ".join(part for part in (line.strip() for line in text.splitlines()) if part)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def run_async(coroutine: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run`, on uvloop if it is installed."""
    factory = None
    with contextlib.suppress(ImportError):
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(coroutine)
