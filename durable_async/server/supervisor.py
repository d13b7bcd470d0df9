"""The process that keeps one embedded server running, and ends it when nobody needs it any more.

It holds ``supervisor.lock`` of its data directory as long as it lives, so there is one per directory. It starts the
server, restarts it after a crash, and leaves with it on SIGTERM or when it was idle long enough. It never touches the
data. Should it be killed itself, Linux ends the server with it (a clean shutdown); wherever a server survives its
supervisor, the next supervisor shuts it down before it starts its own: two servers on one directory would ruin the
data, and ``server.lock``, which every server inherits, excludes them.

Run by `durable_async.server.embedded`, or by hand: ``python -m durable_async.server.supervisor DIRECTORY``.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import time
from typing import NamedTuple

from durable_async.server import home as states
from durable_async.server.home import Home, Record
from durable_async.server.idle import IdleWatch
from durable_async.server.probe import ALIVE, LOADING, Probe, Refused, greet, info
from durable_async.server.process import describe_exit, identity, reap, server_command, spawn, tail
from durable_async.server.sockets import choose_socket, remove_socket

START_SECONDS = 10.0
"""How long a server may run without answering or saying that it is loading; loading may take for ever."""
FIRST_TRIES = 5
"""Failed starts before giving up on a server that never answered: a broken program or directory."""
LATER_TRIES = 60
"""Crashes in a row before giving up on one that once did: at 5 s each, five minutes to free a full disk."""
QUICK_SECONDS = 10.0
"""A server that crashes within this time after its start crashed "in a row"."""
BACKOFF_SECONDS = (0.05, 5.0)
"""The wait before the second start in a row, doubled for each further one, and its limit."""
SHUTDOWN_SECONDS = 10.0
"""How long a clean shutdown may take before the server is killed."""
LOOK_SECONDS = 5.0
"""The longest time between two looks at a server that runs."""

TORN = b"aof-load-truncated is enabled"
"""In the log of a server that found its file torn."""

# Why watching a server ended.
CRASHED, LEFT, UNREACHABLE, IDLE, LOST, ASKED = "crashed", "left", "unreachable", "idle", "lost", "asked"


class Settings(NamedTuple):
    """How to run a server; travels as JSON on the command line."""

    binary: str
    fsync: str = "everysec"
    idle_exit: float | None = 60.0
    """Seconds without any use after which to leave; None stays."""
    lock: int = -1
    """The descriptor of the supervisor's lock, inherited from whoever started this process."""


class GiveUp(Exception):
    """The server cannot be run; the text says why."""


class Bell:
    """Waits for a time or a signal, whichever is first, and remembers whether it was asked to end."""

    def __init__(self) -> None:
        self.asked = False
        self._ear, rope = os.pipe()
        os.set_blocking(self._ear, False)
        os.set_blocking(rope, False)
        signal.set_wakeup_fd(rope, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    def wait(self, seconds: float) -> None:
        """Return after `seconds`, or at once when a signal arrives, or has since the last call."""
        if select.select([self._ear], [], [], seconds)[0]:
            os.read(self._ear, 4096)

    def _ask(self, number: int, frame: object) -> None:
        self.asked = True


class Supervisor:
    """Runs one server after the other until there is a reason not to. One use only.

    Args:
        lock: a descriptor that holds the supervisor's lock of `home`.
    """

    def __init__(self, home: Home, settings: Settings, lock: int) -> None:
        self._home = home
        self._settings = settings
        self._lock = lock
        self._bell = Bell()
        self._log_start = home.log_size()
        self._record = Record()
        self._pid = 0
        self._torn_at = 0
        """From where on the log is searched for `TORN`; -1 once a new file was asked for."""
        self._answered = False
        """Whether any server of this supervisor ever answered."""

    def run(self) -> int:
        """Supervise; returns the exit status of the process."""
        before = self._home.read()
        attempt = before.attempt if before.state == states.STARTING else self._home.new_attempt()
        me = os.getpid()
        # Until it is known to have ended, the record keeps telling how to find an earlier supervisor's server.
        self._record = before._replace(
            state=states.STARTING, attempt=attempt, supervisor_pid=me, supervisor_identity=identity(me), message=""
        )
        try:
            self._home.write(self._record)
            end_leftover(self._home, before, self._bell)
            self._record = self._record._replace(socket=choose_socket(self._home.directory))
            self._write(states.STARTING)
            ending = self._serve()
        except GiveUp as error:
            return self._fail(str(error))
        except OSError as error:
            return self._fail(f"{error.strerror or error}: {error.filename}" if error.filename else str(error))
        say(f"leaving: {ending}")
        if ending != LOST:  # else the path may already be another supervisor's
            remove_socket(self._record.socket, self._home.directory)
            self._write(states.STOPPED)
        return 0

    def _serve(self) -> str:
        """Run servers until one ends for a reason that is not a crash, which is returned."""
        failures = 0
        while True:
            started_at = time.monotonic()
            ending = self._run_server()
            if ending not in (CRASHED, UNREACHABLE):
                return ending
            failures = failures + 1 if time.monotonic() - started_at < QUICK_SECONDS else 1
            self._give_up_after(failures)
            shortest, longest = BACKOFF_SECONDS
            resume_at = time.monotonic() + min(longest, shortest * 2 ** min(failures - 1, 20))
            while (left := resume_at - time.monotonic()) > 0:
                if self._bell.asked:
                    return ASKED
                self._bell.wait(left)

    def _give_up_after(self, failures: int) -> None:
        if failures >= (LATER_TRIES if self._answered else FIRST_TRIES):
            raise GiveUp(f"the server ended {failures} times in a row, right after its start. {self._last_lines()}")

    def _run_server(self) -> str:
        """Start one server, watch it to its end or end it, and say which it was."""
        server_lock = wait_for_server_lock(self._home, self._pid, self._bell)
        socket = self._record.socket
        files = {"unixsocket": socket, "unixsocketperm": "700"}
        durability = {"appendonly": "yes", "appendfsync": self._settings.fsync}
        command = server_command(self._settings.binary, self._home.directory, {**files, **durability})
        self._torn_at = self._home.log_size()
        try:
            self._pid = spawn(command, keep=[server_lock])
        finally:
            os.close(server_lock)
        self._write(states.STARTING, pid=self._pid)
        ending = self._await_answer(socket) or self._watch(socket)
        if ending == CRASHED:
            return CRASHED
        if ending != LEFT:
            self._end_server(harshly=ending == LOST)
        return ending

    def _await_answer(self, socket: str) -> str | None:
        """Wait until the server serves; returns None then, else why it does not."""
        deadline = time.monotonic() + START_SECONDS
        pause = 0.002
        while True:
            if (status := reap(self._pid)) is not None:
                say(f"the server {describe_exit(status)} before it answered")
                return CRASHED
            if self._bell.asked:
                return ASKED
            condition = greet(socket) if os.path.exists(socket) else ""
            try:
                is_whole = condition == ALIVE and self._is_whole(socket)
            except Refused as error:
                # Nobody has written to it yet: the next one cuts off what is left of the half, if this one has not.
                say(f"the server's file was torn, and it could write no new one: it is started again. {error}")
                self._end_server(harshly=True)
                return CRASHED
            if is_whole:
                self._answered = True
                self._write(states.READY, pid=self._pid)
                return None
            if condition in (LOADING, ALIVE):
                pause = 0.05
                deadline = time.monotonic() + START_SECONDS
            elif time.monotonic() > deadline:
                return self._never_answered()
            self._bell.wait(pause)

    def _is_whole(self, socket: str) -> bool:
        """Whether the server's file has no torn end. Else it is given a new one, before anybody writes to it.

        Redis up to 8.2 keeps half a transaction at the end of a file that it cuts back, and executes it at its next
        start, with what was written behind it.

        Raises:
            Refused: if it cannot write a new one. Nobody may use it then.
        """
        try:
            with Probe(socket, timeout=1.0) as probe:
                if self._torn_at >= 0:
                    if not said_since(self._home.log_path, self._torn_at, TORN):
                        return True
                    say("the server's file was torn: it writes a new one")
                    ask_for_new_file(probe)
                    self._torn_at = -1
                found = info(probe, "persistence")
        except OSError:
            return False  # it is slow, or has ended: whoever called will see, and ask again
        if not found.get("aof_rewrite_in_progress") == found.get("aof_rewrite_scheduled") == "0":
            return False
        if found.get("aof_last_bgrewrite_status") != "ok":
            raise Refused(self._last_lines())
        return True

    def _never_answered(self) -> str:
        self._end_server(harshly=True)
        if self._answered:
            return CRASHED
        raise GiveUp(f"the server did not answer within {START_SECONDS:g} s. {self._last_lines()}")

    def _watch(self, socket: str) -> str:
        """Look after a server that serves; returns why it no longer does, or no longer should."""
        idle_exit = self._settings.idle_exit
        pause = LOOK_SECONDS if idle_exit is None else min(LOOK_SECONDS, max(idle_exit / 4, 0.01))
        watch = IdleWatch(self._home, socket)
        missing = False
        try:
            while True:
                if (status := reap(self._pid)) is not None:
                    say(f"the server {describe_exit(status)}")
                    return LEFT if status == 0 else CRASHED  # 0: somebody told the server itself to shut down
                if self._bell.asked:
                    return ASKED
                if self._home.is_lost(self._lock):
                    return LOST
                if not os.path.exists(socket):
                    # Cleaners of temporary directories remove old sockets; so does a server that is about to exit.
                    if missing:
                        return UNREACHABLE
                    missing = True
                    self._bell.wait(1.0)
                    continue
                missing = False
                if idle_exit is not None and watch.idle_for() >= idle_exit and self._may_leave(watch, idle_exit):
                    return IDLE
                self._bell.wait(pause)
        finally:
            watch.close()

    def _may_leave(self, watch: IdleWatch, idle_exit: float) -> bool:
        """Look again while nobody can begin to use the server, and announce the end before anybody can."""
        with self._home.deciding() as alone:
            if not alone or watch.idle_for() < idle_exit:
                return False
            self._write(states.STOPPING)
            return True

    def _end_server(self, *, harshly: bool) -> None:
        """End the server, cleanly unless `harshly`; a clean end removes its socket, whoever's that is by now."""
        if not harshly and self._record.state != states.STOPPING:
            self._write(states.STOPPING)
        os.kill(self._pid, signal.SIGKILL if harshly else signal.SIGTERM)
        deadline = time.monotonic() + SHUTDOWN_SECONDS
        while reap(self._pid) is None:
            left = deadline - time.monotonic()
            if left <= 0:
                say(f"the server did not shut down within {SHUTDOWN_SECONDS:g} s: killing it")
                os.kill(self._pid, signal.SIGKILL)
                deadline = float("inf")
            self._bell.wait(max(0.0, min(left, 1.0)))

    def _write(self, state: str, *, pid: int = 0, message: str = "") -> None:
        born = identity(pid) if pid else ""
        self._record = self._record._replace(state=state, pid=pid, identity=born, message=message)
        try:
            self._home.write(self._record)
        except OSError as error:
            # The disk is full, or the directory gone. The server matters more than its description.
            say(f"cannot record that the server is {state}: {error}")

    def _fail(self, message: str) -> int:
        say(f"giving up: {message}")
        if self._record.socket:
            remove_socket(self._record.socket, self._home.directory)
        self._write(states.FAILED, message=message)
        return 1

    def _last_lines(self) -> str:
        lines = tail(self._home.log_path, start=self._log_start)
        return f"The last lines of its log: {lines}" if lines else "It said nothing."


def ask_for_new_file(probe: Probe) -> None:
    """Has the server write a new file, also if it was asked before and the reply was late."""
    try:
        probe.ask("BGREWRITEAOF")
    except Refused as error:
        if "in progress" not in str(error):
            raise


def said_since(path: str, start: int, words: bytes) -> bool:
    """Whether a log holds some words from byte `start` on."""
    try:
        with open(path, "rb") as log:
            log.seek(start)
            return any(words in line for line in log)
    except OSError:
        return False


def wait_for_server_lock(home: Home, ended: int, bell: Bell) -> int:
    """The server's lock, once the processes that the ended server `ended` forked (to rewrite its log) are gone.

    Raises:
        GiveUp: if somebody else holds the lock.
    """
    deadline = time.monotonic() + SHUTDOWN_SECONDS
    while (lock := home.lock_server()) is None:
        if time.monotonic() > deadline:
            raise GiveUp("another process still holds server.lock in the data directory: end it first")
        if ended:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(ended, signal.SIGKILL)
        bell.wait(0.01)
    return lock


def end_leftover(home: Home, before: Record, bell: Bell) -> None:
    """End the server of a supervisor that was killed, if there is one: cleanly if it listens, else by force.

    Raises:
        GiveUp: if it cannot be ended.
    """
    lock = home.lock_server()
    asked_at = time.monotonic()
    if lock is None:
        say("a server has outlived its supervisor: shutting it down")
        with contextlib.suppress(OSError, Refused), Probe(before.socket, timeout=SHUTDOWN_SECONDS) as probe:
            probe.ask("SHUTDOWN")  # answered by hanging up
    while lock is None:
        waited = time.monotonic() - asked_at
        if waited > SHUTDOWN_SECONDS and before.identity and identity(before.pid) == before.identity:
            with contextlib.suppress(ProcessLookupError):
                os.kill(before.pid, signal.SIGKILL)
        if waited > 2 * SHUTDOWN_SECONDS:
            raise GiveUp("a server still runs on the data directory and cannot be ended: end it by hand")
        bell.wait(0.01)
        lock = home.lock_server()
    os.close(lock)


def say(message: str) -> None:
    """Write one line to the log, in the server's own style."""
    now = time.time()
    stamp = time.strftime("%d %b %Y %H:%M:%S", time.localtime(now))
    print(f"{os.getpid()}:supervisor {stamp}.{int(now * 1000) % 1000:03d} * {message}", file=sys.stderr, flush=True)


def main(arguments: list[str]) -> int:
    """Supervise ``arguments[0]``: detached with settings given, in the foreground with the usual ones without."""
    home = Home(os.path.abspath(arguments[0]))
    os.umask(0o077)
    if len(arguments) > 1:
        settings = Settings(**json.loads(arguments[1]))
        lock: int | None = settings.lock
        os.set_inheritable(settings.lock, False)
        if os.fork():
            os._exit(0)  # whoever started us reaps this process now and need not reap the other one later
    else:
        from durable_async.server.binary import find_binary

        settings = Settings(str(find_binary()))
        lock = home.lock_supervisor()
    if lock is None:
        print("another supervisor runs on this directory", file=sys.stderr)
        return 1
    os.chdir("/")
    return Supervisor(home, settings, lock).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
