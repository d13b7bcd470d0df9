"""JSON from a command line: taken exactly, or refused.

The standard library's parser with hooks, because orjson turns 2**64 into a float, keeps the last of two equal keys, and
says nothing about either.
"""

from __future__ import annotations

import json
import math
import os
import sys
from typing import Any, Final, NoReturn

from durable_async.cli.exits import CliError

MAX_BYTES: Final = 64 * 1024 * 1024
_LOWEST: Final = -(2**63)
_HIGHEST: Final = 2**64 - 1


class _Refused(ValueError):
    """What was read cannot be taken as it is."""


def read_json(text: str, what: str) -> Any:
    """The value of a JSON text; `-` reads it from standard input.

    Raises:
        CliError: if it is no JSON, holds a number that would be changed, or a key twice.
    """
    try:
        text = _standard_input() if text == "-" else _argument(text)
        value = json.loads(
            text, parse_int=_integer, parse_float=_float, parse_constant=_constant, object_pairs_hook=_object
        )
    except json.JSONDecodeError as error:
        raise CliError(f"{what} is not JSON: {error.msg} at character {error.pos + 1}{_hint(text)}") from None
    except UnicodeDecodeError as error:
        raise CliError(f"{what} is not JSON: its byte {error.start + 1} is not UTF-8") from None
    except RecursionError:
        raise CliError(f"{what} is nested too deeply") from None
    except _Refused as refused:
        raise CliError(f"{what}: {refused}") from None
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise CliError(f"{what} holds a lone surrogate, which is no text") from None
    return value


def _standard_input() -> str:
    data = sys.stdin.buffer.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise _Refused(f"standard input holds more than {MAX_BYTES} bytes")
    return data.decode()


def _argument(text: str) -> str:
    """An argument as UTF-8, whatever the locale made of it."""
    try:
        return os.fsencode(text).decode()
    except UnicodeEncodeError:
        return text  # a test's or a caller's, not a command line's


def _hint(text: str) -> str:
    bare = text.strip()
    return f"; a text needs quotes: '\"{bare}\"'" if bare.isascii() and bare.isalnum() and len(bare) < 40 else ""


def _integer(digits: str) -> int:
    # 20 digits hold every 64-bit number, and Python refuses to read thousands of them.
    number = int(digits) if len(digits) <= 20 else None
    if number is None or not _LOWEST <= number <= _HIGHEST:
        raise _Refused(f"the integer {digits[:30]} does not fit 64 bits; pass it as a string")
    return number


def _float(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise _Refused(f"the number {digits[:30]} is too large for a float")
    return number


def _constant(name: str) -> NoReturn:
    raise _Refused(f"{name} is not JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _Refused(f"the key {key[:60]!a} comes twice")
            seen.add(key)
    return found
