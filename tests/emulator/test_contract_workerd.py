"""The edge's contract, kept by the staged bundle in its own runtime: the same answers, byte for byte, as plain ASGI.

What the platform adds to an answer is listed in `PLATFORM`. Nothing else may differ: both clocks stand still for the
comparison, so that instants and signatures are equal too, and only an isolate's name has to be left out.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from edge.config import EdgeConfig
from edge.isolate import Isolate
from edge.ports import Place
from scripts.bundling import stage_assets, stage_worker
from scripts.vendoring import vendor
from shared.catalogue.stock import FRESH_MS
from shared.encoding import encode_base64url
from shared.insight.events import EdgeEvent, EventBatch
from tests import samples
from tests.contract.edge_driver import Body, Documentation, Edge, Received
from tests.contract.edge_suite import EdgeContract
from tests.edge_world import AsgiClient, MemoryWorld
from tests.emulator.edge_program import CACHED_S, COLO, Clock, ProgramWorld, SocketClient
from tests.emulator.origin_double import OriginDouble, serve_origin
from tests.emulator.program import ROOT, RunningEdge, configure, running

PLATFORM: Final = frozenset({"content-length", "transfer-encoding"})
NODE: Final = "node-1"
CLAIM_KEYS: Final = ",".join(f"{key.kid}:{encode_base64url(key.secret)}" for key in ProgramWorld.claim_keys)


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def origin(clock: Clock) -> Iterator[OriginDouble]:
    with serve_origin(clock.now_ms) as origin:
        yield origin


@pytest.fixture(scope="module")
def emulator(origin: OriginDouble, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEdge]:
    """The product's own bundle as it is now, in one emulator for all tests here."""
    folder = tmp_path_factory.mktemp("product")
    (ROOT / "build").mkdir(exist_ok=True)
    vendor(ROOT / "scripts" / "requirements" / "edge.txt", ROOT / "python_modules", ROOT / "build")
    stage_worker(ROOT, folder / "bundle")
    stage_assets(ROOT, folder / "assets")
    variables = {"ORIGIN_URL": origin.url, "ISSUER": samples.ISSUER}
    secrets = {"CLAIM_KEYS": CLAIM_KEYS}
    with running(configure(folder, origin.url, vars=variables, secrets=secrets)) as started:
        yield started


@pytest.fixture(scope="module")
def program_world(emulator: RunningEdge, origin: OriginDouble, clock: Clock) -> ProgramWorld:
    def publish(clip: str, document: bytes | None) -> None:
        path = f"/kv/fra/manifest/{clip}"
        answer = emulator.control.delete(path) if document is None else emulator.control.put(path, content=document)
        assert answer.status_code == 200

    def set_faults(**faults: object) -> None:
        assert emulator.control.put("/faults/fra", json=faults).status_code == 200

    return ProgramWorld(origin, clock, set_faults, publish)


@pytest.fixture(scope="module")
def client(emulator: RunningEdge, program_world: ProgramWorld) -> Iterator[SocketClient]:
    made = SocketClient(str(emulator.node.base_url), lambda: program_world.country, "cf-ipcountry")
    yield made
    made.close()


@pytest.fixture(scope="module")
def documentation(client: SocketClient) -> Documentation:
    return Documentation(client.request("GET", "/openapi.json", {}).json)


@pytest.fixture
def edge(client: SocketClient, program_world: ProgramWorld, documentation: Documentation) -> Iterator[Edge]:
    yield Edge(client, program_world, documentation)
    program_world.heal()


class TestBundleInWorkerd(EdgeContract):
    pass


class Pair(NamedTuple):
    """One edge twice: as plain ASGI in this process, and as a bundle in the runtime."""

    asgi: AsgiClient
    memory: MemoryWorld
    socket: SocketClient
    program: ProgramWorld

    def publish(self, document: dict[str, Any]) -> None:
        """Publish a manifest in both worlds."""
        for world in (self.memory, self.program):
            world.publish(document["clip"], samples.encode(document))

    def set_stock(self, drop: str, remaining: int) -> None:
        """Have both origins tell the same stock."""
        self.memory.set_stock(drop, remaining=remaining)
        self.program.set_stock(drop, remaining=remaining)

    def compare(self, method: str, path: str, headers: dict[str, str] | None = None, body: Body = None) -> Received:
        """Send one request to both, and fail unless the answers are the same."""
        expected = self.asgi.request(method, path, headers or {}, body)
        received = self.socket.request(method, path, headers or {}, body)
        told = json.loads(received.body) if path == "/health" and received.body else {}
        assert received.body.replace(told.get("node", NODE).encode(), NODE.encode()) == expected.body
        assert received.status == expected.status
        assert _own(received) == _own(expected)
        return received


def _own(received: Received) -> dict[str, str]:
    return {name: value for name, value in received.headers.items() if name not in PLATFORM}


@pytest.fixture
def pair(client: SocketClient, emulator: RunningEdge, program_world: ProgramWorld) -> Iterator[Pair]:
    at_ms = program_world.now_ms()
    program_world.stop_clock(at_ms)
    program_world.set_place(country="FR")
    memory = MemoryWorld(start_ms=at_ms)
    memory.place = Place(colo=COLO, country="FR")
    memory.isolate = Isolate(node=NODE)
    memory.origin_url = program_world.origin_url
    memory.config = EdgeConfig(
        origin_url=memory.origin_url, issuer=memory.issuer, claim_keys=memory.claim_keys, public_url=""
    )
    base_url = str(emulator.node.base_url).rstrip("/")
    yield Pair(AsgiClient(memory, base_url=base_url), memory, client, program_world)
    program_world.stop_clock(None)
    program_world.heal()


def make_document(clip: str, at_ms: int) -> dict[str, Any]:
    """Return a clip in three languages with a priced, a free, a closed and a not yet open offer."""
    window = {"opens_at_ms": at_ms - samples.HOUR_MS, "closes_at_ms": at_ms + samples.HOUR_MS}
    texts = {"en": "Market", "de": "Markt", "ar": "سوق"}
    prices = [{"currency": "EUR", "amount_minor": 1990}, {"currency": "USD", "amount_minor": 2100}]
    paid: dict[str, Any] = {"payment": "at_pickup", "prices": prices, "names": texts}
    windows = {
        "paid": window,
        "free": window,
        "closed": {**window, "closes_at_ms": at_ms - 1},
        "upcoming": {**window, "opens_at_ms": at_ms + 1500},
    }
    offers = [
        samples.offer_document(
            offer=name, terms=samples.terms_document(drop=f"{clip}-{name}", **when), **(paid if name == "paid" else {})
        )
        for name, when in windows.items()
    ]
    return samples.manifest_document(clip=clip, names=texts, offers=offers)


@pytest.mark.parametrize("accept", ["application/json", "text/html", "image/png", ""])
@pytest.mark.parametrize("language", ["", "de-AT, fr;q=0.5", "ar", "tlh"])
def test_overlays_are_the_same_bytes(pair: Pair, accept: str, language: str) -> None:
    clip = f"same-{abs(hash((accept, language)))}"
    pair.publish(make_document(clip, pair.memory.now_ms()))
    pair.set_stock(f"{clip}-paid", 3)
    pair.set_stock(f"{clip}-free", 0)
    headers = {"accept": accept, "accept-language": language}
    for query in ("", "?currency=USD", "?locale=de", "?locale=%00%ff&currency=%22"):
        for method in ("GET", "HEAD"):
            pair.compare(method, f"/v1/clips/{clip}/overlay{query}", headers)


def test_claims_and_refusals_are_the_same_bytes(pair: Pair) -> None:
    pair.publish(make_document("same-claims", pair.memory.now_ms()))
    pair.set_stock("same-claims-paid", 3)
    pair.set_stock("same-claims-free", 0)
    pair.program.origin.messages.clear()
    headers = {"content-type": "text/plain"}
    seen = set()
    for offer in ("paid", "paid", "free", "closed", "upcoming", "none-such"):
        for extra in ({}, {"currency": "USD"}, {"quantity": 2}, {"quantity": 0}, {"no": "such"}):
            tap = {"clip": "same-claims", "offer": offer, "viewer": samples.VIEWER, "idempotency_key": samples.TAP}
            received = pair.compare("POST", "/v1/claims", headers, json.dumps({**tap, **extra}).encode())
            seen.add(received.json.get("code", "claim"))
    assert len(seen) >= 9
    expected = _reported(pair.memory.batches())
    assert len(expected) == 1 + 10
    Edge.wait_for(lambda: len(_reported(pair.program.batches())) >= len(expected))
    assert _reported(pair.program.batches()) == expected


def test_all_other_answers_are_the_same_bytes(pair: Pair) -> None:
    pair.set_stock("same-drop", 7)
    for path in ("/v1/drops/same-drop/stock", "/v1/drops/none-such/stock", "/health", "/openapi.json", "/", "/%00"):
        for method in ("GET", "HEAD", "OPTIONS", "POST", "DELETE"):
            pair.compare(method, path)
    beacon = {"clip": "same", "events": [{"type": "view", "at_ms": 1, "detail": "é \u0000 🎬"}]}
    for content_type in ("application/json", "text/plain;charset=UTF-8", "text/html"):
        for body in (json.dumps(beacon).encode(), b"{", b"", [b"{}"], b" " * 20_000):
            pair.compare("POST", "/v1/events", {"content-type": content_type}, body)


def _reported(batches: list[EventBatch]) -> list[tuple[str, str, int, EdgeEvent]]:
    """Return events in the order in which they were reported, each with its place: batches have what came in time."""
    ordered = sorted(batches, key=lambda batch: batch.seq)
    return [(batch.colo, batch.country, batch.at_ms, event) for batch in ordered for event in batch.events]


def test_a_document_names_the_nodes_own_address(client: SocketClient, edge: Edge, emulator: RunningEdge) -> None:
    clip = edge.publish()
    document = client.request("GET", f"/v1/clips/{clip.clip}/overlay", {"accept": "text/html"}).body.decode()
    assert f'edge="{str(emulator.node.base_url).rstrip("/")}"' in document


def test_the_staged_files_are_those_of_the_clone(emulator: RunningEdge, tmp_path: Path) -> None:
    stage_worker(ROOT, tmp_path / "bundle")
    staged = {path.relative_to(tmp_path) for path in tmp_path.rglob("*.py")}
    assert Path("bundle/edge/app.py") in staged
    assert emulator.boot["snapshot"]


def test_an_overlay_reads_what_was_fresh_a_moment_ago_beside_its_answer(
    edge: Edge, program_world: ProgramWorld
) -> None:
    clip = edge.publish(remaining=50)

    def left() -> int:
        told: int = edge.overlay(clip)["offers"][0]["stock"]["remaining"]
        return told

    at_ms = program_world.now_ms()
    program_world.stop_clock(at_ms)
    try:
        assert left() == 50
        program_world.set_stock(clip.drop, remaining=20, version=2)
        time.sleep(CACHED_S)
        program_world.stop_clock(at_ms + FRESH_MS)
        assert left() == 50
        until = time.monotonic() + 5
        while left() == 50 and time.monotonic() < until:
            time.sleep(0.01)
        assert left() == 20
    finally:
        program_world.stop_clock(None)
