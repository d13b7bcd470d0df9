"""Settings of a `Durable` from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from durable_async.errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What `DURABLE_*` variables say. None stands for "not set"."""

    url: str | None = None
    namespace: str | None = None
    queues: tuple[str, ...] | None = None
    concurrency: int | None = None
    max_resident: int | None = None
    drain_timeout: float | None = None
    lease: float | None = None

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Reads `DURABLE_URL DURABLE_NAMESPACE DURABLE_QUEUES DURABLE_CONCURRENCY DURABLE_MAX_RESIDENT
        DURABLE_DRAIN_TIMEOUT DURABLE_LEASE`; queues are separated by commas.

        Raises:
            ConfigurationError: naming the variable whose value cannot be read.
        """
        env = os.environ if environ is None else environ
        queues = env.get("DURABLE_QUEUES")
        return cls(
            url=env.get("DURABLE_URL") or None,
            namespace=env.get("DURABLE_NAMESPACE") or None,
            queues=tuple(q.strip() for q in queues.split(",") if q.strip()) if queues else None,
            concurrency=_number(env, "DURABLE_CONCURRENCY", int),
            max_resident=_number(env, "DURABLE_MAX_RESIDENT", int),
            drain_timeout=_number(env, "DURABLE_DRAIN_TIMEOUT", float),
            lease=_number(env, "DURABLE_LEASE", float),
        )


def _number(env: Mapping[str, str], name: str, kind: type[Any]) -> Any:
    text = env.get(name)
    if not text:
        return None
    try:
        return kind(text)
    except ValueError:
        raise ConfigurationError(f"{name} must be a number, got {text!r}") from None
