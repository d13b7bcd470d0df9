"""What is stored comes back as itself: same value, same types, at every depth."""

from __future__ import annotations

import enum
import math
import os
import subprocess
import sys
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_async.codec import MsgpackCodec
from durable_async.types import CHILD_TIMEOUT

LIMIT = 1 << 20
codec = MsgpackCodec()


def back(value: object) -> object:
    return codec.decode(codec.encode(value, limit=LIMIT))


def same(a: object, b: object) -> bool:
    """Equality that also compares types, and in which NaN equals NaN."""
    if type(a) is not type(b):
        return False
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return same(list(a.items()), list(b.items()))
    if isinstance(a, set | frozenset) and isinstance(b, set | frozenset):
        # Member by member: a NaN equals nothing, and sets of the same members have more than one repr.
        return len(a) == len(b) and all(any(same(x, y) for y in b) for x in a)
    if isinstance(a, float) and isinstance(b, float):
        return math.copysign(1, a) == math.copysign(1, b) and (a == b or (math.isnan(a) and math.isnan(b)))
    if isinstance(a, Decimal):
        return str(a) == str(b)
    if isinstance(a, datetime | time) and isinstance(b, datetime | time):
        return a.utcoffset() == b.utcoffset() and a.replace(tzinfo=None) == b.replace(tzinfo=None)
    return bool(a == b)


offsets = st.integers(-86_399_999_999, 86_399_999_999).map(lambda us: timezone(timedelta(microseconds=us)))
texts = st.text(st.characters(exclude_categories=["Cs"]))
hashable_scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**200), 2**200)
    | st.floats()
    | texts
    | st.binary()
    | st.datetimes().flatmap(lambda d: offsets.map(lambda tz: d.replace(tzinfo=tz)))
    | st.dates()
    | st.times()
    | st.times(timezones=offsets)
    | st.timedeltas()
    | st.decimals(allow_nan=False)
    | st.uuids()
    | st.just(CHILD_TIMEOUT)
)
scalars = hashable_scalars | st.decimals()  # a signalling NaN has no hash
hashable = st.recursive(
    hashable_scalars, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=4
)
keys = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts | st.binary()
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(texts, inner, max_size=4)
        | st.dictionaries(keys | st.tuples(keys, keys), inner, max_size=4)
        | st.sets(hashable, max_size=4)
        | st.frozensets(hashable, max_size=4)
    ),
    max_leaves=12,
)


@given(values)
def test_every_builtin_value_comes_back_as_itself(value: object) -> None:
    assert same(back(value), value)


@given(values)
def test_a_value_and_its_copy_from_the_store_have_one_fingerprint(value: object) -> None:
    assert codec.fingerprint(back(value)) == codec.fingerprint(value)
    assert len(codec.fingerprint(value)) == 16


@pytest.mark.parametrize(
    "value",
    [
        2**63 - 1,
        2**63,
        2**64 - 1,
        2**64,
        -(2**63),
        -(2**63) - 1,
        2**4000,
        -(2**4000),
        10**5000,
        2**71 - 1,
        2**71,
        -(2**71),
    ],
    ids=lambda n: f"{n.bit_length()}bits{'-' if n < 0 else ''}",
)
def test_14_integers_of_any_size(value: int) -> None:
    assert same(back([value]), [value])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -0.0, 5e-324, 1.7976931348623157e308])
def test_15_floats_of_any_kind(value: float) -> None:
    assert same(back(value), value)


def test_16_tuples_stay_tuples_and_lists_lists() -> None:
    value = ([1, (2, [3, ()])], {"a": (1,)}, ((),))
    assert same(back(value), value)


def test_17_dict_keys_keep_their_type_and_do_not_collide() -> None:
    value = {1: "int", "1": "str", b"1": "bytes", None: "none", 2.0: "float", (1, "a"): "tuple", False: "bool", "": 0}
    assert same(back(value), value)
    assert same(back({True: 1}), {True: 1})
    assert same(back({1.0: {2: 3}}), {1.0: {2: 3}})


@pytest.mark.parametrize(
    "value",
    [
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))),
        datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=timezone(timedelta(hours=-12))),
        datetime(2024, 2, 29, 1, 2, 3, 4, tzinfo=timezone(timedelta(hours=5, minutes=45, seconds=7, microseconds=9))),
        Decimal("NaN"),
        Decimal("-sNaN12"),
        Decimal("-0.00"),
        Decimal("1E+999999"),
        Decimal("9" * 5000),
        UUID(int=0),
        UUID(int=2**128 - 1),
        date.min,
        date.max,
        time.max,
        timedelta.min,
        timedelta.max,
        timedelta(microseconds=-1),
    ],
    ids=repr,
)
def test_24_ends_of_the_ranges(value: object) -> None:
    assert same(back(value), value)


def test_24_fold_and_zone_become_the_offset_of_that_moment() -> None:
    zone = ZoneInfo("Europe/Berlin")
    for fold, hours in ((0, 2), (1, 1)):
        value = datetime(2024, 10, 27, 2, 30, fold=fold, tzinfo=zone)
        found = back(value)
        assert isinstance(found, datetime)
        assert found.astimezone(UTC) == value.astimezone(UTC)
        assert found.utcoffset() == timedelta(hours=hours)
        assert isinstance(found.tzinfo, timezone)


def test_the_sentinel_is_one_object() -> None:
    assert back(CHILD_TIMEOUT) is CHILD_TIMEOUT
    assert back([CHILD_TIMEOUT]) == [CHILD_TIMEOUT]


def test_utc_comes_back_as_utc() -> None:
    found = back(datetime(2024, 1, 1, tzinfo=UTC))
    assert isinstance(found, datetime)
    assert found.tzinfo is UTC


def test_the_callers_value_is_not_changed() -> None:
    value = {"a": [1, (2,), {3}], "b": {1: 2}}
    codec.encode(value, limit=LIMIT)
    assert value == {"a": [1, (2,), {3}], "b": {1: 2}}


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


def test_enums_are_stored_as_their_value_as_keys_too() -> None:
    assert same(back([Colour.RED, Level.LOW]), ["red", 1])
    assert same(back({Colour.RED: Level.LOW}), {"red": 1})
    assert same(back({Level.LOW: 1, (Colour.RED,): 2}), {1: 1, ("red",): 2})
    assert same(back({Colour.RED, "blue"}), {"red", "blue"})


def test_depth_64_and_the_exact_limit_fit() -> None:
    value: list[object] = []
    for _ in range(63):
        value = [value]
    assert back(value) == value
    deep: tuple[object, ...] = ()
    for _ in range(63):
        deep = (deep,)
    assert back(deep) == deep
    text = "x" * 100
    assert back(text) == text
    assert len(codec.encode(text, limit=102)) == 102


def test_sibling_containers_do_not_use_up_depth() -> None:
    value: list[list[object]] = [[[] for _ in range(100)] for _ in range(50)]
    assert back(value) == value


def test_nested_dicts_with_keys_of_two_types_cost_no_more_than_their_size() -> None:
    value: dict[object, object] = {}
    for _ in range(60):
        value = {"a": value, 1: None}
    assert back(value) == value


# --- fingerprints -----------------------------------------------------------------------------------------------------


def test_order_does_not_matter_and_types_do() -> None:
    print_of = codec.fingerprint
    assert print_of({"a": 1, "b": {2: 3, 4: 5}}) == print_of({"b": {4: 5, 2: 3}, "a": 1})
    assert print_of({"x", "y", 1, (2, 3)}) == print_of({(2, 3), 1, "y", "x"})
    kinds = [1, 1.0, True, "1", b"1", [1], (1,), {1}, frozenset({1}), {1: 1}, {1: 1.0}, {True: 1}, Decimal(1), None, {}]
    assert len({print_of(kind) for kind in kinds}) == len(kinds)
    assert print_of(math.nan) == print_of(-math.nan) == print_of(math.inf - math.inf)
    assert print_of([math.nan]) == print_of([-math.nan])


def test_known_fingerprints_never_change() -> None:
    # Stored by every release: a change here breaks the idempotency of everything that is stored already.
    value = {"id": "order_1", "items": [1, 2.5, ("a", b"b")], "tags": {"x", "y"}, 7: None, "when": date(2024, 1, 2)}
    assert codec.fingerprint(None).hex() == "45b5b4d6293993511d1f1368aee28b47"
    assert codec.fingerprint(value).hex() == "fc9878b2f06bc976e6292987b65e8383"


SCRIPT = """
from durable_async.codec import MsgpackCodec
c = MsgpackCodec()
v = {"tags": {"x", "y", "z", ("a", 1), None}, "f": frozenset("abcdef"), 1: {b"k": {"n", "m"}}}
print(c.fingerprint(v).hex(), c.encode(v, limit=10000).hex())
"""


def test_fingerprints_do_not_depend_on_the_hash_seed() -> None:
    found = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("0", "1", "4242")
    }
    assert len(found) == 1
