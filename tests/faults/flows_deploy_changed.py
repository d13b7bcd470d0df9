"""The code of a worker: its version of `sells`."""

from __future__ import annotations

from .flows_workers import sells

shop = sells("changed")
