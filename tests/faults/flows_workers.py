"""Workflows that hurt the worker that runs them, and one of which three versions are deployed."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import time
from pathlib import Path
from typing import Any

from durable_async import Retry, Workflow, info, patched, step, wait_for_event, workflow

from .book import Book, write
from .flows import Given, begin, work

MEGABYTE = 1024 * 1024


def is_first(ledger: str, run: str, name: str) -> bool:
    """Whether nobody has begun this step before us."""
    return sum(line["run"] == run and line["step"] == name for line in Book(ledger).lines("begin")) == 1


@step
async def hurts(ledger: str, run: str, how: str, seconds: float) -> dict[str, str]:
    """The first time, something befalls the whole process at its end."""
    nonce = begin(ledger, run, "hurts", {})
    if how == "poison":
        os.kill(os.getpid(), signal.SIGKILL)
    if is_first(ledger, run, "hurts"):
        if how == "stop":
            # All threads, the heartbeat's too, until the test lets it go on: then it commits.
            os.kill(os.getpid(), signal.SIGSTOP)
        elif how == "loop":
            time.sleep(seconds)
        elif how == "gil":
            # A call that does not release it, as a long regular expression would not.
            ctypes.PyDLL(None).usleep(int(seconds * 1_000_000))
    write(ledger, "end", run=run, step="hurts", nonce=nonce)
    return {"step": "hurts", "nonce": nonce}


@workflow
async def hurting(given: Given) -> str:
    ledger, me = given["ledger"], info().id
    first = await hurts(ledger, me, given["how"], given.get("seconds", 0.0))
    last = await work(ledger, me, "last", {"hurts": first["nonce"]})
    return str(last["step"])


@step(retry=Retry(max_attempts=3, initial=0.02))
async def hungry(ledger: str, run: str) -> dict[str, str]:
    """Gets no memory the first time."""
    nonce = begin(ledger, run, "hungry", {})
    if is_first(ledger, run, "hungry"):
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 64 * MEGABYTE, hard))
        try:
            bytearray(1024 * MEGABYTE)
        except MemoryError:
            write(ledger, "raise", run=run, step="hungry", nonce=nonce)
            raise
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    write(ledger, "end", run=run, step="hungry", nonce=nonce)
    return {"step": "hungry", "nonce": nonce}


@workflow
async def eats(given: Given) -> str:
    return str((await hungry(given["ledger"], info().id))["step"])


@workflow
async def waits(given: Given) -> Any:
    return await wait_for_event("go")


def sells(version: str) -> Workflow[Given, list[str]]:
    """The workflow `sells` as one version of the code has it."""

    @workflow(name="sells")
    async def body(given: Given) -> list[str]:
        ledger, me = given["ledger"], info().id
        done = []
        if version == "changed" or (version == "patched" and patched("label")):
            done.append((await work.options(name="label")(ledger, me, "label", {}))["step"])
        done.append((await work.options(name="pack")(ledger, me, "pack", {}))["step"])
        await wait_for_event("go")
        done.append((await work.options(name="send")(ledger, me, "send", {}))["step"])
        return done

    return body
