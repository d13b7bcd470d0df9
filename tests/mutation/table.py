"""The page of what was broken, and what has noticed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from .gate import Caught, Mutant

HEAD = """# What the tests notice

Tests that never fail prove nothing. So the package is broken on purpose, in one place after the other, and each time a
test has to fail. This page is written by `python -m mutation` (in `tests/`): each row is one way to break a copy of the
package, the first test that noticed, and how long that took on the machine that wrote it, server included.

Where two rules back each other up, either alone can be missing without harm; such rules are broken together.
"""


def write_table(mutants: Sequence[Mutant], found: Mapping[str, Caught], path: Path) -> None:
    """Writes the page."""
    named = [m for m in mutants if m.what]
    others = [m for m in mutants if not m.what]
    text = [HEAD, f"{len(mutants)} mutants, {_of(mutants, found)}", ""]
    text += ["## Rules", "", "| | what is broken | noticed by | s |", "|---|---|---|---|"]
    text += [f"| {m.id} | {m.what} | {_by(found.get(m.id))} |" for m in named]
    text += ["", "## Single lines of transitions", "", "| script | instead of | stands | noticed by | s |"]
    text += ["|---|---|---|---|---|"]
    for m in others:
        file, good, bad = m.patches[0]
        script = file.removeprefix("store/lua/").removesuffix(".lua")
        text.append(f"| {script} | {_code(good)} | {_code(bad)} | {_by(found.get(m.id))} |")
    path.write_text("\n".join(text) + "\n")


def _of(mutants: Sequence[Mutant], found: Mapping[str, Caught]) -> str:
    tried = [found[m.id] for m in mutants if m.id in found]
    survived, new = sum(not one.test for one in tried), len(mutants) - len(tried)
    rest = f" {new} have not been tried against all tests yet." if new else ""
    return f"{survived} of them are noticed by nothing.{rest}"


def _by(caught: Caught | None) -> str:
    if caught is None:
        return "not tried against all yet | "
    if not caught.test:
        return "**nothing** | "
    file, _, name = caught.test.partition("::")
    test = f"{file.removeprefix('tests/')} {name.replace('::', ' ')}".replace("|", "\\|")
    return f"{test} | {caught.seconds:.1f}"


def _code(text: str) -> str:
    line = " ".join(text.split())
    if not line:
        return "nothing"
    line = line if len(line) <= 90 else line[:87] + "..."
    return f"`` {line} ``".replace("|", "\\|")
