"""The transitions of those who wait for a run, or watch it."""

from __future__ import annotations

from typing import Any

from durable_async.store.status import Answer

from .base import Base
from .owners import page_of
from .state import Stream

MOST_WATCHERS = 100


class ClientTransitions(Base):
    """None of them matters to the run."""

    def open_client(self, client: str, ttl_ms: int) -> list[Any]:
        self.add(f"client:{client}", "", "")
        self.state.streams[f"client:{client}"].ttl_ms = ttl_ms
        return [Answer.OK]

    def subscribe_client(self, id: str, client: str) -> list[Any]:
        run = self.state.runs.get(id)
        if run is None:
            return [Answer.GONE]
        if run.is_over:
            return [Answer.ENDED, self.outcome(id)]
        if client and client not in run.clients:
            run.clients.append(client)
        return [Answer.OK]

    def watch_run(self, id: str, mark: str, gen: str, position: int, page: int) -> list[Any]:
        """The journal from a place on, and what the run is now; another life's journal is told from its beginning."""
        run = self.state.runs.get(id)
        if run is None:
            return [Answer.GONE]
        lines = self.journal(id)
        first = min(position, len(lines)) if str(run.gen) == gen else 0
        found = page_of(lines, first, page)
        is_full = sum(client.count("~") for client in run.clients) >= MOST_WATCHERS
        if not run.is_over and not is_full and mark not in run.clients:
            run.clients.append(mark)
        has_more = int(len(found) == page)
        return [Answer.OK, self.now, run, found, has_more, first]

    def unwatch_run(self, id: str, mark: str) -> list[Any]:
        run = self.state.runs.get(id)
        if run is None:
            return [Answer.GONE]
        run.clients = [client for client in run.clients if client != mark]
        return [Answer.OK]

    # ------------------------------------------------------------------ no transitions, but they write

    def join_worker(self, worker: str) -> None:
        """A live worker makes its own stream; nobody else ever does."""
        self.state.streams.setdefault(f"worker:{worker}", Stream()).has_group = True

    def read_stream(self, stream: str, consumer: str, count: int) -> list[str]:
        """Entries that the group has not been given yet."""
        known = self.state.streams[stream]
        after = tuple(map(int, known.delivered.split("-")))
        found = [entry for entry in known.entries if tuple(map(int, entry.split("-"))) > after][:count]
        for entry in found:
            known.delivered, known.pending[entry] = entry, consumer
        return found
