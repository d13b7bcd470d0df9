"""`Batch`: calls of one script that are made in one tick leave as one call of its form for many (lua/forms/batch).

A call of a script costs the server some 13,000 instructions before its first line, and the clock, the functions and the
transaction of its writes once more: a batch shares them. What each call does and is answered stays what it is alone,
and whoever made it sees no difference: a call that raises is sent again alone, since an error writes nothing, and an
error of the whole is everybody's, who then try again as they would have done.

It must not know what a call means, nor when its bytes leave: that is the transport's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from durable_async.store.errors import ServerError
from durable_async.store.scripts import Form
from durable_async.store.transport_base import Args, Reply, pack

MAX_CALLS: Final = 50
"""In one batch: others of the server's clients wait for two milliseconds at most."""
MAX_BYTES: Final = 256 * 1024
SMALL_BYTES: Final = 16 * 1024
"""A longer call goes alone: what it would save is nothing beside what it carries."""

Forms = Mapping[str, Form]
Deliver = Callable[[Reply, object], None]


class Batch:
    """Calls of one script on their way. The instance is the transport's callback, and hands each answer on.

    Args:
        form: the script's form for many calls.
        deliver: gives a reply to a callback, and reports what that raises.
        send: sends packed bytes, with the instance as callback.
    """

    __slots__ = (
        *("_args", "_calls", "_deliver", "_form", "_keys", "_n_args", "_n_keys", "_send", "_sent_source", "_shape"),
        *("replies", "size"),
    )

    def __init__(self, form: Form, deliver: Deliver, send: Callable[[bytes, Reply], None]) -> None:
        self._form = form
        self._deliver = deliver
        self._send = send
        self._sent_source = False
        self._calls: list[Args] = []
        self._keys: list[bytes] = []
        self._args: list[bytes] = []
        self._shape: list[str] = []
        self._n_keys = self._n_args = 0
        self.replies: list[Reply] = []
        self.size = 0

    def add(self, args: Args, on_reply: Reply) -> bool:
        """Takes a call; not one that is too long, or for which there is no room.

        Raises:
            TypeError, UnicodeEncodeError: if an argument cannot be sent; nothing is taken.
        """
        n_keys: Any = args[2]
        keys, rest = pack(args[3 : 3 + n_keys]), pack(args[3 + n_keys :])
        size = len(keys) + len(rest)
        if size > SMALL_BYTES or self.size + size > MAX_BYTES or len(self.replies) >= MAX_CALLS:
            return False
        n_args = len(args) - 3 - n_keys
        self._keys.append(keys[keys.index(b"\n") + 1 :])
        self._args.append(rest[rest.index(b"\n") + 1 :])
        self._shape.append(f"{n_keys} {n_args}")
        self._n_keys += n_keys
        self._n_args += n_args
        self.size += size
        self._calls.append(args)
        self.replies.append(on_reply)
        return True

    def packed(self) -> bytes:
        """The command."""
        return self._pack(b"EVALSHA", self._form.sha)

    def _pack(self, command: bytes, name: bytes) -> bytes:
        shape = " ".join(self._shape).encode()
        count = 4 + self._n_keys + self._n_args
        head = b"*%d\r\n" % count + _packed(command) + _packed(name) + _packed(b"%d" % self._n_keys)
        return b"".join([head, *self._keys, _packed(shape), *self._args])

    def __call__(self, reply: object) -> None:
        """The answer to all of it."""
        replies = self.replies
        if isinstance(reply, list) and len(reply) == len(replies):
            for on_reply, each, args in zip(replies, reply, self._calls, strict=True):
                if each is None:
                    self._send(pack(args), on_reply)
                else:
                    self._deliver(on_reply, each)
        elif isinstance(reply, ServerError) and reply.code == "NOSCRIPT" and not self._sent_source:
            # The server has forgotten the form, or never seen it.
            self._sent_source = True
            self._send(self._pack(b"EVAL", self._form.body), self)
        else:
            for on_reply in replies:
                self._deliver(on_reply, reply)


def _packed(value: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(value), value)
