"""Around every request: headers for browsers of other sites, preflights, and the one place that answers failures.

Rules:

1. Every answer may be read by every site: nothing here is authorised by a cookie or by an address, so there is nothing
   that another site could borrow. Pages that a browser opens with a password (`origin.guard.PageGuard`) are no
   exception: a browser hands no answer to `*` on that it sent a password for.
2. Whatever is raised becomes a problem (RFC 9457). No text of an exception leaves the process.
3. What is unexpected is logged with its route, never with its address.
"""

from typing import Final

import structlog
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from origin.database import ClashError
from origin.responses import Handler, refuse, write_headers
from origin.settlement.writer import OverloadedError
from shared.errors import ServiceAwayError
from shared.problems import Code, Problem

OVERLOADED_WAIT_S: Final = 1
AWAY_WAIT_S: Final = 2
EVERY_ANSWER: Final = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "Date, Retry-After, Server-Timing, WWW-Authenticate",
    "Timing-Allow-Origin": "*",
    "X-Content-Type-Options": "nosniff",
}
_EVERY_ANSWER_RAW: Final = write_headers(EVERY_ANSWER)
_PREFLIGHT: Final = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, OPTIONS",
    "Access-Control-Allow-Headers": "Authorization, DPoP, Content-Type",
    "Access-Control-Max-Age": "86400",
}
_HTTP_CODES: Final = {404: Code.NOT_FOUND, 405: Code.METHOD_NOT_ALLOWED}

log = structlog.get_logger(__name__)


class Front:
    """Settles claims past the framework's own layers, and hands on everything else; outermost.

    What is asked for most is recognised by method and path, and has the answers, the headers and the logs that it
    would have behind the framework.

    Args:
        app: the framework's app, which answers everything.
        path: where claims are settled.
        settle: the handler that it would call.
    """

    def __init__(self, app: Starlette, path: str, settle: Handler) -> None:
        self.app, self._path, self._settle = app, path, settle
        self._route = next(route for route in app.routes if isinstance(route, Route) and route.path == path)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["path"] != self._path or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        scope["route"] = self._route
        try:
            response = await self._settle(Request(scope, receive))
        except ClientDisconnect:
            return
        except Exception as error:  # noqa: BLE001 - it is logged, and answered as what it is
            response = tell_failure(scope, error)
        response.raw_headers += _EVERY_ANSWER_RAW
        await response(scope, receive, send)


class Shell:
    """ASGI middleware; outermost but for Starlette's own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a preflight, or pass on, and answer what fails."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                MutableHeaders(scope=message).update(EVERY_ANSWER)
            await send(message)

        if _is_preflight(scope):
            await Response(status_code=204, headers=_PREFLIGHT)(scope, receive, send_with_headers)
            return
        try:
            await self._app(scope, receive, send_with_headers)
        except ClientDisconnect:
            return
        except Exception as error:
            if started:  # an answer that has begun cannot become another one
                log.exception("answer_broken_off", route=_route(scope))
                raise
            await tell_failure(scope, error)(scope, receive, send_with_headers)


async def tell_http_exception(_: Request, error: Exception) -> Response:
    """Return the problem that Starlette's own exception is: no such path, no such method."""
    if not isinstance(error, HTTPException):
        raise TypeError("this handles HTTPException") from error
    return refuse(Problem(code=_HTTP_CODES.get(error.status_code, Code.INTERNAL)), error.headers)


def tell_failure(scope: Scope, error: Exception) -> Response:
    """Return what is told of an exception, and log it."""
    if isinstance(error, OverloadedError):
        log.warning("overloaded", route=_route(scope))
        return refuse(Problem(code=Code.OVERLOADED, retry_after_s=OVERLOADED_WAIT_S))
    if isinstance(error, ServiceAwayError | ClashError):
        log.warning("unavailable", route=_route(scope), exc_info=error)
        return refuse(Problem(code=Code.UNAVAILABLE, retry_after_s=AWAY_WAIT_S))
    log.error("failed", route=_route(scope), exc_info=error)
    return refuse(Problem(code=Code.INTERNAL))


def _is_preflight(scope: Scope) -> bool:
    return scope["method"] == "OPTIONS" and any(
        name == b"access-control-request-method" for name, _ in scope["headers"]
    )


def _route(scope: Scope) -> str:
    """Return method and route as written in the list of operations, without what a client put in it."""
    return f"{scope['method']} {getattr(scope.get('route'), 'path', '(none)')}"
