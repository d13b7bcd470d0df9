"""Makes `docs/reliability/report.md` of what the fault tests wrote: `python -m tests.faults.report FILE.jsonl...`.

The tests write one JSON line per row to `$DURABLE_FAULTS_REPORT`; several runs may append to one file.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any

HEAD = """# Reliability report

Measured, not promised. Every row ended with `tests/faults/invariants.py` finding nothing.

{machine}. Repeat: `DURABLE_FAULTS_REPORT=report.jsonl tox run -e faults`, then
`python -m tests.faults.report report.jsonl`; a seed by `DURABLE_FAULTS_SEED`, a server by `DURABLE_SERVER_BIN`.

*Runs*: in D2 and D23 scenarios (a tree each) struck at one call, elsewhere workflow runs. *Steps again*: executions of
a step beyond its first that no failed attempt asked for. *Recovery*: from a fault to the next beginning of a step it
cut, in seconds; leases are 0.7 s (D2), 1 s (D1, D3), 4 s (D7, D14, D21).

| row | variant | rounds | seeds | runs | faults | steps again | recovery p50 | max |
|---|---|---|---|---|---|---|---|---|
"""


def main(files: list[str]) -> None:
    """Prints the page."""
    rows: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for file in files:
        for line in Path(file).read_text().splitlines():
            row = json.loads(line)
            variant = " ".join(filter(None, (row.get("strike"), row.get("scenario")))) or row["test"].partition("[")[0]
            rows[row["row"], variant].append(row)
    machine = f"Machine: {os.cpu_count()} cores, {platform.system()}; Python {platform.python_version()}"
    sys.stdout.write(HEAD.format(machine=machine))
    for (name, variant), same in sorted(rows.items()):
        seeds = ", ".join(sorted({str(r["seed"]) for r in same if r.get("seed") is not None})) or "-"
        times = sorted(t for r in same for t in r["recoveries"])
        figures = (f"{median(times):.2f}", f"{times[-1]:.2f}") if times else ("-", "-")
        counts = [str(sum(r[key] for r in same)) for key in ("runs", "faults", "steps_again")]
        cells = [name, variant, str(len(same)), seeds, *counts, *figures]
        sys.stdout.write("| " + " | ".join(cells) + " |\n")


if __name__ == "__main__":
    main(sys.argv[1:])
