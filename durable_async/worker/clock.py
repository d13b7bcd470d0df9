"""The server's time, as far as this process can know it without asking."""

from __future__ import annotations

from time import monotonic


class ServerClock:
    """The last time the server told, plus the monotonic time since: never ahead of the server, never moving back.

    Not guaranteed: that it is close. It lags by as long as the reply was under way; a step of the server's clock
    backwards is not followed.
    """

    __slots__ = ("_offset_ms", "_shown")

    def __init__(self) -> None:
        self._offset_ms = 0.0
        self._shown = 0

    def heard(self, now_ms: int) -> None:
        """The server has just answered with its time."""
        self._offset_ms = now_ms - monotonic() * 1000

    @property
    def is_set(self) -> bool:
        """Whether the server has told its time."""
        return self._offset_ms != 0.0

    def now_ms(self) -> int:
        """Milliseconds since the epoch by the server's clock."""
        now = int(monotonic() * 1000 + self._offset_ms)
        if now > self._shown:
            self._shown = now
        return self._shown

    def seconds_until(self, due_ms: float) -> float:
        """How long until a time of the server's clock; 0 if it has passed."""
        return max(0.0, (due_ms - self.now_ms()) / 1000)
