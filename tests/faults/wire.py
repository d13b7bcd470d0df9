"""The protocol on the wire, as far as a proxy must know it: where a command or a reply ends, and what a command is."""

from __future__ import annotations

from durable_async.store.scripts import BY_SHA, FORMS

NAMES = {sha: script.name for sha, script in BY_SHA.items()}
NAMES |= {form.sha.decode(): form.name for form in FORMS.values()}
"""What a script is, whether it is called alone or with others of its kind."""


class Frames:
    """Splits a stream of RESP2 into whole commands or replies."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that are complete now."""
        self._buffer += data
        found, at = [], 0
        while (end := _end(self._buffer, at)) > 0:
            found.append(bytes(self._buffer[at:end]))
            at = end
        del self._buffer[:at]
        return found


def _end(buffer: bytearray, at: int) -> int:
    """Where the frame that begins at `at` ends; -1 if more must come."""
    open_frames = 1
    while open_frames:
        line_end = buffer.find(b"\r\n", at)
        if line_end < 0:
            return -1
        kind, rest = buffer[at : at + 1], buffer[at + 1 : line_end]
        at = line_end + 2
        if kind == b"$" and int(rest) >= 0:
            at += int(rest) + 2
        elif kind == b"*":
            open_frames += max(int(rest), 0)
        if at > len(buffer):
            return -1
        open_frames -= 1
    return at


def command_of(frame: bytes) -> str:
    """The name of a command, or of the script that it runs."""
    parts = frame.split(b"\r\n", 5)
    name = parts[2].decode(errors="replace").upper()
    if name != "EVALSHA":
        return name
    return NAMES.get(parts[4].decode(errors="replace"), name)
