"""Redis or Valkey for whoever is built on it: the same program with the same settings for all systems."""

from __future__ import annotations

import subprocess
from typing import Literal

import redis

from durable_async.server.ephemeral import EphemeralServer, ephemeral_server

DURABILITY = {"everysec": "AOF, synced every second", "always": "AOF, synced at each write"}
"""What `fsync` means for who reads a report."""


def redis_server(fsync: Literal["everysec", "always"], *, tcp: bool = False) -> EphemeralServer:
    """A server with an append-only file, not yet started; on a unix socket, or on a port for those that need one."""
    return ephemeral_server(appendonly=True, fsync=fsync, tcp=tcp)


def server_version(server: EphemeralServer) -> str:
    """`Valkey 9.1.2` or `Redis 7.0.15`."""
    said = subprocess.run([server._binary, "--version"], capture_output=True, text=True, check=True).stdout.split()
    return f"{said[0]} {said[2].removeprefix('v=')}"


def used_memory(server: EphemeralServer) -> int:
    """Bytes that its data takes."""
    with client_of(server) as client:
        return int(client.info("memory")["used_memory"])


def client_of(server: EphemeralServer) -> redis.Redis:
    """A blocking client, for looking from outside."""
    if server.url.startswith("unix://"):
        return redis.Redis(unix_socket_path=server.url.removeprefix("unix://"))
    return redis.Redis.from_url(server.url)
