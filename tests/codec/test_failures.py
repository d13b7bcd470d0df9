"""Exceptions as data, and the few that are raised again as themselves."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_async.codec import (
    MsgpackCodec,
    encode_error,
    errorinfo_from_data,
    errorinfo_to_data,
    pack_failure,
    unpack_failure,
)
from durable_async.codec.failures import TEXT_LIMIT
from durable_async.errors import CorruptPayload, ErrorInfo


class PaymentDeclined(Exception):
    pass


class Harder(PaymentDeclined):
    def __init__(self, code: int, *, text: str) -> None:
        super().__init__(code, text)


@dataclass
class Reason:
    code: int


def raised(exc: BaseException) -> BaseException:
    try:
        raise exc
    except BaseException as caught:
        return caught


def again(exc: BaseException, *declared: type[BaseException]) -> Exception | None:
    return unpack_failure(pack_failure(exc), declared)[0]


def test_what_is_kept() -> None:
    info = encode_error(raised(ValueError("bad", 1)))
    assert info.type == "ValueError"
    assert info.message == "('bad', 1)"
    assert "in raised" in info.traceback
    assert info.cause is None


@pytest.mark.parametrize(
    "exc",
    [
        ValueError("x"),
        KeyError(("a", 1)),
        OSError(2, "no such file"),
        ZeroDivisionError(),
        TimeoutError("late"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
        DeprecationWarning("old"),
        Exception({"a": [1, (2,)]}),
    ],
    ids=lambda exc: type(exc).__name__,
)
def test_builtins_with_plain_arguments_are_rebuilt(exc: Exception) -> None:
    found = again(raised(exc))
    assert type(found) is type(exc)
    assert found is not None
    assert found.args == exc.args
    assert [type(a) for a in found.args] == [type(a) for a in exc.args]


@pytest.mark.parametrize("name", ["f.txt", Path("f.txt")], ids=["text", "path"])
def test_the_file_of_an_os_error_comes_back(name: object) -> None:
    found = again(raised(FileNotFoundError(2, "no such file", name)))
    assert type(found) is FileNotFoundError
    assert (found.args, found.filename) == ((2, "no such file"), "f.txt")
    assert str(found) == "[Errno 2] no such file: 'f.txt'"


def test_declared_types_are_rebuilt_and_only_those() -> None:
    exc = PaymentDeclined("no funds", 3)
    assert again(exc) is None
    assert again(exc, Harder) is None
    found = again(exc, Harder, PaymentDeclined)
    assert type(found) is PaymentDeclined
    assert found.args == ("no funds", 3)
    assert again(Harder(1, text="x"), PaymentDeclined) is None
    assert again(Harder(1, text="x"), Harder) is None


@pytest.mark.parametrize(
    "exc",
    [
        ValueError(object()),
        ValueError(Reason(1)),
        ValueError("x" * 100_000),
        ValueError("\ud800"),
        StopIteration(1),
        StopAsyncIteration(),
        ExceptionGroup("group", [ValueError("x")]),
        KeyboardInterrupt(),
        SystemExit(1),
        GeneratorExit(),
        asyncio.CancelledError(),
    ],
    ids=lambda exc: type(exc).__name__,
)
def test_the_others_are_data(exc: BaseException) -> None:
    found, info = unpack_failure(pack_failure(exc), (type(exc),))
    assert found is None or not isinstance(exc, ValueError)
    assert info.type == type(exc).__name__
    assert again(exc) is None


def test_names_in_the_store_construct_nothing() -> None:
    codec = MsgpackCodec()
    for name in ("os:system", "builtins:eval", "builtins:SystemExit", "builtins:type", "subprocess:Popen", "x", ""):
        data = codec.encode([1, ["T", "m", "", None], name, ["true"]], limit=1000)
        assert unpack_failure(data, (PaymentDeclined,))[0] is None


def test_26_a_message_that_raises() -> None:
    class Rude(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    assert encode_error(Rude()).message == "<Rude.__str__ raised RuntimeError>"
    assert "__str__ raised RuntimeError" in encode_error(ExceptionGroup("g", [Rude()])).message
    assert again(Rude()) is None


def test_26_a_huge_message() -> None:
    for text in ("x" * 100_000_000, "é" * 20_000, "\ud800" * 20_000):
        info = encode_error(ValueError(text))
        assert TEXT_LIMIT - 8 < len(info.message.encode()) <= TEXT_LIMIT
        assert len(pack_failure(ValueError(text))) < 2 * TEXT_LIMIT


def test_26_causes() -> None:
    try:
        try:
            raise KeyError("inner")
        except KeyError as inner:
            raise ValueError("outer") from inner
    except ValueError as outer:
        info = encode_error(outer)
    assert info.cause is not None
    assert (info.cause.type, info.cause.message, info.cause.cause) == ("KeyError", "'inner'", None)

    hidden = ValueError("x")
    hidden.__context__ = KeyError("y")
    assert encode_error(hidden).cause is not None
    hidden.__suppress_context__ = True
    assert encode_error(hidden).cause is None


def test_26_cyclic_and_long_chains_end() -> None:
    a, b = ValueError("a"), ValueError("b")
    a.__cause__, b.__cause__ = b, a
    info = encode_error(a)
    assert info.cause is not None
    assert info.cause.cause is None

    first = link = ValueError("0")
    for number in range(1, 1000):
        link.__cause__ = ValueError(str(number))
        link = link.__cause__
    depth, found = 0, encode_error(first).cause
    while found is not None:
        depth, found = depth + 1, found.cause
    assert depth == 8
    assert unpack_failure(pack_failure(first))[1] == encode_error(first)


def test_26_groups_mention_their_parts() -> None:
    group = ExceptionGroup(
        "two", [ValueError("first\nline"), ExceptionGroup("inner", [KeyError("k")]), *[OSError()] * 10]
    )
    message = encode_error(group).message
    assert message.startswith("two (12 sub-exceptions) [ValueError: first; ExceptionGroup: inner (1 sub-exception);")
    assert message.endswith("and 4 more]")


def test_a_long_traceback_keeps_its_end() -> None:
    def deep(n: int) -> None:
        if n:
            deep(n - 1)
        raise_here()

    def raise_here() -> None:
        raise ValueError("x")

    with pytest.raises(ValueError, match="x") as caught:
        deep(300)
    info = encode_error(caught.value)
    assert len(info.traceback.encode()) <= TEXT_LIMIT
    assert "in raise_here" in info.traceback


infos: Any = st.deferred(
    lambda: st.builds(
        ErrorInfo,
        st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
        st.text(st.characters(exclude_categories=["Cs"])),
        st.text(st.characters(exclude_categories=["Cs"])),
        st.none() | infos,
    )
)


@given(infos)
def test_infos_survive_as_data(info: ErrorInfo) -> None:
    found = errorinfo_from_data(errorinfo_to_data(info))
    for _ in range(8):
        assert (found.type, found.message, found.traceback) == (info.type, info.message, info.traceback)
        if info.cause is None or found.cause is None:
            break
        found, info = found.cause, info.cause


@pytest.mark.parametrize(
    "data", [None, {}, "x", [], ["T", "m", ""], ["T", "m", 1, None], ["T", "m", "", "c"], ["T", "m", "", [1]]]
)
def test_wrong_shapes_are_corrupt(data: object) -> None:
    with pytest.raises(CorruptPayload):
        errorinfo_from_data(data)
    codec = MsgpackCodec()
    for content in (
        data,
        [1, data, "x", None],
        [2, ["T", "m", "", None], "x", None],
        [1, ["T", "m", "", None], 1, None],
    ):
        with pytest.raises(CorruptPayload):
            unpack_failure(codec.encode(content, limit=1000))


@given(st.binary(max_size=100))
def test_any_bytes_are_a_failure_or_corrupt(data: bytes) -> None:
    with pytest.raises(CorruptPayload):
        unpack_failure(data, (ValueError,))
