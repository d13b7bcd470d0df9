"""What the project says about itself: its commands are the ones that run, its links lead somewhere."""

from __future__ import annotations

import configparser
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = ROOT.joinpath("README.md").read_text(encoding="utf-8")
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.joinpath("docs").rglob("*.md"))]
TEXT = {"", ".cfg", ".css", ".html", ".ini", ".js", ".json", ".lua", ".md", ".py", ".toml", ".txt", ".typed", ".yaml"}


def console_line(ending: str) -> str:
    """The one command of the README that ends like this."""
    blocks = re.findall(r"^```(?:console|bash|sh)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    lines = [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]
    (found,) = [line for line in lines if line.endswith(ending) and "venv" in line]
    return found


def tracked() -> list[Path]:
    """The text files that belong to the project."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("no git checkout")
    files = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [path for path in files if path.is_file() and path.suffix in TEXT and path.name != Path(__file__).name]


def hits(pattern: str, files: list[Path]) -> list[str]:
    """Where the pattern occurs: ``file:line: text``."""
    wanted = re.compile(pattern)
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in files
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if wanted.search(line)
    ]


def test_continuous_integration_runs_the_readme_s_test_command() -> None:
    script = ROOT.joinpath(".ci/run").read_text(encoding="utf-8").splitlines()
    assert script[-1] == console_line("tox run")
    setup = ["#!/usr/bin/env bash", "set -euo pipefail", 'cd "$(dirname "${BASH_SOURCE[0]}")/.."']
    assert [line for line in script[:-1] if line and (line[:2] == "#!" or line[0] != "#")] == setup


def test_the_demo_command_is_one_line() -> None:
    assert console_line("durable demo") == (
        "python3 -m venv .venv && .venv/bin/pip install -q '.[dev]' && .venv/bin/durable demo"
    )


def test_the_readme_s_example_is_the_example() -> None:
    _, _, code = ROOT.joinpath("examples/shop.py").read_text(encoding="utf-8").partition('"""\n\n')
    assert f"```python\n{code}```\n" in README


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", prose) if "://" not in target]
    assert [target for target in targets if not page.parent.joinpath(target).exists()] == []


def test_the_changelog_knows_the_version() -> None:
    project = tomllib.loads(ROOT.joinpath("pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert f"\n## {project['version']} " in ROOT.joinpath("CHANGELOG.md").read_text(encoding="utf-8")


def test_tox_has_every_environment_that_is_documented() -> None:
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    known = {name.partition(":")[2] for name in tox.sections()} | {"py", "py311", "py312", "py313"}
    known |= {f"mode-{mode}" for mode in ("plain", "replay", "single", "crowd")}
    pages = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert set(re.findall(r"tox run -e ([\w-]+)", pages)) - known == set()


def test_nothing_is_left_to_do() -> None:
    assert (
        hits(r"\b(TODO|FIXME|XXX|HACK)\b", [path for path in tracked() if ROOT / "durable_async" in path.parents]) == []
    )


def test_no_path_of_somebody_s_machine() -> None:
    assert hits(r"(?<![\w.])/(home|Users|root|work|opt)/\w", tracked()) == []
