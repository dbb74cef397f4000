"""An edge, an origin and a shop's page: they speak the real contract, and fail when the world says so."""

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from origin.pickup.passes import draw_code
from scripts.demo.site_server import FILES, content_security_policy
from shared.claims.passes import write_code
from tests.browser.world import DROP, FREE_DROP, FREE_OFFER, Json, Seen, World, overlay_view, stock_view

PASS = "pass.of.it"
CORS = {
    "access-control-allow-origin": "*",
    "access-control-allow-headers": "authorization, dpop, content-type",
    "access-control-allow-methods": "GET, HEAD, POST, OPTIONS",
    "access-control-expose-headers": "date, retry-after",
    "access-control-max-age": "86400",
}
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Shop</title>
<link rel="stylesheet" href="/shop.css">
<script type="module" src="{edge}/cliptill-overlay.js"></script>
<h1>Shop</h1><div>{overlays}</div></html>"""
OVERLAY = """<cliptill-overlay clip="{clip}" edge="{edge}">
<video src="/drop.mp4" muted autoplay loop playsinline controls></video></cliptill-overlay>"""
STYLE = "body{margin:0} div{max-width:420px} video{width:100%;height:640px;background:#000}"


def problem(code: str, status: int, **more: object) -> JSONResponse:
    body = {"type": f"urn:cliptill:problem:{code}", "title": code, "status": status, "code": code, **more}
    headers = {"retry-after": str(more["retry_after_s"])} if "retry_after_s" in more else {}
    return JSONResponse(body, status, headers, "application/problem+json")


class Public:
    """What both services do with every request: note it, answer preflights, let every site read the answer."""

    def __init__(self, app: ASGIApp, note: Callable[[Seen], None]) -> None:
        self._app, self._note = app, note

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_public(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [(name.encode(), value.encode()) for name, value in CORS.items()]
                message = {**message, "headers": [*message["headers"], *headers]}
            await send(message)

        request = Request(scope, receive)
        body = await request.body()
        self._note(Seen(request.method, request.url.path, dict(request.headers), body))
        if request.method == "OPTIONS":
            await Response(status_code=204)(scope, receive, send_public)
            return

        again: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return again.pop() if again else await receive()

        await self._app(scope, replay, send_public)


class FakeEdge:
    """The edge. Static files and shared overlays are the CDN's: they are there when Python is away."""

    def __init__(self, world: World, assets: Path) -> None:
        self._world, self._assets = world, assets

    def app(self) -> ASGIApp:
        routes = [
            Route("/v1/clips/{clip}/overlay", self.overlay),
            Route("/v1/drops/{drop}/stock", self.stock),
            Route("/v1/claims", self.claim, methods=["POST"]),
            Route("/v1/events", self.events, methods=["POST"]),
            Route("/shared/clips/{clip}/overlay.json", self.shared),
            Route("/{name}", self.asset),
        ]
        return Public(Starlette(routes=routes), self._world.note_edge)

    async def _reach(self) -> None:
        await asyncio.sleep(self._world.edge_delay_s)
        if self._world.edge_away:
            raise HTTPException(503)

    async def overlay(self, _: Request) -> Response:
        await self._reach()
        return JSONResponse(overlay_view(self._world, shared=False))

    async def shared(self, _: Request) -> Response:
        if self._world.shared_away:
            raise HTTPException(504)
        return JSONResponse(overlay_view(self._world, shared=True))

    async def stock(self, request: Request) -> Response:
        await self._reach()
        return JSONResponse({**stock_view(self._world, request.path_params["drop"]), "age_ms": 0})

    async def events(self, _: Request) -> Response:
        await self._reach()
        return JSONResponse({"accepted": 1}, 202)

    async def asset(self, request: Request) -> Response:
        file = self._assets / request.path_params["name"]
        if not file.is_file():
            raise HTTPException(404)
        return FileResponse(file)

    async def claim(self, request: Request) -> Response:
        await self._reach()
        world, tap = self._world, json.loads(await request.body())
        if world.claim_failures > 0:
            world.claim_failures -= 1
            raise HTTPException(500)
        if world.claim_waits > 0:
            world.claim_waits -= 1
            return problem("not_admitted_yet", 429, retry_after_s=1)
        if world.claim_refusal:
            return problem(world.claim_refusal, 409)
        free = tap["offer"] == FREE_OFFER
        total = 0 if free else world.price_minor
        names = (tap["offer"], tap["viewer"], tap["idempotency_key"])
        claim_id = hashlib.sha256(" ".join(names).encode()).hexdigest()[:22]
        token = base64.urlsafe_b64encode(json.dumps([claim_id, tap["viewer"]]).encode()).decode()
        answer = {
            "claim": f"claim.{token.rstrip('=')}.signature",
            "claim_id": claim_id,
            "expires_at_ms": world.now_ms() + world.claim_life_ms,
            "settle_url": world.origin_url,
            "settles": "event" if free else "request",
            "lines": [{"sku": tap["offer"], "quantity": 1, "unit_minor": total}],
            "total_minor": total,
            "currency": "EUR",
        }
        if free and world.settle_events:
            world.decided[claim_id] = settlement(world, claim_id, FREE_DROP, 0)
        return JSONResponse(answer, 201)


def settlement(world: World, claim_id: str, drop: str, total_minor: int) -> Json:
    """Settle: one unit less, the next run number."""
    world.stock -= drop == DROP
    world.stock_version += 1
    return {
        "claim_id": claim_id,
        "status": "settled",
        "settled_at_ms": world.now_ms(),
        "drop": drop,
        "run": "r1",
        "run_numbers": [len(world.decided) + 7],
        "lines": [],
        "total_minor": total_minor,
        "currency": "EUR",
        "payment": "at_pickup" if total_minor else "none",
        "receipt": "receipt.of.it",
        **({"pass": PASS} if world.pickup else {}),
        "stock": stock_view(world, drop),
    }


class FakeOrigin:
    """The origin: decides each claim once, and tells it again and again."""

    def __init__(self, world: World) -> None:
        self._world = world

    def app(self) -> ASGIApp:
        routes = [
            Route("/v1/settlements", self.settle, methods=["POST"]),
            Route("/v1/settlements/{claim_id}", self.look_up),
            Route("/v1/settlements/{claim_id}/stream", self.stream),
            Route("/v1/settlements/{claim_id}/payment", self.pay, methods=["POST"]),
            Route("/pay", self.pay_page),
            Route("/v1/settlements/{claim_id}/pass", self.read_pass),
        ]
        return Public(Starlette(routes=routes), self._world.note_origin)

    def _refuse(self, claim_id: str) -> Response | None:
        world = self._world
        if world.origin_away:
            raise HTTPException(503)
        if world.settlement_refusal and claim_id not in world.decided:
            status = 401 if world.settlement_refusal == "claim_expired" else 409
            return problem(world.settlement_refusal, status, claim_id=claim_id, stock=stock_view(world, DROP))
        return None

    async def settle(self, request: Request) -> Response:
        token = request.headers["authorization"].removeprefix("DPoP ").split(".")[1]
        claim_id = json.loads(base64.urlsafe_b64decode(token + "=="))[0]
        refused = self._refuse(claim_id)
        if refused is not None:
            return refused
        world = self._world
        if world.pending_answers > 0:
            world.pending_answers -= 1
            return JSONResponse({"status": "pending", "claim_id": claim_id}, 202, {"Retry-After": "1"})
        if world.to_be_paid and claim_id not in world.decided:
            world.held.add(claim_id)
            return JSONResponse({"claim_id": claim_id, "status": "held"}, 202)
        if claim_id not in world.decided:
            world.decided[claim_id] = settlement(world, claim_id, DROP, world.price_minor)
        if world.lose_answers > 0:
            world.lose_answers -= 1
            raise HTTPException(502)
        return JSONResponse(world.decided[claim_id])

    async def look_up(self, request: Request) -> Response:
        decided = self._world.decided.get(request.path_params["claim_id"])
        if self._world.origin_away:
            raise HTTPException(503)
        if not decided and request.path_params["claim_id"] in self._world.held:
            return JSONResponse({"status": "held"}, 202)
        return JSONResponse(decided) if decided else problem("settlement_unknown", 404)

    async def pay(self, request: Request) -> Response:
        world, claim_id = self._world, request.path_params["claim_id"]
        if world.credit_too_low:
            return problem("credit_too_low", 402)
        if world.paid and claim_id not in world.decided:
            world.decided[claim_id] = {**settlement(world, claim_id, DROP, world.price_minor), "payment": "card"}
        state = {"state": "captured"} if world.paid else {"state": "begun", "client_secret": "secret"}
        page = "" if world.paid else f"{world.origin_url}/pay"
        return JSONResponse({"claim_id": claim_id, "pay_at": page, **state})

    async def pay_page(self, _: Request) -> Response:
        self._world.paid = True
        return HTMLResponse("<!doctype html><title>Paid</title>Paid")

    async def read_pass(self, request: Request) -> Response:
        if self._world.origin_away or self._world.passes_away:
            raise HTTPException(503)
        said = self._world.pickup
        view = {"claim_id": request.path_params["claim_id"], "token": PASS, "code": write_code(PASS), "said": said}
        return JSONResponse({**view, "picture": msgspec.to_builtins(draw_code(PASS))})

    async def stream(self, request: Request) -> Response:
        if self._world.origin_away:
            raise HTTPException(503)
        return StreamingResponse(self._tell(request.path_params["claim_id"]), media_type="text/event-stream")

    async def _tell(self, claim_id: str) -> AsyncIterator[str]:
        yield ": here\r\n\r\n"
        while claim_id not in self._world.decided:
            await asyncio.sleep(0.05)
            yield ": here\r\n\r\n"
        yield f"event: settlement\r\ndata: {json.dumps(self._world.decided[claim_id])}\r\n\r\n"


class FakeShop:
    """A shop's page with one overlay or two, under the demo's content security policy."""

    def __init__(self, world: World) -> None:
        self._world = world

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/", self.page), Route("/shop.css", self.style), Route("/drop.mp4", self.video)])

    async def page(self, request: Request) -> Response:
        world = self._world
        overlay = OVERLAY.format(edge=world.edge_url, clip=world.clip)
        page = PAGE.format(edge=world.edge_url, overlays=overlay * int(request.query_params.get("overlays", "1")))
        return HTMLResponse(
            page, headers={"content-security-policy": content_security_policy(world.edge_url, world.origin_url)}
        )

    async def style(self, _: Request) -> Response:
        return Response(STYLE, media_type="text/css")

    async def video(self, _: Request) -> Response:
        return FileResponse(FILES / "drop.mp4")
