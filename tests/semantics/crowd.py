"""Worker processes for tests: a nursery that has imported everything forks them, so that a restart costs milliseconds.

`Nursery` is the test's side. The program below it (`python -m semantics.crowd`) reads one JSON line per worker wanted,
forks, and answers with the process id. A worker ends with the nursery, whatever became of that.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NoReturn

from .restricted import IS_RESTRICTED, everywhere

log = logging.getLogger("semantics.crowd")

FOLDER = Path(__file__).parent
PATHS = (FOLDER.parent, FOLDER.parent.parent / "examples")
NURSERY_EXIT = 70


class Nursery:
    """Makes worker processes, with further environment variables."""

    def __init__(self, more: Mapping[str, str] | None = None, *, log: Path | None = None) -> None:
        self.log = log
        """Where they write to; by default to our standard error."""
        env = {
            **os.environ,
            **(more or {}),
            "PYTHONPATH": os.pathsep.join([*map(str, PATHS), os.environ.get("PYTHONPATH", "")]),
        }
        with log.open("ab") if log is not None else nullcontext() as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "semantics.crowd"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=out,
                env=env,
            )

    def spawn(self, **wanted: Any) -> int:
        """Forks a worker; see `serve` for what may be wanted. Returns its process id."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(wanted).encode() + b"\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        """Ends the nursery and every worker that is left."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


def is_alive(pid: int) -> bool:
    """Whether a worker process still runs: the nursery leaves no zombies."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# ---------------------------------------------------------------------- the program


def main() -> None:
    """Forks a worker for each line of stdin."""
    logging.basicConfig(level=logging.WARNING, format="%(process)d %(levelname)s %(name)s: %(message)s")
    for path in sorted(FOLDER.glob("flows_*.py")):
        importlib.import_module(f"semantics.{path.stem}")
    if IS_RESTRICTED:
        everywhere()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    life, held = os.pipe()
    for line in sys.stdin.buffer:
        wanted = json.loads(line)
        pid = os.fork()
        if pid == 0:
            os.close(held)
            be_worker(life, wanted)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


def be_worker(life: int, wanted: dict[str, Any]) -> NoReturn:
    """In the fork: serves until SIGTERM, or until the nursery is gone."""
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(2, 1)
        asyncio.run(serve(life, **wanted))
        code = 0
    except Exception:
        log.exception("a worker of the crowd failed")
    finally:
        os._exit(code)


async def serve(
    life: int,
    *,
    url: str,
    namespace: str,
    flows: list[str],
    options: dict[str, Any],
    limits: dict[str, Any],
    die_at: int = 0,
    die_after_reply: bool = False,
    insists: bool = False,
) -> None:
    """One worker.

    Args:
        life: readable once the nursery is gone.
        url, namespace: where.
        flows: names of modules whose workflows it knows.
        options: as `Durable.worker`.
        limits: as `Limits`.
        die_at: the number of the script call (from 1) at which the process kills itself; 0 for never.
        die_after_reply: whether it dies when the reply to that call has come instead of before it is sent.
        insists: whether one that finds no store is started again, as whatever looks after processes does.
    """
    from durable_async import Durable, Limits, StoreUnavailable

    from . import codecs

    codecs.install("new", "old")
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_reader(life, os._exit, NURSERY_EXIT)
    modules = [importlib.import_module(name) for name in flows]
    while not stop.is_set():
        durable = Durable(url, workflows=modules, namespace=namespace, limits=Limits(**limits))
        try:
            async with durable, durable.worker(**options) as worker:
                if die_at:
                    arm(worker, die_at, die_after_reply)
                await stop.wait()
        except StoreUnavailable:
            if not insists:
                raise
            log.warning("a worker of the crowd found no store, and is started again")


def arm(worker: Any, die_at: int, after_reply: bool) -> None:
    """Has the process kill itself around one of the transitions of its runs."""
    store = worker.runner.store
    calls = 0

    def lethal(original: Any) -> Any:
        def call(*args: Any, **options: Any) -> None:
            nonlocal calls
            calls += 1
            if calls == die_at and not after_reply:
                os.kill(os.getpid(), signal.SIGKILL)
            if calls == die_at:
                args = (*args[:-1], lambda reply: os.kill(os.getpid(), signal.SIGKILL))
            original(*args, **options)

        return call

    for name in ("claim_runs", "resume_runs", "commit_run"):
        setattr(store, name, lethal(getattr(store, name)))


if __name__ == "__main__":
    main()
