"""What the edge needs of the world, as small ports. `edge.runtime` has them for Workers; tests have their own."""

from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

from msgspec import Struct

from edge.config import EdgeConfig
from edge.isolate import Isolate
from shared.catalogue.stock import StockSnapshots

# Where a request's ASGI scope has its `Services`; and its whole body, when that has been read already.
SERVICES: Final = "cliptill.services"
BODY: Final = "cliptill.body"


class ManifestStore(Protocol):
    """Where the origin publishes manifests; reads may be a minute late."""

    async def read(self, clip: str) -> str | None:
        """Return what is stored for a clip; None when there is nothing.

        Raises:
            ServiceAwayError: when the store does not answer.
        """


class StockSource(Protocol):
    """Where stock snapshots come from: the location's cache, then the origin."""

    async def read(self, drops: tuple[str, ...]) -> StockSnapshots:
        """Return the snapshots of those of `drops` that exist; the same drops in the same order share a cache entry.

        Raises:
            ServiceAwayError: when neither has an answer in time.
        """


class EventSink(Protocol):
    """Where event batches go (JSON), after the answer. Nothing here waits or fails: what is lost is a gap in `seq`."""

    def send(self, message: str) -> None:
        """Report one batch."""

    def send_later(self, make: Callable[[], str | None], delay_ms: int) -> None:
        """Call `make` that much later, and report the batch that it returns, if any."""


class RateLimiter(Protocol):
    """A limit of calls in a period, counted by the location."""

    async def allows(self, key: str) -> bool:
        """Count a call of `key`, and return whether it is within the limit; a limiter that is away limits nobody."""


class Place(Struct, frozen=True):
    """Where a request came in and from, as the network tells; may be empty.

    Attributes:
        colo: the location's code.
        country: the viewer's.
        address: the viewer's, for rate limits only; read of requests that are limited.
    """

    colo: str = ""
    country: str = ""
    address: str = ""


class Services(Struct, frozen=True):
    """All that one request is served with. Made for each request: runtime objects must not outlive it.

    Attributes:
        isolate: plain data that lives as long as the isolate.
        viewer_limit: of taps, by viewer key.
        network_limit: of taps and of beacons, by the client's network.
        now_ms: the clock.
        go_on: has something done that the answer does not wait for; it waits for nothing but these services.
    """

    config: EdgeConfig
    isolate: Isolate
    manifests: ManifestStore
    stock: StockSource
    events: EventSink
    viewer_limit: RateLimiter
    network_limit: RateLimiter
    place: Place
    now_ms: Callable[[], int]
    go_on: Callable[[Coroutine[Any, Any, None]], None]
