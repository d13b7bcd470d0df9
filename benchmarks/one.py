"""One system in a process of its own: `python -m benchmarks.one SYSTEM`. Reads a case a line, answers with its figures.

Each line of its input is `{"case": …, "n": …, "in_flight": …}`, each line of its output a JSON object: first what the
system is, then one for each case, with `error` where it failed. It ends at the end of its input. With `--list` it says
what this Python can run, and why not the others.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

from benchmarks.bell import Bell
from benchmarks.systems import Options, System, load_systems


async def serve(name: str, options: Options) -> None:
    """Starts the system, measures what is asked for, and stops it."""
    found, absent = load_systems()
    if name not in found:
        raise SystemExit(f"{name} cannot run here: {absent.get(name) or absent}")
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        bell = Bell(Path(folder, "bell"))
        bell.open()
        workdir = Path(folder, "data")
        workdir.mkdir()
        system = found[name](options, bell)
        try:
            await system.start(workdir)
            say({"system": name, "durability": system.durability, "notes": system.notes, "versions": system.versions()})
            while line := await asyncio.to_thread(sys.stdin.readline):
                say(await measure(system, json.loads(line)))
        finally:
            await system.stop()
            bell.close()


async def measure(system: System, asked: dict[str, Any]) -> dict[str, Any]:
    """One case, once; an `error` if it failed or took too long."""
    system.bell.clear()
    try:
        async with asyncio.timeout(asked.get("timeout", 120)):
            return await system.run_case(asked["case"], asked["n"], asked["in_flight"])
    except Exception as error:  # noqa: BLE001 - whatever a system raises is the answer, and the next case is measured
        traceback.print_exc(file=sys.stderr)
        return {"error": f"{type(error).__name__}: {error}".rstrip(": ")[:300]}


def say(answer: dict[str, Any]) -> None:
    """One line; to the real standard output, which nobody else writes to."""
    os.write(_OUT, json.dumps(answer).encode() + b"\n")


def listed() -> dict[str, Any]:
    """What this Python can run: by name what it is, and why not what it cannot."""
    found, absent = load_systems()
    facts = {
        name: {"kind": system.kind, "cases": sorted(system.cases), "notes": system.notes}
        for name, system in found.items()
    }
    return {"found": facts, "absent": absent}


if __name__ == "__main__":
    # What a system or its libraries print is no answer.
    _OUT = os.dup(1)
    os.dup2(2, 1)
    if sys.argv[1] == "--list":
        say(listed())
        sys.exit()
    chosen = Options(**json.loads(sys.argv[2])) if len(sys.argv) > 2 else Options()
    if chosen.uvloop:
        import uvloop

        uvloop.install()
    asyncio.run(serve(sys.argv[1], chosen))
