"""The process that holds an ephemeral server on a leash: whatever becomes of its owner, the server ends with it.

The leash is the guard's standard input, a pipe from the owner: a byte in it means "end it", its end that the owner has
died. It is needed because the kernel's death signal follows the *thread* that started a process, and owners start
servers from pool threads that come and go; the guard has one thread. It prints the server's pid, and exits when the
server has ended.
"""

from __future__ import annotations

import json
import os
import select
import signal

from durable_async.server.process import reap, spawn


def main(arguments: list[str]) -> int:
    """Run the command ``arguments[0]`` (a JSON list) until it or our owner ends; returns the exit status.

    If the owner has died, the directory ``arguments[1]`` is removed as well: nobody else would.
    """
    ear, rope = os.pipe()
    os.set_blocking(rope, False)
    signal.set_wakeup_fd(rope, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    pid = spawn(json.loads(arguments[0]), leash=signal.SIGKILL)
    os.write(1, b"%d\n" % pid)
    while (status := reap(pid)) is None:
        ready = select.select([0, ear], [], [])[0]
        if ear in ready:
            os.read(ear, 4096)
        if 0 in ready:
            has_owner = bool(os.read(0, 1))
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            if not has_owner:
                _remove(arguments[1])
            return 0
    return status if status >= 0 else 128 - status


def _remove(directory: str) -> None:
    import shutil  # here, because it is seldom needed and slow to import

    shutil.rmtree(directory, ignore_errors=True)
