"""Loads the Lua transitions and checks every call against the contract written in their first lines.

A script names its slots once (`local run_key = KEYS[1]`, `local epoch = ARGV[2]`); those names are its signature. The
loader expands `--- @include "lib/x"` (each file once), turns `STATUS.X` into its number and computes the SHA.
A script whose text accesses KEYS or ARGV by a computed index takes more than its named slots.

A script with the line `--- @batch` has a second form, made from the same text: it takes many calls, and answers each as
the script itself would (see forms/batch). A transport uses it for calls that leave in one write.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from importlib import resources
from typing import Final

from durable_async.store.status import Answer
from durable_async.store.transport_base import Arg, Args

_SLOT = re.compile(r"^local (\w+) = (KEYS|ARGV)\[(\d+)\]$", re.MULTILINE)
_INCLUDE = re.compile(r'^--- @include "([\w/]+)"$', re.MULTILINE)
_BATCH = re.compile(r"^--- @batch\n", re.MULTILINE)
_PARTS = re.compile(
    r"(?P<slots>(?:.*\n)*local \w+ = (?:KEYS|ARGV)\[\d+\]\n)(?P<parts>(?:--- @include.*\n)*)"
)  # a comment, the slots, and what is included at once
_STATUS = re.compile(r"\bSTATUS\.(\w+)\b")
_COMPUTED = {kind: re.compile(rf"{kind}\[(?!\d+\])|#{kind}\b|unpack\({kind}\b") for kind in ("KEYS", "ARGV")}
_OPTIONAL = {"KEYS": re.compile(r"KEYS\[(\d+)\]"), "ARGV": re.compile(r"ARGV\[(\d+)\]")}


class ScriptError(Exception):
    """A script or a call of it breaks the contract: a bug, found before anything is sent."""


class Script:
    """One transition: its text, its SHA, the names of its slots; `batch` is its form for many calls, if it has one."""

    __slots__ = ("args", "batch", "body", "keys", "more_args", "more_keys", "name", "sha")

    def __init__(self, name: str, source: str) -> None:
        self.name = name
        self.keys = _slots(name, source, "KEYS")
        self.args = _slots(name, source, "ARGV")
        self.more_keys = _takes_more(source, "KEYS", len(self.keys))
        self.more_args = _takes_more(source, "ARGV", len(self.args))
        source, is_batched = _BATCH.subn("", source)
        self.body = _translate(name, _expand(source, set())).encode()
        self.sha = sha_of(self.body)
        self.batch = _translate(name, _in_batches(source)).encode() if is_batched else b""

    def call(self, keys: Sequence[Arg], args: Sequence[Arg]) -> tuple[Arg, ...]:
        """The EVALSHA command for these keys and arguments.

        Raises:
            ScriptError: if the numbers do not fit the named slots.
        """
        if len(keys) < len(self.keys) or (len(keys) > len(self.keys) and not self.more_keys):
            raise ScriptError(f"{self.name} takes keys {self.keys}, got {len(keys)}")
        if len(args) < len(self.args) or (len(args) > len(self.args) and not self.more_args):
            raise ScriptError(f"{self.name} takes arguments {self.args}, got {len(args)}")
        return ("EVALSHA", self.sha, len(keys), *keys, *args)


class Form:
    """A script's form for many calls, as it is sent."""

    __slots__ = ("body", "name", "sha")

    def __init__(self, script: Script) -> None:
        self.name = script.name
        self.body = script.batch
        self.sha = sha_of(script.batch).encode()


def _slots(name: str, source: str, kind: str) -> tuple[str, ...]:
    found = [(int(index), slot) for slot, which, index in _SLOT.findall(source) if which == kind]
    if [index for index, _ in found] != list(range(1, len(found) + 1)):
        raise ScriptError(f"{name}: the {kind} slots are not numbered 1 to {len(found)} in order")
    return tuple(slot for _, slot in found)


def _takes_more(source: str, kind: str, named: int) -> bool:
    return bool(_COMPUTED[kind].search(source)) or any(int(n) > named for n in _OPTIONAL[kind].findall(source))


def _expand(source: str, seen: set[str]) -> str:
    def include(match: re.Match[str]) -> str:
        part = match.group(1)
        if part in seen:
            return ""
        seen.add(part)
        return _expand(_read(part), seen)

    return _INCLUDE.sub(include, source)


def _in_batches(source: str) -> str:
    """The script as a function that is called for each call in turn; what it includes at once is made once for all."""
    found = _PARTS.match(source)
    assert found is not None, "a script has slots"
    seen: set[str] = set()
    parts = _expand(found["parts"], seen)
    body = _expand(found["slots"] + source[found.end() :], seen)
    return f"{parts}local function transition(KEYS, ARGV)\n{body}end\n{_read('forms/batch')}"


def sha_of(body: bytes) -> str:
    """The name by which a server knows a script."""
    return hashlib.sha1(body, usedforsecurity=False).hexdigest()


def _translate(name: str, source: str) -> str:
    def number(match: re.Match[str]) -> str:
        try:
            return str(int(Answer[match.group(1)]))
        except KeyError:
            raise ScriptError(f"{name}: STATUS.{match.group(1)} is not an Answer") from None

    return _STATUS.sub(number, source)


def _read(name: str) -> str:
    return resources.files("durable_async.store").joinpath("lua", f"{name}.lua").read_text("utf-8")


def names() -> tuple[str, ...]:
    """The names of all transitions, sorted."""
    folder = resources.files("durable_async.store").joinpath("lua")
    return tuple(sorted(f.name.removesuffix(".lua") for f in folder.iterdir() if f.name.endswith(".lua")))


def load() -> dict[str, Script]:
    """Reads every transition."""
    return {name: Script(name, _read(name)) for name in names()}


SCRIPTS: Final = load()
BY_SHA: Final = {script.sha: script for script in SCRIPTS.values()}
FORMS: Final = {script.sha: Form(script) for script in SCRIPTS.values() if script.batch}
"""The form for many calls of each script that has one, by the script's own SHA."""


def with_source(command: Args) -> Args | None:
    """The EVAL form of an EVALSHA command, for a server that has forgotten the script; None if it is not ours."""
    script = BY_SHA.get(str(command[1]))
    if script is None:
        return None
    return ("EVAL", script.body, *command[2:])
