"""Environments of their own for what cannot live in ours; `python -m benchmarks.environments` makes what is missing.

Most peers are in the extra `bench`. What needs other versions of the same packages (arq: an older redis-py) gets a venv
of its own, and is run with the Python of that; Restate's server comes by npm. All of it is in one folder, `HOME`. What
cannot be installed is left out, and the report says so.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

VARIABLE = "DURABLE_BENCH_HOME"
HOME = Path(os.environ.get(VARIABLE) or Path.home() / ".cache/durable-async/bench")
PACKAGES = {"arq": ["arq>=0.28"]}
"""By venv: what it holds beside durable_async itself."""
NODE = ["@restatedev/restate-server@>=1.7"]


def pythons() -> list[str]:
    """The Pythons of the environments that have been made."""
    return [str(python) for name in PACKAGES if (python := HOME / name / "bin/python").exists()]


def node_modules() -> Path:
    """Where npm puts its packages."""
    return HOME / "node_modules"


def main() -> int:
    """Makes them; returns how many of them could not be made."""
    HOME.mkdir(parents=True, exist_ok=True)
    project = Path(__file__).resolve().parents[1]
    failed = []
    for name, packages in PACKAGES.items():
        python = HOME / name / "bin/python"
        if python.exists():
            continue
        # The project is named, not its name: the package index may hold another state of it.
        if not (
            _run(sys.executable, "-m", "venv", str(HOME / name))
            and _run(str(python), "-m", "pip", "install", "-q", f"{project}[embedded,fast]", *packages)
        ):
            python.unlink(missing_ok=True)
            failed.append(name)
    if not node_modules().exists() and not _run("npm", "install", "--no-fund", "--prefix", str(HOME), *NODE):
        failed.append("node")
    if failed:
        print(f"could not be installed: {', '.join(failed)}", file=sys.stderr)
    return len(failed)


def _run(*command: str) -> bool:
    print(" ".join(command), file=sys.stderr)
    try:
        return subprocess.run(command, check=False).returncode == 0
    except OSError as error:
        print(error, file=sys.stderr)
        return False


if __name__ == "__main__":
    main()
