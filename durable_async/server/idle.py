"""Whether anybody uses a server: judged by what changes while one watches, never by comparing clocks."""

from __future__ import annotations

import time

from durable_async.server.home import Home
from durable_async.server.probe import Probe, Refused, info


class IdleWatch:
    """Watches one server over a connection of its own, which it keeps open.

    A use is: another connection, now or since the last look, or a note by `Home.using`.
    A server that does not answer, or refuses to, counts as used: it may be busy with a long script.
    """

    def __init__(self, home: Home, socket: str) -> None:
        self._home = home
        self._socket = socket
        self._probe: Probe | None = None
        self._seen: tuple[int, str] | None = None
        self._used_at = time.monotonic()

    def idle_for(self) -> float:
        """Look once; seconds since the last look at which the server was in use."""
        seen, others = self._look()
        if others or seen != self._seen:
            self._seen = seen
            self._used_at = time.monotonic()
        return time.monotonic() - self._used_at

    def close(self) -> None:
        """Close the connection; the next look opens another."""
        if self._probe is not None:
            self._probe.close()
            self._probe = None

    def _look(self) -> tuple[tuple[int, str], bool]:
        last_use = self._home.last_use()
        try:
            if self._probe is None:
                self._probe = Probe(self._socket)
            others = int(info(self._probe, "clients").get("connected_clients", "2")) > 1
            received = info(self._probe, "stats").get("total_connections_received", "")
        except (OSError, ValueError):
            self.close()
            return (last_use, ""), True
        except Refused:
            return (last_use, ""), True
        return (last_use, received), others
