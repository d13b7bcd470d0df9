"""The command line: ``durable``, also ``python -m durable_async``.

Nothing else imports this folder, and this module imports click and rich only when it is run: they come with the extra
`cli`. Every command is a thin layer over `Durable`; what goes wrong is one line on standard error and an exit code, see
`exits`.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

EXTRA = ("click", "rich", "watchfiles", "markdown_it", "pygments")


def main() -> NoReturn:
    """Runs the command of `sys.argv` and exits; never returns."""
    _open_standard_streams()
    try:
        from durable_async.cli.app import run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in EXTRA:
            raise
        sys.stderr.write(
            f"durable: the package {error.name!r} is missing; install it with: pip install 'durable-async[cli]'\n"
        )
        sys.exit(2)
    sys.exit(run(sys.argv[1:]))


def _open_standard_streams() -> None:
    """Makes the three streams exist and take any text: closed ones would give their numbers to the next sockets."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
