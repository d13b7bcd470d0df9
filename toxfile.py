"""Lets tox find every Python that pyenv has installed, and not only those that its shims select at the moment."""

from __future__ import annotations

import os
from pathlib import Path

_ROOT = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
_FOUND = sorted(str(python.parent) for python in _ROOT.glob("versions/3.1[1-9]*/bin/python3"))

# At the end: whatever the machine prefers comes first.
os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), *_FOUND])
