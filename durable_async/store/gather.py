"""Many commands, one write, one await."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from durable_async.store.retry import Caller


async def gather_calls(caller: Caller, commands: Sequence[tuple[Any, ...]], *, deadline_s: float | None = None) -> Any:
    """The replies to repeat-safe commands, in order.

    Raises:
        StoreUnavailable: if the deadline passes.
        Exception: the first error reply.
    """
    if not commands:
        return []
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    replies: list[Any] = [None] * len(commands)
    left = len(commands)

    def settle(index: int, reply: Any) -> None:
        nonlocal left
        replies[index] = reply
        left -= 1
        if left == 0 and not done.done():
            done.set_result(None)

    for index, command in enumerate(commands):
        caller.run(command, lambda reply, index=index: settle(index, reply), deadline_s=deadline_s)
    await done
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return replies
