"""An edge in memory: the ports of `edge.ports` over plain dictionaries, and a client that calls the app as ASGI."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final

import msgspec
from starlette.types import ASGIApp, Message

from edge.app import create_app
from edge.bridge import make_scope
from edge.config import EdgeConfig
from edge.isolate import Isolate
from edge.ports import Place, Services
from shared.catalogue.stock import StockSnapshot, StockSnapshots
from shared.claims.keys import ClaimKey
from shared.errors import ServiceAwayError
from shared.insight.events import EventBatch
from tests import samples
from tests.contract.edge_driver import Body, Received, decode_batches

SECRET_TEXT: Final = "connection string postgres://user:hunter2@10.0.0.1"


class MemoryManifests:
    """A manifest store that can be away, or broken."""

    def __init__(self) -> None:
        self.documents: dict[str, bytes] = {}
        self.away = self.broken = False
        self.reads: list[str] = []

    async def read(self, clip: str) -> str | None:
        """Return what is stored for a clip."""
        self.reads.append(clip)
        if self.broken:
            raise RuntimeError(SECRET_TEXT)
        if self.away:
            raise ServiceAwayError(SECRET_TEXT)
        document = self.documents.get(clip)
        return None if document is None else document.decode()


class MemoryStock:
    """An origin's stock; snapshots are dated when they are read."""

    def __init__(self, world: "MemoryWorld") -> None:
        self.world = world
        self.ages_ms: dict[str, int] = {}
        self.snapshots: dict[str, StockSnapshot] = {}
        self.away = False
        self.reads: list[tuple[str, ...]] = []

    async def read(self, drops: tuple[str, ...]) -> StockSnapshots:
        """Return the snapshots of those of `drops` that exist."""
        self.reads.append(drops)
        if self.away:
            raise ServiceAwayError(SECRET_TEXT)
        now_ms = self.world.now_ms()
        return StockSnapshots(
            as_of_ms=now_ms,
            drops=tuple(
                msgspec.structs.replace(self.snapshots[drop], as_of_ms=now_ms - self.ages_ms[drop])
                for drop in drops
                if drop in self.snapshots
            ),
        )


class MemoryEvents:
    """A queue that keeps all messages."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.waiting: list[tuple[Callable[[], str | None], int]] = []

    def send(self, message: str) -> None:
        """Report one batch."""
        self.messages.append(message)

    def send_later(self, make: Callable[[], str | None], delay_ms: int) -> None:
        """Keep what is to be sent until it is looked for."""
        self.waiting.append((make, delay_ms))

    def send_what_waits(self) -> None:
        """Let the delays be over."""
        waiting, self.waiting = self.waiting, []
        self.messages += [message for make, _ in waiting if (message := make()) is not None]


class MemoryLimit:
    """A rate limit that counts for ever, and may be away."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.calls: dict[str, int] = {}

    async def allows(self, key: str) -> bool:
        """Count a call of `key`."""
        self.calls[key] = self.calls.get(key, 0) + 1
        return self.calls[key] <= self.limit


class MemoryWorld:
    """The world around one isolate. Its clock is the machine's, plus what was waited for."""

    claim_keys: tuple[ClaimKey, ...]

    def __init__(self, *, public_url: str = "", start_ms: int | None = None) -> None:
        self.issuer = samples.ISSUER
        self.origin_url = samples.ORIGIN_URL
        self.claim_keys = (samples.NEW_KEY, samples.OLD_KEY)
        self.isolate = Isolate(node="node-1")
        self.manifests = MemoryManifests()
        self.stock = MemoryStock(self)
        self.events = MemoryEvents()
        self.viewer_limit, self.network_limit = MemoryLimit(1_000_000), MemoryLimit(1_000_000)
        self.place = Place()
        self.config = EdgeConfig(
            origin_url=self.origin_url, issuer=self.issuer, claim_keys=self.claim_keys, public_url=public_url
        )
        self.left: list[Coroutine[Any, Any, None]] = []
        self._fixed_ms = start_ms
        self._waited_ms = 0

    def now_ms(self) -> int:
        """Return the edge's clock."""
        base_ms = time.time_ns() // 1_000_000 if self._fixed_ms is None else self._fixed_ms
        return base_ms + self._waited_ms

    def wait_ms(self, duration_ms: int) -> None:
        """Let that much of the edge's time pass."""
        self._waited_ms += duration_ms

    def publish(self, clip: str, document: bytes | None) -> None:
        """Have the manifest store hold a document for a clip; None takes it away."""
        if document is None:
            self.manifests.documents.pop(clip, None)
        else:
            self.manifests.documents[clip] = document

    def set_stock(  # noqa: PLR0913 - a snapshot's own facts
        self,
        drop: str,
        *,
        remaining: int,
        total: int = 100,
        version: int = 1,
        admit_per_s: int | None = None,
        age_ms: int = 0,
    ) -> None:
        """Have the origin tell this stock, dated `age_ms` before it is asked."""
        self.stock.ages_ms[drop] = age_ms
        self.stock.snapshots[drop] = samples.make_snapshot(
            drop=drop, remaining=remaining, total=total, version=version, admit_per_s=admit_per_s
        )

    def set_place(self, *, country: str = "", colo: str = "") -> None:
        """Have requests come from there."""
        self.place = Place(colo=colo, country=country)

    def set_store_away(self, *, away: bool) -> None:
        """Have the manifest store not answer."""
        self.manifests.away = away

    def set_origin_away(self, *, away: bool) -> None:
        """Have the origin not answer."""
        self.stock.away = away

    def break_store(self, *, broken: bool) -> None:
        """Have the manifest store fail in a way that nobody foresaw."""
        self.manifests.broken = broken

    def batches(self) -> list[EventBatch]:
        """Return all event batches that were made so far."""
        self.events.send_what_waits()
        return decode_batches(self.events.messages)

    def services(self) -> Services:
        """Return what one request is served with."""
        return Services(
            config=self.config,
            isolate=self.isolate,
            manifests=self.manifests,
            stock=self.stock,
            events=self.events,
            viewer_limit=self.viewer_limit,
            network_limit=self.network_limit,
            place=self.place,
            now_ms=self.now_ms,
            go_on=self.left.append,
        )

    def go_on(self) -> None:
        """Do what answers did not wait for."""
        left, self.left = self.left, []
        for coroutine in left:
            asyncio.run(coroutine)


def make_clip_world() -> MemoryWorld:
    """Return a world at a fixed instant with one clip, in its third version, of a drop with 50 units left."""
    world = MemoryWorld(start_ms=samples.NOW_MS)
    world.publish("clip-1", samples.encode(samples.manifest_document(version=3)))
    world.set_stock("drop-1", remaining=50, version=5)
    return world


class AsgiClient:
    """Calls the app in this process, as a server would."""

    def __init__(self, world: MemoryWorld, app: ASGIApp | None = None, base_url: str = "https://edge.example") -> None:
        self.app = app or create_app()
        self.world = world
        self.base_url = base_url

    def request(self, method: str, path: str, headers: Mapping[str, str], body: Body = None) -> Received:
        """Send a request; a body in pieces goes without a declared length."""
        pieces = [body or b""] if isinstance(body, bytes | None) else list(body)
        sent = {name.lower(): value for name, value in headers.items()}
        if isinstance(body, bytes):
            sent.setdefault("content-length", str(len(body)))
        raw = [(name.encode(), value.encode("latin-1")) for name, value in sent.items()]
        scope = make_scope(method, self.base_url + path, raw, self.world.services())
        received = asyncio.run(_call(self.app, scope, pieces))
        self.world.go_on()
        return received


async def _call(app: ASGIApp, scope: dict[str, Any], pieces: Sequence[bytes]) -> Received:
    waiting = list(pieces)
    sent: list[Message] = []

    async def receive() -> Message:
        piece = waiting.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(waiting)}

    async def send(message: Message) -> None:
        sent.append(message)

    try:
        await app(scope, receive, send)
    except Exception:
        # As a server: an error after the answer was started is its log's business, one before it is not to be.
        if not sent:
            raise
    start, *rest = sent
    received: dict[str, str] = {}
    for name, value in start["headers"]:
        assert name.decode("latin-1") not in received, f"header {name} twice"
        received[name.decode("latin-1")] = value.decode("latin-1")
    body = b"".join(message.get("body", b"") for message in rest)
    return Received(start["status"], received, b"" if scope["method"] == "HEAD" else body)
