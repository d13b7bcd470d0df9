"""The order of a matrix that runs several tests at a time: the longest first, what computes beside what waits."""

from __future__ import annotations

from itertools import chain, zip_longest

import pytest

WAITING_S = {
    "test_d20_": 40, "test_d18_": 20, "test_d28_": 20, "test_d07_": 18, "test_d25_": 16, "test_d35_": 16,
    "test_d50_": 16, "test_d40_": 15, "test_d06_a_step": 14, "test_d19_the_server_sleeps[6]": 14, "test_d09_": 12,
    "test_d10_": 12, "test_d39_": 12, "test_d29_": 10, "test_d36_": 10, "test_d45_": 10, "test_d22_": 10,
}  # fmt: skip
"""About how many seconds a row takes that mostly waits; all others less."""
COMPUTING_S = {
    "one_place": 60, "several_lives": 38, "ended_from_outside": 36, "test_c07_": 32, "cancelled_tree": 31,
    "taken_up_again": 25, "test_p_": 16, "encrypted": 15, "two_levels": 14, "test_o20_": 13, "test_w10_": 12,
}  # fmt: skip
"""The same of the sweeps over calls, which keep a core busy."""


def longest_first(items: list[pytest.Item]) -> None:
    """Sorts tests; those of which nothing is known come last, in their own order."""
    sweeps = [item for item in items if "every_call" in item.name or "test_d46_" in item.name]
    rows = [item for item in items if item not in set(sweeps)]
    sweeps.sort(key=lambda item: -about(item.name, COMPUTING_S))
    rows.sort(key=lambda item: -about(item.name, WAITING_S))
    items[:] = [item for item in chain.from_iterable(zip_longest(rows, sweeps)) if item is not None]


def about(name: str, table: dict[str, int]) -> int:
    """Seconds, by a part of the name."""
    return next((seconds for part, seconds in table.items() if part in name), 0)
