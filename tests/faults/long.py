"""`tox run -e faults-long`: as much of the long versions as fits into some minutes; writes `docs/reliability/long.md`.

    python tests/faults/long.py                 an hour
    python tests/faults/long.py --minutes 600   a night

A third of the time goes to the models: the protocol's large bounds, every order of two things, random walks, random
programs; a third to the long rows of the matrix, in random order and sized by the time; and a third to rounds of the
short matrix with ever new seeds. What does not fit is left out, and counted.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import time
from typing import Any

TESTS = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS))

from faults.report import machine, read, three  # noqa: E402

MODELS = ("models/protocol", "models")
SUMMARY = re.compile(r"(\d+) (passed|failed|skipped|errors?)\b")


def main() -> int:
    """The exit code: 0 if nothing that was tried has failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60, help="for all of it, by default 60")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--out", help="the page to write; by default it is printed")
    parser.add_argument("--remarks", default="", help="a sentence about the machine, for the page")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="faults-long-"))
    sys.stderr.write(f"figures and logs are in {folder}\n")
    began, third_s = time(), options.minutes * 60 / 3
    codes = [
        # These end in time; a row that has begun goes on to its end, the long ones for some minutes.
        *models(folder / "models", began + third_s),
        matrix(folder / "long", began + 2 * third_s, options, "--long"),
        matrix(folder / "short", began + 3 * third_s, options, "--rounds", "1000"),
    ]
    text = page(folder, options)
    if options.out:
        Path(options.out).write_text(text)
        sys.stderr.write(f"wrote {options.out}\n")
    else:
        sys.stdout.write(text)
    return 1 if any(codes) else 0


def matrix(folder: Path, until: float, options: argparse.Namespace, *more: str) -> int:
    """Rows of the matrix until then."""
    sizes = {"TREES": 6, "PAIRS": 20, "WAITING": 70}
    env = {f"DURABLE_FAULTS_{name}": str(int(each * options.minutes)) for name, each in sizes.items()}
    command = [sys.executable, str(TESTS / "faults" / "matrix.py"), "--seed", str(options.seed), *more]
    command += ["--folder", str(folder), "--out", str(folder) + ".md"]
    return subprocess.run(command, env={**env, **os.environ, "DURABLE_LONG_UNTIL": str(until)}, check=False).returncode


def models(folder: Path, until: float) -> list[int]:
    """The long versions of the models, in two processes."""
    folder.mkdir()

    def one(part: str) -> int:
        name = part.replace("/", "-")
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "long", str(TESTS / part)]
        command += ["-o", "faulthandler_timeout=14400"]
        command += [f"--ignore={TESTS / other}" for other in MODELS if other.startswith(part + "/")]
        figures = {"DURABLE_LONG_UNTIL": str(until), "DURABLE_FAULTS_REPORT": str(folder / f"{name}.jsonl")}
        with (folder / f"{name}.log").open("wb") as log:
            done = subprocess.run(command, env={**os.environ, **figures}, stdout=log, stderr=log, check=False)
        return done.returncode

    with ThreadPoolExecutor(len(MODELS)) as pool:
        return list(pool.map(one, MODELS))


# ---------------------------------------------------------------------- the page


HEAD = """# What the long tests have found

`tox run -e faults-long`, for {minutes:g} minutes (`-- --minutes 600` for a night). A third of the time each for rounds
of the [fault matrix](report.md) with new seeds, for its long rows, and for the models. What did not begin in its time
is left out and counted; sizes follow the time.

{machine} Seed {seed}.

| part | passed | failed | not begun |
|---|---|---|---|
"""


def page(folder: Path, options: argparse.Namespace) -> str:
    """The report."""
    text = HEAD.format(minutes=options.minutes, machine=machine(options.remarks), seed=options.seed)
    parts = {"short rows": "short/*.log", "long rows": "long/*.log", "models": "models/*.log"}
    failed: list[str] = []
    for name, pattern in parts.items():
        counts: dict[str, int] = defaultdict(int)
        for log in sorted(folder.glob(pattern)):
            lines = log.read_text(errors="replace").splitlines()
            for number, what in SUMMARY.findall(lines[-1] if lines else ""):
                counts[what.rstrip("s")] += int(number)
            failed += [f"{log.stem}: {line[:200]}" for line in lines if line.startswith(("FAILED", "ERROR tests"))]
        text += f"| {name} | {counts['passed']} | {counts['failed'] + counts['error']} | {counts['skipped']} |\n"
    text += rows_part(read(sorted([*folder.glob("short/*.jsonl"), *folder.glob("long/*.jsonl")])))
    text += models_part(read(sorted(folder.glob("models/*.jsonl"))))
    return text + "\n## Failed\n\n" + ("".join(f"* {line}\n" for line in failed) or "Nothing.\n")


def rows_part(lines: Sequence[dict[str, Any]]) -> str:
    """What was injected, and what came of it, by server."""
    text = "\n## Rows\n\nColumns as in the [report](report.md).\n\n| server | rows | runs | acknowledged | finished | "
    text += (
        "faults | again | recovery p50 / p99 / max | pause p50 / p99 / max |\n|---|---|---|---|---|---|---|---|---|\n"
    )
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in lines:
        if "failed" not in line and "skipped" not in line:
            groups[line["server"]].append(line)
    for server, same in sorted(groups.items()):
        names = ("runs", "acknowledged", "finished", "faults", "steps_again")
        cells = [server, str(len(same)), *(f"{sum(line.get(name) or 0 for line in same):,}" for name in names)]
        cells += [three([t for line in same for t in line.get(name) or ()]) for name in ("recoveries", "pauses")]
        text += f"| {' | '.join(cells)} |\n"
    return text


def models_part(lines: Sequence[dict[str, Any]]) -> str:
    """How far the models came."""
    worlds = [line for line in lines if line["row"] == "model"]
    text = f"\n## Models\n\nThe protocol: {len(worlds)} worlds, {sum(line['is_whole'] for line in worlds)} of them to "
    text += f"the end, the others the nearest part; {sum(line['states'] for line in worlds):,} states, "
    text += f"{sum(line['moves'] for line in worlds):,} moves.\n\n"
    pairs = [line for line in lines if "pair" in line]
    text += f"Two things at once: {sum(line['schedules'] for line in pairs):,} schedules of {len(pairs)} pairs and "
    text += f"bounds, {sum(line.get('is_whole', True) for line in pairs)} of them to the end. "
    text += f"Random walks: {sum(line.get('walks', 0) for line in lines):,}.\n"
    others = {line["row"]: line["count"] for line in lines if "count" in line}
    return text + "".join(f"{name}: {count:,}.\n" for name, count in sorted(others.items()))


if __name__ == "__main__":
    sys.exit(main())
