"""The edge's HTTP shell: a Starlette app that reads, calls the core, and answers. No decision is made here.

Each request finds its `Services` in the ASGI scope under `SERVICES`: whoever runs the app puts them there. Under `BODY`
there may be the whole body, when it has been read already.
Whatever happens, the answer is made here: a problem in one shape, never an exception's text.
"""

from collections.abc import Awaitable, Callable
from functools import lru_cache, wraps
from typing import Any, Final

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope

from edge import operations
from edge.answers import (
    NOT_KEPT,
    PUBLIC,
    answer_document,
    answer_json,
    answer_overlay,
    answer_problem,
)
from edge.asking import MAX_CONTEXT_TEXT, base_url, choose_format, read_headers, read_text, read_wishes
from edge.caches import (
    MANIFEST_USABLE_MS,
    STOCK_USABLE_MS,
    is_identifier,
    is_known_absent,
    load_manifest,
    load_stock,
    peek_manifest,
    peek_stock,
)
from edge.claiming import MAX_BODY_BYTES, ClaimRequest, give_claim, read_usual
from edge.limiting import limit_network, limit_viewer
from edge.ports import BODY, SERVICES, Services
from edge.rendering import ContextKey, drops_of, render_overlay
from edge.reporting import report, report_beacons, report_refusal
from edge.routing import Front, Handler
from shared.catalogue.manifest import Manifest, find_offer
from shared.catalogue.stock import StockSnapshot, report_stock
from shared.insight.events import MAX_BEACON_BYTES, Beacon, BeaconAccepted
from shared.openapi import JSON, build_document
from shared.problems import Code, Problem
from shared.wire import decode_body, only_names

VERSION: Final = "0.1.0"
_KEPT_HEAD: Final = 64
_ENCODER: Final = msgspec.json.Encoder()
_CLAIM_DECODER: Final = msgspec.json.Decoder(ClaimRequest)
_CLAIM_NAMES: Final = only_names(ClaimRequest)
_BEACON_DECODER: Final = msgspec.json.Decoder(Beacon)


def _services(scope: Scope) -> Services:
    services: Services = scope[SERVICES]
    return services


def _take_body(scope: Scope, max_bytes: int) -> bytes | Problem | None:
    """Return a body that was read already, or why it is not to be read; None when it is to be."""
    headers = read_headers(scope)
    media_type, length = headers.get(b"content-type", b""), headers.get(b"content-length", b"0")
    # Browsers send the same of both again and again; a client's own texts must not fill the memory.
    judge = _judge_head if len(media_type) + len(length) <= _KEPT_HEAD else _judge_head.__wrapped__
    refused = judge(media_type, length, max_bytes)
    if refused is not None:
        return refused
    body: bytes | None = scope.get(BODY)
    return _too_large(max_bytes) if body is not None and len(body) > max_bytes else body


async def _read_body(request: Request, max_bytes: int) -> bytes | Problem:
    """Read a body of a type that is taken, and never more than one chunk beyond `max_bytes`."""
    taken = _take_body(request.scope, max_bytes)
    return await _gather(request.receive, max_bytes) if taken is None else taken


@lru_cache(1024)
def _judge_head(media_type: bytes, length: bytes, max_bytes: int) -> Problem | None:
    """Refuse a body by what is declared of it."""
    if media_type.decode("latin-1").partition(";")[0].strip().lower() not in (JSON, operations.TEXT):
        return Problem(code=Code.UNSUPPORTED_MEDIA_TYPE, detail=f"{JSON} or {operations.TEXT}, both with JSON.")
    digits = length.decode("latin-1") or "0"
    if not digits.isdecimal() or len(digits) > 9 or int(digits) > max_bytes:  # noqa: PLR2004 - digits of a sane length
        return _too_large(max_bytes)
    return None


async def _gather(receive: Receive, max_bytes: int) -> bytes | Problem:
    body, more = b"", True
    while more and len(body) <= max_bytes:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body if len(body) <= max_bytes else _too_large(max_bytes)


def _too_large(max_bytes: int) -> Problem:
    return Problem(code=Code.BODY_TOO_LARGE, detail=f"At most {max_bytes} bytes are read.")


async def get_overlay(scope: Scope, _: Receive) -> Response:
    """Render the overlay of a clip for one viewer."""
    services = _services(scope)
    started_ms = services.now_ms()
    headers = read_headers(scope)
    media_type = choose_format(read_text(headers, b"accept"))
    if media_type is None:
        return answer_problem(Problem(code=Code.NOT_ACCEPTABLE, detail=f"{JSON} or {operations.HTML}."))
    clip, now_ms = scope["path_params"]["clip"], started_ms
    manifest: Manifest | Problem | None = peek_manifest(services, clip, now_ms)
    if manifest is None:
        manifest, now_ms = await load_manifest(services, clip, MANIFEST_USABLE_MS), services.now_ms()
    if isinstance(manifest, Problem):
        return answer_problem(manifest)
    edge_url = (services.config.public_url or base_url(scope, headers)) if media_type == operations.HTML else ""
    locale, currency = read_wishes(scope["query_string"])
    key = ContextKey(
        manifest.clip,
        manifest.version,
        read_text(headers, b"accept-language")[:MAX_CONTEXT_TEXT],
        locale,
        currency,
        services.place.country,
        edge_url,
    )
    body = await render_overlay(services, manifest, key, now_ms)
    took_ms = services.now_ms() - started_ms
    if edge_url:
        return answer_document(body, took_ms, edge_url, services.config.origin_url)
    return answer_overlay(body, took_ms)


async def _read_tap(scope: Scope, receive: Receive, services: Services, now_ms: int) -> ClaimRequest | Problem:
    """Read a tap, unless there were too many; a network that is limited costs no reading."""
    asking = limit_network(services, "claims", now_ms)
    if asking is not None and (limited := await asking):
        return limited
    body = _take_body(scope, MAX_BODY_BYTES)
    if body is None:
        body = await _gather(receive, MAX_BODY_BYTES)
    if isinstance(body, Problem):
        return body
    tap = read_usual(body) or _decode_tap(body)
    if isinstance(tap, Problem):
        return tap
    asking = limit_viewer(services, tap.viewer, now_ms)
    return tap if asking is None else await asking or tap


def _decode_tap(body: bytes) -> ClaimRequest | Problem:
    """Read a tap that is written in any way; a runtime may have put U+FFFD in the place of what was no text."""
    try:
        clean = "\ufffd" not in body.decode()
    except UnicodeDecodeError:
        clean = False
    if not clean:
        return Problem(code=Code.MALFORMED_JSON)
    return decode_body(body, _CLAIM_DECODER, MAX_BODY_BYTES, _CLAIM_NAMES)


async def post_claim(scope: Scope, receive: Receive) -> Response:
    """Answer a tap with a signed claim."""
    services = _services(scope)
    started_ms = services.now_ms()
    tap = await _read_tap(scope, receive, services, started_ms)
    if isinstance(tap, Problem):
        return answer_problem(tap)
    now_ms = services.now_ms()  # the tap may have been waited for
    manifest: Manifest | Problem | None = peek_manifest(services, tap.clip, now_ms)
    if manifest is None:
        manifest, now_ms = await load_manifest(services, tap.clip), services.now_ms()
    if isinstance(manifest, Problem):
        return answer_problem(manifest)
    offer = find_offer(manifest, tap.offer)
    if offer is None:
        return answer_problem(Problem(code=Code.OFFER_UNKNOWN))
    drops, drop = drops_of(manifest), offer.terms.drop
    snapshots = peek_stock(services, drops, now_ms)
    if snapshots is None:
        snapshots, now_ms = await load_stock(services, drops), services.now_ms()
    given = give_claim(services, manifest, offer, snapshots.get(drop), tap, now_ms)
    if isinstance(given, Problem):
        report_refusal(services, drop=drop, clip=manifest.clip, offer=offer.offer, code=given.code)
        return answer_problem(given)
    if given.event is not None:
        report(services, (given.event,), now_ms)
    return answer_json(given.body, 201, now_ms - started_ms)


async def post_events(request: Request) -> Response:
    """Take what a browser reports of itself."""
    services = _services(request.scope)
    started_ms = services.now_ms()
    asking = limit_network(services, "beacons", started_ms)
    if asking is not None and (limited := await asking):
        services.isolate.beacons_refused += 1
        return answer_problem(limited)
    body = await _read_body(request, MAX_BEACON_BYTES)
    if isinstance(body, Problem):
        return answer_problem(body)
    beacon = decode_body(body, _BEACON_DECODER, MAX_BEACON_BYTES)
    if isinstance(beacon, Problem):
        return answer_problem(beacon)
    report_beacons(services, beacon)
    accepted = BeaconAccepted(accepted=len(beacon.events))
    return answer_json(_ENCODER.encode(accepted), 202, services.now_ms() - started_ms)


async def get_stock(request: Request) -> Response:
    """Tell what a drop has left."""
    services = _services(request.scope)
    started_ms = services.now_ms()
    drop = request.path_params["drop"]
    if not is_identifier(drop):
        return answer_problem(Problem(code=Code.DROP_UNKNOWN))
    snapshot: StockSnapshot | None = (await load_stock(services, (drop,), STOCK_USABLE_MS)).get(drop)
    if snapshot is None and is_known_absent(services, drop):
        return answer_problem(Problem(code=Code.DROP_UNKNOWN))
    now_ms = services.now_ms()
    return answer_json(_ENCODER.encode(report_stock(drop, snapshot, now_ms)), 200, now_ms - started_ms)


async def get_health(request: Request) -> Response:
    """Tell that the isolate lives."""
    services = _services(request.scope)
    body = _ENCODER.encode(operations.Health(status="ok", node=services.isolate.node))
    return Response(body, 200, NOT_KEPT, JSON)


async def get_openapi(_: Request) -> Response:
    """Describe this API; made when asked for, because nearly nobody asks."""
    document = build_document(
        title="Cliptill edge",
        version=VERSION,
        description="Overlays, claims and stock at the edge of a live clip.",
        operations=operations.OPERATIONS,
    )
    return Response(_ENCODER.encode(document), 200, {**PUBLIC, "cache-control": "public, max-age=300"}, JSON)


async def _answer_http_exception(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    code = {404: Code.NOT_FOUND, 405: Code.METHOD_NOT_ALLOWED}.get(status, Code.INTERNAL)
    response = answer_problem(Problem(code=code))
    allowed = (error.headers or {}).get("Allow") if isinstance(error, HTTPException) else None
    if allowed:
        # Starlette lists a set, in an order of the process's own: the same question has the same answer everywhere.
        response.headers["allow"] = ", ".join(sorted(allowed.split(", ")))
    return response


def _answer_internal() -> Response:
    return answer_problem(Problem(code=Code.INTERNAL))


async def _answer_error(_: Request, __: Exception) -> Response:
    return _answer_internal()


def _as_endpoint(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    """Return what answers in the framework's way as a handler does that is also called without it."""

    @wraps(handler)
    async def endpoint(request: Request) -> Response:
        return await handler(request.scope, request.receive)

    return endpoint


def create_app() -> Front:
    """Return the ASGI app. It has no lifespan and keeps nothing: all state comes with each request."""
    handlers: dict[str, Any] = {
        handler.__name__: handler
        for handler in (
            _as_endpoint(get_overlay),
            _as_endpoint(post_claim),
            post_events,
            get_stock,
            get_health,
            get_openapi,
        )
    }
    routes = [
        Route(listed.path, handlers[listed.id], methods=[listed.method], name=listed.id)
        for listed in operations.OPERATIONS
    ]
    exception_handlers: dict[Any, Any] = {HTTPException: _answer_http_exception, Exception: _answer_error}
    app = Starlette(routes=routes, exception_handlers=exception_handlers)
    app.router.redirect_slashes = False  # an address is as documented, or not found
    return Front(app, get_overlay, post_claim, _answer_internal)
