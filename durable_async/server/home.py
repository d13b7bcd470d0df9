"""The files of one data directory, and who may touch them.

============== =====================================================================================================
supervisor.lock flocked by the one supervisor as long as it lives; who holds it is the only one to start a server
server.lock     flocked by the server itself and its children: inherited, so that no crash of a helper can free it
last-use        touched, under a shared flock, by whoever asks for the server; the supervisor locks it to leave
server.json     the `Record`: replaced atomically by the holder of supervisor.lock, read by all
server.log      what supervisor and server say (and server.log.1, the one before)
server.sock     the socket, unless the directory's path is too long for one
appendonlydir/  the data
============== =====================================================================================================

A lock file is never removed: somebody may be about to lock the removed one.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

STARTING = "starting"
READY = "ready"
STOPPING = "stopping"
STOPPED = "stopped"
FAILED = "failed"

SOCKET_PATH_BYTES = 107 if sys.platform == "linux" else 103
"""The longest path of a unix socket: the kernel's field is one byte longer, for a NUL."""

LOG_BYTES = 1024 * 1024
"""A log longer than this is set aside when a supervisor starts."""


class Record(NamedTuple):
    """What the supervisor last said about its server."""

    state: str = STOPPED
    attempt: str = ""
    """Differs between any two supervisors: tells an old failure from a new one."""
    socket: str = ""
    pid: int = 0
    identity: str = ""
    """When the process `pid` started, see `process.identity`."""
    supervisor_pid: int = 0
    supervisor_identity: str = ""
    message: str = ""
    """Why it failed."""


class Home:
    """One data directory.

    Args:
        directory: an absolute path of a directory that exists.
    """

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.log_path = os.path.join(directory, "server.log")
        self._supervisor_lock = os.path.join(directory, "supervisor.lock")
        self._server_lock = os.path.join(directory, "server.lock")
        self._last_use = os.path.join(directory, "last-use")
        self._record = os.path.join(directory, "server.json")

    def read(self) -> Record:
        """The record; an empty one if there is none, or none that makes sense."""
        try:
            with open(self._record, encoding="ascii") as file:
                fields: Any = json.load(file)
            return Record(**{name: fields[name] for name in Record._fields})
        except (OSError, ValueError, KeyError, TypeError):
            return Record()

    def write(self, record: Record) -> None:
        """Replace the record. Only the holder of the supervisor's lock may.

        Raises:
            OSError: if the directory is gone or the disk is full.
        """
        passing = f"{self._record}.{os.getpid()}"
        with open(passing, "w", encoding="ascii") as file:
            json.dump(record._asdict(), file)
        os.replace(passing, self._record)

    def lock_supervisor(self) -> int | None:
        """Try to become the one that supervises: a locked file descriptor, or None if there is one already.

        Raises:
            OSError: if the lock file cannot be opened.
        """
        return _try_lock(self._supervisor_lock)

    def lock_server(self) -> int | None:
        """Try to get the lock that a server inherits; None while a server, or a child of one, lives."""
        return _try_lock(self._server_lock)

    def is_lost(self, lock: int) -> bool:
        """Whether the directory was removed, or replaced, under the holder of `lock`."""
        try:
            found = os.stat(self._supervisor_lock)
        except OSError:
            return True
        return not os.path.samestat(found, os.fstat(lock))

    @contextlib.contextmanager
    def using(self) -> Iterator[bool]:
        """Note a use; yields False, and notes nothing, while the supervisor is deciding to leave.

        Whoever finds the server ready inside this block has it for at least the whole idle time.
        """
        with _flocked(self._last_use, fcntl.LOCK_SH) as got:
            if got:
                os.utime(self._last_use)
            yield got

    @contextlib.contextmanager
    def deciding(self) -> Iterator[bool]:
        """Keep everybody from using the server while deciding to leave; yields False if somebody is at it."""
        with _flocked(self._last_use, fcntl.LOCK_EX) as got:
            yield got

    def last_use(self) -> int:
        """Changes with every use. Compare it only with itself: it is a wall-clock time."""
        try:
            return os.stat(self._last_use).st_mtime_ns
        except OSError:
            return 0

    def open_log(self) -> int:
        """Open the log for appending, as a file descriptor.

        Raises:
            OSError: if it cannot be opened.
        """
        return os.open(self.log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def rotate_log(self) -> None:
        """Set a long log aside, replacing the one set aside before."""
        with contextlib.suppress(FileNotFoundError):
            if os.path.getsize(self.log_path) > LOG_BYTES:
                os.replace(self.log_path, f"{self.log_path}.1")

    def log_size(self) -> int:
        """Bytes in the log; 0 if there is none."""
        try:
            return os.path.getsize(self.log_path)
        except OSError:
            return 0

    def new_attempt(self) -> str:
        """A value that no earlier supervisor of this directory had."""
        return f"{os.getpid()}-{time.time_ns()}"


def _try_lock(path: str, kind: int = fcntl.LOCK_EX) -> int | None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


@contextlib.contextmanager
def _flocked(path: str, kind: int) -> Iterator[bool]:
    descriptor = _try_lock(path, kind)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            os.close(descriptor)


def release(lock: int) -> None:
    """Free a lock for good, even if a process forked meanwhile still has the descriptor."""
    fcntl.flock(lock, fcntl.LOCK_UN)
    os.close(lock)
