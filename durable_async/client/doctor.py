"""`durable doctor`: all of a store looked at, with the rules and repairs of the sweeper, and what a person must know.

Private: the command line is what people use. It needs no workflow, and nothing but reads unless it may mend.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from durable_async.engine.untold import is_untold
from durable_async.store.base import text_of
from durable_async.store.check import check_server
from durable_async.store.store import Store
from durable_async.store.structure import DAMAGE, INCURABLE, Links

CHUNK: Final = 500
STUCK: Final = "nothing: "
"""How the sentence begins of a run that waits for what cannot happen."""


@dataclass(frozen=True, slots=True)
class Damage:
    """Something that is wrong with one run."""

    id: str
    kind: str
    what: str
    """The end of a sentence that begins with the run's id."""
    mended: bool
    curable: bool


@dataclass(slots=True)
class Report:
    """What the doctor has found."""

    server: str
    disk: str
    """A sentence: what a power cut may cost."""
    warnings: list[str]
    notes: list[str]
    """Sentences: what a person should know beforehand."""
    runs: int = 0
    """How many were looked at."""
    damage: list[Damage] = field(default_factory=list)
    garbage: int = 0
    """Entries of queues that no run has."""
    strangers: list[str] = field(default_factory=list)
    """Workers that have a stream and no heartbeat: the next worker that lives for a lease sees to them."""
    blocked: dict[str, str] = field(default_factory=dict)
    """What keeps runs from going on, by id: their code or their data."""
    stuck: list[str] = field(default_factory=list)
    """Runs that wait for something that cannot happen, as far as their workflows say."""
    mended_before: dict[str, int] = field(default_factory=dict)
    """How often each kind of damage has been mended in this namespace, by workers and doctors."""

    @property
    def is_healthy(self) -> bool:
        """Whether nothing is left that is damaged."""
        return not self.strangers and all(each.mended for each in self.damage)


async def examine(store: Store, *, may_fix: bool) -> Report:
    """Looks at everything; with `may_fix` what a script can mend is mended.

    Raises:
        IncompatibleServer, ConfigurationError: if the server will not do at all.
        StoreUnavailable: if it gives no answer.
    """
    info = await check_server(store.caller.transport)
    version = ".".join(map(str, info.version))
    # The first warning repeats the sentence about the disk.
    warnings = [text for text in info.warnings if not text.startswith(info.persistence)]
    report = Report(f"{info.name.capitalize()} {version}", info.persistence, warnings, list(info.notes))
    examination = _Examination(store, report, may_fix)
    await examination.runs_of_the_index()
    await examination.those_that_are_named()
    await examination.all_keys()
    report.mended_before = await store.mended()
    return report


class _Examination:
    def __init__(self, store: Store, report: Report, may_fix: bool) -> None:
        self._store = store
        self._report = report
        self._may_fix = may_fix
        self._seen: set[tuple[str, str]] = set()

    async def _call(self, *command: str | int) -> list[bytes]:
        found: list[bytes] = await self._store.caller.call(command, deadline_s=self._store.deadline_s)
        return found

    async def _inspect(self, links: list[Links]) -> None:
        for each in await self._store.inspect(links, is_untold, may_fix=self._may_fix):
            if (each.id, each.kind) not in self._seen:
                self._seen.add((each.id, each.kind))
                is_curable = each.kind not in INCURABLE
                self._report.damage.append(Damage(each.id, each.kind, DAMAGE[each.kind], each.is_fixed, is_curable))

    async def runs_of_the_index(self) -> None:
        start, more = 0, True
        while more:
            found = await self._call("ZRANGE", self._store.keys.index, start, start + CHUNK - 1)
            ids = [text_of(id) for id in found]
            links = [each for each in await self._store.sift_runs(ids, looks_at_all=True) if each is not None]
            self._report.runs += len(ids)
            for each in links:
                if each.status == "blocked":
                    self._report.blocked[each.id] = each.waiting
                elif each.status == "parked" and each.waiting.startswith(STUCK):
                    self._report.stuck.append(each.id)
            await self._inspect(links)
            start, more = start + len(found), len(found) == CHUNK

    async def those_that_are_named(self) -> None:
        start, more = 0, True
        while more:
            found = await self._call("ZRANGE", self._store.keys.timers, start, start + CHUNK - 1)
            timed = list(dict.fromkeys(text_of(member)[1:] for member in found if len(member) > 1))
            await self._inspect(await self._store.doubtful(timed, []))
            start, more = start + len(found), len(found) == CHUNK
        cursor, more = "0", True
        while more:
            cursor, listed = await self._store.blocked_runs(cursor, CHUNK)
            await self._inspect(await self._store.doubtful([], [id for id, _ in listed]))
            more = cursor != "0"

    async def all_keys(self) -> None:
        cursor, more, lanes = "0", True, dict.fromkeys(["default"])
        while more:
            strays = await self._store.strays(cursor, CHUNK, may_fix=self._may_fix)
            found = await self._store.sift_runs(strays.runs, looks_at_all=True)
            await self._inspect([each for each in found if each is not None])
            self._report.strangers += [w for w in strays.workers if w not in self._report.strangers]
            lanes.update(dict.fromkeys(strays.lanes))
            cursor, more = strays.cursor, strays.cursor != "0"
        for lane in lanes:
            after, more = "", True
            while more:
                after, count = await self._store.garbage(lane, after, CHUNK, may_fix=self._may_fix)
                self._report.garbage += count
                more = bool(after)
