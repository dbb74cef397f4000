"""The edge's contract, kept by the app itself: plain ASGI on CPython, with the world in memory."""

import asyncio
import json
from typing import Any

import pytest
from starlette.types import Message

from edge.app import create_app
from edge.bridge import make_scope
from tests.contract.edge_driver import Documentation, Edge
from tests.contract.edge_suite import EdgeContract
from tests.edge_world import SECRET_TEXT, AsgiClient, MemoryWorld


@pytest.fixture(scope="module")
def documentation() -> Documentation:
    return Documentation(json.loads(AsgiClient(MemoryWorld()).request("GET", "/openapi.json", {}).body))


@pytest.fixture
def world() -> MemoryWorld:
    return MemoryWorld()


@pytest.fixture
def edge(world: MemoryWorld, documentation: Documentation) -> Edge:
    return Edge(AsgiClient(world), world, documentation)


class TestEdgeAsAsgi(EdgeContract):
    declares_any_length = True


@pytest.mark.parametrize("host", ["edge.example", "edge.example:8443", "[::1]:8787", "a b", 'x";<script>', "-", ""])
def test_no_host_becomes_markup(host: str, world: MemoryWorld, documentation: Documentation) -> None:
    edge = Edge(AsgiClient(world, base_url=f"https://{host}"), world, documentation)
    received = edge.get(f"/v1/clips/{edge.publish().clip}/overlay", accept="text/html")
    assert (received.status, received.body[:15]) == (200, b"<!doctype html>")
    assert received.body.count(b"<script") == 1


class Counted:
    """A client that sends without end, and counts what is taken of it."""

    def __init__(self) -> None:
        self.pieces = 0
        self.status = 0

    async def receive(self) -> Message:
        self.pieces += 1
        return {"type": "http.request", "body": b" " * 1024, "more_body": True}

    async def send(self, message: Message) -> None:
        self.status = message.get("status", self.status)


@pytest.mark.parametrize(("path", "limit"), [("/v1/claims", 4096), ("/v1/events", 16_384)])
@pytest.mark.parametrize("declared", [True, False], ids=["declared", "undeclared"])
def test_no_more_is_read_than_the_limit_and_a_piece(
    path: str, limit: int, world: MemoryWorld, *, declared: bool
) -> None:
    headers = [(b"content-type", b"application/json")]
    if declared:
        headers.append((b"content-length", str(limit + 1).encode()))
    client = Counted()
    scope = make_scope("POST", f"https://edge.example{path}", headers, world.services())
    asyncio.run(run_app(scope, client))
    assert client.status == 413
    assert client.pieces == (0 if declared else limit // 1024 + 1)


async def run_app(scope: dict[str, Any], client: Counted) -> None:
    await create_app()(scope, client.receive, client.send)


def test_the_public_address_is_told_when_there_is_one(documentation: Documentation) -> None:
    world = MemoryWorld(public_url="https://till.example")
    edge = Edge(AsgiClient(world, base_url="https://evil.example"), world, documentation)
    received = edge.get(f"/v1/clips/{edge.publish().clip}/overlay", accept="text/html")
    assert b'src="https://till.example/cliptill-overlay.js"' in received.body
    assert b"evil.example" not in received.body + received.headers["content-security-policy"].encode()


def test_a_service_that_is_away_is_not_quoted(edge: Edge, world: MemoryWorld) -> None:
    world.set_store_away(away=True)
    assert SECRET_TEXT.encode() not in edge.get("/v1/clips/clip-1/overlay").body


def test_the_judge_refuses_what_is_not_documented(documentation: Documentation, edge: Edge) -> None:
    received = edge.get("/health")
    with pytest.raises(AssertionError, match="does not document 418"):
        documentation.judge("GET", "/health", None, received._replace(status=418))
    with pytest.raises(AssertionError, match="does not document 'text/x'"):
        documentation.judge("GET", "/health", None, received._replace(headers={"content-type": "text/x"}))
    with pytest.raises(Exception, match="'node' is a required property"):
        documentation.judge("GET", "/health", None, received._replace(body=b'{"status":"ok"}'))
    with pytest.raises(AssertionError, match="lacks headers"):
        documentation.judge("GET", "/v1/drops/a/stock", None, received)
