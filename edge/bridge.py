"""From a request to the ASGI app and back, in plain Python: no runtime object is touched here.

The SDK's own adapter runs the app's lifespan and an event-loop task for each request, which costs ten times the app.
Here a request's coroutine is stepped at once, and ends within the call if it never waits. If it does wait, it is gone
on with by the promise that it waits for. There is no event loop, whose futures and tasks cost more than the request.
"""

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, Final
from urllib.parse import unquote

import msgspec
from starlette.types import ASGIApp, Message, Receive

from edge.answers import Prepared
from edge.ports import BODY, SERVICES, Services
from edge.routing import Front

ReadBody = Callable[[], Awaitable[bytes]]
Then = Callable[[Any, Callable[[Any], Any]], Any]

_ENCODER: Final = msgspec.json.Encoder()
_KEPT_URL: Final = 256
_KEPT_URLS: Final = 512
_ASGI: Final = {"version": "3.0", "spec_version": "2.3"}


@dataclass(slots=True)
class Answer:
    """What the app sent: status, headers and the whole body."""

    status: int = 500
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""

    def as_init(self) -> str:
        """Return status and headers as the JSON of a `ResponseInit` (Fetch standard)."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in self.headers}
        return _ENCODER.encode({"status": self.status, "headers": headers}).decode()


def make_scope(
    method: str, url: str, headers: list[tuple[bytes, bytes]], services: Services, body: bytes | None = None
) -> dict[str, Any]:
    """Return the ASGI scope of a request.

    Args:
        method: in upper case.
        url: absolute, as the runtime gives it.
        headers: names in lower case.
        services: what the request is served with.
        body: the whole of it, when it was read already.
    """
    # One without a query is asked for again and again.
    split = _split if "?" not in url and len(url) <= _KEPT_URL else _split.__wrapped__
    scheme, host, path, raw_path, query, server = split(url)
    return {
        "type": "http",
        "asgi": _ASGI,
        "http_version": "1.1",
        "method": method,
        "scheme": scheme,
        "path": path,
        "raw_path": raw_path,
        "root_path": "",
        "query_string": query,
        "server": server,
        "headers": [(b"host", host), *headers],
        SERVICES: services,
        BODY: body,
    }


@lru_cache(_KEPT_URLS)
def _split(url: str) -> tuple[str, bytes, str, bytes, bytes, tuple[str, int | None]]:
    """Return scheme, host, path, path as it was sent, query, and the server's name and port."""
    scheme, _, rest = url.partition("://")
    host, slash, path_and_query = rest.partition("/")
    raw_path, _, query = (slash + path_and_query or "/").partition("?")
    query = query.partition("#")[0]
    name, _, port = host.partition(":")
    path = unquote(raw_path) if "%" in raw_path else raw_path
    server = name, int(port) if port.isdecimal() else None
    return scheme, host.encode(), path, raw_path.encode(), query.encode(), server


async def call_app(app: Front, scope: dict[str, Any], read_body: ReadBody) -> Answer | Prepared:
    """Run one request through the app; the body is read only when the app asks for it.

    An error that no handler expected is raised, as Starlette does so that servers can log it.
    """

    async def receive() -> Message:
        return {"type": "http.request", "body": await read_body(), "more_body": False}

    handler = app.find(scope)
    if handler is not None:
        response = await handler(scope, receive)
        if isinstance(response, Prepared):
            return response
        return Answer(response.status_code, response.raw_headers, bytes(response.body))
    return await _collect(app, scope, receive)


async def _collect(app: ASGIApp, scope: dict[str, Any], receive: Receive) -> Answer:
    answer = Answer()

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = message["headers"]
        else:
            answer.body += message.get("body", b"")

    await app(scope, receive, send)
    return answer


def drive(coroutine: Coroutine[Any, Any, Any], then: Then, value: Any = None) -> Any:  # noqa: ANN401 - see below
    """Step a coroutine; return its result if it ended, else the runtime's promise of it.

    Args:
        coroutine: awaits nothing but `edge.engine.Promised`, each of which yields a promise.
        then: returns the promise of what a function makes of a promise's value, or of its error.
        value: of the promise that it waits for; None when it has not begun.
    """
    try:
        promise = coroutine.send(value)
    except StopIteration as ended:
        return ended.value
    return then(promise, partial(drive, coroutine, then))
