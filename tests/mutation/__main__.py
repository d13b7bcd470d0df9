"""`python -m mutation` in tests/: breaks the package in every way that is listed, and says which test notices.

``--only TEXT`` takes those whose id holds a text, ``--unknown`` those that no test is known to notice. What was found
is kept in caught.json and written to docs/reliability/mutants.md; the next run tries the test that is known first.
``--check`` writes nothing, ``--table`` runs nothing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from .gate import ROOT, SURVIVED, Caught, Mutant, catch, known, preload, remember, sandbox, unfounded
from .mutants import all_mutants
from .table import write_table


def run(mutants: list[Mutant], found: dict[str, Caught], *, writes: bool) -> list[str]:
    """Tries them, and notes in `found` what has caught each. Returns what is wrong."""
    wrong = []
    preload()
    with tempfile.TemporaryDirectory() as folder, sandbox(Path(folder) / "copy") as copy:
        for mutant in mutants:
            caught = catch(copy, mutant, found.pop(mutant.id, None))
            if caught is None:
                wrong.append(f"SURVIVED {mutant.id} {mutant.what or mutant.patches}")
            found[mutant.id] = caught or SURVIVED
            sys.stdout.write(f"{caught.seconds:6.1f} s  {mutant.id}  {caught.test}\n" if caught else f"{wrong[-1]}\n")
            sys.stdout.flush()
            if writes:
                remember(found)
        for test in unfounded(copy, [found[m.id] for m in mutants]):
            wrong.append(f"FAILS ANYWAY {test}")
            for id in [id for id, caught in found.items() if caught.argument == test]:
                del found[id]
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m mutation")
    parser.add_argument("--only", action="append", default=[], metavar="TEXT")
    parser.add_argument("--unknown", action="store_true")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    mutants = all_mutants()
    found = {m.id: caught for m in mutants if (caught := known().get(m.id)) is not None}
    chosen = [
        m
        for m in mutants
        if all(text in m.id for text in given.only) and not (given.unknown and found.get(m.id, SURVIVED).test)
    ]
    wrong = [] if given.table else run(chosen, found, writes=not given.check)
    if not given.check:
        remember(found)
        write_table(mutants, found, ROOT / "docs" / "reliability" / "mutants.md")
    sys.stdout.write("".join(f"{line}\n" for line in wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
