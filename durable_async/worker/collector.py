"""The garbage collector of a process that is nothing but a worker.

Runs come and go by the thousand and free themselves by counting references; a collector at its default pace looks for
cycles among the parked ones again and again. For processes of our own only: an application's settings are its own.
"""

from __future__ import annotations

import gc
from typing import Final

THRESHOLDS: Final = (50_000, 50, 100)
"""Allocations between two looks at the youngest objects, and how many looks make one at the next older ones."""


def calm_collector() -> None:
    """Takes what has been imported out of every later look, and makes looks rarer. Call it once all is loaded."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
