"""Runs the Python blocks of README.md and docs/, page by page, as a reader would who types them in one after the other.

The blocks of a page share one module, and one empty working directory with an embedded server of its own. A block may
use `await` outside of a function. What cannot run here has `<!-- skip: next -->` above it. A block of `text` is what
the block before it prints.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import io
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType

import pytest
from sybil import Document, Example
from sybil.parsers.markdown import CodeBlockParser, SkipParser

from durable_async.server.embedded import EmbeddedServer

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted(ROOT.joinpath("docs").rglob("*.md"))]


def run_block(example: Example) -> None:
    """Execute one block in its page's module; line numbers in tracebacks are those of the page."""
    source = "\n" * (example.line + example.parsed.line_offset) + example.parsed
    code = compile(source, example.path, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    with redirect_stdout(io.StringIO()) as printed:
        if code.co_flags & inspect.CO_COROUTINE:
            runner: asyncio.Runner = example.namespace["__runner__"]
            runner.run(eval(code, example.namespace))
        else:
            exec(code, example.namespace)
    example.namespace["__printed__"] = printed.getvalue()


def check_output(example: Example) -> None:
    """Compare what a page says that a block prints with what it has printed."""
    assert example.namespace.pop("__printed__", None) == example.parsed


def parse(page: Path) -> Document:
    """The page and the blocks in it."""
    python = CodeBlockParser(language="python", evaluator=run_block)
    text = CodeBlockParser(language="text", evaluator=check_output)
    return Document.parse(str(page), SkipParser(), python, text)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory; the server that was started for it ends with the test."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    if (data := tmp_path / ".durable").is_dir():
        EmbeddedServer(data).stop()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_page(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = parse(page)
    module = ModuleType("__main__")
    # Dataclasses and annotations look their module up by its name.
    monkeypatch.setitem(sys.modules, "__main__", module)
    document.namespace = module.__dict__
    with asyncio.Runner() as runner:
        module.__dict__["__runner__"] = runner
        for example in document.examples():
            example.evaluate()


def test_blocks_are_found_and_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = folder / "page.md"
    page.write_text(
        "```python\nimport asyncio\nseen = []\n```\n\n"
        "<!-- skip: next -->\n```python\nraise AssertionError\n```\n\n"
        "```python\nawait asyncio.sleep(0)\nseen.append(__name__)\n```\n\n"
        "```console\n$ false\n```\n\n"
        "```python\nprint('a')\nprint('b')\n```\n\n```text\na\nb\n```\n"
    )
    document = parse(page)
    document.namespace = {"__name__": "page", "__runner__": (runner := asyncio.Runner())}
    with runner:
        for example in document.examples():
            example.evaluate()
    assert document.namespace["seen"] == ["page"]


def test_a_failing_block_names_its_page_and_line(folder: Path) -> None:
    page = folder / "page.md"
    page.write_text("# Title\n\n```python\nvalue = 1\nraise ValueError(value)\n```\n")
    document = parse(page)
    with pytest.raises(ValueError, match="1") as caught:
        next(iter(document.examples())).evaluate()
    assert (caught.traceback[-1].path, caught.traceback[-1].lineno + 1) == (page, 5)


def test_an_output_that_is_not_true_fails(folder: Path) -> None:
    page = folder / "page.md"
    page.write_text("```python\nprint('a')\n```\n\n```text\nb\n```\n")
    first, second = parse(page).examples()
    first.evaluate()
    with pytest.raises(AssertionError):
        second.evaluate()
