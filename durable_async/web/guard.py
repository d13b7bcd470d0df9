"""Who may ask the dashboard for what: checked before any page or action sees a request.

| what | why |
|---|---|
| without `auth`, only this machine, by a name of its own | another site whose name leads here sends that name |
| a token as a bearer, or a cookie of this site alone; never in the URL | URLs are logged and passed on |
| `POST` only as JSON, and from this site (`Origin`) | a form of another site can send neither |
| a policy without `unsafe-inline`, and nothing from elsewhere | text that slips through as markup still does nothing |
| bodies of 64 KiB, uncompressed, ten seconds to arrive | |
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import inspect
import ipaddress
import logging
import re
from collections.abc import Awaitable, Callable
from time import time
from typing import Any, Final
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from durable_async.checking import brief
from durable_async.errors import ConfigurationError
from durable_async.worker.background import place_of

log = logging.getLogger("durable_async.web")

Auth = str | Callable[[HTTPConnection], bool | Awaitable[bool]] | None

COOKIE: Final = "durable_session"
SESSION_S: Final = 12 * 3_600
SHORTEST_TOKEN: Final = 16
MOST_BODY: Final = 64 * 1024
BODY_PATIENCE_S: Final = 10.0
PATIENCE_S: Final = 15.0
"""For an answer: behind a store that does not answer, requests must not pile up."""
LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
PROXY_HEADERS: Final = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip")
OPEN_PATHS: Final = re.compile(r"/(login|static/[a-z.]+)\Z")
HEADERS: Final = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_.-]{1,253})(:\d{1,5})?\Z", re.IGNORECASE)


class Refused(Exception):
    """A request that is not answered."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def check_auth(auth: Auth, hosts: tuple[str, ...]) -> None:
    """What `Durable.dashboard` is given.

    Raises:
        ConfigurationError: if it is no token of enough length, no function, or a host is no name.
    """
    if isinstance(auth, str):
        if len(auth) < SHORTEST_TOKEN or not (auth.isascii() and auth.isprintable()):
            raise ConfigurationError(
                f"a token of the dashboard must have {SHORTEST_TOKEN} printable ASCII characters or more; "
                "python -c 'import secrets; print(secrets.token_urlsafe())' makes one"
            )
    elif auth is not None and not callable(auth):
        raise ConfigurationError(f"auth must be a token, a function of the request, or None, not {type(auth).__name__}")
    for host in hosts:
        if not isinstance(host, str) or not (found := _HOST.match(host)) or found[2]:
            raise ConfigurationError(f"hosts must be names without a port, got {brief(host)}")


class Guard:
    """An ASGI app around the pages.

    Args:
        app: what answers what is let in.
        auth: see `Durable.dashboard`.
        hosts: names under which it may be reached; none stands for those of this machine without `auth`, else any.
    """

    def __init__(self, app: ASGIApp, auth: Auth, hosts: tuple[str, ...]) -> None:
        self._app = app
        self._auth = auth
        self._hosts = frozenset(host.lower() for host in hosts) or (LOOPBACK_NAMES if auth is None else None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1000})
            return
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        request = Request(scope, receive)
        try:
            await self._let_in(request)
            scope["durable_token"] = self._auth if isinstance(self._auth, str) else None
            async with asyncio.timeout(PATIENCE_S):
                await self._app(scope, receive, sending)
        except Refused as refusal:
            await self._refuse(request, refusal)(scope, receive, sending)
        except TimeoutError:
            if not started:
                await answer(503, "the store does not answer in time", {"retry-after": "5"})(scope, receive, sending)
        except Exception as error:  # noqa: BLE001  # its text may quote what was stored: neither shown nor logged
            log.error("a request to the dashboard failed: %s%s", type(error).__name__, place_of(error))
            if not started:
                await answer(500, "something went wrong here; the log says where")(scope, receive, sending)

    async def _let_in(self, request: Request) -> None:
        if request.method not in ("GET", "HEAD", "POST"):
            raise Refused(405, "only GET, HEAD and POST are answered")
        name = self._check_host(request)
        path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
        has_bearer = False
        if self._auth is not None:
            has_bearer = await self._identify(request, is_open=OPEN_PATHS.match(path) is not None)
        if request.method == "POST":
            _check_post(request, name, has_bearer=has_bearer)

    def _check_host(self, request: Request) -> str:
        """Raises `Refused` where it may not be reached; returns the name and port by which it was."""
        is_ours = _is_loopback(request) and not any(name in request.headers for name in PROXY_HEADERS)
        if self._auth is None and not is_ours:
            raise Refused(403, "the dashboard has no auth=, and answers this machine only")
        given = request.headers.getlist("host")
        found = _HOST.match(given[0]) if len(given) == 1 else None
        if found is None or (self._hosts is not None and found[1].lower() not in self._hosts):
            raise Refused(403, "the dashboard is not reached by this name; hosts= says which there are")
        return given[0].lower()

    async def _identify(self, request: Request, *, is_open: bool) -> bool:
        """Raises `Refused` for strangers; returns whether it was a bearer, which no browser sends by itself."""
        if callable(self._auth):
            allowed = self._auth(request)
            if inspect.isawaitable(allowed):
                allowed = await allowed
            if allowed is not True:
                raise Refused(401, "not authorized")
            return False
        assert self._auth is not None
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            if not is_same(given.strip(), self._auth):
                raise Refused(401, "the token is wrong")
            return True
        if not is_open and not is_session(request.cookies.get(COOKIE, ""), self._auth):
            raise Refused(401, "a token is needed")
        return False

    def _refuse(self, request: Request, refusal: Refused) -> Response:
        wants_page = request.method == "GET" and "text/html" in request.headers.get("accept", "")
        if refusal.status == 401 and isinstance(self._auth, str) and wants_page:
            return RedirectResponse(quote(request.scope.get("root_path", "")) + "/login", 303)
        return answer(refusal.status, str(refusal), {"www-authenticate": "Bearer"} if refusal.status == 401 else {})


def answer(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    """What is said instead of a page."""
    return JSONResponse({"error": message}, status, headers)


def _is_loopback(request: Request) -> bool:
    try:
        return request.client is not None and ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False


def _check_post(request: Request, host: str, *, has_bearer: bool) -> None:
    headers = Headers(scope=request.scope)
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refused(415, "a POST must be application/json")
    if headers.get("content-encoding", "identity") != "identity":
        raise Refused(415, "a POST must not be compressed")
    origins = headers.getlist("origin")
    if not origins and has_bearer:
        return
    if len(origins) != 1 or urlsplit(origins[0]).netloc.lower() != host:
        raise Refused(403, "a POST must come from the dashboard itself: its Origin is another one, or is missing")


async def read_body(request: Request) -> bytes:
    """The body of a POST.

    Raises:
        Refused: if it is too large or takes too long.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_PATIENCE_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MOST_BODY:
                    raise Refused(413, f"a POST may have {MOST_BODY:,} bytes")
    except TimeoutError:
        raise Refused(408, "the request took too long") from None
    return bytes(body)


def is_same(given: str, token: str) -> bool:
    """Whether it is the token, in a time that does not depend on where they differ."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), token.encode())


def make_session(token: str) -> str:
    """What the cookie holds: until when it is good, signed with the token; the token cannot be told from it."""
    until = str(int(time()) + SESSION_S)
    return f"{until}.{_sign(until, token)}"


def is_session(cookie: str, token: str) -> bool:
    """Whether it is one, and is good still."""
    until, _, signed = cookie.partition(".")
    is_ours = hmac.compare_digest(signed.encode("utf-8", "replace"), _sign(until, token).encode())
    return is_ours and until.isascii() and until.isdigit() and time() < int(until)


def _sign(until: str, token: str) -> str:
    return hmac.new(token.encode(), f"durable dashboard {until}".encode("utf-8", "replace"), hashlib.sha256).hexdigest()


def cookie_options(request: HTTPConnection) -> dict[str, Any]:
    """How the cookie is set: for this site and path alone, and out of reach of scripts."""
    return {
        "path": quote(request.scope.get("root_path", "")) or "/",
        "httponly": True,
        "samesite": "strict",
        "secure": request.url.scheme == "https",
    }
