"""What every transition's text must keep to; held against the code, because comments drift."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import redis

import durable_async.store
from durable_async.store import scripts
from durable_async.store.scripts import SCRIPTS, Script, ScriptError
from durable_async.store.status import Answer

LUA = Path(durable_async.store.__file__).with_name("lua")
FILES = {path.stem: path.read_text() for path in sorted(LUA.glob("*.lua"))}
LIBRARY = {path.stem: path.read_text() for path in sorted((LUA / "lib").glob("*.lua"))}
COMMANDS_7_0 = {
    "DEL", "EXISTS", "HDEL", "HEXISTS", "HGET", "HGETALL", "HKEYS", "HLEN", "HMGET", "HRANDFIELD", "HSCAN", "HSET",
    "HSETNX", "HSTRLEN", "LINDEX", "LLEN", "LRANGE", "LSET", "LTRIM", "PERSIST", "PEXPIRE", "PTTL", "RPUSH", "TIME",
    "TYPE", "XACK", "XADD", "XDEL", "XGROUP", "XINFO", "XLEN", "XPENDING", "XRANGE", "ZADD", "ZCARD", "ZRANGE",
    "ZREM", "ZSCORE",
}  # fmt: skip
"""Each in the documentation of Redis 7.0 with the options used; to add one, look it up there."""


def code(text: str) -> str:
    """Without comments."""
    return re.sub(r"--.*", "", text)


def header(text: str) -> str:
    lines = []
    for line in text.splitlines():
        if not line.startswith("--") or line.startswith("--- "):
            break
        lines.append(line.removeprefix("--").strip())
    return "\n".join(lines)


def with_library(text: str, seen: set[str] | None = None) -> str:
    """A script's own text and that of everything it includes."""
    seen = set() if seen is None else seen
    parts = [text]
    for name in re.findall(r'--- @include "lib/(\w+)"', text):
        if name not in seen:
            seen.add(name)
            parts.append(with_library(LIBRARY[name], seen))
    return "\n".join(parts)


@pytest.mark.parametrize("name", FILES)
class TestHeader:
    def test_it_says_what_a_caller_must_know(self, name: str) -> None:
        text = header(FILES[name])
        assert text and not text.startswith(("Returns", "Slots")), "the first line says what the transition does"
        for part in ("Returns:", "Writes:", "Repeat-safe:", "Wakes:"):
            assert text.count(part) == 1, part

    def test_its_answers_are_those_of_the_code(self, name: str) -> None:
        text = header(FILES[name])
        returns = text[text.index("Returns:") : text.index("Writes:")]
        declared = set(re.findall(r"\b[A-Z]{2,}\b", returns))
        used = set(re.findall(r"STATUS\.(\w+)", code(FILES[name])))
        assert used == declared & set(Answer.__members__)
        assert declared <= set(Answer.__members__)

    def test_the_streams_and_queues_it_writes_are_declared(self, name: str) -> None:
        """A script that adds entries says so."""
        text = header(FILES[name])
        if "'XADD'" in with_library(FILES[name]) and name != "expire_children":
            assert "stream" in text or "queue" in text


@pytest.mark.parametrize("name", FILES)
class TestCode:
    def test_slots_come_first_and_are_dense(self, name: str) -> None:
        script = SCRIPTS[name]
        slots = re.findall(r"^local \w+ = (KEYS|ARGV)\[(\d+)\]$", FILES[name], re.MULTILINE)
        assert [int(n) for kind, n in slots if kind == "KEYS"] == list(range(1, len(script.keys) + 1))
        assert [int(n) for kind, n in slots if kind == "ARGV"] == list(range(1, len(script.args) + 1))
        first = [line for line in code(FILES[name]).splitlines() if line.strip()][: len(slots)]
        assert all(re.fullmatch(r"local \w+ = (KEYS|ARGV)\[\d+\]", line) for line in first)

    def test_slots_without_a_name_are_in_the_header(self, name: str) -> None:
        more = SCRIPTS[name].more_keys or SCRIPTS[name].more_args
        assert ("Slots:" in header(FILES[name])) == more or name == "ack_entries"

    def test_named_slots_are_used(self, name: str) -> None:
        for slot in (*SCRIPTS[name].keys, *SCRIPTS[name].args):
            assert len(re.findall(rf"\b{slot}\b", code(FILES[name]))) > 1, slot

    def test_included_code_is_used(self, name: str) -> None:
        for part in re.findall(r'--- @include "lib/(\w+)"', FILES[name]):
            defined = re.findall(r"^local (?:function )?(\w+)", LIBRARY[part], re.MULTILINE)
            assert any(re.search(rf"\b{each}\b", code(FILES[name])) for each in defined), part


@pytest.mark.parametrize("name", LIBRARY)
class TestLibrary:
    def test_functions_take_parameters(self, name: str) -> None:
        assert not re.search(r"\b(KEYS|ARGV)\b", code(LIBRARY[name]))

    def test_somebody_includes_it(self, name: str) -> None:
        assert any(f'"lib/{name}"' in text for text in (*FILES.values(), *LIBRARY.values()))

    def test_every_function_is_used(self, name: str) -> None:
        everything = "\n".join(code(text) for text in (*FILES.values(), *LIBRARY.values()))
        for function in re.findall(r"^local function (\w+)", LIBRARY[name], re.MULTILINE):
            assert len(re.findall(rf"\b{function}\b", everything)) > 1, function

    def test_every_function_says_what_it_is_for(self, name: str) -> None:
        lines = LIBRARY[name].splitlines()
        for number, line in enumerate(lines):
            is_long = line.startswith("local function") and lines.index("end", number) - number > 6
            assert not is_long or lines[number - 1].startswith("--"), line


@pytest.mark.parametrize("name", [*FILES, *(f"lib/{name}" for name in LIBRARY)])
class TestEveryFile:
    def text(self, name: str) -> str:
        return LIBRARY[name.removeprefix("lib/")] if name.startswith("lib/") else FILES[name]

    def test_no_key_is_built(self, name: str) -> None:
        """Names are made in keys.py alone, and every key is declared: a cluster needs both."""
        text = code(self.text(name))
        assert not re.search(r"_key\s*\.\.|\.\.\s*\w*_key\b|'(run|journal|inbox|queue|worker|children|client):", text)

    def test_only_commands_of_redis_7_0(self, name: str) -> None:
        calls = re.findall(r"redis\.p?call\(\s*('?[\w.]+'?)", code(self.text(name)))
        assert {call.strip("'") for call in calls} <= COMMANDS_7_0

    def test_no_global_is_made(self, name: str) -> None:
        text = code(self.text(name))
        declared = {*re.findall(r"local (?:function )?([\w, ]+)", text), *re.findall(r"function \w*\(([^)]*)\)", text)}
        names = {each.strip() for group in declared for each in group.split(",")}
        names |= {each.strip() for group in re.findall(r"for ([\w, ]+) (?:in|=)", text) for each in group.split(",")}
        for line in text.splitlines():
            made = re.match(r"\s*(?:if .* then )?([a-z_]\w*(?:, [a-z_]\w*)*) = ", line)
            if made and not line.rstrip().endswith(","):
                assert {each.strip() for each in made.group(1).split(",")} <= names, line

    def test_lines_fit(self, name: str) -> None:
        assert max(map(len, self.text(name).splitlines())) <= 120

    def test_time_comes_from_one_place(self, name: str) -> None:
        assert "'TIME'" not in self.text(name) or name == "lib/now"


@pytest.mark.parametrize("name", FILES)
def test_the_server_takes_it(connection: redis.Redis, name: str) -> None:
    assert connection.script_load(SCRIPTS[name].body) == SCRIPTS[name].sha  # type: ignore[arg-type]


def test_every_answer_is_given_by_some_script() -> None:
    given = {answer for text in FILES.values() for answer in re.findall(r"STATUS\.(\w+)", text)}
    assert given == set(Answer.__members__)


def test_there_is_a_test_file_for_every_transition() -> None:
    here = Path(__file__).parent
    small = (here / "test_small_transitions.py").read_text()
    for name in FILES:
        assert (here / f"test_{name}.py").exists() or f"store.{name}(" in small or f"store.{name}," in small, name


class TestLoader:
    def test_a_call_with_too_few_or_too_many_slots_is_refused(self) -> None:
        script = SCRIPTS["advance_walk"]
        for keys, args in ((), ("i", "c", "n")), (("w",), ("i", "c")), (("w", "x"), ("i", "c", "n")):
            with pytest.raises(ScriptError, match="takes"):
                script.call(keys, args)
        assert script.call(("w",), ("i", "c", "n"))[:3] == ("EVALSHA", script.sha, 1)

    @pytest.mark.parametrize(
        ("source", "message"),
        [
            ("local a = KEYS[2]\n", "not numbered"),
            ("local a = ARGV[1]\nlocal b = ARGV[3]\n", "not numbered"),
            ("return { STATUS.NONSENSE }\n", "not an Answer"),
        ],
    )
    def test_a_broken_contract_is_refused(self, source: str, message: str) -> None:
        with pytest.raises(ScriptError, match=message):
            Script("broken", source)

    @pytest.mark.parametrize("access", ["ARGV[i]", "ARGV[5 + i]", "ARGV[2 * i]", "#ARGV", "unpack(ARGV)", "ARGV[3]"])
    def test_computed_slots_mean_more_may_come(self, access: str) -> None:
        script = Script("more", f"local a = ARGV[1]\nreturn {access}\n")
        assert script.more_args and not script.more_keys

    def test_each_part_is_included_once(self) -> None:
        assert SCRIPTS["commit_run"].body.count(b"local function add_entry(") == 1
        assert b"@include" not in SCRIPTS["commit_run"].body and b"STATUS." not in SCRIPTS["commit_run"].body

    def test_the_source_of_a_forgotten_script(self) -> None:
        command = SCRIPTS["advance_walk"].call(("w",), ("i", "c", "n"))
        assert scripts.with_source(command) == ("EVAL", SCRIPTS["advance_walk"].body, 1, "w", "i", "c", "n")
