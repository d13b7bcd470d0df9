"""What the dashboard can do, where it may: each action is one method of `Durable`, and a JSON object says to what."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final, NoReturn

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from durable_async.client.durable import Durable
from durable_async.web.guard import Refused, read_body

Done = Callable[[Durable, dict[str, Any]], Awaitable[str]]


async def _cancel(durable: Durable, said: dict[str, Any]) -> str:
    if not await durable.cancel(_text(said, "id"), _reason(said)):
        raise Refused(409, "it has ended, or was cancelled before")
    return "is being cancelled"


async def _terminate(durable: Durable, said: dict[str, Any]) -> str:
    if not await durable.terminate(_text(said, "id"), _reason(said)):
        raise Refused(409, "it has ended")
    return "was terminated"


async def _retry(durable: Durable, said: dict[str, Any]) -> str:
    _ = await durable.retry(_text(said, "id"))
    return "goes on from where it failed"


async def _answer(durable: Durable, said: dict[str, Any]) -> str:
    if "value" not in said:
        raise Refused(400, "the body must hold a value")
    await durable.provide_input(_text(said, "id"), _text(said, "name"), said["value"])
    return "was answered"


async def _pause(durable: Durable, said: dict[str, Any]) -> str:
    await durable.pause_queue(_text(said, "name"))
    return "is paused"


async def _resume(durable: Durable, said: dict[str, Any]) -> str:
    await durable.resume_queue(_text(said, "name"))
    return "goes on"


async def _pause_schedule(durable: Durable, said: dict[str, Any]) -> str:
    await durable.pause_schedule(_text(said, "name"))
    return "is paused"


async def _resume_schedule(durable: Durable, said: dict[str, Any]) -> str:
    await durable.resume_schedule(_text(said, "name"))
    return "goes on"


ACTIONS: Final[dict[str, Done]] = {
    "cancel": _cancel,
    "terminate": _terminate,
    "retry": _retry,
    "answer": _answer,
    "pause-queue": _pause,
    "resume-queue": _resume,
    "pause-schedule": _pause_schedule,
    "resume-schedule": _resume_schedule,
}


async def act(request: Request, durable: Durable) -> Response:
    """One action.

    Raises:
        Refused: if there is none of this name, or the body does not say to what.
    """
    action = ACTIONS.get(request.path_params["action"])
    if action is None:
        raise Refused(404, f"there is no such action; there are {', '.join(ACTIONS)}")
    said = read_object(await read_body(request))
    return JSONResponse({"done": await action(durable, said)})


def read_object(body: bytes) -> dict[str, Any]:
    """A JSON object, read strictly: what other readers take in several ways is refused.

    Raises:
        Refused: if it is none.
    """
    try:
        value = json.loads(
            body.decode("utf-8"), object_pairs_hook=_object, parse_constant=_constant, parse_float=_float
        )
    except (ValueError, RecursionError):
        raise Refused(400, "the body is no JSON in UTF-8, or names something twice") from None
    if not isinstance(value, dict):
        raise Refused(400, "the body must be a JSON object")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


def _constant(name: str) -> NoReturn:
    raise ValueError(name)


def _float(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise ValueError
    return number


def _text(said: dict[str, Any], name: str) -> str:
    value = said.get(name)
    if not isinstance(value, str):
        raise Refused(400, f"the body must hold a text {name!r}")
    return value


def _reason(said: dict[str, Any]) -> str:
    return _text(said, "reason") if "reason" in said else "from the dashboard"
