"""Asking people: a body waits for an answer that somebody gives from outside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, overload

from durable_async.checking import check_label, to_ms
from durable_async.engine import answers, asking
from durable_async.errors import WaitTimeout
from durable_async.shapes import InputField
from durable_async.types import RAISE, Duration, RaiseType
from durable_async.workflow.checks import check_value
from durable_async.workflow.current import current_run

T = TypeVar("T")


async def wait_for_input(
    name: str,
    *,
    kind: str = "text",
    prompt: str = "",
    choices: Iterable[Any] = (),
    fields: Iterable[InputField | Mapping[str, Any] | str] = (),
    metadata: Mapping[str, Any] | None = None,
    timeout: Duration | None = None,
    timeout_value: Any = RAISE,
) -> Any:
    """Asks a question, and parks until somebody has answered it with `Durable.provide_input`.

    While it is open it is listed by `Durable.pending_inputs`. An answer that does not fit is refused, and leaves it
    open. Of several answers one is accepted; the others are told that the question is not open.

    Args:
        name: any text of 1 to 128 characters. Questions of one run that are open at once need different names; once it
            is answered, the name may be used again.
        kind: what an answer must be. `text` a str; `number` a finite int or float; `boolean` and `approval` a bool;
            `choice` one of `choices`; `choices` a list of some of them, each once, or of none; `form` a dict with
            `fields`.
        prompt: what people are asked.
        choices: texts, numbers or bools (of an enum's members, their values); at most 1,000. 1, 1.0 and True are three
            choices. With `text` and `number` they narrow what is taken.
        fields: of a form: names (a required text each), `InputField`s, or dicts with an `InputField`'s names.
        metadata: a dict with names as its keys; handed on to whoever lists the question.
        timeout: bounds the wait, as a ``timedelta`` or seconds; 0 is over at once. After it the question is closed.
        timeout_value: returned when the time is over; by default `WaitTimeout` is raised.

    Returns: the answer as plain data. Of a form, a dict in the order of the fields, with None for each that was left
        out.

    If the wait is cancelled (the run is, or an ``asyncio.timeout`` is over, or another branch won), the question is
    closed. An answer that was accepted is seen by the body, with two exceptions: a wait that is cancelled in the moment
    in which the answer is on its way, and a run that ends in that moment.

    Raises:
        WaitTimeout: if the time is over and no `timeout_value` was given.
        ValueError: if the kind is unknown, the choices or fields do not go with it, a question of this name is open in
            this run, or 1,000 are.
        TypeError: if an argument has a wrong type.
        NotSerializable, PayloadTooLarge: if the question or `timeout_value` cannot be stored.
    """
    run = current_run("wait_for_input()")
    check_label(name, "input name")
    asked = answers.define(kind, prompt, choices, fields, metadata, f"input {name!r}")
    timeout_ms = None if timeout is None else to_ms(timeout, "timeout")
    check_value(run, timeout_value, RAISE)
    payload = run.codec.encode(asked, limit=run.limits.payload, what=f"input {name!r}")
    answer = await asking.ask(run, name, asked["kind"], payload, timeout_ms)
    if answer is None:
        if timeout_value is RAISE:
            raise WaitTimeout(f"input {name!r} of run {run.identity.id} was not answered in time")
        return timeout_value
    return run.decode(answer, Any, f"input {name!r}")


@overload
async def wait_for_approval(
    name: str,
    prompt: str = "",
    *,
    metadata: Mapping[str, Any] | None = None,
    timeout: Duration | None = None,
    timeout_value: RaiseType = ...,
) -> bool: ...
@overload
async def wait_for_approval(
    name: str,
    prompt: str = "",
    *,
    metadata: Mapping[str, Any] | None = None,
    timeout: Duration | None = None,
    timeout_value: T,
) -> bool | T: ...
async def wait_for_approval(
    name: str,
    prompt: str = "",
    *,
    metadata: Mapping[str, Any] | None = None,
    timeout: Duration | None = None,
    timeout_value: Any = RAISE,
) -> Any:
    """Asks for a yes or a no: `wait_for_input` of kind `approval`, with its arguments and errors.

    Returns: True if it was approved, False if it was not. A time that is over is neither: see `timeout_value`.
    """
    current_run("wait_for_approval()")
    return await wait_for_input(
        name, kind="approval", prompt=prompt, metadata=metadata, timeout=timeout, timeout_value=timeout_value
    )
