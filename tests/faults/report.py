"""Makes `docs/reliability/report.md` of what the fault tests wrote, one line of JSON each, to `$DURABLE_FAULTS_REPORT`.

`matrix.py` runs the tests and calls `page`; ``python tests/faults/report.py FILE.jsonl...`` prints it again.
"""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

TITLES = {
    "D1": "workers killed, again and again",
    "D2": "a worker dies at each of its calls",
    "D3": "a worker frozen for three leases",
    "D4": "a worker frozen at the end of a step",
    "D5": "a blocked loop, a held GIL",
    "D6": "a worker out of memory; a step that kills each worker",
    "D7": "server killed, AOF always",
    "D8": "server killed, AOF everysec",
    "D9": "power cut",
    "D10": "AOF torn at random bytes",
    "D11": "back to a snapshot",
    "D12": "FLUSHALL",
    "D13": "an old snapshot put back",
    "D14": "SCRIPT FLUSH, again and again",
    "D15": "failover to a replica that has everything",
    "D16": "failover to a replica that was behind",
    "D17": "two primaries",
    "D18": "Sentinel failover",
    "D19": "DEBUG SLEEP",
    "D20": "BUSY: somebody's script does not end",
    "D21": "CLIENT KILL, again and again",
    "D22": "CLIENT PAUSE",
    "D23": "replies lost or torn",
    "D24": "requests lost, torn or doubled",
    "D25": "replies later than any timeout",
    "D26": "half-open connection",
    "D27": "byte by byte",
    "D28": "slow line, with stalls",
    "D29": "a worker cut off for two leases",
    "D30": "disk full",
    "D31": "memory full",
    "D32": "wrong eviction policy",
    "D33": "server's clock an hour off",
    "D34": "a worker's clock a day off",
    "D35": "no more connections",
    "D36": "rights taken, password changed",
    "D37": "cluster: a slot moves",
    "D38": "cluster: a node dies",
    "D39": "groups destroyed, moved, streams deleted",
    "D40": "all kinds of damage by hand",
    "D41": "garbage in streams and keys",
    "D42": "a deploy that does not fit running runs",
    "D43": "rolling restart",
    "D44": "SIGTERM, then SIGKILL",
    "D45": "all workers restarted, many runs waiting",
    "D46": "timers and sweeps cut at each call",
    "D47": "cancel storm",
    "D48": "event storm",
    "D49": "timeouts as long as what they bound",
    "D50": "AOF rewrites and snapshots under load",
}
LEFT_OUT = {
    "D37": "cluster URLs and nodes of a cluster are refused, so no slot can move; the refusal is what is tested",
    "D38": "as D37",
}
LOSSY = ("started_again", "bytes_lost")

HEAD = """# Reliability report

Measured, not promised. Every row ended with `tests/faults/invariants.py` finding nothing, unless it says FAILED.

Repeat: `tox run -e faults` runs the short matrix on every server of the three that is installed and writes this page;
`tox run -e faults-long` goes on with it, and with the long versions, for an hour or as long as it is told, and writes
[another one](long.md). `python tests/faults/matrix.py --help` has the choices: servers, rounds, a seed, single rows.

{machine}

* *Runs*: workflow runs that began a step; in sweeps over calls, scenarios. *Acknowledged*: root runs whose `start`
  returned. *Finished*: those whose end a client saw. *Faults*: injected ones.
* *Again*: executions of a step beyond its first that no failed attempt asked for.
* *Recovery*, in seconds: from a fault to the next beginning of a step that it cut. Leases are 0.7 to 15 s here, and a
  dead worker's runs wait for one. *Pause*: from a fault of any kind to the next beginning of any step.
* The table begins with the longest recovery or pause.

"""
COLUMNS = (
    "row", "", "server", "rounds", "seeds", "runs", "acknowledged", "finished", "faults", "again",
    "recovery p50 / p99 / max", "pause p50 / p99 / max",
)  # fmt: skip


def quantile(times: list[float], share: float) -> float:
    """By nearest rank."""
    return times[min(len(times) - 1, int(len(times) * share))]


def three(times: list[float]) -> str:
    """Median, 99th percentile, maximum."""
    times = sorted(times)
    return " / ".join(f"{t:.2f}" for t in (quantile(times, 0.5), quantile(times, 0.99), times[-1])) if times else "-"


def seeds_of(rows: list[dict[str, Any]]) -> str:
    """A few, or how many."""
    seeds = sorted({str(row["seed"]) for row in rows if row.get("seed") is not None})
    return ", ".join(seeds) if 0 < len(seeds) <= 3 else str(len(seeds)) if seeds else "-"


def variant_of(row: dict[str, Any]) -> str:
    """What tells this test from the others of its row."""
    named = [str(row[key]) for key in ("variant", "strike", "scenario") if row.get(key)]
    return ", ".join(named) or re.sub(r"^test_(d\d+_)*|\[.*", "", row["test"]).replace("_", " ")


def machine(remarks: str) -> str:
    """A sentence, and another one."""
    said = f"Machine: {os.cpu_count()} cores, {platform.system()}; Python {platform.python_version()}. {remarks}"
    return said.strip()


def page(lines: Iterable[dict[str, Any]], *, remarks: str = "") -> str:
    """The report."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    troubles: list[str] = []
    for row in lines:
        if "failed" in row or "skipped" in row:
            what = "FAILED" if "failed" in row else f"skipped: {row['skipped']}"
            troubles.append(f"* {row['row']} `{row['test']}` on {row['server']}, seed {row.get('seed')}: {what}")
        else:
            groups[row["row"], variant_of(row), row.get("server", "?")].append(row)
    text = HEAD.format(machine=machine(remarks)) + line_of(COLUMNS) + line_of("---" for _ in COLUMNS)
    cells = [(worst_of(same), cells_of(key, same)) for key, same in groups.items()]
    for _, each in sorted(cells, key=lambda pair: (-pair[0], pair[1])):
        text += line_of(each)
    text += "\n## Where the promise stops\n\n" + lossy_part(groups)
    text += HOW + "\n## Not there\n\n" + "".join(f"* {row} ({TITLES[row]}): {why}\n" for row, why in LEFT_OUT.items())
    text += "".join(f"{trouble}\n" for trouble in sorted(set(troubles)))
    return text


def line_of(cells: Iterable[str]) -> str:
    """One line of a table."""
    return "| " + " | ".join(cells) + " |\n"


def worst_of(same: list[dict[str, Any]]) -> float:
    """The longest time of some rows."""
    return max((t for row in same for key in ("recoveries", "pauses") for t in row.get(key) or ()), default=0.0)


def total(same: list[dict[str, Any]], what: str) -> str:
    """Of some rows, as far as they have counted it."""
    found = [row[what] for row in same if row.get(what) is not None]
    return str(sum(found)) if found else "-"


def cells_of(key: tuple[str, str, str], same: list[dict[str, Any]]) -> list[str]:
    """One line of the table."""
    name, variant, server = key
    title = TITLES.get(name.split(" ")[0].rstrip(","), "")
    counts = [total(same, what) for what in ("runs", "acknowledged", "finished", "faults", "steps_again")]
    times = [three([t for row in same for t in row.get(what) or ()]) for what in ("recoveries", "pauses")]
    return [name, f"{title}: {variant}", server, str(len(same)), seeds_of(same), *counts, *times]


HOW = """
## How the faults are made

Processes are real: workers, servers, Sentinels; clients are those of the test. What is simulated, and what that leaves
out:

* **Power cuts** (D9): a library that is loaded before the server's own notes the size of a file at each fsync. The
  server is killed, and every file is cut to that size, or somewhere between it and what was written. So writes that
  no fsync covered are lost, from some byte on. The file is mended before the server starts, as
  [Operating](../operating.md#after-a-power-cut-or-a-failover) says.
  Not simulated: blocks that reach the disk in another order than they were written in, disks that lie about an fsync,
  lost renames.
* **The network** (D16, D17, D23 to D29): a proxy on the loopback device. It cuts, swallows, holds back, tears,
  doubles and delays; it does not lose single packets, which TCP would send again.
* **Clocks** (D33, D34): a library sets the wall clock of one process; its monotonic clock goes on, as a machine's
  does.
* **Full disks** (D30): a file system of 64 MB in memory, and a file that fills it.
* **Memory** (D6): a limit on the address space, which makes Python raise `MemoryError`; the kernel's killer is played
  by the step itself, with the same signal.
* **Freezing** (D3, D4, D18) is SIGSTOP.
"""

LOSSY_HEAD = """A server that loses what it has acknowledged breaks the promise that every started run ends. These rows
lose writes on purpose. What was checked: the rest never contradicts itself, every invariant holds for what is there,
no old owner writes, and a client that starts a lost run again under its id gets its result. *Gone*: acknowledged runs
that were no longer there. *Mended*: kinds of damage that the sweeper has met and mended: a call that was on its way
when the store went back is of a future that has not been, and may take away what counts again.

| row | | server | faults | bytes cut off | acknowledged | gone, and started again | mended |
|---|---|---|---|---|---|---|---|
"""


HALVES = """
**Half a transition** comes of one thing only: a file that a power cut has torn within a transaction, and that was not
mended before its server started. Redis cuts it back to the last whole command, writes on behind half a transaction, and
the start after executes that half with what follows: a message was twice in a journal. D10 tears a file at many bytes,
starts the server twice, and counts the halves. Mended: none. Not mended:{halves}.
"""


def lossy_part(groups: dict[tuple[str, str, str], list[dict[str, Any]]]) -> str:
    """What was lost, and where."""
    text, halves = LOSSY_HEAD, ""
    for (name, variant, server), same in sorted(groups.items()):
        if name == "D10" and any("halves" in row for row in same):
            halves += f"{' and' if halves else ''} {server} ({sum(row['halves'] for row in same)})"
        if any(key in row for row in same for key in LOSSY):
            cells = [name, variant, server, str(sum(row["faults"] for row in same))]
            cells.append(str(sum(row["bytes_lost"] for row in same)) if "bytes_lost" in same[0] else "-")
            cells += [str(sum(row.get(key, 0) for row in same)) for key in ("acknowledged", "started_again", "mended")]
            text += line_of(cells)
    return text + HALVES.format(halves=halves or " none")


def read(files: Iterable[Path]) -> list[dict[str, Any]]:
    """All lines of some files."""
    return [json.loads(line) for file in files if file.exists() for line in file.read_text().splitlines()]


if __name__ == "__main__":
    sys.stdout.write(page(read(map(Path, sys.argv[1:]))))
