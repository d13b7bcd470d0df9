"""How long the tests marked ``long`` may take: `$DURABLE_LONG_UNTIL`, seconds since 1970, set by `faults/long.py`.

What has not begun by then is skipped. What looks for ever further asks `is_spent` now and then: each test may take an
equal share of the time that is left, so that the last one has one too; what one leaves goes to those that follow.
"""

from __future__ import annotations

import os
from math import isinf
from time import time

import pytest

UNTIL = float(os.environ.get("DURABLE_LONG_UNTIL", "inf"))
NO_TIME = "no time is left"

_until = UNTIL


def begin(item: pytest.Item) -> None:
    """A test sets up."""
    global _until  # noqa: PLW0603 - of this process, which runs one test at a time
    if isinf(UNTIL):
        return
    if (now := time()) > UNTIL:
        pytest.skip(NO_TIME)
    items = item.session.items
    _until = now + (UNTIL - now) / (len(items) - items.index(item))


def is_spent() -> bool:
    """Whether the share of the test that runs is over."""
    return time() > _until
