"""What may be asked, and what answers it: checked where the question is asked, and where it is answered.

A question is stored as plain data, so that whoever answers needs neither the workflow's code nor its types.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from durable_async.checking import brief, check_label
from durable_async.errors import CorruptPayload, InvalidInput
from durable_async.shapes import InputField

KINDS: Final = ("text", "number", "boolean", "approval", "choice", "choices", "form")
CHOOSING: Final = ("choice", "choices")
NARROWED: Final = ("text", "number", *CHOOSING)
"""The kinds that choices may narrow, or must."""
MOST_CHOICES: Final = 1_000


def define(
    kind: object, prompt: object, choices: object, fields: object, metadata: object, what: str = "a question"
) -> dict[str, Any]:
    """A question as plain data.

    Raises:
        ValueError: if the kind is unknown, or the choices or fields do not go with it.
        TypeError: if a part has a wrong type.
    """
    kind = _kind(kind, KINDS, what)
    _text(prompt, "prompt", what)
    asked: dict[str, Any] = {"kind": kind, "prompt": prompt, "choices": _choices(kind, choices, what)}
    asked["fields"] = _fields(kind, fields, what)
    if metadata is None:
        metadata = {}
    if not isinstance(metadata, Mapping) or not all(isinstance(key, str) for key in metadata):
        raise TypeError(f"metadata of {what} must be a dict with names as its keys, not {type(metadata).__name__}")
    asked["metadata"] = dict(metadata)
    return asked


def _kind(kind: object, kinds: tuple[str, ...], what: str) -> str:
    if not isinstance(kind, str) or kind not in kinds:
        raise ValueError(f"kind of {what} must be one of {', '.join(kinds)}; got {brief(kind)}")
    return str(kind)


def _text(value: object, part: str, what: str) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{part} of {what} must be a str, not {type(value).__name__}")


def _choices(kind: str, choices: object, what: str) -> list[Any]:
    given = _listed(choices, "choices", what)
    if not given:
        if kind in CHOOSING:
            raise ValueError(f"{what} of kind {kind!r} needs choices=[...]")
        return []
    if kind not in NARROWED:
        raise ValueError(f"{what} of kind {kind!r} takes no choices; kinds that do are {', '.join(NARROWED)}")
    if len(given) > MOST_CHOICES:
        raise ValueError(f"choices of {what} must be at most {MOST_CHOICES:,}, got {len(given):,}")
    bare = [choice.value if isinstance(choice, enum.Enum) else choice for choice in given]
    for choice in bare:
        if type(choice) not in (str, int, float, bool):
            raise TypeError(f"choices of {what} must be texts, numbers or bools, got {type(choice).__name__}")
        if (kind == "text" and not _is_text(choice)) or not (isinstance(choice, str | bool) or _is_number(choice)):
            raise ValueError(f"choice {brief(choice)} of {what} does not fit the kind {kind!r}")
        if kind == "number" and not _is_number(choice):
            raise ValueError(f"choice {brief(choice)} of {what} does not fit the kind {kind!r}")
    seen = {(type(choice), choice) for choice in bare}
    if len(seen) != len(bare):
        raise ValueError(f"choices of {what} must differ from each other")
    return bare


def _fields(kind: str, fields: object, what: str) -> list[dict[str, Any]]:
    given = _listed(fields, "fields", what)
    if kind != "form":
        if given:
            raise ValueError(f"{what} of kind {kind!r} takes no fields; kind='form' does")
        return []
    if not given:
        raise ValueError(f"{what} of kind 'form' needs fields=[...]")
    listed = [_field(each, what) for each in given]
    names = [each["name"] for each in listed]
    if len(set(names)) != len(names):
        raise ValueError(f"fields of {what} must have names that differ")
    return listed


def _field(given: object, what: str) -> dict[str, Any]:
    if isinstance(given, str):
        given = InputField(given)
    elif isinstance(given, Mapping):
        try:
            given = InputField(**given)
        except TypeError:
            known = "name, kind, prompt, choices, required"
            raise TypeError(f"a field of {what} must have a name, and of {known} only; got {brief(given)}") from None
    if not isinstance(given, InputField):
        raise TypeError(f"fields of {what} must be names, InputFields or dicts, got {type(given).__name__}")
    name = check_label(given.name, f"field name of {what}")
    inner = f"field {name!r} of {what}"
    kind = _kind(given.kind, KINDS[:-1], inner)
    _text(given.prompt, "prompt", inner)
    if type(given.required) is not bool:
        raise TypeError(f"required of {inner} must be a bool, not {type(given.required).__name__}")
    choices = _choices(kind, given.choices, inner)
    return {"name": name, "kind": kind, "prompt": given.prompt, "choices": choices, "required": given.required}


def _listed(values: object, part: str, what: str) -> list[Any]:
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise TypeError(f"{part} of {what} must be a list, not {type(values).__name__}")
    return list(values)


def read_question(asked: object) -> dict[str, Any]:
    """A stored question, checked again: what is read is not trusted.

    Raises:
        CorruptPayload: if it is none.
    """
    try:
        if not isinstance(asked, dict):
            raise TypeError
        return define(asked["kind"], asked["prompt"], asked["choices"], asked["fields"], asked["metadata"])
    except (TypeError, ValueError, KeyError):
        raise CorruptPayload("a question cannot be read") from None


def check_answer(asked: Mapping[str, Any], value: object, what: str) -> Any:
    """The answer as the run gets it.

    Raises:
        InvalidInput: if it does not fit the question, saying what would.
    """
    kind = asked["kind"]
    if kind == "form":
        return _check_form(asked["fields"], value, what)
    if kind == "choices":
        return _check_several(asked["choices"], value, what)
    if kind in ("boolean", "approval"):
        if not isinstance(value, bool):
            raise InvalidInput(f"{what} takes true or false, got {brief(value)}")
    elif kind == "text" and not _is_text(value):
        raise InvalidInput(f"{what} takes a text, got {brief(value)}")
    elif kind == "number" and not _is_number(value):
        raise InvalidInput(f"{what} takes a number, got {brief(value)}")
    if asked["choices"] and not _is_among(asked["choices"], value):
        raise InvalidInput(f"{what} takes one of {_shown(asked['choices'])}; got {brief(value)}")
    return value


def _check_several(choices: list[Any], value: object, what: str) -> list[Any]:
    if not isinstance(value, list | tuple) or not all(_is_among(choices, each) for each in value):
        raise InvalidInput(f"{what} takes a list of some of {_shown(choices)}; got {brief(value)}")
    if len({(type(each), each) for each in value}) != len(value):
        raise InvalidInput(f"{what} takes each choice once, got {brief(value)}")
    return list(value)


def _check_form(fields: list[dict[str, Any]], value: object, what: str) -> dict[str, Any]:
    names = [field["name"] for field in fields]
    if not isinstance(value, Mapping):
        raise InvalidInput(f"{what} takes an object with {', '.join(names)}; got {brief(value)}")
    unknown = [key for key in value if key not in names]
    if unknown:
        raise InvalidInput(f"{what} has no field {brief(unknown[0])}; it takes {', '.join(names)}")
    answer: dict[str, Any] = {}
    for field in fields:
        given = value.get(field["name"])
        if given is not None:
            answer[field["name"]] = check_answer(field, given, f"field {field['name']!r} of {what}")
        elif field["required"]:
            raise InvalidInput(f"{what} needs field {field['name']!r}")
        else:
            answer[field["name"]] = None
    return answer


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_among(choices: list[Any], value: object) -> bool:
    # 1, 1.0 and True are three answers.
    return any(type(value) is type(choice) and value == choice for choice in choices)


def _shown(choices: list[Any]) -> str:
    shown = ", ".join(brief(choice) for choice in choices[:10])
    return shown + (", …" if len(choices) > 10 else "")
