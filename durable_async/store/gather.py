"""Many commands, one write, one await."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from durable_async.store.errors import ServerError
from durable_async.store.retry import Caller
from durable_async.store.transport_base import Reply


async def gather_calls(
    caller: Caller, commands: Sequence[tuple[Any, ...]], *, deadline_s: float | None = None, passes: str = ""
) -> Any:
    """The replies to repeat-safe commands, in order; error replies of the code `passes` are among them.

    Raises:
        StoreUnavailable: if the deadline passes.
        Exception: the first error reply.
    """
    if not commands:
        return []
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    replies: list[Any] = [None] * len(commands)
    left = len(commands)

    def settler(index: int) -> Reply:
        def settle(reply: object) -> None:
            nonlocal left
            replies[index] = reply
            left -= 1
            if left == 0 and not done.done():
                done.set_result(None)

        return settle

    for index, command in enumerate(commands):
        caller.run(command, settler(index), deadline_s=deadline_s)
    await done
    for reply in replies:
        if isinstance(reply, Exception) and not (isinstance(reply, ServerError) and reply.code == passes):
            raise reply
    return replies
