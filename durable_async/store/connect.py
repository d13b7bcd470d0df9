"""How connections are made: redis-py does the socket, TLS, AUTH, SELECT and Sentinel; its retries are off.

redis-py 8 sends a write again by default when its reply is late; here nothing is ever sent twice below `retry.Caller`.

RESP2 is spoken, not RESP3: every reply to a command is then the next reply on the wire, with no push frames in between;
shapes do not depend on the version of redis-py; and it saves the HELLO. Nothing we read needs RESP3's types.

The check of a fresh server is `check.check_server`; the URL is `url.StoreUrl`.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn, TypeVar

import redis
import redis.asyncio
import redis.exceptions
from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.retry import Retry as SyncRetry
from redis.sentinel import Sentinel as SyncSentinel

from durable_async.errors import ConfigurationError, StoreUnavailable
from durable_async.store.check import ServerInfo, check_server
from durable_async.store.url import StoreUrl, mask_url, parse_url

__all__ = ["ConnectionSpec", "ServerInfo", "StoreUrl", "check_server", "mask_url", "parse_url"]

# redis-py does not annotate these.
_sentinel: Final[Any] = Sentinel
_sync_sentinel: Final[Any] = SyncSentinel

PROTOCOL: Final = 2
CONNECT_TIMEOUT_S: Final = 5.0
_CANCEL_AGAIN_S: Final = 0.05
T = TypeVar("T")
Credentials = Callable[[], tuple[str, str]]
"""Returns the user name and password to use now; asked for at every connect, so that passwords can be rotated."""

_KEEPALIVE: Final = {
    getattr(socket, name): value
    for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
    if hasattr(socket, name)
}


def _names_itself() -> dict[str, Any]:
    """Left to itself, redis-py reads its version from the disk for every connection, which takes milliseconds."""
    try:
        from redis.driver_info import DriverInfo
    except ImportError:  # an older redis-py knows its version
        return {}
    return {"driver_info": DriverInfo(lib_version=redis.__version__)}


_DRIVER: Final = _names_itself()


@dataclass(frozen=True, slots=True)
class ConnectionSpec:
    """Everything needed to make a connection; holds no connection itself and may cross a fork.

    Args:
        url: where, from `parse_url`; a str is parsed.
        connect_timeout_s: seconds for the socket, and again for every reply of the handshake.
        credentials: replaces the URL's user name and password.
    """

    url: StoreUrl
    connect_timeout_s: float = CONNECT_TIMEOUT_S
    credentials: Credentials | None = field(default=None, repr=False)

    @classmethod
    def from_url(cls, url: str, **options: Any) -> ConnectionSpec:
        """`ConnectionSpec` of a URL as text.

        Raises:
            ConfigurationError: as `parse_url`.
        """
        return cls(parse_url(url), **options)

    async def connect(self, role: str) -> Any:
        """A connected, authenticated redis-py connection named ``durable:<role>``.

        Raises:
            StoreUnavailable: if the server cannot be reached or is not ready; trying again may help.
            ConfigurationError: if it cannot: credentials, certificate, database, not a Redis server.
        """
        return await firmly(self._connect(role), on_late=close_quietly)

    async def _connect(self, role: str) -> Any:
        conn: Any = None
        try:
            address = await self._primary()
            conn = self._make(role, address)
            await conn.connect()
            if self.url.sentinels:
                await _assert_primary(conn)
        except BaseException as error:
            if conn is not None:
                close_quietly(conn)
            if isinstance(error, Exception):
                self.explain(error)
            raise
        return conn

    async def client(self, role: str, *, reply_timeout_s: float) -> redis.asyncio.Redis:
        """A redis-py client of one lazily made connection, for `PipelineTransport`.

        Raises:
            StoreUnavailable: if no Sentinel knows the primary.
        """
        try:
            address = await self._primary()
        except Exception as error:  # noqa: BLE001 - explain() raises it again, translated
            self.explain(error)
        kind, arguments = self._arguments(role, address, is_sync=False)
        arguments["socket_timeout"] = reply_timeout_s
        pool = redis.asyncio.ConnectionPool(connection_class=kind, max_connections=1, **arguments)
        return redis.asyncio.Redis.from_pool(pool)

    def sync_client(self, role: str, *, timeout_s: float = CONNECT_TIMEOUT_S) -> redis.Redis:
        """A blocking client of one connection, for a thread of its own; connects at its first command.

        Every command raises redis-py's exceptions, `redis.exceptions.RedisError`, after at most `timeout_s` of
        silence; nothing is sent twice. A new primary is not looked for: make a new client after an error.

        Raises:
            StoreUnavailable: if no Sentinel knows the primary.
        """
        address: tuple[str, int] | None = None
        if self.url.sentinels:
            sentinel = _sync_sentinel(list(self.url.sentinels), sentinel_kwargs=self._sentinel_arguments(is_sync=True))
            try:
                address = sentinel.discover_master(self.url.service)
            except Exception as error:  # noqa: BLE001 - explain() raises it again, translated
                self.explain(error)
            finally:
                for each in sentinel.sentinels:
                    each.close()
        kind, arguments = self._arguments(role, address, is_sync=True)
        arguments["socket_timeout"] = timeout_s
        pool = redis.ConnectionPool(connection_class=kind, max_connections=1, **arguments)
        return redis.Redis.from_pool(pool)

    async def _primary(self) -> tuple[str, int] | None:
        if not self.url.sentinels:
            return None
        sentinel = _sentinel(list(self.url.sentinels), sentinel_kwargs=self._sentinel_arguments(is_sync=False))
        try:
            host, port = await sentinel.discover_master(self.url.service)
            return host, port
        finally:
            for each in sentinel.sentinels:
                await each.aclose()

    def _make(self, role: str, address: tuple[str, int] | None) -> Any:
        kind, arguments = self._arguments(role, address, is_sync=False)
        return kind(**arguments)

    def _common(self, *, is_sync: bool) -> dict[str, Any]:
        return {
            "socket_connect_timeout": self.connect_timeout_s,
            "socket_timeout": self.connect_timeout_s,
            "retry": SyncRetry(NoBackoff(), 0) if is_sync else Retry(NoBackoff(), 0),
            "retry_on_error": [],
            "protocol": PROTOCOL,
            **_DRIVER,
        }

    def _sentinel_arguments(self, *, is_sync: bool) -> dict[str, Any]:
        options = self.url.options
        arguments = self._common(is_sync=is_sync)
        arguments["username"] = options.get("sentinel_username")
        arguments["password"] = options.get("sentinel_password")
        if self.url.is_tls:
            arguments["ssl"] = True
            arguments.update(self._tls())
        return arguments

    def _arguments(
        self, role: str, address: tuple[str, int] | None, *, is_sync: bool
    ) -> tuple[type[Any], dict[str, Any]]:
        url = self.url
        arguments = self._common(is_sync=is_sync)
        arguments.update(db=url.db, client_name=f"durable:{role}")
        if self.credentials is not None:
            arguments["credential_provider"] = _Provider(self.credentials)
        else:
            arguments.update(username=url.username, password=url.password)
        if url.path:
            arguments["path"] = url.path
            return (redis.UnixDomainSocketConnection if is_sync else UnixDomainSocketConnection), arguments
        arguments["host"], arguments["port"] = address if address is not None else (url.host, url.port)
        arguments.update(socket_keepalive=True, socket_keepalive_options=_KEEPALIVE)
        if not url.is_tls:
            return (redis.Connection if is_sync else Connection), arguments
        arguments.update(self._tls())
        return (redis.SSLConnection if is_sync else SSLConnection), arguments

    def _tls(self) -> dict[str, Any]:
        options = self.url.options
        tls: dict[str, Any] = {name: options[name] for name in _TLS_FILES if name in options}
        tls["ssl_cert_reqs"] = options.get("ssl_cert_reqs", "required")
        tls["ssl_check_hostname"] = options.get("ssl_check_hostname", "true") == "true"
        return tls

    def explain(self, error: Exception) -> NoReturn:
        """Raise what went wrong while connecting as one of our errors, without credentials."""
        if isinstance(error, ConfigurationError | StoreUnavailable):
            raise error
        where = self.url.location
        text = self._clean(error)
        known = redis.exceptions
        error = _first(error, (known.AuthenticationError, known.NoPermissionError, known.InvalidResponse)) or error
        if _first(error, ssl.SSLCertVerificationError) is not None:
            raise ConfigurationError(
                f"the certificate of the server at {where} is not trusted: {text}; set ssl_ca_certs in the store URL"
            ) from None
        if isinstance(error, known.AuthenticationError | known.NoPermissionError):
            raise ConfigurationError(f"the server at {where} refused the user name or password: {text}") from None
        if isinstance(error, known.InvalidResponse):
            raise ConfigurationError(f"what listens at {where} is not a Redis or Valkey server") from None
        if "DB index" in text:
            raise ConfigurationError(f"the server at {where} has no database {self.url.db}") from None
        if "Protocol Error" in text or isinstance(error, UnicodeDecodeError):
            raise ConfigurationError(f"what listens at {where} is not a Redis or Valkey server") from None
        is_cut = "closed by server" in text or "reset by peer" in text
        hint = "; if it expects TLS, use rediss://" if is_cut and not self.url.is_tls else ""
        raise StoreUnavailable(f"cannot connect to the server at {where}: {text}{hint}") from None

    def _clean(self, error: Exception) -> str:
        text = str(error) or type(error).__name__
        for secret in (self.url.password, self.url.options.get("sentinel_password")):
            if secret:
                text = text.replace(secret, "***")
        return text[:300].rstrip(".")


_TLS_FILES: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")


class _Provider(CredentialProvider):
    """redis-py's interface to `Credentials`."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    def get_credentials(self) -> tuple[str, str]:
        return self._credentials()

    async def get_credentials_async(self) -> tuple[str, str]:
        # It may read a file or ask a vault.
        return await asyncio.to_thread(self._credentials)


async def firmly(work: Coroutine[Any, Any, T], *, on_late: Callable[[T], None] | None = None) -> T:
    """Await `work` so that cancelling once is enough.

    redis-py's handshake uses ``asyncio.wait_for``, which on Python 3.11 swallows a cancellation that arrives together
    with a result; the work would go on, and so would whoever was to be cancelled.

    Args:
        on_late: gets the result if there is one in spite of the cancellation.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task})
    except asyncio.CancelledError:
        task.add_done_callback(lambda done: _late(done, on_late))
        while not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=_CANCEL_AGAIN_S)
        raise
    return task.result()


def _late(task: asyncio.Future[T], on_late: Callable[[T], None] | None) -> None:
    if not task.cancelled() and task.exception() is None and on_late is not None:
        on_late(task.result())


def close_quietly(conn: Any) -> None:
    """Abort a redis-py connection, so that its finaliser finds nothing to warn about."""
    writer = getattr(conn, "_writer", None)
    if writer is not None:
        writer.transport.abort()
        conn._writer = conn._reader = None


def _first(error: BaseException | None, kinds: type[Exception] | tuple[type[Exception], ...]) -> Exception | None:
    """The nearest of these kinds, itself or behind it: redis-py wraps what a unix socket's handshake raises."""
    for _ in range(10):
        if error is None or isinstance(error, kinds):
            return error
        error = error.__cause__ or error.__context__
    return None


async def _assert_primary(conn: Any) -> None:
    # Sentinel's word may be older than the failover: a replica would answer every write with READONLY.
    await conn.send_command("ROLE")
    answer = await conn.read_response()
    if not isinstance(answer, list) or answer[0] != b"master":
        raise StoreUnavailable("the server Sentinel names as primary is a replica for now")
