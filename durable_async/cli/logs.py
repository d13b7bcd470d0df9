"""Logs of a worker on standard error: for eyes (`rich`), for files (`plain`), for machines (`json`).

Each record is one line. Exceptions are shown by type and place; their text, which may quote a payload, is shown for our
own errors and the system's only.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Literal

import orjson
from rich.console import Console
from rich.logging import RichHandler
from rich.text import Text

from durable_async.cli.exits import one_line
from durable_async.errors import DurableError

LogFormat = Literal["rich", "plain", "json"]
FORMATS: Final = ("rich", "plain", "json")

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


def set_up(log_format: str | None) -> None:
    """Sends the logs of the process to standard error; None is `rich` on a terminal and `plain` elsewhere."""
    # A log that cannot be written, since nobody reads it any more, must not end a worker.
    logging.raiseExceptions = False
    chosen = log_format or ("rich" if _is_terminal() else "plain")
    handler: logging.Handler
    if chosen == "rich":
        handler = RichHandler(console=LogConsole(stderr=True), show_path=False, highlighter=None)
        handler.setFormatter(_Formatter())
        handler.render_message = _render  # type: ignore[method-assign]
    else:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(JsonFormatter() if chosen == "json" else PlainFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)


class LogConsole(Console):
    """A console whose broken pipe is an error to the log handler, not the end of the program."""

    def on_broken_pipe(self) -> None:
        """Rich would exit."""
        raise OSError("nobody reads the log")


class _Formatter(logging.Formatter):
    """The message, with its exception, on one line."""

    def format(self, record: logging.LogRecord) -> str:
        return message_of(record)


class PlainFormatter(logging.Formatter):
    """``2026-01-01T09:00:00.000Z INFO durable_async.worker [123] message``."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        return f"{_time(record)} {record.levelname} {record.name} [{record.process}] {message_of(record)}"


class JsonFormatter(logging.Formatter):
    """One JSON object: time, level, logger, pid, message, and for exceptions error and trace."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "pid": record.process,
            "message": one_line(record.getMessage()),
        }
        if record.exc_info and record.exc_info[0] is not None:
            line["error"], line["trace"] = _error(record.exc_info), _trace(record.exc_info)
        return orjson.dumps(line).decode()


def message_of(record: logging.LogRecord) -> str:
    """The message and where its exception came from, as one line."""
    text = one_line(record.getMessage())
    if record.exc_info and record.exc_info[0] is not None:
        text += f": {_error(record.exc_info)}; {' < '.join(reversed(_trace(record.exc_info)))}"
    return text


def _render(record: logging.LogRecord, message: str) -> Text:
    return Text(message)


def _error(found: ExcInfo) -> str:
    kind, error, _ = found
    name = kind.__name__ if kind is not None else ""
    return one_line(f"{name}: {error}") if isinstance(error, DurableError | OSError) else name


def _trace(found: ExcInfo) -> list[str]:
    frames = traceback.extract_tb(found[2])[-8:]
    return [one_line(f"{frame.name} ({os.path.basename(frame.filename)}:{frame.lineno})") for frame in frames]


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def _is_terminal() -> bool:
    try:
        return sys.stderr.isatty()
    except ValueError:
        return False
