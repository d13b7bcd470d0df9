"""Readers of classes with named fields: dataclasses, NamedTuples and TypedDicts.

Data may have more fields than the class: it was stored by another version of the program, and inputs evolve. Missing
ones take their default, or are refused by name.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from durable_async.codec.paths import Misfit, piece

Reader = Callable[[object], object]
MakeReader = Callable[[Any, dict[Any, Any]], Reader]


def reader(cls: Any, arguments: tuple[Any, ...], names: dict[Any, Any], make: MakeReader) -> Reader | None:
    """The reader of a class with fields, or None if it has none.

    Args:
        cls: the class.
        arguments: of a generic one, such as ``(int,)`` for ``Box[int]``.
        names: type variables of the place the annotation stands in.
        make: what gives the reader of a field's annotation.
    """
    if arguments:
        parameters = getattr(cls, "__parameters__", ())
        names = dict(zip(parameters, (_substituted(arg, names) for arg in arguments), strict=False))
    else:
        names = {}
    if typing.is_typeddict(cls):
        return _typed_dict(cls, names, make)
    if dataclasses.is_dataclass(cls):
        return _dataclass(cls, names, make)
    if issubclass(cls, tuple) and isinstance(getattr(cls, "_fields", None), tuple):
        return _named_tuple(cls, names, make)
    return None


def _substituted(argument: Any, names: dict[Any, Any]) -> Any:
    # At once, not when read: the class's own variable may be the very one that its argument mentions.
    if isinstance(argument, typing.TypeVar):
        return names.get(argument, Any)
    open_names = () if isinstance(argument, type) else getattr(argument, "__parameters__", ())
    values = tuple(names.get(name, Any) for name in open_names)
    return argument[values] if open_names else argument  # pyright: ignore[reportIndexIssue]  # only generics have them


def left_over(annotation: Any, data: dict[Any, Any]) -> int:
    """How many keys of `data` a class has no field for: the fewer, the better it fits."""
    cls = typing.get_origin(annotation) or annotation
    fields: Iterable[str] = ()
    if typing.is_typeddict(cls):
        fields = cls.__annotations__
    elif dataclasses.is_dataclass(cls):
        fields = [field.name for field in dataclasses.fields(cls)]
    elif hasattr(cls, "model_fields"):
        fields = cls.model_fields
    elif hasattr(cls, "__struct_encode_fields__"):
        fields = cls.__struct_encode_fields__
    return len(data.keys() - set(fields))


def read_each(readers: Sequence[Reader], values: Iterable[object], pieces: Iterable[str]) -> list[object]:
    """Each value by its own reader; a refusal gets its piece of the path."""
    result = []
    for read, value, step in zip(readers, values, pieces, strict=False):
        try:
            result.append(read(value))
        except Misfit as misfit:
            misfit.path.append(step)
            raise
    return result


def _hints(cls: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(cls, include_extras=True)
    except Exception as error:
        raise TypeError(f"the annotations of {cls.__qualname__} cannot be resolved: {error}") from error


class _Fields:
    """The readers of a class's fields, made at first use: fields may refer to the class itself."""

    def __init__(self, cls: Any, names: dict[Any, Any], make: MakeReader) -> None:
        self._source = (cls, names, make)
        self._readers: dict[str, Reader] | None = None
        self._required: list[str] = []

    def get(self) -> dict[str, Reader]:
        if self._readers is None:
            cls, names, make = self._source
            hints = _hints(cls)
            self._readers = {name: make(hint, names) for name, hint in hints.items()}
            self._required = [name for name, hint in hints.items() if _is_required(cls, name, hint)]
        return self._readers

    def required(self) -> list[str]:
        """The keys a TypedDict must have; known after `get`."""
        return self._required


def _is_required(cls: Any, name: str, hint: Any) -> bool:
    # Where annotations are text (PEP 563), __required_keys__ counts NotRequired ones too.
    origin = typing.get_origin(hint)
    if origin in (typing.Required, typing.NotRequired):
        return origin is typing.Required
    return name in getattr(cls, "__required_keys__", ())


def _construct(cls: Any, values: dict[str, object]) -> Any:
    try:
        return cls(**values)
    except Exception as error:  # noqa: BLE001  (__post_init__ is the user's; its text may quote what it refused)
        raise Misfit(f"{cls.__name__} raised {type(error).__name__}") from None


def _read_fields(data: object, cls: Any, readers: dict[str, Reader], present: Iterable[str]) -> dict[str, object]:
    if type(data) is not dict:
        raise Misfit(f"expected the fields of {cls.__name__}, got {type(data).__name__}")
    chosen = [name for name in present if name in data]
    values = read_each([readers[name] for name in chosen], [data[name] for name in chosen], map(piece, chosen))
    return dict(zip(chosen, values, strict=True))


def _missing(cls: Any, name: str) -> Misfit:
    misfit = Misfit(f"missing, and {cls.__name__} has no default for it")
    misfit.path.append(piece(name))
    return misfit


def _dataclass(cls: Any, names: dict[Any, Any], make: MakeReader) -> Reader:
    own = _Fields(cls, names, make)
    fields = dataclasses.fields(cls)
    every = [field.name for field in fields]
    late = {field.name for field in fields if not field.init}
    no_default = dataclasses.MISSING
    required = [f.name for f in fields if f.init and f.default is no_default and f.default_factory is no_default]

    def read(data: object) -> object:
        if type(data) is cls:  # a registered CustomType has made it
            return data
        values = _read_fields(data, cls, own.get(), every)
        for name in required:
            if name not in values:
                raise _missing(cls, name)
        made = _construct(cls, {name: value for name, value in values.items() if name not in late})
        for name in late & values.keys():
            object.__setattr__(made, name, values[name])
        return made

    return read


def _named_tuple(cls: Any, names: dict[Any, Any], make: MakeReader) -> Reader:
    own = _Fields(cls, names, make)
    every: tuple[str, ...] = cls._fields
    required = every[: len(every) - len(cls._field_defaults)]

    def read(data: object) -> object:
        if type(data) is cls:
            return data
        if type(data) is tuple or type(data) is list:
            if len(data) > len(every):
                raise Misfit(f"expected at most {len(every)} elements, got {len(data)}")
            data = dict(zip(every, data, strict=False))
        readers = own.get() or {}
        values = _read_fields(data, cls, {name: readers.get(name, lambda value: value) for name in every}, every)
        for name in required:
            if name not in values:
                raise _missing(cls, name)
        return _construct(cls, values)

    return read


def _typed_dict(cls: Any, names: dict[Any, Any], make: MakeReader) -> Reader:
    own = _Fields(cls, names, make)

    def read(data: object) -> object:
        readers = own.get()
        values = _read_fields(data, cls, readers, readers)
        for name in own.required():
            if name not in values:
                raise _missing(cls, name)
        return {name: values.get(name, item) for name, item in data.items()}  # type: ignore[attr-defined]

    return read
