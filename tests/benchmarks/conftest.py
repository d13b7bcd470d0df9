"""`benchmarks` is no part of the wheel: it is found in the checkout, behind whatever is installed."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))
