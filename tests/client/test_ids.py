"""Random ids: never the same twice, whoever asks, and nothing kept for long."""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from durable_async.client import ids
from durable_async.client.ids import random_id


def test_ids_are_32_digits_and_never_the_same() -> None:
    with ThreadPoolExecutor(8) as pool:
        found = [id for part in pool.map(lambda _: [random_id() for _ in range(2_000)], range(8)) for id in part]
    assert len(set(found)) == 16_000
    assert all(re.fullmatch("[0-9a-f]{32}", id) for id in found)


def test_what_is_left_is_dropped_after_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000.0
    monkeypatch.setattr(ids, "_left", [])
    monkeypatch.setattr(ids, "monotonic", lambda: now)
    random_id()
    left = list(ids._left)
    assert left and random_id() in left
    now += 1.5
    assert not {random_id() for _ in range(500)} & set(left)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Python 3.12: other threads may hold locks
def test_a_forked_child_has_ids_of_its_own() -> None:
    random_id()
    assert ids._left
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, "".join(random_id() for _ in range(100)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    text = os.read(read, 100 * 32).decode()
    os.close(read)
    os.close(write)
    theirs = {text[at : at + 32] for at in range(0, len(text), 32)}
    assert len(theirs) == 100 and not theirs & {random_id() for _ in range(200)}
