"""The emulator's page, and the endpoint that sets faults: `python -m scripts.emulator.page_server FILE`.

    GET    /                  the page
    GET    /state             all that the page shows, as one JSON document
    GET    /stream            the same as server-sent events, once a second
    GET    /faults            what is wrong with each node: {"fra": {"origin": "dead"}, "nrt": {}}
    PUT    /faults/{node}     have the faults in the body and no others (JSON, see `scripts.emulator.faults`); or `all`
    DELETE /faults/{node}     have none; or `all`

It listens on the loopback interface only, and answers under no other host's name. A page of another site can set
nothing: a body must be JSON, and what a browser says of where a request comes from must be this page.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from scripts.emulator.faults import FaultError, Faults, FaultSetter

FILES: Final = Path(__file__).resolve().parent / "page"
SERVED: Final = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.mjs": ("page.mjs", "text/javascript; charset=utf-8"),
}
HEADERS: Final = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
BODY_BYTES_MOST: Final = 4096
TICK_S: Final = 1.0
TIMEOUT_S: Final = 5.0
ENDING_S: Final = 1

Document = dict[str, Any]


class Configuration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where to listen, and what to watch.

    Attributes:
        addresses: what the page names beside the nodes, by what it is.
    """

    port: int
    control: str
    provider_url: str
    addresses: dict[str, str]


class Observer:
    """Gathers what is known of the nodes, for all who watch: once a second, however many they are."""

    def __init__(self, client: httpx.AsyncClient, configuration: Configuration) -> None:
        self._client, self._configuration = client, configuration
        self._lock = asyncio.Lock()
        self._document: Document = {}
        self._read_s = float("-inf")
        self._counts: dict[str, tuple[float, int]] = {}

    async def read(self, *, fresh: bool = False) -> Document:
        """Return the newest document; one that is younger than a tick counts as new, unless a `fresh` one is wanted."""
        async with self._lock:
            if fresh or time.monotonic() - self._read_s >= TICK_S * 0.9:
                self._document = await self._gather()
                self._read_s = time.monotonic()
            return self._document

    async def _gather(self) -> Document:
        at_ms = time.time_ns() // 1_000_000
        try:
            edge = (await self._client.get(f"{self._configuration.control}/state")).raise_for_status().json()
            answer = await self._client.get(f"{self._configuration.provider_url}/emulator/state")
            provider = answer.raise_for_status().json()["result"]
        except (httpx.HTTPError, ValueError, LookupError) as error:
            return {"at_ms": at_ms, "problem": f"the emulator does not answer: {type(error).__name__}", "nodes": []}
        seen = {node["name"]: node for node in provider["nodes"]}
        return {
            "at_ms": at_ms,
            "problem": "",
            "nodes": [self._describe(node, seen.get(node["name"], {})) for node in edge["nodes"]],
            "queues": provider["queues"],
            "bundle": (edge.get("bundle") or "")[:12],
            "reloads": edge["reloads"],
            "addresses": self._configuration.addresses,
        }

    def _describe(self, node: Document, seen: Document) -> Document:
        lateness_ms, began_ms = seen.get("lateness_ms", 0), seen.get("started_late_ms", 0)
        faults = {name: value for name, value in node["faults"].items() if value}
        if lateness_ms != began_ms:
            faults["lateness_ms"] = lateness_ms
        rate = self._rate(node["name"], node["measured"]["requests"])
        return {**node, "faults": faults, "lateness_ms": lateness_ms, "keys": seen.get("keys", []), "rate": rate}

    def _rate(self, name: str, requests: int) -> float:
        """Return requests a second since the node was looked at before; an isolate that began anew counts from 0."""
        now_s = time.monotonic()
        before_s, before = self._counts.get(name, (now_s, requests))
        self._counts[name] = (now_s, requests)
        passed_s = now_s - before_s
        return round(max(0, requests - (before if requests >= before else 0)) / passed_s, 1) if passed_s else 0.0


class PageServer:
    """The handlers."""

    def __init__(self, configuration: Configuration) -> None:
        self._client = httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False)
        self._observer = Observer(self._client, configuration)
        self._setter = FaultSetter(self._client, configuration.control, configuration.provider_url)

    def app(self) -> Starlette:
        """Return the ASGI application."""
        files = [Route(path, _file(*served), methods=["GET"]) for path, served in SERVED.items()]
        routes = [
            Route("/state", self.show_state, methods=["GET"]),
            Route("/stream", self.stream, methods=["GET"]),
            Route("/faults", self.show_faults, methods=["GET"]),
            Route("/faults/{node}", self.set_faults, methods=["PUT", "DELETE"]),
        ]
        return Starlette(
            routes=[*files, *routes],
            lifespan=self._lifespan,
            middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])],
        )

    async def show_state(self, _request: Request) -> Response:
        """All that the page shows."""
        return _json(await self._observer.read(fresh=True))

    async def stream(self, _request: Request) -> Response:
        """The same, once a second."""
        return StreamingResponse(self._events(), headers=HEADERS, media_type="text/event-stream")

    async def show_faults(self, _request: Request) -> Response:
        """What is wrong with each node."""
        state = await self._observer.read(fresh=True)
        return _json({node["name"]: node["faults"] for node in state["nodes"]})

    async def set_faults(self, request: Request) -> Response:
        """Replace the faults of one node or of all."""
        if not _is_from_here(request):
            return _refuse(403, "other_site", "only this page and programs may set faults")
        try:
            await self._setter.set(request.path_params["node"], await _read_faults(request))
        except FaultError as problem:
            return _refuse(422, "faults_invalid", str(problem))
        except httpx.HTTPError as problem:
            return _refuse(502, "emulator_away", f"the emulator does not answer: {type(problem).__name__}")
        return await self.show_faults(request)

    async def _events(self) -> AsyncIterator[bytes]:
        while True:
            yield b"data: " + msgspec.json.encode(await self._observer.read()) + b"\n\n"
            await asyncio.sleep(TICK_S)

    @asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        yield
        await self._client.aclose()


def _is_from_here(request: Request) -> bool:
    """Return whether a browser that sent this shows this very page; programs name neither site nor origin."""
    origin = request.headers.get("origin")
    site = request.headers.get("sec-fetch-site", "none")
    return site in ("same-origin", "none") and origin in (None, f"http://{request.headers.get('host')}")


async def _read_faults(request: Request) -> Faults:
    if request.method == "DELETE":
        return Faults()
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise FaultError("the body must be application/json")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > BODY_BYTES_MOST:
            raise FaultError(f"the body is longer than {BODY_BYTES_MOST} bytes")
    try:
        return msgspec.json.decode(bytes(body), type=Faults)
    except msgspec.DecodeError as error:
        raise FaultError(f"the body is no list of faults: {error}") from None


def _file(name: str, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    async def serve(_request: Request) -> Response:
        # Read each time: who works on the page sees it at once.
        return Response((FILES / name).read_bytes(), headers=HEADERS, media_type=media_type)

    return serve


def _json(document: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(document), status, HEADERS, "application/json")


def _refuse(status: int, code: str, detail: str) -> Response:
    return _json({"code": code, "detail": detail}, status)


def main(arguments: list[str]) -> None:
    """Serve until told to stop."""
    configuration = msgspec.json.decode(Path(arguments[0]).read_bytes(), type=Configuration)
    uvicorn.run(
        PageServer(configuration).app(),
        host="127.0.0.1",
        port=configuration.port,
        log_level="warning",
        access_log=False,
        # Streams never end by themselves.
        timeout_graceful_shutdown=ENDING_S,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
