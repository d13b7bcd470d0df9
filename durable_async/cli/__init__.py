"""The command line: ``durable``, also ``python -m durable_async``.

Nothing else imports this folder, and this module imports click and rich only when it is run: they come with the extra
`cli`. Every command is a thin layer over `Durable`; what goes wrong is one line on standard error and an exit code, see
`exits`.
"""

from __future__ import annotations

import io
import os
import sys
from typing import NoReturn

EXTRAS = {
    **dict.fromkeys(("click", "rich", "watchfiles", "markdown_it", "pygments"), "cli"),
    **dict.fromkeys(("starlette", "uvicorn", "jinja2", "markupsafe"), "web"),
    "prometheus_client": "metrics",
}
"""Which extra a package comes with."""


def main() -> NoReturn:
    """Runs the command of `sys.argv` and exits; never returns."""
    _open_standard_streams()
    try:
        from durable_async.cli.app import run
    except ModuleNotFoundError as error:
        message = missing_extra(error)
        if message is None:
            raise
        sys.stderr.write(f"durable: {message}\n")
        sys.exit(2)
    code = run(sys.argv[1:])
    _forget_broken_pipes()
    sys.exit(code)


def _forget_broken_pipes() -> None:
    """Whoever read our output may have left; the interpreter must not complain of that when it flushes at its end."""
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            stream.flush()
        except (OSError, ValueError):
            devnull = os.open(os.devnull, os.O_WRONLY)
            os.dup2(devnull, number)
            os.close(devnull)


def missing_extra(error: ModuleNotFoundError) -> str | None:
    """What to say if it is a package of an extra that is missing."""
    package = (error.name or "").partition(".")[0]
    if package not in EXTRAS:
        return None
    return f"the package {package!r} is missing; install it with: pip install 'durable-async[{EXTRAS[package]}]'"


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
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
