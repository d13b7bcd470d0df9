"""What the server tests share: waiting for facts, and looking at processes from outside."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil  # type: ignore[import-untyped, unused-ignore]

from durable_async.server.probe import Probe

PATIENCE = 20.0
"""Seconds that anything may take before a test gives up on it; never what a test measures."""


def wait_until(predicate: Callable[[], object], description: str) -> None:
    """Return once `predicate` is true; fail with `description` if it does not become so."""
    deadline = time.monotonic() + PATIENCE
    while not predicate():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {PATIENCE:g} s: {description}")
        time.sleep(0.005)


def wait_for_exit(pid: int) -> None:
    """Return once the process `pid`, not necessarily a child, has ended."""
    if not hasattr(os, "pidfd_open"):
        wait_until(lambda: not is_alive(pid), f"process {pid} ends")
        return
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([descriptor], [], [], PATIENCE)[0], f"process {pid} did not end"
    finally:
        os.close(descriptor)


def is_alive(pid: int) -> bool:
    """Whether `pid` is a process that has not ended; a zombie has."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def servers_in(directory: Path) -> list[int]:
    """The servers that keep their data in `directory`: a server's working directory is that of its data."""
    found = []
    for process in psutil.process_iter():
        try:
            if "server" in process.name() and process.cwd() == str(directory.resolve()):
                found.append(process.pid)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def ask(socket: Path | str, *words: str) -> str:
    """Send one command to the server behind a unix socket."""
    with Probe(str(socket), timeout=PATIENCE) as probe:
        return probe.ask(*words)


def python(code: str, *arguments: str) -> subprocess.Popen[str]:
    """Run `code` in a new interpreter, with pipes to it, and a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def script(path: Path, text: str) -> Path:
    """An executable shell script that stands in for a server program."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path
