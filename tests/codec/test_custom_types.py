"""Types of the user's, stored by functions of the user's: known by a tag, made by nothing but what is registered."""

from __future__ import annotations

import contextlib
import enum
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from ipaddress import IPv4Address
from pathlib import PurePosixPath
from typing import Any, NamedTuple, TypedDict

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_async import (
    ConfigurationError,
    CorruptPayload,
    CustomType,
    Encrypted,
    MsgpackCodec,
    NotSerializable,
    PayloadTooLarge,
    Zstd,
)
from durable_async.codec import Unreadable, convert, roundtrip

LIMIT = 1 << 20


class Money:
    def __init__(self, cents: int, currency: str) -> None:
        self.cents, self.currency = cents, currency

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and (other.cents, other.currency) == (self.cents, self.currency)

    def __hash__(self) -> int:
        return hash((self.cents, self.currency))


class Euros(Money):
    pass


class Tree:
    def __init__(self, left: Any = None, right: Any = None) -> None:
        self.left, self.right = left, right


@dataclass(frozen=True)
class Point:
    x: int
    y: int


class Colour(enum.Enum):
    RED = "r"


MONEY = CustomType(Money, to=lambda m: (m.cents, m.currency), of=lambda d: Money(*d), tag="money")
TYPES: list[CustomType[Any]] = [
    MONEY,
    CustomType(Fraction, to=lambda f: (f.numerator, f.denominator), of=lambda d: Fraction(*d)),
    CustomType(IPv4Address, to=str, of=IPv4Address, tag="ip"),
    CustomType(PurePosixPath, to=str, of=PurePosixPath, tag="path"),
    CustomType(Tree, to=lambda t: [t.left, t.right], of=lambda d: Tree(*d), tag="tree"),
    CustomType(Point, to=lambda p: [p.x, p.y], of=lambda d: Point(*d), tag="point"),
    CustomType(Colour, to=lambda c: c.name, of=lambda name: Colour[name], tag="colour"),
]
codec = MsgpackCodec(types=TYPES)
TEN = Money(1000, "EUR")
PLAIN = MsgpackCodec()


def back(value: object) -> object:
    return codec.decode(codec.encode(value, limit=LIMIT))


@pytest.mark.parametrize("value", [TEN, Fraction(1, 3), IPv4Address("10.0.0.1"), PurePosixPath("a/b"), Point(1, 2)])
def test_type_identity_without_an_annotation(value: object) -> None:
    for shape in (value, [value], (value, 1), {"k": value}, {"k": ({"deep": [value]},)}, {value: 1}, {value}):
        got = back(shape)
        assert got == shape and type(got) is type(shape)
    assert type(back(value)) is type(value)
    assert codec.fingerprint({"k": value, "l": 1}) == codec.fingerprint({"l": 1, "k": value})


def test_an_enum_that_is_registered() -> None:
    assert back(Colour.RED) is Colour.RED
    assert convert(back(Colour.RED), Colour) is Colour.RED


def test_types_within_each_other() -> None:
    tree = back(Tree(TEN, Tree(Fraction(1, 2), None)))
    assert isinstance(tree, Tree) and tree.left == TEN and tree.right.left == Fraction(1, 2)


class Line(NamedTuple):
    price: Money
    when: datetime


class Options(TypedDict, total=False):
    discount: Money


@dataclass
class Basket:
    lines: list[Line]
    options: Options
    colour: Colour
    at: Point
    total: Money | None = None


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    price: Money
    baskets: list[int] = []
    colour: Colour = Colour.RED


class Struct(msgspec.Struct):
    price: Money
    parts: dict[str, Money] = {}


WHEN = datetime(2026, 1, 1, tzinfo=UTC)
NESTED = [
    (Basket([Line(TEN, WHEN)], {"discount": Money(1, "EUR")}, Colour.RED, Point(1, 2), TEN), Basket),
    (Model(price=TEN), Model),
    (Struct(TEN, {"a": TEN}), Struct),
    ([Model(price=TEN)], list[Model]),
    ((Struct(TEN), Point(3, 4)), tuple[Struct, Point]),
    ({"a": Line(TEN, WHEN)}, dict[str, Line]),
    (TEN, Money | int),
    ({TEN: 1}, dict[Money, int]),
    (frozenset({TEN}), frozenset[Money]),
    (None, Money | None),
]


@pytest.mark.parametrize(("value", "annotation"), NESTED, ids=[str(a)[-40:] for _, a in NESTED])
@pytest.mark.parametrize("wrap", [lambda c: c, Zstd, lambda c: Encrypted(Zstd(c), [b"k" * 32])])
def test_nested_in_every_kind_of_class(value: object, annotation: Any, wrap: Any) -> None:
    wrapped = wrap(codec)
    _, got = roundtrip(wrapped, value, annotation, LIMIT)
    assert got == value and type(got) is type(value)
    assert wrapped.fingerprint(got) == wrapped.fingerprint(value)


def test_an_annotation_of_another_type_is_refused() -> None:
    from durable_async import InvalidInput

    with pytest.raises(InvalidInput, match="expected Money"):
        convert(back(Fraction(1, 2)), Money)


class TestRefusals:
    def test_of_what_is_not_registered(self) -> None:
        with pytest.raises(NotSerializable, match=r"order\.price: .*Money cannot be stored.*CustomType"):
            PLAIN.encode({"price": TEN}, limit=LIMIT, what="order")
        with pytest.raises(NotSerializable, match="Euros"):
            codec.encode([Euros(1, "EUR")], limit=LIMIT)

    def test_a_reader_without_the_type_says_so(self) -> None:
        data = codec.encode({"deep": (TEN,)}, limit=LIMIT)
        for reader in (PLAIN, MsgpackCodec(types=TYPES[1:]), Zstd()):
            with pytest.raises(Unreadable, match=r"'money' is not registered"):
                reader.decode(data)

    def test_nothing_is_imported_by_a_tag(self) -> None:
        for tag in ("os.system", "builtins:eval", "x" * 128, "a\n\x1b[31m", "é", ""):
            forged = MsgpackCodec(types=[MONEY])
            object.__setattr__(custom := CustomType(Money, to=lambda m: 1, of=lambda d: TEN), "tag", tag)
            data = MsgpackCodec(types=[custom]).encode(TEN, limit=LIMIT)
            with pytest.raises(Unreadable) as caught:
                forged.decode(data)
            assert "\n" not in str(caught.value) and "\x1b" not in str(caught.value)

    def test_what_the_functions_raise_or_make(self) -> None:
        def fail(_: object) -> Any:
            raise ValueError("S3CR3T")

        data = codec.encode(TEN, limit=LIMIT)
        with pytest.raises(NotSerializable, match=r"a\[1\]: .*'money'.*`to` raised ValueError$") as caught:
            MsgpackCodec([CustomType(Money, to=fail, of=fail, tag="money")]).encode([1, TEN], limit=LIMIT, what="a")
        assert "S3CR3T" not in str(caught.value)
        with pytest.raises(CorruptPayload, match="`of` raised ValueError"):
            MsgpackCodec([CustomType(Money, to=fail, of=fail, tag="money")]).decode(data)
        with pytest.raises(CorruptPayload, match="`of` returned int, not Money"):
            MsgpackCodec([CustomType(Money, to=fail, of=lambda d: 1, tag="money")]).decode(data)

    def test_cycles_depth_and_size(self) -> None:
        tree = Tree()
        tree.left = tree
        with pytest.raises(NotSerializable, match="64 levels"):
            codec.encode(tree, limit=LIMIT)
        deep: Any = 1
        for _ in range(64):
            deep = Tree(deep)
        with pytest.raises(NotSerializable, match="64 levels"):
            codec.encode([deep], limit=LIMIT)
        for levels in (31, 32):
            value: Any = 1
            for _ in range(levels):
                value = Tree(value)
            assert codec.decode(codec.encode(value, limit=LIMIT)) is not None
        with pytest.raises(PayloadTooLarge):
            codec.encode(PurePosixPath("x" * 2000), limit=1000)

    BAD: tuple[Any, ...] = (
        lambda: CustomType(int, to=str, of=int),
        lambda: CustomType(datetime, to=str, of=str),
        lambda: CustomType("Money", to=str, of=str),  # type: ignore[arg-type]
        lambda: CustomType(Money, to="x", of=str),  # type: ignore[arg-type]
        lambda: CustomType(Money, to=str, of=None),  # type: ignore[arg-type]
        lambda: CustomType(Money, to=str, of=str, tag="a b"),
        lambda: CustomType(Money, to=str, of=str, tag=5),  # type: ignore[arg-type]
        lambda: MsgpackCodec([Money]),  # type: ignore[list-item]
        lambda: MsgpackCodec([MONEY, MONEY]),
        lambda: MsgpackCodec([MONEY, CustomType(Euros, to=str, of=str, tag="money")]),
    )

    @pytest.mark.parametrize("make", BAD, ids=range(len(BAD)))
    def test_registrations_that_make_no_sense(self, make: Any) -> None:
        with pytest.raises(ConfigurationError):
            make()


@given(st.binary(max_size=80))
def test_65_any_body_gives_a_value_or_corrupt_payload(body: bytes) -> None:
    for data in (b"\xc7" + bytes([len(body)]) + b"\x0d" + body, codec.encode([TEN], limit=LIMIT)[:-4] + body):
        for reader in (codec, PLAIN):
            with contextlib.suppress(CorruptPayload):
                reader.decode(data)
