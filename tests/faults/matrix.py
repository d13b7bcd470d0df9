"""Runs the fault matrix on every server that is installed, and writes `docs/reliability/report.md`.

    python tests/faults/matrix.py                       all rows once, on all servers
    python tests/faults/matrix.py --rounds 5 --only d09 five seeds of the rows whose tests have "d09" in their names
    python tests/faults/matrix.py --long                the long versions: hours

The servers are tested side by side, and several rows of each: most of a row is waiting.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic, time

TESTS = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS))

from faults.report import page, read  # noqa: E402
from faults.servers import known_servers  # noqa: E402

NOTHING_SELECTED = 5


def main() -> int:
    """The exit code: 0 if every row held."""
    options = arguments()
    servers = {name: path for name, path in known_servers().items() if name in options.servers}
    if missing := sorted(set(options.servers) - set(servers)):
        say(f"not installed, and left out: {', '.join(missing)}")
    folder = Path(options.folder or tempfile.mkdtemp(prefix="faults-"))
    folder.mkdir(exist_ok=True)
    jobs = [(name, number) for number in range(options.rounds) for name in servers]
    base = options.seed if options.seed is not None else random.randrange(10**6)

    def run(job: tuple[str, int]) -> int:
        name, number = job
        return one_round(options, folder, name, str(servers[name]), base + number)

    began = monotonic()
    with ThreadPoolExecutor(options.at_once) as pool:
        codes = list(pool.map(run, jobs))
    say(f"{(monotonic() - began) / 60:.1f} minutes")
    text = page(read([*map(Path, options.add), *sorted(folder.glob("*.jsonl"))]), remarks=options.remarks)
    if options.out:
        Path(options.out).write_text(text)
        say(f"wrote {options.out}; figures and logs are in {folder}")
    else:
        sys.stdout.write(text)
    return 1 if any(codes) else 0


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", nargs="+", default=["valkey", "redis7", "redis8"], metavar="NAME")
    parser.add_argument("--rounds", type=int, default=1, help="each with a seed of its own")
    parser.add_argument("--seed", type=int, help="of the first round; by default a random one")
    parser.add_argument("--only", default="", help="as pytest's -k")
    parser.add_argument("--long", action="store_true", help="the long versions instead of the short ones")
    parser.add_argument("--at-once", type=int, default=3, help="how many servers are tested side by side")
    parser.add_argument("--slots", type=int, default=2, help="how many rows of one server run side by side")
    parser.add_argument("--folder", help="for figures and logs; by default a new one")
    parser.add_argument("--out", help="the page to write; by default it is printed")
    parser.add_argument("--add", nargs="*", default=[], help="figures of earlier runs (.jsonl) to be counted in")
    parser.add_argument("--remarks", default="", help="a sentence about the machine, for the page")
    return parser.parse_args()


def one_round(options: argparse.Namespace, folder: Path, name: str, binary: str, seed: int) -> int:
    """All rows on one server, with one seed."""
    label = f"{name}-{seed}"
    if time() > float(os.environ.get("DURABLE_LONG_UNTIL", "inf")):
        return 0
    env = {
        **os.environ,
        "DURABLE_SERVER_BIN": binary,
        "DURABLE_FAULTS_SEED": str(seed),
        "DURABLE_FAULTS_REPORT": str(folder / f"{label}.jsonl"),
        "DURABLE_FAULTS_PATIENCE_S": os.environ.get("DURABLE_FAULTS_PATIENCE_S", "240"),
        # All processes of all rounds compile what they import once.
        "PYTHONPYCACHEPREFIX": str(folder / "pycache"),
        "PYTHONDONTWRITEBYTECODE": "",
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(TESTS / "faults")]
    command += ["--durations=20", "-m", "long" if options.long else "not long"]
    # The next test is handed out when one has ended, in the order of `order.py`.
    command += ["-n", str(options.slots), "--dist", "load", "--maxschedchunk", "1"]
    # A machine that is busy otherwise may take its time.
    command += ["-o", f"faulthandler_timeout={14400 if options.long else 900}"]
    if options.only:
        command += ["-k", options.only]
    with (folder / f"{label}.log").open("wb") as log:
        code = subprocess.run(command, env=env, stdout=log, stderr=log, check=False).returncode
    lines = (folder / f"{label}.log").read_text(errors="replace").splitlines()
    say(f"{label}: {lines[-1] if lines else 'nothing'}")
    for line in lines:
        if line.startswith(("FAILED", "ERROR tests")):
            say(f"  {line[:300]}")
    return 0 if code in (0, NOTHING_SELECTED) else code


def say(text: str) -> None:
    """To whoever waits."""
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
