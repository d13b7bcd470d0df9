"""Records histories of the stories, with the code that is there: ``cd tests && python -m golden.record [NAME]...``.

Without names, those that the current version has no file for. A file that has been released is never made anew: it
stands for runs that somebody has.
"""

from __future__ import annotations

import asyncio
import sys
from importlib.metadata import version
from pathlib import Path

import redis

from durable_async import Durable, Limits
from durable_async.server.ephemeral import EphemeralServer, ephemeral_server
from durable_async.store.keys import Keys

from .history import FOLDER, KEPT, Recorded, dump
from .stories import MODULES, STORIES, play

PLACES = {
    path.encode(): name.ljust(len(path), b"/")[: len(path)]
    for path, name in (
        (str(Path(__file__).resolve().parents[2]), b"/checkout"),
        (str(Path(asyncio.__file__).parents[1]), b"/python"),
    )
}
"""Where tracebacks say that the code is, for the files to be the same everywhere: lengths are stored, so as long."""
GRACE = Limits(cancel_grace=2.0)


def take(server: redis.Redis, keys: Keys, name: str) -> list[Recorded]:
    """A root and its descendants, by their ids."""
    found = []
    for key in server.scan_iter(match=keys.run(name) + "*", count=1000):
        id = key.decode().removeprefix(keys.run_prefix)
        if id.partition("/")[0] != name:
            continue
        fields = {k.decode(): v.decode("latin-1") for k, v in server.hgetall(key).items()}  # type: ignore[union-attr]
        journal: list[bytes] = server.lrange(keys.journal(id), 0, -1)  # type: ignore[assignment]
        for path, name in PLACES.items():
            journal = [line.replace(path, name) for line in journal]
        found.append(Recorded(id, {k: v for k, v in fields.items() if k in KEPT}, journal))
    return sorted(found, key=lambda run: run.id)


async def record(server: EphemeralServer, name: str, folder: Path) -> None:
    """One story, in a namespace of its own, into a file."""
    async with Durable(server.url, workflows=MODULES, namespace=name, limits=GRACE) as durable, durable.worker():
        await play(durable, name)
    with redis.Redis.from_url(server.url) as raw:
        dump(take(raw, Keys(name), name), folder / f"{name}.json")


async def main(names: list[str]) -> None:
    """Records the stories of these names."""
    folder = FOLDER / version("durable-async")
    folder.mkdir(parents=True, exist_ok=True)
    missing = [name for name in STORIES if not (folder / f"{name}.json").exists()]
    async with ephemeral_server(appendonly=True) as server:
        for name in names or missing:
            await record(server, name, folder)
            sys.stdout.write(f"{folder.name}/{name}.json\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
