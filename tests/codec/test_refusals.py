"""What cannot be stored is refused when it is encoded, and the message says where it is."""

from __future__ import annotations

import asyncio
import enum
import threading
import tracemalloc
from collections import OrderedDict, namedtuple
from dataclasses import dataclass, field
from datetime import datetime, time
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgpack  # type: ignore[import-untyped, unused-ignore]
import pytest

from durable_async.codec import MsgpackCodec
from durable_async.errors import NotSerializable, PayloadTooLarge

LIMIT = 1 << 20
codec = MsgpackCodec()


def refuse(value: object, *texts: str, what: str = "order") -> None:
    with pytest.raises(NotSerializable) as caught:
        codec.encode(value, limit=LIMIT, what=what)
    for text in texts:
        assert text in str(caught.value)
    with pytest.raises(NotSerializable):
        codec.fingerprint(value)


@dataclass
class Item:
    when: object


@dataclass
class Order:
    items: list[Item] = field(default_factory=list)


def generator() -> Any:
    yield 1


async def async_generator() -> Any:
    yield 1


class Attrs:
    def __init__(self) -> None:
        self.x = 1


class Text(str):
    __slots__ = ()


class Number(int):
    pass


class Strings(list):  # type: ignore[type-arg]
    pass


def test_the_path_of_the_api_page() -> None:
    refuse(Order([Item(None), Item(None), Item(datetime(2024, 1, 1))]), "order.items[2].when: naive datetime")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (object(), "builtins.object"),
        (lambda: 1, "function"),
        (print, "function"),
        ([].append, "function"),
        (threading.Lock(), "lock"),
        (Attrs(), "Attrs cannot be stored"),
        (Attrs, "type cannot be stored"),
        (Path("/x"), "PosixPath"),
        (..., "ellipsis"),
        (1j, "complex"),
        (range(3), "range"),
        (bytearray(b"x"), "bytearray; pass bytes"),
        (memoryview(b"x"), "memoryview; pass bytes"),
        (Text("x"), "Text, a subclass of str"),
        (Number(1), "Number, a subclass of int"),
        (Strings(), "Strings, a subclass of list"),
        (OrderedDict(), "OrderedDict, a subclass of dict"),
        (msgpack.Timestamp(1), "Timestamp"),
        (datetime(2024, 1, 1), "naive datetime"),
        (time(1, tzinfo=ZoneInfo("Europe/Berlin")), "no fixed offset"),
        ("\ud800", "lone surrogate"),
        (ValueError("x"), "ValueError"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_13_18_19_23_24_types_that_cannot_be_stored(value: object, text: str) -> None:
    refuse(value, text, "order: ")
    refuse({"a": [1, value]}, text, "order.a[1]: ")
    refuse({"a": {"not a name": value}}, text, "order.a['not a name']: ")
    refuse({1: (value,)}, text, "order[1]")
    refuse(Item([[value]]), text, "order.when[0][0]: ")


def test_13_an_open_file() -> None:
    with Path(__file__).open() as file:
        refuse({"file": file}, "order.file: ", "TextIOWrapper")


def test_13_27_coroutines_and_generators() -> None:
    async def coroutine() -> None: ...

    pending = coroutine()
    try:
        refuse([pending], "order[0]: coroutine; await it")
    finally:
        pending.close()
    refuse([generator()], "order[0]: generator")
    refuse([async_generator()], "order[0]: async generator")
    loop = asyncio.new_event_loop()
    try:
        refuse(loop.create_future(), "Future")
    finally:
        loop.close()


def test_18_a_namedtuple_of_extension_shape_is_only_a_tuple() -> None:
    assert codec.decode(codec.encode(msgpack.ExtType(11, b"x"), limit=LIMIT)) == (11, b"x")
    point = namedtuple("point", "x y")  # noqa: PYI024  (an untyped one)
    assert codec.decode(codec.encode(point(1, 2), limit=LIMIT)) == (1, 2)
    refuse(point(1, object()), "order.y: ")


class Colour(enum.Enum):
    RED = "red"
    ODD = object()


@dataclass(frozen=True)
class Point:
    x: int


def test_17_keys_that_would_not_come_back() -> None:
    refuse({Point(1): 1}, "dict key of type Point")
    refuse({(1, Point(1)): 1}, "dict key of type Point")
    refuse({Colour.RED: 1, "red": 2}, "two dict keys")
    refuse({Colour.RED, "red"}, "two set elements")
    refuse({"a": {"\ud800": 1}}, "order.a['\\ud800']: str with a lone surrogate")
    refuse({1: {("\ud800",): 1}}, "lone surrogate")
    refuse(Colour.ODD, "builtins.object")


def test_20_cycles() -> None:
    ring: list[object] = []
    ring.append(ring)
    refuse(ring, "inside itself", "order[0][0]")
    table: dict[str, object] = {}
    table["me"] = [table]
    refuse(table, "order.me[0].me[0]", "inside itself")
    item = Item(None)
    item.when = (item,)
    refuse(item, "inside itself")


@pytest.mark.parametrize("depth", [65, 1024, 5000])
def test_21_too_deep(depth: int) -> None:
    for wrap in (lambda v: [v], lambda v: (v,), lambda v: {"a": v}, lambda v: {1: v}, Item):
        value: object = 1
        for _ in range(depth):
            value = wrap(value)
        refuse(value, "nested deeper than 64")
        with pytest.raises(NotSerializable) as caught:
            codec.encode(value, limit=LIMIT)
        assert len(str(caught.value)) < 400


def test_21_a_deep_key() -> None:
    key: object = 1
    for _ in range(64):
        key = (key,)
    refuse({key: 1}, "nested deeper than 64")


def test_22_the_limit_is_exact() -> None:
    for size, value in ((102, "x" * 100), (102, b"x" * 100), (103, ["x" * 100]), (105, {"a": "x" * 100})):
        assert len(codec.encode(value, limit=size)) == size
        with pytest.raises(PayloadTooLarge, match=f"^thing: .*the limit is {size - 1}"):
            codec.encode(value, limit=size - 1, what="thing")


def test_22_a_huge_string_is_refused_before_it_is_copied() -> None:
    huge = "x" * 600_000_000
    tracemalloc.start()
    try:
        for value in (
            huge,
            [huge],
            {"a": {"b": huge}},
            (huge,),
            Item(huge),
            {huge},
            {1: huge},
            {huge: 1},
            [huge[:9]] * 10**6,
        ):
            with pytest.raises(PayloadTooLarge):
                codec.encode(value, limit=LIMIT)
            del value
        assert tracemalloc.get_traced_memory()[1] < 64_000_000
    finally:
        tracemalloc.stop()


def test_22_containers_that_hold_one_another_many_times() -> None:
    value: list[object] = []
    for _ in range(60):
        value = [value, value]
    with pytest.raises(PayloadTooLarge, match="containers"):
        codec.encode(value, limit=LIMIT)


def test_27_what_could_not_be_read_back_is_not_written() -> None:
    fits = [[] for _ in range(60_000)]  # type: ignore[var-annotated]
    assert codec.decode(codec.encode(fits, limit=LIMIT)) == fits
    with pytest.raises(PayloadTooLarge, match="more than 65536 containers"):
        codec.encode([[] for _ in range(70_000)], limit=LIMIT)
    nested: object = "x" * 1_000_000
    for _ in range(20):
        nested = (nested,)
    with pytest.raises(PayloadTooLarge, match="nested tuples"):
        codec.encode(nested, limit=LIMIT)


def test_a_value_that_breaks_while_it_is_read() -> None:
    class Zone(ZoneInfo):
        def utcoffset(self, when: object) -> Any:
            raise ZeroDivisionError("secret")

    refuse([datetime(2024, 1, 1, tzinfo=Zone("UTC"))], "order[0]: the time zone raised ZeroDivisionError")

    @dataclass(init=False)
    class Unset:
        x: int

    refuse(Unset(), "a field that raised AttributeError")


def test_no_refusal_quotes_a_value() -> None:
    for value in (Text("hunter2"), {"a": Text("hunter2")}, {("hunter2", object())}, {("hunter2", "\ud800"): 1}):
        with pytest.raises(NotSerializable) as caught:
            codec.encode(value, limit=LIMIT)
        assert "hunter2" not in str(caught.value)
