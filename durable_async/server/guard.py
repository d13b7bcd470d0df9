"""The process that holds an ephemeral server on a leash: whatever becomes of its owner, the server ends with it.

The leash is the guard's standard input, a pipe from the owner. It is needed because the kernel's death signal follows
the *thread* that started a process, and the owner starts servers from pool threads that come and go; the guard has one
thread, and a pipe that breaks when the owner dies. It prints the server's pid, and exits when the server has ended.
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
    owner = os.getppid()
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
        if 0 in ready and not os.read(0, 1):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            _remove_if_orphaned(owner, arguments[1])
            return 0
    return status if status >= 0 else 128 - status


def _remove_if_orphaned(owner: int, directory: str) -> None:
    if os.getppid() != owner:
        import shutil

        shutil.rmtree(directory, ignore_errors=True)
