"""A private PostgreSQL for peers that are built on it: in a folder of its own, on a unix socket, with its defaults.

Its default is what is called durable here: `fsync` and `synchronous_commit` on, each commit on the disk when it is
acknowledged. It refuses to run as root, so root starts it as the user `postgres`.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

DURABILITY = "PostgreSQL's default: the log is synced at each commit"
PORT = 5432
"""Part of the socket's name; no port is opened."""
_START_S = 30.0


def programs() -> Path | None:
    """Where `initdb` and `postgres` are."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda f: int(f.parent.name), reverse=True)
    if found := shutil.which("initdb"):
        folders.append(Path(found).resolve().parent)
    return next((each for each in folders if (each / "initdb").exists() and (each / "postgres").exists()), None)


def missing() -> str:
    """Why PostgreSQL cannot be started here; empty if it can."""
    if programs() is None:
        return "PostgreSQL is not installed"
    if os.getuid() == 0:
        try:
            pwd.getpwnam("postgres")
        except KeyError:
            return "root cannot start PostgreSQL, and there is no user postgres"
    return ""


class Postgres:
    """One server; `start`, then `stop`."""

    def __init__(self) -> None:
        found = programs()
        assert found is not None
        self._programs = found
        self._as: dict[str, object] = {}
        self.folder = Path(tempfile.mkdtemp(prefix="bench-pg-", dir="/tmp"))
        if os.getuid() == 0:
            who = pwd.getpwnam("postgres")
            os.chown(self.folder, who.pw_uid, who.pw_gid)
            self._as = {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []}
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._server is not None
        return self._server.pid

    def url(self, database: str) -> str:
        """For SQLAlchemy and psycopg."""
        return f"postgresql://bench:bench@/{database}?host={self.folder}&port={PORT}"

    def version(self) -> str:
        """`15.18`."""
        said = subprocess.run([self._programs / "postgres", "--version"], capture_output=True, text=True, check=True)
        return said.stdout.split()[2]

    def start(self) -> None:
        """Makes a cluster, starts it, and returns when it answers."""
        data = self.folder / "data"
        initdb = [self._programs / "initdb", "-D", data, "-U", "bench", "-A", "trust", "-E", "UTF8", "--no-locale"]
        initdb += ["--no-sync"]  # of what it makes; what is written later is synced
        done = subprocess.run(initdb, capture_output=True, text=True, cwd=self.folder, check=False, **self._as)
        if done.returncode:
            raise RuntimeError(f"initdb failed: {done.stderr[-500:]}")
        settings = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={self.folder}", "-c", f"port={PORT}"]
        settings += ["-c", "max_connections=200"]
        with open(self.folder / "log", "wb") as log:
            self._server = subprocess.Popen(
                [self._programs / "postgres", "-D", data, *settings],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                **self._as,
            )
        deadline = time.monotonic() + _START_S
        while subprocess.run([*self._psql(), "-c", "select 1"], capture_output=True, check=False).returncode:
            if self._server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start: {(self.folder / 'log').read_text()[-500:]}")
            time.sleep(0.05)

    def create(self, database: str) -> None:
        subprocess.run([*self._psql(), "-c", f"create database {database}"], capture_output=True, check=True)

    def size_bytes(self, database: str) -> int:
        """On the disk, once all is written out."""
        asked = f"checkpoint; select pg_database_size('{database}')"
        said = subprocess.run([*self._psql(), "-At", "-c", asked], capture_output=True, text=True, check=True)
        return int(said.stdout.split()[-1])

    def stop(self) -> None:
        """Ends it at once and removes its folder."""
        if self._server is not None:
            self._server.send_signal(signal.SIGQUIT)  # "immediate": its children leave with it
            try:
                self._server.wait(20)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
            self._server = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def _psql(self) -> list[str]:
        psql = self._programs / "psql"
        return [str(psql), "-h", str(self.folder), "-p", str(PORT), "-U", "bench", "-d", "postgres", "-q"]
