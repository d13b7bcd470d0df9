"""Runs tests against a copy of the package in which something is broken: one of them has to fail.

Each try is a fork of this process, which has imported what is slow to import, but nothing of the package. In the fork
the copy comes first on the path, there and in the processes that tests start. It ends with the first failure; a test
that hangs is a failure.
"""

from __future__ import annotations

import compileall
import contextlib
import json
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from py_compile import PycInvalidationMode
from time import monotonic
from typing import Any, NoReturn
from zlib import crc32

import pytest

TESTS = Path(__file__).resolve().parents[1]
ROOT = TESTS.parent
CAUGHT = Path(__file__).with_name("caught.json")
HANGS_S = 60
"""No test that is chosen here takes that long."""

Patch = tuple[str, str, str]
"""File below the package, a text in it, and what stands there instead."""


@dataclass(frozen=True)
class Mutant:
    """One way to break the package."""

    id: str
    what: str
    """What is broken, as a sentence without its end; empty if the patch says it."""
    patches: Sequence[Patch]
    tests: Sequence[str]
    """What is tried, in this order: arguments of pytest below `tests/`, one a line."""


@dataclass(frozen=True)
class Caught:
    """Which test has noticed a mutant, and how long that took."""

    test: str
    seconds: float

    @property
    def argument(self) -> str:
        """The test, as pytest is told it."""
        return self.test.removesuffix(" (hangs)").removeprefix("tests/")


SURVIVED = Caught("", 0.0)


def lua_mutant(name: str, good: str, bad: str) -> Mutant:
    """One of `lua/test_mutants.py`."""
    id = f"{name.removeprefix('lib/')}-{crc32(f'{good}|{bad}'.encode()):08x}"
    atomicity = "lua/test_error_atomicity.py"
    cases = CASES.get(name, name.partition("_")[0])
    tries = [*near(name), f"{atomicity}\n-k\n{cases}", "lua"]
    return Mutant(id, "", [(f"store/lua/{name}.lua", good, bad)], tries)


def near(script: str) -> list[str]:
    """The tests that are about a script or a part of one."""
    about = NEAR.get(script, [script])
    if script.startswith("commit_run"):
        about = ["commit_run", "commit_children", "commit_ends_child", "commit_questions", "generations", "pages"]
        about += ["shared_inputs", "shared_trees", "unblock_runs"]
    found = [f"lua/test_{name}.py" for name in about if (TESTS / "lua" / f"test_{name}.py").exists()]
    return ["\n".join(found)] if found else []


NEAR = {
    "lib/page": ["pages", "claim_runs"],
    "lib/gates": ["pause_queue", "limit_queue", "claim_runs", "resume_runs"],
    "lib/room": ["enter_queue", "leave_queue", "limit_queue", "admit_runs"],
    "lib/family": ["commit_children", "generations", "shared_inputs", "shared_trees"],
    "lib/finish": ["commit_ends_child", "settle_run"],
    "lib/renew": ["generations"],
    "lib/create": ["start_run", "commit_children", "generations"],
    "lib/structure": ["repair_run", "repair_waits", "repair_orphans", "structure_words"],
    "lib/questions": ["commit_questions", "provide_input"],
    "lib/moment": ["register_schedule", "tick_schedule"],
    "lib/deliver": ["send_event", "fire_timer", "cancel_run"],
    "lib/entry": ["send_event", "fire_timer", "cancel_run", "release_entry"],
    "lib/ending": ["settle_run", "cancel_run", "leave_queue"],
    "lib/retention": ["commit_ends_child", "expire_children", "repair_run"],
    "claim_runs": ["claim_runs", "pause_queue", "limit_queue"],
    "resume_runs": ["resume_runs", "pause_queue", "limit_queue"],
    "release_entry": ["release_entry", "enter_queue", "limit_queue"],
    "cancel_run": ["cancel_run", "generations", "unblock_runs"],
    "settle_run": ["settle_run", "generations", "unblock_runs", "commit_questions"],
    "unblock_runs": ["unblock_runs", "scenarios"],
    "unwatch_run": ["unwatch_run", "watch_run"],
    "lib/shared": ["shared_inputs", "shared_trees"],
    "retry_run": ["retry_run", "shared_inputs", "shared_trees"],
    "expire_children": ["expire_children", "shared_inputs", "shared_trees"],
    "close_worker": ["small_transitions"],
    "drop_consumer": ["small_transitions"],
    "advance_walk": ["small_transitions"],
}
"""Test files of what has not one of its own name, or not only that."""
CASES = {
    "lib/family": "commit", "lib/finish": "commit", "lib/renew": "commit or renew", "lib/questions": "commit or input",
    "lib/structure": "repair", "lib/entry": "event", "lib/deliver": "event", "lib/ending": "settle or cancel",
    "lib/create": "start or commit", "provide_input": "provide or input or answer",
}  # fmt: skip
"""What the cases of test_error_atomicity.py are called that have to do with it, if not by the script's verb."""


@contextlib.contextmanager
def sandbox(folder: Path) -> Iterator[Path]:
    """A copy of the package, to be broken. Its compiled files know their sources by hash, not by second and size."""
    shutil.copytree(ROOT / "durable_async", folder / "durable_async", ignore=shutil.ignore_patterns("__pycache__"))
    compileall.compile_dir(folder, quiet=1, invalidation_mode=PycInvalidationMode.CHECKED_HASH)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def broken(copy: Path, mutant: Mutant) -> Iterator[None]:
    """Inside, the copy is broken.

    Raises:
        ValueError: if the source is not what the mutant was made for.
    """
    texts: dict[Path, str] = {}
    try:
        for file, good, bad in mutant.patches:
            path = copy / "durable_async" / file
            text = path.read_text()
            texts.setdefault(path, text)
            if good not in text:
                raise ValueError(f"{file} has changed: so must mutant {mutant.id}")
            path.write_text(text.replace(good, bad, 1))
        yield
    finally:
        for path, text in texts.items():
            path.write_text(text)


def try_tests(copy: Path, chosen: str) -> Caught | None:
    """Runs some tests against the copy; None if nothing fails.

    Raises:
        RuntimeError: if they could not be run.
    """
    began = monotonic()
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        _be_pytest(copy, chosen, write)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        lines = [json.loads(line) for line in pipe.read().splitlines()]
    _, state = os.waitpid(pid, 0)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(state)
    seconds = monotonic() - began
    failed = [line["failed"] for line in lines if "failed" in line]
    if failed:
        return Caught(failed[0], seconds)
    if code in (0, pytest.ExitCode.NO_TESTS_COLLECTED):
        return None
    started = [line["started"] for line in lines if "started" in line]
    if not started:
        raise RuntimeError(f"pytest {chosen} ended with {code}: {lines}")
    return Caught(f"{started[-1]} (hangs)", seconds)


class _Tell:
    """What a fork tells its parent."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe

    def _say(self, **what: str) -> None:
        os.write(self._pipe, json.dumps(what).encode() + b"\n")

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._say(started=nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._say(failed=report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._say(failed=report.nodeid or "collection")


def _be_pytest(copy: Path, chosen: str, pipe: int) -> NoReturn:
    os.setpgid(0, 0)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(copy), os.environ.get("PYTHONPATH", "")])
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    # Hypothesis' plugin alone takes a second to import.
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    sys.dont_write_bytecode = True
    sys.path[:0] = [str(copy), str(TESTS)]
    os.set_inheritable(pipe, False)
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1) if os.environ.get("MUTATION_SHOWS") else (0, 1, 2):
        os.dup2(null, stream)
    os.chdir(TESTS)
    code = 70
    try:
        options = [
            "-x",
            "-q",
            "-p",
            "no:cacheprovider",
            "-p",
            "anyio",
            "-m",
            "",
            "-o",
            f"faulthandler_timeout={HANGS_S}",
        ]
        # Texts of scripts are held to their headers there, and mutants to their scripts: that is not meant.
        options += ["--ignore=lua/test_contract.py", "--ignore=lua/test_mutants.py", "--rootdir", str(ROOT)]
        options += ["-c", str(ROOT / "pyproject.toml")]
        code = int(pytest.main([*options, *chosen.splitlines()], plugins=[_Tell(pipe)]))
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def preload() -> None:
    """Imports what forks would have to import each time."""
    for name in ("redis.asyncio", "asyncio", "msgpack", "orjson", "pygments.lexers.python", "rich"):
        with contextlib.suppress(ImportError):
            __import__(name)
    assert not any(name.partition(".")[0] == "durable_async" for name in sys.modules)


def known() -> dict[str, Caught]:
    """Which test has caught each mutant the last time."""
    if not CAUGHT.exists():
        return {}
    return {id: Caught(**one) for id, one in json.loads(CAUGHT.read_text()).items()}


def remember(found: dict[str, Caught]) -> None:
    """Writes that down."""
    lines: dict[str, Any] = {id: {"test": c.test, "seconds": round(c.seconds, 1)} for id, c in sorted(found.items())}
    CAUGHT.write_text(json.dumps(lines, indent=1) + "\n")


def unfounded(copy: Path, found: Iterable[Caught]) -> Iterator[str]:
    """Tests that fail here whether anything is broken or not: they prove nothing."""
    arguments = sorted({one.argument for one in found if one.test})
    for at in range(0, len(arguments), 50):
        chunk = arguments[at : at + 50]
        if try_tests(copy, "\n".join(chunk)) is not None:
            yield from (one for one in chunk if try_tests(copy, one) is not None)


def catch(copy: Path, mutant: Mutant, before: Caught | None) -> Caught | None:
    """Tries the test that has caught it before, and then all that it names; None if it survives."""
    tries = [before.argument] if before is not None and before.test else []
    with broken(copy, mutant):
        for chosen in dict.fromkeys([*tries, *mutant.tests]):
            try:
                if caught := try_tests(copy, chosen):
                    return caught
            except RuntimeError:
                if chosen not in tries:
                    raise
    return None
