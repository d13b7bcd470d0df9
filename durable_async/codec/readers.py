"""One reader per kind of annotation: functions from plain data to the annotated type, raising `Misfit`.

Readers of classes look at their fields when first used, not when built, so classes may refer to themselves.
"""

from __future__ import annotations

import enum
import inspect
import sys
import types
import typing
from collections import abc
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal, DecimalException
from typing import Any, Final, TypeVar
from uuid import UUID

from durable_async.codec import foreign, records
from durable_async.codec.paths import Misfit, piece
from durable_async.types import CHILD_TIMEOUT, ChildTimeoutType

Reader = Callable[[object], object]
Names = dict[Any, Any]
"""Type variables, and what they stand for."""


def identity(value: object) -> object:
    """Anything fits, and stays what it is."""
    return value


def reader_for(annotation: Any, names: Names | None = None) -> Reader:
    """The reader of an annotation.

    Raises:
        TypeError: if the annotation is text.
    """
    names = names or {}
    annotation = _resolve(annotation, names)
    if annotation is Any or annotation is object or annotation is inspect.Parameter.empty:
        return identity
    if annotation is None or annotation is type(None):
        return _none
    try:
        simple = _SIMPLE.get(annotation)
    except TypeError:  # not hashable, such as Annotated[int, []]
        simple = None
    if simple is not None:
        return simple
    if isinstance(annotation, str | typing.ForwardRef):
        raise TypeError(f"annotation {annotation!r} is text; resolve it with typing.get_type_hints")
    origin = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if origin is typing.Union or origin is types.UnionType:
        return _union(arguments, names)
    if origin is typing.Literal:
        return _literal(arguments)
    library = _library_reader(annotation)
    if library is not None:
        return library
    if type(origin).__name__ == "TypeAliasType":
        return reader_for(origin.__value__, dict(zip(origin.__type_params__, arguments, strict=False)))
    if origin is typing.Annotated:
        return reader_for(arguments[0], names)
    if origin is None:
        return _class(annotation, (), names)
    return _class(origin, arguments, names)


def _resolve(annotation: Any, names: Names) -> Any:
    """Follow type variables, new types and aliases to what they stand for."""
    for _ in range(100):
        if isinstance(annotation, TypeVar):
            annotation = names.get(annotation, annotation.__bound__ or Any)
        elif isinstance(annotation, typing.NewType):
            annotation = annotation.__supertype__
        elif type(annotation).__name__ == "TypeAliasType":  # typing's is new in 3.12, typing_extensions has its own
            annotation = annotation.__value__
        elif typing.get_origin(annotation) in (typing.Required, typing.NotRequired, typing.Final, typing.ClassVar):
            annotation = typing.get_args(annotation)[0]
        else:
            return annotation
    raise TypeError("an alias that refers to itself")


# --- scalars ----------------------------------------------------------------------------------------------------------


def expected(name: str, value: object) -> Misfit:
    """The refusal of a value by its type alone."""
    return Misfit(f"expected {name}, got {type(value).__name__}")


def _none(value: object) -> None:
    if value is not None:
        raise expected("None", value)


def _exactly(cls: type) -> Reader:
    def read(value: object) -> object:
        if type(value) is cls:
            return value
        raise expected(cls.__name__, value)

    return read


def _float(value: object) -> object:
    if type(value) is float:
        return value
    if type(value) is int:
        try:
            return float(value)
        except OverflowError:
            raise Misfit("an int too large for a float") from None
    raise expected("float", value)


def _complex_or(cls: type, parse: Callable[[Any], object], *sources: type) -> Reader:
    def read(value: object) -> object:
        if type(value) is cls:
            return value
        if type(value) in sources:
            try:
                return parse(value)
            except (ValueError, DecimalException, OverflowError):
                raise Misfit(f"text that is not a {cls.__name__}") from None
        raise expected(cls.__name__, value)

    return read


def _aware(text: str) -> datetime:
    value = datetime.fromisoformat(text)
    if value.tzinfo is None:
        raise Misfit("a datetime without a zone")
    return value


def _child_timeout(value: object) -> object:
    if value is CHILD_TIMEOUT:
        return value
    raise expected("CHILD_TIMEOUT", value)


_SIMPLE: Final[dict[object, Reader]] = {
    bool: _exactly(bool),
    int: _exactly(int),
    float: _float,
    str: _exactly(str),
    bytes: _exactly(bytes),
    datetime: _complex_or(datetime, _aware, str),
    date: _complex_or(date, date.fromisoformat, str),
    time: _complex_or(time, time.fromisoformat, str),
    timedelta: _exactly(timedelta),
    Decimal: _complex_or(Decimal, Decimal, str, int),
    UUID: _complex_or(UUID, UUID, str),
    ChildTimeoutType: _child_timeout,
}


def _literal(choices: tuple[Any, ...]) -> Reader:
    def read(value: object) -> object:
        for choice in choices:
            plain = choice.value if isinstance(choice, enum.Enum) and choice is not CHILD_TIMEOUT else choice
            if type(plain) is type(value) and plain == value:
                return choice
        raise Misfit("not one of the values of the Literal")

    return read


def _enum(cls: type[enum.Enum]) -> Reader:
    def read(value: object) -> object:
        try:
            member = cls(value)
        except Exception:  # noqa: BLE001  (_missing_ is the user's)
            raise Misfit(f"not a value of {cls.__name__}") from None
        if type(member.value) is not type(value) and member is not value:  # True == 1 == 1.0
            raise Misfit(f"not a value of {cls.__name__}")
        return member

    return read


# --- unions -----------------------------------------------------------------------------------------------------------


def _union(arms: tuple[Any, ...], names: Names) -> Reader:
    """The arm that is exactly the value's type, else of the arms that accept it the one that leaves least over.

    A dict fits a record if all required fields are there; ties are for the arm that stands first.
    """
    resolved = [_resolve(arm, names) for arm in arms]
    rest = tuple(arm for arm in resolved if arm is not None and arm is not type(None) and arm is not ChildTimeoutType)
    library = _library_reader(typing.Union[rest]) if len(rest) > 1 else None  # noqa: UP007  (built at run time)
    readers = [(arm, reader_for(arm, names)) for arm in rest] if library is None else [(Any, library)]
    allows_none = None in resolved or type(None) in resolved
    allows_timeout = ChildTimeoutType in resolved

    def read(value: object) -> object:
        if value is None and allows_none:
            return None
        if value is CHILD_TIMEOUT and allows_timeout:
            return value
        if len(readers) == 1:
            return readers[0][1](value)
        if type(value) is dict:
            candidates = sorted(readers, key=lambda arm: records.left_over(arm[0], value))
        else:
            candidates = sorted(readers, key=lambda arm: _is_coerced(arm[0], type(value)))
        refusals = []
        for _, candidate in candidates:
            try:
                return candidate(value)
            except Misfit as misfit:
                refusals.append(misfit)
        raise max(refusals, key=lambda misfit: len(misfit.path), default=expected("nothing", value))

    return read


def _is_coerced(arm: Any, cls: type) -> bool:
    """Whether an arm would turn a value of `cls` into another type, other than one that is stored as `cls`."""
    origin = typing.get_origin(arm) or arm
    if origin is cls or origin is typing.Literal:
        return False
    return not (
        isinstance(origin, type) and (issubclass(origin, enum.Enum) or (cls is tuple and issubclass(origin, cls)))
    )


# --- containers -------------------------------------------------------------------------------------------------------

_ITERABLES: Final = frozenset({abc.Sequence, abc.MutableSequence, abc.Collection, abc.Iterable, abc.Container})


def _class(cls: Any, arguments: tuple[Any, ...], names: Names) -> Reader:
    if cls is tuple:
        return _tuple(arguments, names)
    if cls is list or cls in _ITERABLES:
        accepted = (list,) if cls is list else (list, tuple, str, bytes) if not arguments else (list, tuple)
        return _items(None, accepted, arguments, names)
    if cls in (set, frozenset, abc.Set, abc.MutableSet):
        return _items(frozenset if cls is frozenset else set, (set, frozenset, list), arguments, names)
    if cls in (dict, abc.Mapping, abc.MutableMapping):
        return _mapping(arguments, names)
    if not isinstance(cls, type):
        return _refuse(cls)
    if issubclass(cls, enum.Enum):
        return _enum(cls)
    record = records.reader(cls, arguments, names, reader_for)
    return record if record is not None else _instance(cls)


def _refuse(annotation: object) -> Reader:
    def read(value: object) -> object:
        raise Misfit(f"annotation {annotation!r} cannot be read from stored data")

    return read


def _instance(cls: type) -> Reader:
    """A class we cannot rebuild, such as ``numbers.Number`` or ``collections.abc.Hashable``: check, change nothing."""

    def read(value: object) -> object:
        try:
            fits = isinstance(value, cls)
        except TypeError:  # a protocol that is not for run time
            fits = True
        if not fits:
            raise expected(cls.__name__, value)
        return value

    return read


def _read_all(reader: Reader, value: Any) -> list[object]:
    result = []
    for index, item in enumerate(value):
        try:
            result.append(reader(item))
        except Misfit as misfit:
            misfit.path.append(f"[{index}]")
            raise
    return result


def _items(make: type | None, accepted: tuple[type, ...], arguments: tuple[Any, ...], names: Names) -> Reader:
    reader = reader_for(arguments[0], names) if arguments else identity
    name = make.__name__ if make else "list"

    def read(value: object) -> object:
        cls = type(value)
        if cls not in accepted:
            raise expected(name, value)
        result: Any = value if reader is identity else _read_all(reader, value)
        target = make or cls
        if type(result) is target:
            return result
        try:
            return target(result)  # pyright: ignore[reportCallIssue]  # list, tuple, set and frozenset all take one
        except TypeError:
            raise Misfit("elements that cannot be in a set") from None

    return read


def _tuple(arguments: tuple[Any, ...], names: Names) -> Reader:
    if not arguments:
        return _fixed_or_any(None)
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        reader = reader_for(arguments[0], names)
        whole = _fixed_or_any(None)
        return lambda value: tuple(_read_all(reader, whole(value)))
    return _fixed_or_any([] if arguments == ((),) else [reader_for(argument, names) for argument in arguments])


def _fixed_or_any(readers: list[Reader] | None) -> Reader:
    def read(value: object) -> object:
        if type(value) is list:
            value = tuple(value)
        if type(value) is not tuple:
            raise expected("tuple", value)
        if readers is None:
            return value
        if len(value) != len(readers):
            raise Misfit(f"expected {len(readers)} elements, got {len(value)}")
        return tuple(records.read_each(readers, value, [f"[{index}]" for index in range(len(value))]))

    return read


def _mapping(arguments: tuple[Any, ...], names: Names) -> Reader:
    if len(arguments) != 2:
        return _exactly(dict)
    key_reader, item_reader = reader_for(arguments[0], names), reader_for(arguments[1], names)

    def read(value: object) -> object:
        if type(value) is not dict:
            raise expected("dict", value)
        result: dict[object, object] = {}
        for key, item in value.items():
            try:
                result[key_reader(key)] = item_reader(item)
            except Misfit as misfit:
                misfit.path.append(piece(key))
                raise
            except TypeError:
                raise Misfit("keys that cannot be in a dict") from None
        if len(result) != len(value):
            raise Misfit("two keys become the same one")
        return result

    return read


# --- libraries --------------------------------------------------------------------------------------------------------


_LIBRARIES: Final = (
    ("pydantic", foreign.is_model_type, foreign.model_reader),
    ("msgspec", foreign.is_struct_type, foreign.struct_reader),
)


def _library_reader(annotation: Any) -> Reader | None:
    """Pydantic's or msgspec's reader, if the annotation holds types or constraints of one of them.

    None if it holds both, or something that the library does not know: our own readers come to the parts.
    """
    found = [library for library in _LIBRARIES if library[0] in sys.modules and _mentions(annotation, *library[:2])]
    if len(found) != 1:
        return None
    name, holds, make = found[0]
    try:
        return make(annotation)
    except Exception as error:
        if holds(annotation) or holds(typing.get_origin(annotation)):
            raise TypeError(f"{name} cannot read {annotation!r}: {type(error).__name__}") from error
        return None


def _mentions(annotation: Any, library: str, holds: Callable[[object], bool]) -> bool:
    if holds(annotation) or holds(typing.get_origin(annotation)):
        return True
    if typing.get_origin(annotation) is typing.Annotated:
        modules = {type(note).__module__.partition(".")[0] for note in annotation.__metadata__}
        if library in modules or (library == "pydantic" and "annotated_types" in modules):
            return True
    return any(_mentions(argument, library, holds) for argument in typing.get_args(annotation))
