"""Pydantic and msgspec, if the user's program has them: never required, never imported by us.

A value or an annotation can only be one of their types if their module is in ``sys.modules`` already; that is where it
is taken from.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from pathlib import PurePath
from typing import Any, Final

from durable_async.codec.paths import Misfit, piece

_TEXT: Final = (PurePath, IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network)
_URL_MODULES: Final = frozenset({"pydantic.networks", "pydantic_core._pydantic_core", "pydantic_core"})


def is_model_type(cls: object) -> bool:
    """Whether `cls` is a Pydantic model or a Pydantic dataclass."""
    pydantic = sys.modules.get("pydantic")
    if pydantic is None or not isinstance(cls, type):
        return False
    base: Any = getattr(pydantic, "BaseModel", ())
    return issubclass(cls, base) or ("__pydantic_validator__" in vars(cls) and "__dataclass_fields__" in vars(cls))


def is_struct_type(cls: object) -> bool:
    """Whether `cls` is a msgspec struct."""
    msgspec = sys.modules.get("msgspec")
    base: Any = getattr(msgspec, "Struct", ())
    return isinstance(cls, type) and issubclass(cls, base)


def is_text(value: object) -> bool:
    """Whether `value`, found in a model, is one that Pydantic reads back from its text: a URL, a path, an address."""
    cls = type(value)
    return isinstance(value, _TEXT) or (
        cls.__module__ in _URL_MODULES and cls.__name__.lower().endswith(("url", "dsn"))
    )


def dump_model(value: Any) -> object:
    """The data of a model by field name; serialisers of the user's run, computed fields are left out."""
    if not hasattr(value, "model_dump"):
        return {name: getattr(value, name) for name in value.__dataclass_fields__}
    computed = getattr(type(value), "model_computed_fields", None)
    return value.model_dump(mode="python", warnings=False, exclude=set(computed) if computed else None)


def dump_struct(value: Any) -> object:
    """The data of a struct in its encoded form (renamed fields, tag), one level deep."""
    config = value.__struct_config__
    values = [getattr(value, name) for name in value.__struct_fields__]
    if config.array_like:
        return values if config.tag is None else [config.tag, *values]
    msgspec: Any = sys.modules["msgspec"]
    unset = getattr(msgspec, "UNSET", None)
    data: dict[str, object] = {} if config.tag is None else {config.tag_field: config.tag}
    pairs = zip(value.__struct_encode_fields__, values, strict=True)
    data.update((name, item) for name, item in pairs if item is not unset)
    return data


def model_reader(annotation: Any) -> Callable[[object], object]:
    """Reads plain data into an annotation that holds Pydantic models.

    Raises:
        Exception: whatever Pydantic raises if it does not know the annotation.
    """
    pydantic: Any = sys.modules["pydantic"]
    adapter = pydantic.TypeAdapter(annotation)
    # Stored by field name; aliases are accepted too, as the input may come from a caller's JSON.
    options: dict[str, Any] = {}
    if tuple(int(part) for part in pydantic.VERSION.split(".")[:2]) >= (2, 11):
        options = {"by_name": True, "by_alias": True}

    def read(value: object) -> object:
        try:
            return adapter.validate_python(value, **options)
        except pydantic.ValidationError as error:
            raise _pydantic_misfit(error) from None
        except Exception as error:  # noqa: BLE001  (validators are the user's)
            raise Misfit(f"a validator raised {type(error).__name__}") from None

    return read


def _pydantic_misfit(error: Any) -> Misfit:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    # The text of a validator of the user's may quote what it refused.
    own = first["type"] in ("value_error", "assertion_error")
    misfit = Misfit("refused by a validator" if own else first["msg"])
    misfit.path.extend(piece(part) for part in reversed(first["loc"]))
    return misfit


def struct_reader(annotation: Any) -> Callable[[object], object]:
    """Reads plain data into an annotation that holds msgspec structs.

    Raises:
        Exception: whatever msgspec raises if it does not know the annotation.
    """
    msgspec: Any = sys.modules["msgspec"]
    convert = msgspec.convert
    msgspec.msgpack.Decoder(annotation)  # refuses what msgspec does not know, which convert does only when called

    def read(value: object) -> object:
        try:
            return convert(value, annotation)
        except msgspec.ValidationError as error:
            raise _msgspec_misfit(str(error)) from None
        except Exception as error:  # noqa: BLE001  (__post_init__ is the user's)
            raise Misfit(f"a struct raised {type(error).__name__}") from None

    return read


def _msgspec_misfit(text: str) -> Misfit:
    reason, _, path = text.partition(" - at `")
    misfit = Misfit(reason if reason.startswith(("Expected ", "Object ", "Array ")) else "does not fit")
    if path:
        misfit.path.append(path.rstrip("`").removeprefix("$")[:300])
    return misfit
