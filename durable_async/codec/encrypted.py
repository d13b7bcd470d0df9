"""Encryption of payloads: AES-256-GCM. Needs the extra `crypto`, when an `Encrypted` is made and not before.

The stored form::

    0xc1 'e'   version 1   length of the key id   key id   24 random bytes   ciphertext, tag of 16 bytes
    -------------------- header --------------------

Each value has a key of its own: HMAC-SHA256 of the named key over the first 12 random bytes; the other 12 are the
nonce. With a 96-bit nonce alone, one key would be worn out after some 2^32 values, which a busy system stores in days;
so it never is. Authenticated beside the ciphertext are the header and the caller's `context`. Not bound is the place
where a value is stored, because scripts copy values, such as a child's output to its parent: who can write to the store
can put one stored value in another's place.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
from collections.abc import Mapping, Sequence
from typing import Any, Final, overload

from durable_async.checking import check_name
from durable_async.codec.base import HARD_LIMIT, PIECE, Codec, Wrapper
from durable_async.codec.envelope import ENCRYPTED, Unreadable, foreign_form
from durable_async.codec.msgpack_codec import MsgpackCodec
from durable_async.errors import ConfigurationError, CorruptPayload

Key = bytes | str
"""32 bytes, or their base64."""
Keys = Mapping[str, Key] | Sequence[Key]
"""Keys by id, or keys whose ids are made of them; the first one encrypts."""

VERSION: Final = 1
KEY_SIZE: Final = 32
MAX_KEYS: Final = 16
_SEED, _NONCE, _TAG = 12, 12, 16
_FOR_VALUES: Final = b"durable_async payload 1"
_FOR_FINGERPRINTS: Final = b"durable_async fingerprint 1"
_FOR_IDS: Final = b"durable_async key id 1"


class Encrypted(Wrapper):
    """Encrypts what another codec encodes, with AES-256-GCM and keys that can be rotated.

    ``Encrypted(keys)`` or ``Encrypted(codec, keys)``; with compression, ``Encrypted(Zstd(), keys)``.

    Encrypted are the values that users store and what is kept of their exceptions: inputs, outputs, results, events,
    context, messages, tracebacks. Readable stay what the system works with: ids, names, refs, queues, times, reasons of
    cancels, the sizes of values (see docs/payloads.md).

    Each value is encrypted anew, so equal values differ in the store. The fingerprint by which a second start with the
    same id is recognised is keyed: equal inputs have equal ones, but nobody without a key can test a guess.

    To rotate: deploy ``{old, new}`` everywhere, so that all can read; then ``{new, old}``; once no run holds a value of
    the old key (runs that have ended are gone after their retention), ``{new}``.

    Args:
        codec: what is wrapped; by default `MsgpackCodec()`.
        keys: by id, in order, or a sequence, whose ids are made of the keys by a one-way function: the first encrypts,
            all decrypt. A key is 32 random bytes or their base64, such as `Encrypted.new_key()` makes.
        context: what every value is bound to beside its key, such as the name of the environment: values of another
            context are refused.
        reads_plain: also read what is not encrypted, while a store is changed over to encryption. Who can write to the
            store can then plant values, and fingerprints are unkeyed as well until it is turned off.

    Raises:
        ConfigurationError: if the library is missing, a key is none, or `codec` encrypts already. No key is in the
            message.
    """

    __slots__ = ("_aesgcm", "_context", "_first", "_invalid", "_keys", "_prints", "_reads_plain")
    hides = True

    @overload
    def __init__(self, keys: Keys, /, *, context: bytes = b"", reads_plain: bool = False) -> None: ...
    @overload
    def __init__(self, codec: Codec, keys: Keys, *, context: bytes = b"", reads_plain: bool = False) -> None: ...
    def __init__(
        self, codec: Codec | Keys, keys: Keys | None = None, *, context: bytes = b"", reads_plain: bool = False
    ) -> None:
        if isinstance(codec, Codec):
            inner, given = codec, keys
        elif keys is None:
            inner, given = MsgpackCodec(), codec
        else:
            raise ConfigurationError("Encrypted(codec, keys): the first argument is no Codec")
        super().__init__(inner)
        if any(isinstance(layer, Wrapper) and layer.hides for layer in [*self.layers()][1:]):
            raise ConfigurationError("Encrypted(Encrypted(...)): one layer is enough; to rotate, give it both keys")
        if not isinstance(context, bytes):
            raise ConfigurationError(f"Encrypted(context=) must be bytes, not {type(context).__name__}")
        self._aesgcm, self._invalid = _library()
        self._keys = _read_keys(given)
        self._first = next(iter(self._keys))
        self._context = context
        self._reads_plain = reads_plain
        self._prints = [hmac.digest(key, _FOR_FINGERPRINTS, "sha256") for key in self._keys.values()]

    @staticmethod
    def new_key() -> str:
        """A random key as text, for a secret store or an environment variable."""
        return base64.urlsafe_b64encode(os.urandom(KEY_SIZE)).decode()

    def encode(self, value: object, *, limit: int, what: str = "value") -> bytes:
        """See `Codec.encode`; `limit` is about the bytes before compression and encryption."""
        data = self.inner.encode(value, limit=limit, what=what)
        header = _header(self._first)
        random = os.urandom(_SEED + _NONCE)
        cipher = self._cipher(self._keys[self._first], random)
        sealed: bytes = cipher.encrypt(random[_SEED:], data, header + self._context)
        return header + random + sealed

    def _cipher(self, key: bytes, random: bytes) -> Any:
        return self._aesgcm(hmac.digest(key, _FOR_VALUES + random[:_SEED], "sha256"))

    def decode(self, data: bytes, *, limit: int = HARD_LIMIT) -> object:
        """See `Codec.decode`."""
        if type(data) is not bytes:
            raise CorruptPayload(f"stored value is {type(data).__name__}, not bytes")
        if not data.startswith(ENCRYPTED):
            if self._reads_plain:
                return self.inner.decode(data, limit=limit)
            raise foreign_form(data) or Unreadable("stored value is not encrypted, and this codec reads nothing else")
        return self.inner.decode(self._open(data, limit), limit=limit)

    def _open(self, data: bytes, limit: int) -> bytes:
        at = len(ENCRYPTED) + 2
        size = data[at - 1] if len(data) >= at else 0
        start = at + size
        body = len(data) - start - _SEED - _NONCE - _TAG
        if size == 0 or body < 0:
            raise CorruptPayload("stored value is encrypted, but cut off")
        if data[at - 2] != VERSION:
            raise Unreadable(f"stored value is encrypted in a form of version {data[at - 2]}, which is not known here")
        if body > limit:
            raise CorruptPayload(f"stored value has {body} bytes, the limit is {limit}")
        id = _text(data[at:start])
        key = self._keys.get(id)
        if key is None:
            raise Unreadable(f"stored value is encrypted with key {id!r}; this codec has {', '.join(self._keys)}")
        random = data[start : start + _SEED + _NONCE]
        try:
            opened: bytes = self._cipher(key, random).decrypt(
                random[_SEED:], data[start + _SEED + _NONCE :], data[:start] + self._context
            )
        except self._invalid:
            raise CorruptPayload(
                f"stored value does not fit key {id!r}: it was altered or cut off, the key of that name is another "
                "one, or the context is"
            ) from None
        return opened

    def fingerprint(self, value: object) -> bytes:
        """16 bytes for each key, see `Codec.fingerprint` and `is_same_input`; nobody without a key can test a guess."""
        plain = self.inner.fingerprint(value)
        pieces = [hmac.digest(key, plain, "sha256")[:PIECE] for key in self._prints]
        return b"".join([*pieces, plain] if self._reads_plain else pieces)

    def __repr__(self) -> str:
        return f"Encrypted({self.inner!r}, keys {', '.join(self._keys)})"

    def __reduce__(self) -> Any:
        raise TypeError("an Encrypted holds keys: it cannot be pickled or copied")


def _library() -> tuple[Any, type[Exception]]:
    try:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError:
        raise ConfigurationError(
            'Encrypted needs a library that is not installed: pip install "durable-async[crypto]"'
        ) from None
    return AESGCM, InvalidTag


def _header(id: str) -> bytes:
    return ENCRYPTED + bytes((VERSION, len(id))) + id.encode("ascii")


def _text(id: bytes) -> str:
    try:
        return check_name(id.decode("ascii"), "key id")
    except ValueError:
        return "(no name)"


def _read_keys(keys: object) -> dict[str, bytes]:
    if keys is None:
        raise ConfigurationError("Encrypted(codec, keys): keys are missing")
    if isinstance(keys, Mapping):
        given = [(id, _read_key(key, f"key {id!r}" if isinstance(id, str) else "a key")) for id, key in keys.items()]
    elif isinstance(keys, Sequence) and not isinstance(keys, str | bytes | bytearray | memoryview):
        made = [_read_key(key, f"key number {n}") for n, key in enumerate(keys, 1)]
        given = [(hmac.digest(key, _FOR_IDS, "sha256")[:6].hex(), key) for key in made]
    else:
        raise ConfigurationError(f"keys must be a dict of ids and keys or a list of keys, not {type(keys).__name__}")
    if not 1 <= len(given) <= MAX_KEYS:
        raise ConfigurationError(f"Encrypted takes 1 to {MAX_KEYS} keys, got {len(given)}")
    found: dict[str, bytes] = {}
    for id, key in given:
        try:
            check_name(id, "key id")
        except ValueError as error:
            raise ConfigurationError(str(error)) from None
        if id in found or key in found.values():
            raise ConfigurationError(f"key {id!r} is given twice")
        found[id] = key
    return found


def _read_key(key: object, what: str) -> bytes:
    # A refusal never quotes the key, nor how long it is: it may be a password that was meant for something else.
    if isinstance(key, str):
        try:
            key = base64.b64decode(key.strip().replace("-", "+").replace("_", "/"), validate=True)
        except (binascii.Error, ValueError):
            key = b""
    if not isinstance(key, bytes) or len(key) != KEY_SIZE:
        raise ConfigurationError(
            f"{what} must be {KEY_SIZE} random bytes or their base64, such as Encrypted.new_key() makes; "
            "a passphrase is none"
        )
    return key
