"""Start, recognise and end processes: what the helpers share.

`spawn` forks by hand, because its callers are single-threaded helpers that should start in a few milliseconds and
importing `subprocess` would double that. Never call it from a program that has threads.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence

TAIL_BYTES = 4096
"""How much of a log's end is searched for its last lines."""

_PR_SET_PDEATHSIG = 1

_BOOT = """\
import sys, types
package = types.ModuleType('durable_async')
package.__path__ = [sys.argv[1]]
sys.modules['durable_async'] = package
from durable_async.server.{module} import main
sys.exit(main(sys.argv[2:]))
"""


def helper_command(module: str, *arguments: str) -> list[str]:
    """The command line that runs ``durable_async.server.<module>`` in a new interpreter.

    It does what ``python -m`` would, but neither imports the package's public names (and with them every dependency)
    nor looks for site packages: 20 ms instead of 300, and a third of the memory for a process that may live for days.

    Raises:
        FileNotFoundError: if this program is embedded in another and knows no interpreter.
    """
    if not sys.executable:
        raise FileNotFoundError("sys.executable is empty: there is no interpreter to run the helper with")
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    return [sys.executable, "-I", "-S", "-c", _BOOT.format(module=module), package, *arguments]


def server_command(binary: str, directory: str, settings: Mapping[str, str]) -> list[str]:
    """The command line of a server that keeps its data in `directory` and never evicts any of it.

    `settings` are added to these, or replace them, in the server's own words.
    """
    merged = {
        "dir": directory,
        "daemonize": "no",
        "logfile": "",
        "port": "0",
        "save": "",
        "maxmemory": "0",
        "maxmemory-policy": "noeviction",
        # A power cut can tear the last transaction: it is dropped, and the server starts. Redis up to 8.2 leaves the
        # beginning of it in the file, to be executed at the start after (docs/operating.md); Valkey 9.1.2 does not. The
        # supervisor of an embedded server has it write a new file.
        "aof-load-truncated": "yes",
        **settings,
    }
    return [binary, *(word for name, value in merged.items() for word in (f"--{name}", value))]


def spawn(command: Sequence[str], *, keep: Iterable[int] = (), leash: signal.Signals = signal.SIGTERM) -> int:
    """Start a program in a process group of its own and return its pid.

    Its input is empty, and all its output goes to our standard error. The descriptors `keep` stay open in it.
    On Linux it gets the signal `leash` when this process dies, however that happens.
    If the program cannot be executed, that is said on standard error, and the status is 127.
    """
    arm = _death_signal(leash)
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setpgid(0, 0)
        arm()
        if os.getppid() != parent:
            os._exit(1)  # the parent died before the death signal was armed
        empty = os.open(os.devnull, os.O_RDONLY)
        os.dup2(empty, 0)
        os.dup2(2, 1)
        for descriptor in keep:
            os.set_inheritable(descriptor, True)
        for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        os.execv(command[0], list(command))
    except (OSError, ValueError) as error:
        os.write(2, f"cannot execute {command[0]}: {error}\n".encode("utf-8", "replace"))
    finally:  # whatever happened: a forked child must never return into its parent's code
        os._exit(127)


def _death_signal(number: signal.Signals) -> Callable[[], object]:
    """What a forked child calls to be signalled when its parent dies; does nothing where the kernel cannot do that.

    The library is loaded before the fork, so that the child only makes the call.
    """
    if sys.platform == "linux":
        try:
            import ctypes
        except ImportError:  # an interpreter built without it: a killed helper then leaves its server behind
            return int
        prctl = ctypes.CDLL(None).prctl
        return lambda: prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    return int


def reap(pid: int) -> int | None:
    """The exit status of a child that has ended, -N if signal N ended it; None while it runs."""
    done, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if done else None


def describe_exit(status: int) -> str:
    """An exit status in words: "exited with status 1", "was killed by SIGKILL"."""
    if status >= 0:
        return f"exited with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"


def identity(pid: int) -> str:
    """What tells this process from a later one with the same pid: when it started. Empty if there is none.

    A zombie has ended, and counts as none.
    """
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            fields = stat.read().rpartition(")")[2].split()
    except ProcessLookupError:
        return ""
    except FileNotFoundError:
        return "" if os.path.isdir("/proc/self") else _identity_by_ps(pid)
    return "" if fields[0] in "ZX" else fields[19]


def _identity_by_ps(pid: int) -> str:
    """As `identity`, where there is no ``/proc``."""
    import subprocess

    found = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return found.stdout.strip()


def tail(path: str, *, start: int = 0, lines: int = 3) -> str:
    """The last lines of a log from byte `start` on, joined by " | "; empty if there are none."""
    try:
        with open(path, "rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(min(start, size), size - TAIL_BYTES))
            text = log.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return " | ".join([line.strip() for line in text.splitlines() if line.strip()][-lines:])
