"""Runs of workflows that a worker does not know: they come back, and not in step with each other."""

from __future__ import annotations

from itertools import pairwise

from durable_async.worker.intake import UNKNOWN_DELAY_MS, unknown_delay_ms


def test_two_that_are_handed_back_do_not_stay_in_step() -> None:
    """Else each of two workers would be given the one it does not know for ever, as they take turns."""

    def times(id: str) -> list[int]:
        at, found = 0, []
        for epoch in range(1, 40, 2):
            at += unknown_delay_ms(id, epoch)
            found.append(at)
        return found

    whose = [id for _, id in sorted([(at, "p") for at in times("p")] + [(at, "w2/leaf") for at in times("w2/leaf")])]
    assert any(one == other for one, other in pairwise(whose[:10])), "they took turns for ever"


def test_it_is_about_as_long_as_said_and_never_the_same() -> None:
    delays = [unknown_delay_ms("r", epoch) for epoch in range(1, 50)]
    assert all(UNKNOWN_DELAY_MS // 2 <= each < UNKNOWN_DELAY_MS * 3 // 2 for each in delays)
    assert len(set(delays)) > 40
