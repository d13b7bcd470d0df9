"""The dashboard as an ASGI app: which path is which page."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any, Final
from urllib.parse import urlencode

import jinja2
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from durable_async.checking import check_run_id
from durable_async.client.checks import check_filter, statuses
from durable_async.client.durable import Durable
from durable_async.errors import (
    ConfigurationError,
    CorruptPayload,
    InvalidInput,
    PayloadError,
    RunNotFound,
    RunNotWaiting,
    StoreUnavailable,
    UnknownWorkflow,
)
from durable_async.shapes import RunInfo
from durable_async.store.errors import ServerError
from durable_async.types import Status
from durable_async.web import shown
from durable_async.web.actions import act, read_object
from durable_async.web.guard import (
    COOKIE,
    SESSION_S,
    Auth,
    Guard,
    Refused,
    answer,
    check_auth,
    cookie_options,
    is_same,
    make_session,
    read_body,
)
from durable_async.web.reading import MOST, PAGE, Reading

STATIC: Final = {"dashboard.css": "text/css", "dashboard.js": "text/javascript"}
TOP_LEVEL: Final = {"all": False, "roots": True}
Handler = Callable[[Request], Awaitable[Response]]


def make_dashboard(
    durable: Durable, *, auth: Auth, read_only: bool, show_payloads: bool, hosts: Iterable[str]
) -> ASGIApp:
    """See `Durable.dashboard`."""
    names = tuple(hosts)
    check_auth(auth, names)
    return Guard(Pages(durable, read_only=read_only, has_values=show_payloads).app(), auth, names)


class Pages:
    """The pages of one dashboard."""

    def __init__(self, durable: Durable, *, read_only: bool, has_values: bool) -> None:
        self._durable = durable
        self._read_only = read_only
        self._has_values = has_values
        self._reading = Reading(durable, has_values=has_values)
        self._templates = jinja2.Environment(
            loader=jinja2.PackageLoader("durable_async.web"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        filters: dict[str, Any] = {
            "shown": shown.text, "json": shown.json, "block": shown.block, "when": shown.when, "took": shown.length,
            "facts": shown.facts, "run_error": functools.partial(shown.error, has_values=has_values), "ago": shown.ago,
        }  # fmt: skip
        self._templates.filters.update(filters)
        folder = files("durable_async.web") / "static"
        self._static = {name: (folder / name).read_bytes() for name in STATIC}

    def app(self) -> Starlette:
        """The ASGI app, without its guard."""
        pages: list[tuple[str, Handler, list[str]]] = [
            ("/", self.overview, ["GET"]),
            ("/runs", self.runs, ["GET"]),
            ("/runs/{id:path}", self.run, ["GET"]),
            ("/inputs", self.inputs, ["GET"]),
            ("/login", self.login, ["GET", "POST"]),
            ("/logout", self.logout, ["POST"]),
            ("/actions/{action}", self.action, ["POST"]),
            ("/static/{name}", self.static, ["GET"]),
        ]
        routes = [Route(path, self._answering(handler), methods=methods) for path, handler, methods in pages]
        return Starlette(routes=routes)

    def _answering(self, handler: Handler) -> Handler:
        """A handler whose errors are answers: what they say never holds a payload."""

        async def answering(request: Request) -> Response:
            try:
                return await handler(request)
            except (Refused, RunNotFound, RunNotWaiting, StoreUnavailable, UnknownWorkflow, CorruptPayload) as error:
                return self._error(request, status_of(error), str(error))
            except (InvalidInput, PayloadError) as error:
                return self._error(request, 422, str(error))
            except (ServerError, ConfigurationError) as error:
                return self._error(request, 503, f"the store refuses to answer ({type(error).__name__})")
            except (ValueError, TypeError) as error:
                return self._error(request, 400, str(error))

        return answering

    def _error(self, request: Request, status: int, message: str) -> Response:
        headers = {"retry-after": "5"} if status == 503 else {}
        if request.method == "POST" or "text/html" not in request.headers.get("accept", ""):
            return answer(status, shown.text(message), headers)
        return self._page(request, "error.html", status, headers, status=status, message=message, title=str(status))

    def _page(
        self, request: Request, template: str, code: int = 200, headers: dict[str, str] | None = None, /, **what: Any
    ) -> Response:
        html = self._templates.get_template(template).render(
            base=request.scope.get("root_path", ""),
            path=request.scope["path"].removeprefix(request.scope.get("root_path", "")),
            namespace=self._durable.namespace,
            now=datetime.now(UTC),
            read_only=self._read_only,
            has_values=self._has_values,
            has_session=COOKIE in request.cookies,
            **what,
        )
        return HTMLResponse(html, code, headers)

    # ------------------------------------------------------------------ pages

    async def overview(self, request: Request) -> Response:
        """Queues, workers, schedules."""
        found = await self._reading.overview.get()
        totals = {name: sum(getattr(q, name) for q in found.queues) for name in ("running", "ready", "waiting")}
        return self._page(request, "overview.html", title="Overview", found=found, totals=totals)

    async def runs(self, request: Request) -> Response:
        """A page of runs."""
        asked = {key: value for key, value in request.query_params.items() if value}
        scope = asked.get("show", "roots")
        if scope not in TOP_LEVEL:
            raise ValueError("show must be roots or all")
        page = await self._reading.runs().page(
            status=statuses(asked.get("status")),
            workflow=check_filter(asked.get("workflow"), "workflow"),
            queue=check_filter(asked.get("queue"), "queue"),
            id_prefix=check_filter(asked.get("id"), "id"),
            top_level=TOP_LEVEL[scope],
            limit=_limit(asked.get("limit")),
            cursor=asked.get("cursor"),
        )
        kept = {
            key: value for key, value in asked.items() if key in ("status", "workflow", "queue", "id", "show", "limit")
        }
        more = None if page.cursor is None else urlencode({**kept, "cursor": page.cursor})
        return self._page(
            request, "runs.html", title="Runs", runs=page.items, more=more, asked=kept, show=scope,
            is_first="cursor" not in asked, statuses=list(Status), first=urlencode(kept),
        )  # fmt: skip

    async def run(self, request: Request) -> Response:
        """One run: its facts, its children, its history."""
        try:
            id = check_run_id(request.path_params["id"])
        except ValueError as error:
            raise RunNotFound(str(error)) from None
        start, cursor = _number(request.query_params.get("from"), "from"), request.query_params.get("children")
        run = await self._reading.runs(has_values=True).get(id)
        children = await self._reading.runs().page(parent=id, limit=MOST, cursor=cursor)
        events, following = await self._reading.history(run, start)
        questions = [] if run.status.is_terminal else await self._durable.pending_inputs(id, limit=MOST)
        return self._page(
            request, "run.html", title=run.id, run=run, children=children, events=events, following=following,
            start=start, questions=questions, above=_above(run),
        )  # fmt: skip

    async def inputs(self, request: Request) -> Response:
        """The questions that are open."""
        found = await self._durable.pending_inputs(limit=MOST)
        return self._page(request, "inputs.html", title="Questions", questions=found, most=MOST)

    async def static(self, request: Request) -> Response:
        """The style sheet and the script."""
        name = request.path_params["name"]
        if name not in STATIC:
            raise Refused(404, "not found")
        return Response(self._static[name], media_type=STATIC[name])

    # ------------------------------------------------------------------ what changes something

    async def action(self, request: Request) -> Response:
        """One of `actions.ACTIONS`."""
        if self._read_only:
            raise Refused(403, "this dashboard only reads: dashboard(read_only=False) makes one that acts")
        return await act(request, self._durable)

    async def login(self, request: Request) -> Response:
        """Takes the token, and gives a cookie for it."""
        token: str | None = request.scope["durable_token"]
        if token is None:
            raise Refused(404, "there is nothing to log in to")
        if request.method != "POST":
            return self._page(request, "login.html", title="Log in")
        given = read_object(await read_body(request)).get("token")
        if not isinstance(given, str) or not is_same(given, token):
            raise Refused(401, "the token is wrong")
        response = JSONResponse({"done": "logged in"})
        response.set_cookie(COOKIE, make_session(token), max_age=SESSION_S, **cookie_options(request))
        return response

    async def logout(self, request: Request) -> Response:
        """Takes the cookie back."""
        response = JSONResponse({"done": "logged out"})
        response.delete_cookie(COOKIE, **cookie_options(request))
        return response


def status_of(error: Exception) -> int:
    """What an error is in HTTP."""
    if isinstance(error, Refused):
        return error.status
    codes = {RunNotFound: 404, UnknownWorkflow: 404, RunNotWaiting: 409, StoreUnavailable: 503}
    return next((code for kind, code in codes.items() if isinstance(error, kind)), 500)


def _above(run: RunInfo) -> list[str]:
    """The ids of the root and of what is between it and the run, as far as its own id tells."""
    parts = run.id.split("/")
    return ["/".join(parts[: n + 1]) for n in range(len(parts) - 1)] if run.parent_id else []


def _limit(text: str | None) -> int:
    limit = _number(text, "limit") if text is not None else PAGE
    if not 1 <= limit <= MOST:
        raise ValueError(f"limit must be a number from 1 to {MOST}")
    return limit


def _number(text: str | None, what: str) -> int:
    if text is None:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ValueError(f"{what} must be a number")
    return int(text)
