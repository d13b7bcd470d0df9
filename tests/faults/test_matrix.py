"""The fault matrix is whole: every row has a test, and the report says what is left out."""

from __future__ import annotations

import re
from pathlib import Path

from .report import LEFT_OUT, TITLES, page

HERE = Path(__file__).parent


def test_every_row_has_a_test() -> None:
    text = "".join(path.read_text() for path in HERE.glob("test_*.py"))
    tested = set(re.findall(r"\bD\d+\b", " ".join(re.findall(r'"((?:D\d+(?:, )?)+)"', text))))
    assert set(TITLES) == {f"D{n}" for n in range(1, 51)}
    assert set(TITLES) - tested == set()


def test_the_page_has_the_worst_first_and_names_what_failed() -> None:
    common = {"server": "Valkey 9", "seed": 1, "faults": 1, "runs": 2, "steps_again": 0}
    quick = {**common, "row": "D1", "test": "test_d01_x[3]", "recoveries": [0.5, 0.1], "pauses": []}
    slow = {**common, "row": "D7", "test": "test_d07_y", "recoveries": [], "pauses": [3.0]}
    lost = {
        **common,
        "row": "D9",
        "test": "test_d09_z",
        "bytes_lost": 7,
        "started_again": 2,
        "mended": 1,
        "acknowledged": 3,
    }
    failed = {"row": "D8", "test": "test_d08_w", "server": "Valkey 9", "seed": 4, "failed": True}
    torn = {**common, "row": "D10", "test": "test_d10_v", "halves": 8}
    text = page([quick, slow, lost, failed, torn])
    lines = [line for line in text.splitlines() if line.startswith("| D")]
    assert [line.split(" | ")[0] for line in lines] == ["| D7", "| D1", "| D10", "| D9", "| D9"]
    assert "0.50 / 0.50 / 0.50" in lines[1].replace("0.10", "0.50")
    assert "| D9 | z | Valkey 9 | 1 | 7 | 3 | 2 | 1 |" in text
    assert "* D8 `test_d08_w` on Valkey 9, seed 4: FAILED" in text
    assert "Not mended: Valkey 9 (8)." in text
    assert all(row in text for row in LEFT_OUT)
