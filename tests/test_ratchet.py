"""Files and functions stay small. `python tests/test_ratchet.py` says what is too long; `--lower` takes in what shrank.

What is longer than its cap stands in ratchet.json, with its length and the reason. A length there can be lowered, and
has to be once the code has shrunk; nothing here raises one: that takes an edit that a reviewer sees.
"""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BASELINE = Path(__file__).with_name("ratchet.json")

MODULE_LINES = {"durable_async": 450, "tests": 500, "benchmarks": 450, "examples": 60}
"""The cap of a file, by its top folder."""

FUNCTION_LINES = 60
"""The cap of a function, its docstring and decorators not counted."""


def too_long() -> dict[str, int]:
    """Whatever exceeds its cap: ``path`` or ``path::Class.function``, and its lines."""
    found = {}
    for folder, cap in MODULE_LINES.items():
        for path in sorted(ROOT.joinpath(folder).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            source = path.read_text(encoding="utf-8")
            if (lines := len(source.splitlines())) > cap:
                found[name] = lines
            for function, lines in functions(ast.parse(source, name)):
                if lines > FUNCTION_LINES:
                    found[f"{name}::{function}"] = lines
    return found


def functions(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, int]]:
    """Every function below `node`: its qualified name and its lines without the docstring."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from functions(child, prefix)
            continue
        if not isinstance(child, ast.ClassDef):
            yield prefix + child.name, span(child) - (span(child.body[0]) if ast.get_docstring(child) else 0)
        yield from functions(child, f"{prefix}{child.name}.")


def span(node: ast.stmt) -> int:
    """The lines a statement takes."""
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


def baseline() -> dict[str, dict[str, int | str]]:
    """What may be longer than its cap: ``{"lines": …, "reason": …}`` by name."""
    loaded: dict[str, dict[str, int | str]] = json.loads(BASELINE.read_text(encoding="utf-8"))
    return loaded


def findings() -> list[str]:
    """One sentence for each thing that is longer than it may be, or whose allowance is out of date."""
    long, allowed = too_long(), {name: int(entry["lines"]) for name, entry in baseline().items()}
    said = [f"{name} has {lines} lines: split it" for name, lines in long.items() if name not in allowed]
    for name, limit in allowed.items():
        lines = long.get(name, 0)
        if lines > limit:
            said.append(f"{name} has grown from {limit} to {lines} lines: split it")
        elif lines < limit:
            said.append(f"{name} has shrunk from {limit} to {lines or 'fewer than its cap'}: run {sys.argv[0]} --lower")
    return said


def lower() -> None:
    """Write the baseline anew with what shrank."""
    long, kept = too_long(), {}
    for name, entry in baseline().items():
        if name in long:
            kept[name] = {**entry, "lines": min(int(entry["lines"]), long[name])}
    BASELINE.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")


def test_nothing_grew_beyond_its_cap() -> None:
    assert findings() == []


def test_every_allowance_has_a_reason() -> None:
    assert [name for name, entry in baseline().items() if not entry.get("reason")] == []


def test_lines_are_counted_without_docstring_and_decorators() -> None:
    source = '@cached\ndef one():\n    """Two\n    lines."""\n    return 1\nclass A:\n    async def two(self): pass\n'
    assert dict(functions(ast.parse(source))) == {"one": 2, "A.two": 1}


if __name__ == "__main__":
    if "--lower" in sys.argv:
        lower()
    if found := findings():
        sys.exit("\n".join(found))
