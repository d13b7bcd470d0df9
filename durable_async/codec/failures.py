"""Exceptions as data: what the store keeps of one, and when it is raised again as itself.

An exception is rebuilt only as a builtin from a fixed table or as a type its step declared, from arguments that are
plain data. Everything else stays an `ErrorInfo`. Nothing is imported, and no class is looked up by a name in the store.
Every text is capped, and taken with care: ``__str__`` is the user's code.
"""

from __future__ import annotations

import builtins
import os
import traceback
from typing import Final

from durable_async.codec import lowering
from durable_async.codec.base import Codec
from durable_async.codec.envelope import Opaque
from durable_async.codec.msgpack_codec import MsgpackCodec
from durable_async.errors import CorruptPayload, ErrorInfo, PayloadError

TEXT_LIMIT: Final = 8 * 1024
"""Bytes of UTF-8 kept of a message, and of a traceback."""
CAUSES: Final = 8
"""Links of a chain of causes that are kept."""
ARGS_LIMIT: Final = 16 * 1024
"""Bytes that the encoded arguments of an exception may have for it to be rebuilt."""
FAILURE_LIMIT: Final = 512 * 1024
"""Bytes of a packed failure: more than all the texts can add up to."""

_FRAMES: Final = 40
_GROUP_SHOWN: Final = 8
_VERSION: Final = 1
_CODEC: Final = MsgpackCodec()

# StopIteration and StopAsyncIteration cannot leave a coroutine; a group's arguments are exceptions.
_NOT_REBUILT: Final = (StopIteration, StopAsyncIteration, BaseExceptionGroup)
REBUILT_BUILTINS: Final[dict[str, type[Exception]]] = {
    cls.__name__: cls
    for cls in vars(builtins).values()
    if isinstance(cls, type) and issubclass(cls, Exception) and not issubclass(cls, _NOT_REBUILT)
}
"""Builtin exceptions that are raised again as themselves, by name; ``asyncio.TimeoutError`` is TimeoutError."""


def encode_error(exc: BaseException) -> ErrorInfo:
    """What is kept of an exception: type name, message, traceback and causes, each capped. Never raises.

    The chain follows ``__cause__``, else ``__context__`` unless suppressed; it ends at 8 links or where it repeats.
    Messages are the user's: they are stored, and never logged here.
    """
    chain: list[BaseException] = []
    seen: set[int] = set()
    link: BaseException | None = exc
    while link is not None and id(link) not in seen and len(chain) <= CAUSES:
        chain.append(link)
        seen.add(id(link))
        link = link.__cause__ if link.__cause__ is not None or link.__suppress_context__ else link.__context__
    info: ErrorInfo | None = None
    for link in reversed(chain):
        info = ErrorInfo(_name(link), _message(link), _traceback(link), info)
    assert info is not None
    return info


def _name(exc: BaseException) -> str:
    return _cap(type(exc).__name__, 256)


def _cap(text: str, limit: int) -> str:
    # Cut by characters first: encoding 100 MB to keep 8 KiB would be a waste.
    return text[:limit].encode("utf-8", "backslashreplace")[:limit].decode("utf-8", "ignore")


def _message(exc: BaseException) -> str:
    try:
        text = _cap(str(exc), TEXT_LIMIT)
    except Exception as error:  # noqa: BLE001  (the user's code)
        text = f"<{type(exc).__name__}.__str__ raised {type(error).__name__}>"
    if isinstance(exc, BaseExceptionGroup):
        shown = [f"{_name(sub)}: {_first_line(sub)}" for sub in exc.exceptions[:_GROUP_SHOWN]]
        more = len(exc.exceptions) - len(shown)
        text = f"{_cap(text, 1024)} [{'; '.join(shown)}{f'; and {more} more' if more > 0 else ''}]"
    return _cap(text, TEXT_LIMIT)


def _first_line(exc: BaseException) -> str:
    try:
        return _cap(str(exc).partition("\n")[0], 256)
    except Exception as error:  # noqa: BLE001  (the user's code)
        return f"<__str__ raised {type(error).__name__}>"


def _traceback(exc: BaseException) -> str:
    # The frames alone: the message is kept beside them, and traceback would ask __str__ again.
    try:
        text = "".join(traceback.format_tb(exc.__traceback__, limit=-_FRAMES))
    except Exception as error:  # noqa: BLE001  (loaders of source code may raise anything)
        return f"<no traceback: {type(error).__name__}>"
    return text.encode("utf-8", "backslashreplace")[-TEXT_LIMIT:].decode("utf-8", "ignore")


def errorinfo_to_data(info: ErrorInfo) -> list[object]:
    """An `ErrorInfo` as plain data, for records: ``[type, message, traceback, cause or None]``."""
    chain: list[ErrorInfo] = []
    link: ErrorInfo | None = info
    while link is not None and len(chain) <= CAUSES:
        chain.append(link)
        link = link.cause
    data: list[object] | None = None
    for link in reversed(chain):
        data = [_cap(link.type, 256), _cap(link.message, TEXT_LIMIT), _cap(link.traceback, TEXT_LIMIT), data]
    assert data is not None
    return data


def errorinfo_from_data(data: object) -> ErrorInfo:
    """The `ErrorInfo` of plain data.

    Raises:
        CorruptPayload: if it has another shape than `errorinfo_to_data` gives.
    """
    if isinstance(data, Opaque):
        return ErrorInfo("Unreadable", data)
    chain: list[tuple[str, str, str]] = []
    while data is not None or not chain:
        if type(data) is not list or len(data) != 4 or len(chain) > 64:
            raise CorruptPayload("stored error has the wrong shape")
        kind, message, trace, data = data
        if type(kind) is not str or type(message) is not str or type(trace) is not str:
            raise CorruptPayload("stored error has the wrong shape")
        chain.append((kind, message, trace))
    info: ErrorInfo | None = None
    for kind, message, trace in reversed(chain):
        info = ErrorInfo(kind, message, trace, info)
    assert info is not None
    return info


def pack_failure(exc: BaseException, *, codec: Codec = _CODEC) -> bytes:
    """An exception as bytes, for `unpack_failure`. At most 512 KiB; never raises for what the exception holds.

    Its arguments are kept if they are plain data of at most 16 KiB, so that it can be rebuilt.
    """
    args: list[object] | None = None
    if isinstance(exc, Exception):
        try:
            args = _arguments(exc)
            if not _is_small_and_plain(args):
                args = None
        except Exception:  # noqa: BLE001  (args may be a property of the user's)
            args = None
    return codec.encode(
        [_VERSION, errorinfo_to_data(encode_error(exc)), _full_name(type(exc)), args], limit=FAILURE_LIMIT
    )


def _arguments(exc: Exception) -> list[object]:
    args = list(exc.args)
    if isinstance(exc, OSError) and type(exc).__module__ == "builtins" and len(args) == 2 and exc.filename is not None:
        # Python takes the file's name out of `args` again.
        args.append(os.fspath(exc.filename) if isinstance(exc.filename, os.PathLike) else exc.filename)
    return args


def _is_small_and_plain(args: list[object]) -> bool:
    if not lowering.is_plain(args, ARGS_LIMIT):
        return False
    try:
        _CODEC.encode(args, limit=ARGS_LIMIT)
    except PayloadError:
        return False
    return True


def unpack_failure(
    data: bytes, declared: tuple[type[BaseException], ...] = (), *, codec: Codec = _CODEC
) -> tuple[Exception | None, ErrorInfo]:
    """The exception as itself if it may be rebuilt, else None; and what is known of it in any case.

    Rebuilt as ``cls(*args)`` are builtin exceptions and those whose exact type is in `declared`. Attributes that
    are not in ``args``, notes, causes and the traceback do not come back; a constructor that refuses
    ``args`` gives None.

    Raises:
        CorruptPayload: if the bytes are not what `pack_failure` returns.
    """
    content = codec.decode(data, limit=2 * FAILURE_LIMIT)
    if isinstance(content, Opaque):
        return None, errorinfo_from_data(content)
    if type(content) is not list or len(content) != 4 or content[0] != _VERSION:
        raise CorruptPayload("stored failure has the wrong shape")
    _, error, name, args = content
    info = errorinfo_from_data(error)
    if type(name) is not str or not (args is None or type(args) is list):
        raise CorruptPayload("stored failure has the wrong shape")
    cls = _type_named(name, declared)
    if cls is None or args is None:
        return None, info
    try:
        rebuilt = cls(*args)
    except Exception:  # noqa: BLE001  (the user's constructor)
        return None, info
    return (rebuilt if type(rebuilt) is cls else None), info


def _full_name(cls: type) -> str:
    return _cap(f"{cls.__module__}:{cls.__qualname__}", 1024)


def _type_named(name: str, declared: tuple[type[BaseException], ...]) -> type[Exception] | None:
    module, _, qualname = name.partition(":")
    if module == "builtins":
        return REBUILT_BUILTINS.get(qualname)
    for cls in declared:
        # A program's main module has another name in the process that imports it.
        same_module = cls.__module__ == module or "__main__" in (cls.__module__, module)
        if same_module and cls.__qualname__ == qualname and issubclass(cls, Exception):
            return cls
    return None
