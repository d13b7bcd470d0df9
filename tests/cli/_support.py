"""Runs the command line in real processes, and waits for what they say."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson

PATIENCE = 60.0
"""Seconds that anything may take before a test gives up on it; never what a test measures."""

READY = re.compile(r"\[(\d+)\] worker \S+ is ready")

SHOP = '''
import asyncio, os, time
from dataclasses import dataclass
from pathlib import Path
from durable_async import Durable, call_workflow, sleep, step, wait_for_event, wait_for_input, workflow

HERE = Path(os.environ["SHOP_DIR"])

@dataclass
class Order:
    number: int
    note: str = ""

@step
async def gate(name: str) -> int:
    """Says that it runs, and ends once it is let through."""
    (HERE / f"{name}.begun").touch()
    while not (HERE / f"{name}.open").exists():
        await asyncio.sleep(0.01)
    return os.getpid()

@step
async def block_the_loop(name: str) -> None:
    (HERE / f"{name}.begun").touch()
    while not (HERE / f"{name}.open").exists():
        time.sleep(0.01)

@step
def hang(name: str) -> None:
    """In a thread, which nothing can stop."""
    (HERE / f"{name}.begun").touch()
    while not (HERE / f"{name}.open").exists():
        time.sleep(0.01)

@step
async def decline(text: str) -> None:
    raise ValueError(text)

@workflow
async def gated(name: str) -> int:
    return await gate(name)

@workflow
async def blocking(name: str) -> None:
    await block_the_loop(name)

@workflow
async def hanging(name: str) -> None:
    await hang(name)

@workflow
async def twice(order: Order) -> dict[str, int]:
    return {"number": await call_workflow(double, order.number, ref="double")}

@workflow
async def double(n: int) -> int:
    return 2 * n

@workflow
async def declined(text: str) -> None:
    await decline(text)

@workflow
async def waiting() -> str:
    return await wait_for_event("go")

@workflow
async def asking(limit: float) -> str | int:
    return await wait_for_input("size\\n", kind="choice", choices=["S", 3], prompt="Which\\nsize?", timeout=limit)

@workflow(queue="side")
async def sideways() -> None:
    await sleep(3600)

durable = Durable(workflows=[gated, blocking, hanging, twice, double, declined, waiting, asking, sideways])
other = durable
'''


def wait_until(predicate: Callable[[], object], description: str) -> None:
    """Return once `predicate` is true; fail with `description` if it does not become so."""
    deadline = time.monotonic() + PATIENCE
    while not predicate():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {PATIENCE:g} s: {description}")
        time.sleep(0.005)


class Process:
    """A command that runs; what it says is collected by threads."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self.popen = popen
        self.pid = popen.pid
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.popen.stderr is not None
        for raw in self.popen.stderr:
            with self._news:
                self.lines.append(raw.decode(errors="replace").rstrip("\n"))
                self._news.notify_all()

    def wait_for(self, pattern: str | re.Pattern[str], count: int = 1) -> list[re.Match[str]]:
        """The matches, once standard error has that many lines with one."""
        deadline = time.monotonic() + PATIENCE
        with self._news:
            while len(found := [m for line in self.lines if (m := re.search(pattern, line))]) < count:
                assert self._news.wait(max(0.0, deadline - time.monotonic())), f"no {pattern!r} in {self.lines}"
                if not self._reader.is_alive() and self.popen.poll() is not None:
                    break
        return found

    def worker_pids(self, count: int = 1) -> list[int]:
        """The processes that have said that they are ready, once there are so many."""
        return [int(found[1]) for found in self.wait_for(READY, count)]

    def send(self, number: int) -> None:
        self.popen.send_signal(number)

    def wait(self) -> int:
        """Its exit code."""
        code = self.popen.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    def close(self) -> None:
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait()
        self._reader.join(PATIENCE)
        for stream in (self.popen.stdout, self.popen.stderr, self.popen.stdin):
            if stream is not None:
                stream.close()


class Result:
    """A command that has ended."""

    def __init__(self, done: subprocess.CompletedProcess[bytes]) -> None:
        self.code = done.returncode
        self.out = done.stdout.decode(errors="replace")
        self.err = done.stderr.decode(errors="replace")

    @property
    def json(self) -> list[Any]:
        """Each line of the output."""
        return [orjson.loads(line) for line in self.out.splitlines()]


class Project:
    """A directory with `shop.py`, and the environment of commands in it."""

    def __init__(self, directory: Path, url: str, namespace: str, *, admin_url: str) -> None:
        self.directory = directory
        self.url = url
        self.admin_url = admin_url
        """For what a test does to the server itself, which the user of docs/security.md may not."""
        (directory / "shop.py").write_text(SHOP)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("DURABLE_", "PYTHON"))}
        self.env = {**kept, "DURABLE_URL": url, "DURABLE_NAMESPACE": namespace, "SHOP_DIR": str(directory)}
        if binary := os.environ.get("DURABLE_SERVER_BIN"):
            self.env["DURABLE_SERVER_BIN"] = binary
        for name in ("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG"):
            if value := os.environ.get(name):
                self.env[name] = value
        self._processes: list[Process] = []

    def command(self, *arguments: str, flags: Sequence[str] = ()) -> list[str]:
        return [sys.executable, *flags, "-m", "durable_async", *arguments]

    def run(
        self,
        *arguments: str,
        flags: Sequence[str] = (),
        env: dict[str, str | None] | None = None,
        stdin: bytes = b"",
        **options: Any,
    ) -> Result:
        """Runs a command to its end."""
        return Result(
            subprocess.run(
                self.command(*arguments, flags=flags),
                cwd=options.pop("cwd", self.directory),
                env=self._env(env),
                input=stdin,
                capture_output=True,
                timeout=PATIENCE,
                check=False,
                **options,
            )
        )

    def _env(self, changes: dict[str, str | None] | None) -> dict[str, str]:
        merged = {**self.env, **(changes or {})}
        return {name: value for name, value in merged.items() if value is not None}

    def spawn(
        self, *arguments: str, flags: Sequence[str] = (), env: dict[str, str | None] | None = None, **options: Any
    ) -> Process:
        """Starts a command."""
        process = Process(
            subprocess.Popen(
                self.command(*arguments, flags=flags),
                cwd=self.directory,
                env=self._env(env),
                stdin=options.pop("stdin", subprocess.DEVNULL),
                stdout=options.pop("stdout", subprocess.DEVNULL),
                stderr=subprocess.PIPE,
                start_new_session=True,
                **options,
            )
        )
        self._processes.append(process)
        return process

    def start(self, workflow: str, *arguments: str) -> str:
        """Starts a run; its id."""
        done = self.run("start", "shop:durable", workflow, *arguments)
        assert done.code == 0, done.err
        return done.out.strip()

    def status(self, id: str) -> str:
        return str(self.run("get", id, "--json").json[0]["status"])

    def has_begun(self, name: str) -> None:
        """Returns once the step `gate` of that name runs."""
        wait_until((self.directory / f"{name}.begun").exists, f"step {name} begins")

    def open(self, name: str) -> None:
        """Lets it through."""
        (self.directory / f"{name}.open").touch()

    def close(self) -> None:
        for process in self._processes:
            process.close()


def is_alive(pid: int) -> bool:
    """Whether `pid` is a process that has not ended; a zombie has."""
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except OSError:
        return False
    return state != b"Z"


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
