"""The server of a data directory: found if it runs, started if it does not, shared by all processes of one user.

One `supervisor` process per directory runs it, elected by a lock; see there how it is kept alive and when it leaves.
This module is the other side: it checks the directory, starts the supervisor, and waits until the server answers.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import quote

import anyio.to_thread

from durable_async.checking import to_ms
from durable_async.errors import ConfigurationError, StoreUnavailable
from durable_async.server import home as states
from durable_async.server.binary import find_binary
from durable_async.server.home import Home, Record, release
from durable_async.server.probe import ALIVE, LOADING, greet
from durable_async.server.process import helper_command, identity, tail
from durable_async.server.supervisor import Settings
from durable_async.types import Duration

DEFAULT_DATA_DIR: Final = ".durable"

Fsync = Literal["always", "everysec", "no"]
"""When the server's log reaches the disk. ``kill -9`` of the server loses nothing with any of them; a power cut loses
nothing with "always", and about the last second with "everysec"."""

_STARTS = 3
"""How often one call starts a supervisor that ends without a word before it reports that."""
_PAUSE_SECONDS = (0.002, 0.02)
"""Between two looks: the first, and the longest."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A running embedded server."""

    url: str
    """``unix://`` and the percent-encoded path of its socket."""
    socket: Path
    pid: int
    """The server's process; another one after a crash, behind the same socket."""
    supervisor_pid: int
    data_dir: Path
    log: Path


class EmbeddedServer:
    """The one server of a data directory. Creating this object starts nothing.

    Args:
        data_dir: where data, socket and log are; created with mode 700 if it does not exist. Relative to the working
            directory at each call.
        idle_exit: the server leaves when nobody was connected for this long (a ``timedelta``, or seconds); None means
            never.
        fsync: see `Fsync`.
        binary: the server program; None searches as `find_binary` does.
        timeout: how long `ensure` waits for an answer; time that the server spends loading its data does not count.

    `idle_exit`, `fsync` and `binary` apply when this call is the one that starts the server: one that runs already
    keeps its own until it leaves.

    Raises:
        ConfigurationError: if `fsync` is none of the three.
        ValueError: if a duration is negative or otherwise none.
    """

    def __init__(
        self,
        data_dir: str | os.PathLike[str] = DEFAULT_DATA_DIR,
        *,
        idle_exit: Duration | None = 60.0,
        fsync: Fsync = "everysec",
        binary: str | os.PathLike[str] | None = None,
        timeout: Duration = 30.0,
    ) -> None:
        if fsync not in ("always", "everysec", "no"):
            raise ConfigurationError(f"fsync must be 'always', 'everysec' or 'no', not {fsync!r}")
        self.data_dir = Path(data_dir)
        self._idle_exit = None if idle_exit is None else to_ms(idle_exit, "idle_exit") / 1000
        self._fsync = fsync
        self._binary = binary
        self._timeout = to_ms(timeout, "timeout") / 1000

    def ensure(self) -> Endpoint:
        """Return the running server, starting it if need be. Blocks; costs well under a millisecond if it runs.

        The server will stay for at least its idle time. Call this again whenever a connection is lost: a crashed server
        comes back behind the same socket by itself, but one that ended together with its killed supervisor does not.

        Raises:
            ConfigurationError: if the directory cannot be used, no server program is found, or it does not run.
            StoreUnavailable: if the server does not answer in time.
        """
        home = Home(str(prepare_directory(self.data_dir)))
        try:
            return self._ensure(home)
        except OSError as error:
            raise ConfigurationError(f"cannot use the data directory {home.directory}: {error}") from error

    async def ensure_async(self) -> Endpoint:
        """As `ensure`, in a thread; a cancelled call returns at once, and the server may start all the same."""
        return await anyio.to_thread.run_sync(self.ensure, abandon_on_cancel=True)

    def stop(self) -> bool:
        """Shut the server down cleanly, whoever uses it, and wait until it has ended; its data stay.

        Returns:
            False if none ran.

        Raises:
            ConfigurationError: if the directory cannot be used.
            StoreUnavailable: if the server does not end in time, or its supervisor is out of reach.
        """
        if not self.data_dir.exists():
            return False
        home = Home(str(prepare_directory(self.data_dir)))
        deadline = time.monotonic() + self._timeout
        was_running = False
        while (lock := home.lock_supervisor()) is None:
            record = home.read()
            if not was_running and record.supervisor_identity == identity(record.supervisor_pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(record.supervisor_pid, signal.SIGTERM)
                    was_running = True
            if time.monotonic() > deadline:
                raise StoreUnavailable(f"the embedded server in {home.directory} did not end; see {home.log_path}")
            time.sleep(0.01)
        release(lock)
        return was_running

    def _ensure(self, home: Home) -> Endpoint:
        seen = home.read().attempt
        starts = 0
        deadline = time.monotonic() + self._timeout
        pause, longest_pause = _PAUSE_SECONDS
        while True:
            # Whoever gets the lock starts a supervisor. Others join its server only: one without may be about to end.
            if (lock := home.lock_supervisor()) is not None:
                self._start(home, lock, seen, starts)
                starts += 1
            record = home.read()
            if record.state == states.READY and (endpoint := _join(home)) is not None:
                return endpoint
            if record.state == states.FAILED and record.attempt != seen:
                raise _failed(home, record)
            if record.state == states.STARTING and record.socket and greet(record.socket) == LOADING:
                deadline = time.monotonic() + self._timeout
            if time.monotonic() > deadline:
                raise StoreUnavailable(
                    f"the embedded server in {home.directory} did not answer within {self._timeout:g} s "
                    f"(it is {record.state}); see {home.log_path}"
                )
            time.sleep(pause)
            pause = min(pause * 1.5, longest_pause)

    def _start(self, home: Home, lock: int, seen: str, starts: int) -> None:
        """Start a supervisor, which inherits the lock; it is detached when this returns."""
        try:
            before = home.read()
            if before.state == states.FAILED and before.attempt != seen:
                return  # another caller's, while we waited: it would only fail for us, too
            if starts == _STARTS:
                raise ConfigurationError(
                    f"the supervisor of the embedded server in {home.directory} ended {starts} times without a word; "
                    f"the last lines of {home.log_path}: {tail(home.log_path)}"
                )
            binary = str(find_binary(self._binary))
            # At once, and not only by the supervisor: whoever still reads "ready" might join a server without one.
            home.write(before._replace(state=states.STARTING, attempt=home.new_attempt(), message=""))
            settings = Settings(binary, self._fsync, self._idle_exit, lock)
            _run_supervisor(home, settings)
        finally:
            os.close(lock)


def _run_supervisor(home: Home, settings: Settings) -> None:
    home.rotate_log()
    log = home.open_log()
    try:
        done = subprocess.run(
            helper_command("supervisor", home.directory, json.dumps(settings._asdict())),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[settings.lock],
            start_new_session=True,
            cwd="/",
            check=False,
        )
    finally:
        os.close(log)
    if done.returncode:
        raise ConfigurationError(
            f"cannot start the supervisor of the embedded server in {home.directory}; "
            f"the last lines of {home.log_path}: {tail(home.log_path)}"
        )


def _join(home: Home) -> Endpoint | None:
    """The server, if it answers and has not decided to leave; it then stays for at least its idle time."""
    with home.using() as is_staying:
        record = home.read()
        if not is_staying or record.state != states.READY or greet(record.socket) != ALIVE:
            return None
    return Endpoint(
        url=socket_url(record.socket),
        socket=Path(record.socket),
        pid=record.pid,
        supervisor_pid=record.supervisor_pid,
        data_dir=Path(home.directory),
        log=Path(home.log_path),
    )


def _failed(home: Home, record: Record) -> ConfigurationError:
    return ConfigurationError(
        f"cannot start the embedded server in {home.directory}: {record.message} Everything it said is in "
        f"{home.log_path}; another server program can be named in $DURABLE_SERVER_BIN"
    )


def socket_url(path: str) -> str:
    """The URL of a unix socket."""
    return f"unix://{quote(os.fsencode(path))}"


def prepare_directory(data_dir: str | os.PathLike[str]) -> Path:
    """Create a data directory, or check that this user can keep a server in it.

    A new one gets mode 700 and a ``.gitignore`` that covers all of it. An existing one keeps its mode.

    Returns:
        Its absolute path without symbolic links: two names of a directory must not mean two servers.

    Raises:
        ConfigurationError: if it is a file, belongs to another user, or cannot be created or written to.
    """
    path = Path(data_dir).expanduser().absolute()
    way_out = "choose another data directory"
    try:
        existed = path.is_dir()
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = path.resolve(strict=True)
        found = path.stat()
    except (FileExistsError, NotADirectoryError) as error:
        blocking = next((above for above in (path, *path.parents) if above.exists()), path)
        raise ConfigurationError(
            f"the data directory {path} cannot be created: {blocking} is a file; remove it, or {way_out}"
        ) from error
    except OSError as error:
        raise ConfigurationError(
            f"the data directory {path} cannot be created: {error.strerror}; {way_out} that you may write to"
        ) from error
    if found.st_uid != os.geteuid():
        raise ConfigurationError(
            f"the data directory {path} belongs to another user (uid {found.st_uid}, you are {os.geteuid()}): "
            f"run as that user, or {way_out}"
        )
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        raise ConfigurationError(f"the data directory {path} is not writable: correct its permissions, or {way_out}")
    if not existed:
        with contextlib.suppress(OSError):  # a convenience; a real problem shows when the lock is opened
            (path / ".gitignore").write_text("*\n", encoding="ascii")
    return path


def ensure_server(
    data_dir: str | os.PathLike[str] = DEFAULT_DATA_DIR,
    *,
    idle_exit: Duration | None = 60.0,
    fsync: Fsync = "everysec",
    binary: str | os.PathLike[str] | None = None,
    timeout: Duration = 30.0,
) -> Endpoint:
    """The running server of `data_dir`, started if need be: `EmbeddedServer.ensure` in one call."""
    return EmbeddedServer(data_dir, idle_exit=idle_exit, fsync=fsync, binary=binary, timeout=timeout).ensure()


async def ensure_server_async(
    data_dir: str | os.PathLike[str] = DEFAULT_DATA_DIR,
    *,
    idle_exit: Duration | None = 60.0,
    fsync: Fsync = "everysec",
    binary: str | os.PathLike[str] | None = None,
    timeout: Duration = 30.0,
) -> Endpoint:
    """As `ensure_server`, without blocking the event loop."""
    server = EmbeddedServer(data_dir, idle_exit=idle_exit, fsync=fsync, binary=binary, timeout=timeout)
    return await server.ensure_async()
