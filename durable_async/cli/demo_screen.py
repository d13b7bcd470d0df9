"""What the demo shows while it runs: a bar on a terminal, a line for every tenth elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from durable_async.cli import output


class Screen(Protocol):
    """Where the demo talks."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None: ...
    def say(self, text: str) -> None:
        """One line that stays."""

    def progress(self, done: int) -> None:
        """So many orders are done."""


def screen_for(total: int) -> Screen:
    """A bar if there is a terminal."""
    console = output.console()
    return PlainScreen(total) if console is None else RichScreen(total, console)


class PlainScreen:
    """Lines."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._said = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        return

    def say(self, text: str) -> None:
        """One line."""
        output.print_text(text)

    def progress(self, done: int) -> None:
        """A line for every tenth."""
        tenth = done * 10 // self._total
        if tenth > self._said:
            self._said = tenth
            output.print_text(f"{done}/{self._total} orders done")


class RichScreen:
    """A bar, with lines above it."""

    def __init__(self, total: int, console: Console) -> None:
        self._progress = Progress(
            TextColumn("orders"), BarColumn(bar_width=40), MofNCompleteColumn(), TimeElapsedColumn(), console=console
        )
        self._task = self._progress.add_task("orders", total=total)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._progress.stop()

    def say(self, text: str) -> None:
        """One line above the bar."""
        style = "bold red" if "WRONG" in text or "FAILS" in text else "bold green" if text.startswith("proved") else ""
        self._progress.console.print(Text(text, style=style))

    def progress(self, done: int) -> None:
        """Moves the bar."""
        self._progress.update(self._task, completed=done)
