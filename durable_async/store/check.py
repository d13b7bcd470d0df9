"""Whether a server will do: its version, its role, that it never evicts, and what it keeps when the power goes.

Owns no connection and changes nothing on the server. Managed services forbid CONFIG, so INFO must be enough.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from durable_async.errors import ConfigurationError, IncompatibleServer, StoreUnavailable
from durable_async.store.errors import ConnectionLost, Kind, ServerError, classify

if TYPE_CHECKING:
    from durable_async.store.transport_base import Transport

DurabilityCheck = Literal["warn", "require", "off"]

MIN_REDIS: Final = (7, 0)
MIN_VALKEY: Final = (7, 2)
_POLL_S: Final = 0.25
WHOLE_SINCE: Final = (9, 1, 2)
"""The Valkey that cuts a torn file back to the last whole transaction, not just command, and any later one."""
FAILED_WRITES: Final = {
    "aof_last_write_status": "The last write to the append-only file failed: until one succeeds the server refuses "
    "writes. Its log says why; most often the disk is full.",
    "aof_last_bgrewrite_status": "The last rewrite of the append-only file failed: the file grows, and a torn end "
    "stays in it. The server's log says why; most often there is no room on the disk or in memory for a second file.",
    "rdb_last_bgsave_status": "The last snapshot failed: the server may refuse writes until one succeeds "
    "(stop-writes-on-bgsave-error). Its log says why; most often the disk is full.",
}
"""What INFO's answer "err" means."""
HALF_TRANSACTIONS: Final = (
    "If the power fails, this server may start with half a transaction at the end of its append-only file, and execute "
    "that at the start after. Set aof-load-truncated no, or run redis-check-aof --fix before it starts again."
)


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What `check_server` found out."""

    name: Literal["redis", "valkey"]
    version: tuple[int, ...]
    persistence: str
    """A sentence: what a power cut may cost."""
    warnings: tuple[str, ...] = ()
    """Sentences for the log of whoever starts up."""
    notes: tuple[str, ...] = ()
    """Sentences for whoever asks how the store is."""


async def check_server(
    transport: Transport,
    *,
    durability_check: DurabilityCheck = "warn",
    allow_eviction: bool = False,
    wait_s: float = 60.0,
) -> ServerInfo:
    """Refuse a server that cannot keep runs; describe one that can.

    Args:
        transport: an open one.
        durability_check: "require" refuses a server that may lose more than about a second of acknowledged writes in a
            power cut, or does not tell; "warn" only says so; "off" says nothing.
        allow_eviction: accept a server that may delete keys when its memory is full, with a warning.
        wait_s: seconds to wait for a server that is still loading its data, or comes and goes.

    Raises:
        IncompatibleServer: if it is too old, a replica, a cluster node, or may evict.
        ConfigurationError: if it is a Sentinel, forbids INFO, or fails ``durability_check="require"``.
        StoreUnavailable: if it is not ready within `wait_s`.
    """
    info = await _ready_info(transport, wait_s)
    name, version = _version(info)
    _check_role(info)
    config = await _config(transport)
    warnings = []
    policy = config.get("maxmemory-policy") or info.get("maxmemory_policy")
    if policy is None:
        warnings.append("The server does not tell its maxmemory-policy: make sure it is noeviction.")
    elif policy != "noeviction":
        if not allow_eviction:
            raise IncompatibleServer(
                f"the server may delete runs when its memory is full (maxmemory-policy {policy}): "
                "set maxmemory-policy noeviction"
            )
        warnings.append(f"The server may delete runs when its memory is full (maxmemory-policy {policy}).")
    sentence, is_kept = _persistence(info, config)
    if not is_kept and durability_check == "require":
        raise ConfigurationError(f"durability is required, but {sentence[0].lower()}{sentence[1:]} Set appendonly yes.")
    if not is_kept and durability_check == "warn":
        warnings.append(f"{sentence} Set appendonly yes.")
    if durability_check != "off":
        warnings += [text for key, text in FAILED_WRITES.items() if info.get(key) == "err"]
    notes = (HALF_TRANSACTIONS,) if _may_keep_halves(name, version, config) else ()
    return ServerInfo(name, version, sentence, tuple(warnings), notes)


async def _ready_info(transport: Transport, wait_s: float) -> dict[str, str]:
    """INFO, once the server has loaded its data."""
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + wait_s
    while True:
        why = "the server is still loading its data"
        try:
            info = _parsed(await transport.call("INFO"))
            if info.get("loading", "0") == "0":
                return info
        except ConnectionLost as error:
            why = str(error)
        except ServerError as error:
            verdict = classify(error)
            if verdict.kind is Kind.FATAL:
                raise ConfigurationError(
                    f"the server does not let us read INFO ({error.code}): {verdict.advice}"
                ) from None
            if not verdict.is_retryable:
                raise IncompatibleServer(f"the server does not answer INFO: {error}") from None
            why = f"the server answers {error.code}"
        if loop.time() + _POLL_S >= give_up_at:
            raise StoreUnavailable(f"the server is not ready: {why}")
        await asyncio.sleep(_POLL_S)


def _parsed(reply: object) -> dict[str, str]:
    if not isinstance(reply, bytes):
        raise IncompatibleServer("the server does not answer INFO with text")
    lines = reply.decode("utf-8", "replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))


async def _config(transport: Transport) -> dict[str, str]:
    """The settings that matter; empty where CONFIG is forbidden or renamed."""
    try:
        reply = await transport.call(
            "CONFIG", "GET", "maxmemory-policy", "appendonly", "appendfsync", "save", "aof-load-truncated"
        )
    except ServerError:
        return {}
    if not isinstance(reply, list):
        return {}
    texts = [each.decode("utf-8", "replace") for each in reply if isinstance(each, bytes)]
    return dict(zip(texts[::2], texts[1::2], strict=False))


def _version(info: dict[str, str]) -> tuple[Literal["redis", "valkey"], tuple[int, ...]]:
    # Valkey calls itself redis_version 7.2.4 for the sake of old clients.
    is_valkey = "valkey_version" in info or info.get("server_name") == "valkey"
    text = info.get("valkey_version") or info.get("redis_version") or ""
    parts = text.split("-", 1)[0].split(".")
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise IncompatibleServer("the server does not tell its version: Redis 7.0 or Valkey 7.2 or newer is needed")
    version = tuple(int(part) for part in parts)
    if version < (MIN_VALKEY if is_valkey else MIN_REDIS):
        kind = "Valkey" if is_valkey else "Redis"
        raise IncompatibleServer(f"the server is {kind} {text}: Redis 7.0 or Valkey 7.2 or newer is needed")
    return ("valkey" if is_valkey else "redis"), version


def _check_role(info: dict[str, str]) -> None:
    if info.get("redis_mode") == "sentinel":
        raise ConfigurationError("this is a Sentinel, not a data server: use redis+sentinel://host:port/service")
    if info.get("cluster_enabled") == "1":
        raise IncompatibleServer(
            "the server is a node of a cluster: cluster support is not available yet in this version; "
            "use a server with cluster-enabled no"
        )
    if info.get("role") == "slave":
        raise IncompatibleServer("the server is a replica: connect to its primary")


def _may_keep_halves(name: str, version: tuple[int, ...], config: dict[str, str]) -> bool:
    """Whether a torn file would be cut back to the last whole command; see docs/operating.md. False if it is hidden."""
    is_risky = config.get("appendonly") == config.get("aof-load-truncated") == "yes"
    return is_risky and (name == "redis" or version < WHOLE_SINCE)


def _persistence(info: dict[str, str], config: dict[str, str]) -> tuple[str, bool]:
    """A sentence, and whether at most about a second is lost."""
    appendonly = config.get("appendonly") or {"1": "yes", "0": "no"}.get(info.get("aof_enabled", ""))
    if appendonly == "yes":
        fsync = config.get("appendfsync")
        if fsync == "always":
            return "Every acknowledged write is on disk: a power cut loses nothing.", True
        if fsync == "everysec":
            return "A power cut may lose up to about 1 s of acknowledged writes.", True
        if fsync == "no":
            return "A power cut may lose about 30 s of acknowledged writes or more: appendfsync is no.", False
        return "There is an append-only file; how much a power cut may lose is unknown (appendfsync is hidden).", True
    if appendonly == "no":
        if "save" not in config:
            return "There is no append-only file: a restart may lose everything since the last snapshot.", False
        if config["save"]:
            return "Only snapshots are kept: a restart loses everything since the last one.", False
        return "Nothing is kept on disk: a restart loses everything.", False
    return "What the server keeps on disk is unknown: it hides its configuration.", False
