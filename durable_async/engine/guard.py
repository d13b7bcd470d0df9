"""Refuses I/O done directly in a workflow body, while the body is being stepped.

It owns one process-wide audit hook, installed when the first body is stepped, and the set of threads that are stepping
a body right now. It must not know what a loop or a run is: `DeterministicLoop` brackets its stepping with `enter` and
`leave`, and everything outside that bracket (steps, the worker, other threads) is never looked at.

It is a net for mistakes, not a sandbox. What CPython does not audit passes unseen: reading the wall clock, the
environment, ``os.stat`` and ``os.path.exists``, ``os.urandom``, reads and writes on files and sockets already open, and
C libraries with sockets of their own.

An audit hook cannot be removed, so it stays for the life of the process and costs one set test per audited event.
"""

from __future__ import annotations

import sys
import threading
import time
from _thread import get_ident
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any, Final

from durable_async.engine.collector import is_collecting
from durable_async.errors import DeterminismError

_FAMILIES: Final = {
    "socket": "using a socket",
    "subprocess": "starting a process",
    "pty": "starting a process",
    "sqlite3": "opening a database",
    "urllib": "an HTTP request",
    "http": "an HTTP request",
    "ftplib": "using a network service",
    "imaplib": "using a network service",
    "nntplib": "using a network service",
    "poplib": "using a network service",
    "smtplib": "using a network service",
    "telnetlib": "using a network service",
    "syslog": "using a network service",
    "webbrowser": "opening a browser",
    "shutil": "touching the file system",
    "tempfile": "touching the file system",
    "glob": "touching the file system",
    "pathlib": "touching the file system",
    "fcntl": "touching the file system",
    "mmap": "touching the file system",
    "_winapi": "starting a process",
}
"""First part of an audit event's name → what the body did."""

_EVENTS: Final = {
    "open": "opening a file",
    "builtins.input": "reading from the terminal",
    "time.sleep": "blocking the event loop with time.sleep",
    "_thread.start_new_thread": "starting a thread",
    "_thread.start_joinable_thread": "starting a thread",
    "os.system": "starting a process",
    "os.exec": "starting a process",
    "os.fork": "starting a process",
    "os.forkpty": "starting a process",
    "os.posix_spawn": "starting a process",
    "os.spawn": "starting a process",
    "os.startfile": "starting a process",
    "os.startfile/2": "starting a process",
    "os.kill": "signalling a process",
    "os.killpg": "signalling a process",
}
"""Audit events of no family → what the body did."""

_FILE_SYSTEM: Final = frozenset(
    {
        *("chdir", "chflags", "chmod", "chown", "fwalk", "getxattr", "link", "listdir", "listdrives", "listmounts"),
        *("listvolumes", "listxattr", "lockf", "mkdir", "remove", "removexattr", "rename", "rmdir", "scandir"),
        *("setxattr", "symlink", "truncate", "utime", "walk"),
    }
)
"""Audit events of the module ``os`` that touch the file system."""

_TRUSTED: Final = frozenset(
    {
        # Importing lazily in a body is fine: what is imported is code, not input.
        *("importlib", "_frozen_importlib", "_frozen_importlib_external", "zipimport"),
        # Log handlers may open their file late, and tracebacks read source lines.
        *("logging", "linecache"),
        # Zone data is as constant as code, and every aware datetime needs it. (See also `_is_harmless_file`.)
        *("zoneinfo", "pytz", "dateutil"),
        # A debugger stopped in a body is a person's doing.
        *("pdb", "bdb", "pydevd", "_pydevd_bundle", "debugpy"),
    }
)
"""Top-level modules on whose behalf a body may do I/O: any frame of theirs between the I/O and the loop allows it."""

_stepping: set[int] = set()
"""Ids of the threads that are stepping a body now."""
_verdicts: dict[str, str | None] = {}
"""Audit event → what the body did, or None if it is harmless. Bounded by the number of event names there are."""
_boundaries: set[CodeType] = set()
_installed = False
_install_lock = threading.Lock()


def enter(ident: int) -> bool:
    """Begin to guard this thread, whose id it is given; returns what `leave` has to be given."""
    if not _installed:
        _install()
    if ident in _stepping:
        return True
    _stepping.add(ident)
    return False


def leave(ident: int, was_stepping: bool) -> None:
    """Go back to how this thread was guarded before the matching `enter`."""
    if not was_stepping:
        _stepping.discard(ident)


@contextmanager
def stepping() -> Generator[None, None, None]:
    """Guard this thread inside the ``with`` block; may be nested."""
    ident = get_ident()
    was = enter(ident)
    try:
        yield
    finally:
        leave(ident, was)


@contextmanager
def unguarded() -> Generator[None, None, None]:
    """Allow I/O in a body inside the ``with`` block. Whoever uses it vouches that replay sees the same."""
    ident = get_ident()
    was = ident in _stepping
    _stepping.discard(ident)
    try:
        yield
    finally:
        if was:
            _stepping.add(ident)


def is_stepping() -> bool:
    """Whether this thread is stepping a body now, and I/O would be refused."""
    return get_ident() in _stepping


def boundary(code: CodeType) -> None:
    """Declare the function that calls into bodies: frames below it (who runs the worker) say nothing about the body."""
    _boundaries.add(code)


def _install() -> None:
    global _installed  # noqa: PLW0603  # one hook per process
    with _install_lock:
        if not _installed:
            _installed = True
            sys.addaudithook(_hook)
            _cover_what_is_not_audited()


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if _stepping and get_ident() in _stepping:
        try:
            what = _verdicts[event]
        except KeyError:
            what = _verdicts[event] = _judge(event)
        if what is not None:
            _refuse(event, what, args)


def _judge(event: str) -> str | None:
    family, _, rest = event.partition(".")
    if family == "os" and rest in _FILE_SYSTEM:
        return "touching the file system"
    return _EVENTS.get(event) or _FAMILIES.get(family)


def _refuse(event: str, what: str, args: tuple[Any, ...]) -> None:
    """Raise, unless the I/O is done by a finalizer that just happens to run now, or on behalf of a trusted module."""
    if is_collecting():
        return
    if event == "open" and _is_harmless_file(args[0]):
        return
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code not in _boundaries:
        name = frame.f_globals.get("__name__")
        if isinstance(name, str) and name.partition(".")[0] in _TRUSTED:
            return
        frame = frame.f_back
    raise DeterminismError(f"{what} ({event}) in a workflow body cannot be replayed; move it into a @step")


def _is_harmless_file(path: object) -> bool:
    """A file descriptor already open, or zone data, which C code opens without a frame to tell it by."""
    if isinstance(path, int):
        return True
    zoneinfo = sys.modules.get("zoneinfo")
    return zoneinfo is not None and isinstance(path, str) and path.startswith(zoneinfo.TZPATH)


class _Checked:
    """A C function that raises its own audit event first.

    An instance, not a function: a builtin kept as a class attribute does not bind ``self``, and this must not either.
    """

    __slots__ = ("_event", "_function")

    def __init__(self, event: str, function: Callable[..., Any]) -> None:
        self._event = event
        self._function = function

    def __call__(self, *args: Any) -> Any:
        if _stepping:
            _hook(self._event, args)
        return self._function(*args)


def _cover_what_is_not_audited() -> None:
    """Audit what this Python does not yet: ``time.sleep`` before 3.13, threads before 3.12.

    ``from time import sleep`` done before the first body is stepped keeps the bare function.
    """
    if sys.version_info < (3, 13):
        setattr(time, "sleep", _Checked("time.sleep", time.sleep))  # noqa: B010  # not an assignment mypy may check
    if sys.version_info < (3, 12):
        name = "_start_new_thread"
        setattr(threading, name, _Checked("_thread.start_new_thread", getattr(threading, name)))
