"""Classes of the user's are stored as plain data and come back from the reader's annotation."""

from __future__ import annotations

import collections.abc
import enum
import inspect
import subprocess
import sys
import typing
from dataclasses import InitVar, dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    Optional,
    TypedDict,
    TypeVar,
)
from uuid import UUID

import msgspec
import pydantic
import pytest

from durable_async.codec import MsgpackCodec, adapter_for, convert, roundtrip
from durable_async.errors import InvalidInput, NotSerializable
from durable_async.types import CHILD_TIMEOUT, ChildTimeoutType

LIMIT = 1 << 20
codec = MsgpackCodec()
T = TypeVar("T")


class Colour(enum.Enum):
    RED = "red"
    PAIR = (1, 2)


class Level(enum.IntEnum):
    LOW = 1


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


class Point(NamedTuple):
    x: int
    y: int = 0


@dataclass(frozen=True)
class Item:
    sku: str
    price: Decimal
    colour: Colour = Colour.RED


@dataclass
class Order:
    id: str
    items: list[Item]
    at: datetime
    by_name: dict[str, Item | None] = field(default_factory=dict)
    points: tuple[Point, ...] = ()
    total: float = 0.0
    checked: bool = field(default=False, init=False)


@dataclass(slots=True)
class Tree:
    value: int
    children: list[Tree] = field(default_factory=list)


@dataclass
class Box(Generic[T]):
    content: T
    more: list[T] = field(default_factory=list)


@dataclass
class Nested(Generic[T]):
    box: Box[list[T]]


class Movie(TypedDict):
    title: str
    tags: set[Colour]
    year: NotRequired[int]


class Address(pydantic.BaseModel):
    street: str
    website: pydantic.HttpUrl | None = None


class Customer(pydantic.BaseModel):
    name: str = pydantic.Field(alias="fullName")
    born: date
    address: Address
    level: Level = Level.LOW
    tags: set[str] = set()

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def loud(self) -> str:
        return self.name.upper()


class Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    a: int


class Circle(msgspec.Struct, tag="circle"):
    radius: float


class Square(msgspec.Struct, tag="square", rename="camel"):
    side_length: float
    at: datetime | None = None


class Pair(msgspec.Struct, array_like=True):
    a: int
    b: str


AT = datetime(2024, 1, 2, 3, tzinfo=UTC)
ITEM = Item("a", Decimal("1.50"), Colour.PAIR)
CUSTOMER = Customer(
    fullName="Ann",
    born=date(2000, 1, 1),
    address=Address(street="x", website=pydantic.HttpUrl("https://example.com/")),
    tags={"a"},
)
UserId = NewType("UserId", int)


def full_order() -> Order:
    order = Order("o", [ITEM, Item("b", Decimal(2))], AT, {"x": ITEM, "y": None}, (Point(1, 2), Point(3)), 5.5)
    order.checked = True
    return order


@pytest.mark.parametrize(
    ("value", "annotation"),
    [
        (full_order(), Order),
        ([full_order()], list[Order]),
        ({"a": full_order(), "b": None}, dict[str, Order | None]),
        (None, Optional[Order]),  # noqa: UP045  (the older spelling works too)
        (Tree(1, [Tree(2), Tree(3, [Tree(4)])]), Tree),
        (Box(1, [2]), Box[int]),
        (Box(ITEM, [ITEM]), Box[Item]),
        (Nested(Box([ITEM], [[ITEM]])), Nested[Item]),
        (Point(1), Point),
        (Colour.PAIR, Colour),
        (Level.LOW, Level),
        (Rights.READ | Rights.WRITE, Rights),
        ({Colour.RED: Level.LOW}, dict[Colour, Level]),
        ({Colour.RED, Colour.PAIR}, set[Colour]),
        ({ITEM, Item("c", Decimal(1))}, set[Item]),
        (frozenset({ITEM}), frozenset[Item]),
        ({Point(1): 1}, dict[Point, int]),
        ((1, "a", ITEM), tuple[int, str, Item]),
        ((1, 2), tuple[int, ...]),
        ((), tuple[()]),
        ([(1, ITEM)], list[tuple[int, Item]]),
        ({"title": "x", "tags": {Colour.RED}}, Movie),
        ([Colour.RED, "blue"], list[Colour | str]),
        (UserId(3), UserId),
        ("b", Literal["a", "b"]),
        (Colour.RED, Literal[Colour.RED]),
        (1, Annotated[int, "note"]),
        ([1, "a", None], list[int | str | None]),
        ({1: 2}, collections.abc.Mapping[int, int]),
        ((ITEM,), collections.abc.Sequence[Item]),
        (CHILD_TIMEOUT, Order | ChildTimeoutType),
        (full_order(), Order | ChildTimeoutType),
        (CHILD_TIMEOUT, ChildTimeoutType),
        (CUSTOMER, Customer),
        ([CUSTOMER], list[Customer]),
        ({"a": CUSTOMER}, dict[str, Customer | None]),
        (CHILD_TIMEOUT, Customer | ChildTimeoutType | None),
        (CUSTOMER, Customer | ChildTimeoutType | None),
        (Box(CUSTOMER), Box[Customer]),
        (Circle(1.5), Circle),
        ([Circle(1.0), Square(2.0, AT)], list[Circle | Square]),
        (Pair(1, "x"), Pair),
        (CHILD_TIMEOUT, Circle | ChildTimeoutType),
        (Box(Square(1.0)), Box[Square]),
        ([Circle(1.0), CUSTOMER, ITEM], list[Circle | Customer | Item]),
    ],
    ids=lambda value: None,
)
def test_an_annotated_value_comes_back_as_itself(value: object, annotation: Any) -> None:
    data, found = roundtrip(codec, value, annotation, LIMIT, "order")
    assert found == value
    assert type(found) is type(value)
    assert codec.encode(found, limit=LIMIT) == data
    assert convert(codec.decode(data), annotation) == value


def test_without_an_annotation_it_is_plain_data() -> None:
    for annotation in (Any, object, inspect.Parameter.empty, T):
        assert roundtrip(codec, ITEM, annotation)[1] == {"sku": "a", "price": Decimal("1.50"), "colour": (1, 2)}
    assert adapter_for(Any).is_identity
    assert codec.fingerprint(ITEM) == codec.fingerprint({"colour": (1, 2), "price": Decimal("1.50"), "sku": "a"})


@pytest.mark.parametrize(
    ("value", "annotation", "message"),
    [
        (True, int, "order: expected int, got bool"),
        (1, bool, "order: expected bool, got int"),
        ("1", int, "order: expected int, got str"),
        (b"x", str, "order: expected str, got bytes"),
        (None, int, "order: expected int, got NoneType"),
        (0, None, "order: expected None, got int"),
        (10**400, float, "order: an int too large for a float"),
        ([1, "x"], list[int], "order[1]: expected int, got str"),
        ((1,), list[int], "order: expected list, got tuple"),
        ({"a": {"b": "x"}}, dict[str, dict[str, int]], "order.a.b: expected int, got str"),
        ((1, 2), tuple[int], "order: expected 1 elements, got 2"),
        ("green", Colour, "order: not a value of Colour"),
        (True, Level, "order: not a value of Level"),
        (1.0, Literal[1], "order: not one of the values of the Literal"),
        ({}, Item, "order.sku: missing"),
        ([], Item, "order: expected the fields of Item, got list"),
        ({"sku": 1, "price": Decimal(1)}, Item, "order.sku: expected str, got int"),
        ((1, 2, 3), Point, "order: expected at most 2 elements"),
        ({"title": "x"}, Movie, "order.tags: missing"),
        ([{"x": 1}], list[Item | Order], "order[0]"),
        ("2024-01-01T00:00:00", datetime, "order: a datetime without a zone"),
        ("hunter2", datetime, "order: text that is not a datetime"),
        ("hunter2", Decimal, "order: text that is not a Decimal"),
        ([[1]], set[list[int]], "order: elements that cannot be in a set"),
        ({"born": 1}, Customer, "order"),
        ({"address": {"street": 5}, "born": date.min, "fullName": "x"}, Customer, "order.address.street: "),
        ({"a": 1, "b": 2}, Strict, "order.b: Extra inputs are not permitted"),
        ({"type": "circle", "radius": "hunter2"}, Circle, "order.radius: Expected `float`, got `str`"),
        ({"type": "hunter2"}, Circle | Square, "order.type: does not fit"),
    ],
)
def test_wrong_data_is_refused_by_path_and_reason(value: object, annotation: Any, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        convert(value, annotation, "order")
    assert str(caught.value).startswith(message)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_texts_of_the_users_validators_are_not_quoted() -> None:
    class Checked(pydantic.BaseModel):
        a: str

        @pydantic.field_validator("a")
        @classmethod
        def check(cls, value: str) -> str:
            raise ValueError(f"bad {value}")

    class Broken(pydantic.BaseModel):
        a: str

        @pydantic.field_validator("a")
        @classmethod
        def check(cls, value: str) -> str:
            raise ZeroDivisionError(value)

    @dataclass
    class Post:
        a: str

        def __post_init__(self) -> None:
            raise ValueError(self.a)

    for annotation, text in (
        (Checked, "input.a: refused by a validator"),
        (Broken, "ZeroDivisionError"),
        (Post, "Post"),
    ):
        with pytest.raises(InvalidInput, match=text) as caught:
            convert({"a": "hunter2"}, annotation)
        assert "hunter2" not in str(caught.value)


def test_json_like_data_fits_where_it_is_unambiguous() -> None:
    data = {
        "id": "o",
        "items": [{"sku": "a", "price": "1.50", "colour": "red"}],
        "at": "2024-01-02T03:00:00Z",
        "total": 3,
    }
    order = convert(data, Order)
    assert order == Order("o", [Item("a", Decimal("1.50"))], AT, total=3.0)
    assert isinstance(order, Order)
    assert type(order.total) is float
    assert convert([1, 2], tuple[int, ...]) == (1, 2)
    assert convert(["2024-01-02", "12:00:00", str(UUID(int=1)), "x"], list[date | time | UUID | str]) == [
        "2024-01-02",
        "12:00:00",
        str(UUID(int=1)),
        "x",
    ]
    assert convert("12:00:00", time) == time(12)
    assert convert(str(UUID(int=1)), UUID) == UUID(int=1)
    assert convert({"fullName": "A", "born": "2000-01-01", "address": {"street": "s"}}, Customer).name == "A"  # type: ignore[attr-defined]


def test_fields_of_other_versions_of_a_class() -> None:
    assert convert({"sku": "a", "price": Decimal(1), "gone": 1}, Item) == Item("a", Decimal(1))
    assert convert({"value": 1}, Tree) == Tree(1)


@dataclass
class Small:
    a: int


@dataclass
class Large:
    a: int
    b: int = 0


def test_of_a_union_the_arm_that_leaves_least_over_and_then_the_first() -> None:
    assert convert({"a": 1, "b": 2}, Small | Large) == Large(1, 2)
    assert convert({"a": 1}, Small | Large) == Small(1)
    assert convert({"a": 1}, Large | Small) == Large(1)
    assert convert({"a": 1}, Small | dict[str, int]) == Small(1)
    assert convert({"a": 1}, Small | dict) == Small(1)
    assert convert({"z": 1}, Small | dict) == {"z": 1}
    assert convert([1], set[int] | list[int]) == [1]
    assert type(convert(5, float | int)) is int
    assert convert("red", str | Colour) == "red"
    assert convert("red", Colour | str) is Colour.RED
    assert convert((1, 2), Point | tuple[int, int]) == Point(1, 2)


def test_adapters_are_cached_by_identity() -> None:
    annotation = list[Small | Large]
    assert adapter_for(annotation) is adapter_for(annotation)
    assert adapter_for(Order) is adapter_for(Order)
    assert adapter_for(inspect.Parameter.empty).is_identity
    assert convert(1, Annotated[int, []]) == 1


def test_annotations_that_are_not_resolved_are_a_mistake_of_the_program() -> None:
    with pytest.raises(TypeError, match="get_type_hints"):
        adapter_for("Order")

    @dataclass
    class Lost:
        x: Unknown  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(TypeError, match="Lost"):
        convert({"x": 1}, Lost)
    with pytest.raises(InvalidInput, match="expected Callable"):
        convert(1, collections.abc.Callable[[], int])


def test_aliases() -> None:
    if sys.version_info < (3, 12):
        pytest.skip("type aliases are new in 3.12")
    alias: Any = typing.TypeAliasType("alias", list[Item])
    variable = TypeVar("variable")
    generic: Any = typing.TypeAliasType("generic", list[variable], type_params=(variable,))  # type: ignore[valid-type]
    assert convert([{"sku": "a", "price": Decimal(1)}], alias) == [Item("a", Decimal(1))]
    assert convert([{"sku": "a", "price": Decimal(1)}], generic[Item]) == [Item("a", Decimal(1))]


def test_what_cannot_be_rebuilt_is_said_at_the_start() -> None:
    @dataclass
    class WithInitVar:
        a: int
        b: InitVar[int]

    with pytest.raises(InvalidInput, match="WithInitVar raised TypeError"):
        roundtrip(codec, WithInitVar(1, 2), WithInitVar)

    class Secret(pydantic.BaseModel):
        password: pydantic.SecretStr

    with pytest.raises(NotSerializable, match=r"^login\.password: .*SecretStr"):
        roundtrip(codec, Secret(password=pydantic.SecretStr("hunter2")), Secret, what="login")


def test_very_deep_data_is_refused_not_a_crash() -> None:
    value: object = 1
    annotation: Any = int
    for _ in range(60):
        value, annotation = [value], list[annotation]
    assert roundtrip(codec, value, annotation)[1] == value


def test_libraries_are_never_imported_by_the_codec() -> None:
    script = (
        "import sys; from durable_async.codec import *\n"
        "from dataclasses import dataclass\n"
        "@dataclass\n"
        "class A: x: list[int] | None\n"
        "assert roundtrip(MsgpackCodec(), A([1]), A)[1] == A([1])\n"
        "assert not {'pydantic', 'msgspec', 'pickle'} & set(sys.modules), sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
