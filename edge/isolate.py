"""What an isolate remembers between requests: plain data, bounded, and safe to lose at any time.

Nothing here is made at import but empty containers: no clock, no randomness.
"""

from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Final, Generic, NamedTuple, TypeVar

from cachetools import LRUCache
from msgspec import Struct

from edge.forms import ClaimForm
from edge.generations import Generations
from shared.catalogue.manifest import Manifest, Price
from shared.catalogue.stock import StockSnapshot
from shared.claims.admission import Bucket
from shared.insight.events import EdgeEvent
from shared.overlay.telling import OverlayTemplate, Told

T = TypeVar("T")

# By size, not by number: what anyone may ask for in as many sizes as there are clips, or in as many contexts as there
# are words, must not fill an isolate's memory.
MAX_MANIFEST_BYTES: Final = 16 * 2**20  # of the documents; what they are decoded to takes a few times as much
MAX_TEMPLATE_BYTES: Final = 16 * 2**20
_OVERHEAD_BYTES: Final = 4096  # the key, which is the viewer's own text, and the objects around it
MAX_DROPS: Final = 2048
MAX_CLIPS: Final = 512
MAX_CONTEXTS: Final = 16384
MAX_PRICED: Final = 2048  # some clips, each with its offers in the countries that watch
MAX_FORMS: Final = 4  # of each of these; 2 KB each
MAX_CLAIMS: Final = 2048
MAX_CALLERS: Final = 8192


@dataclass(slots=True)
class Entry(Generic[T]):
    """A cached value, when it was read, until when one request is busy with reading it again, and how long it was."""

    value: T
    read_at_ms: int
    leased_until_ms: int = 0
    read_bytes: int = 0


def _weigh_manifest(entry: Entry[Manifest | None]) -> int:
    return entry.read_bytes + _OVERHEAD_BYTES


def _weigh_template(template: OverlayTemplate) -> int:
    lasting = len(template.head) + len(template.foot) + sum(len(offer.head) for offer in template.offers)
    return lasting + _OVERHEAD_BYTES


@dataclass(slots=True)
class Isolate:
    """The memory of one isolate.

    Attributes:
        node: its name in events; given with its first request.
        seq: event batches made so far.
        window: events that wait for others to go out with; None when none wait.
        reported_at_ms: when a batch went out last.
        manifests: by clip; None for a clip that does not exist.
        stock: by drop.
        fresh: what of `stock` a clip shows, for as long as none of it is due.
        recipes: which template a context has, by `edge.rendering.ContextKey`.
        templates: compiled overlays, by what they depend on.
        told: stock and windows of a clip's offers in one language, ready to be filled in.
        buckets: of admission, by drop.
        calls: how many there were of whom requests are limited by, in the present period (`edge.limiting`).
        calls_since_ms: when that period began.
        priced: prices of taps, and forms of claims at them, by what most taps on an offer have in common.
        claims: tokens given, by claim id: a repeated tap gets the very same one.
        refusals_at_ms, refusals: how many refusals were reported in the second that began then.
        suppressed: refusals that were counted but not reported yet.
        beacons_refused: the same of what browsers report.
    """

    node: str = ""
    seq: int = 0
    window: "Window | None" = None
    reported_at_ms: int = 0
    manifests: Generations[str, Entry[Manifest | None]] = field(
        default_factory=lambda: Generations(MAX_MANIFEST_BYTES // 2, _weigh_manifest)
    )
    stock: MutableMapping[str, Entry[StockSnapshot | None]] = field(default_factory=lambda: LRUCache(MAX_DROPS))
    fresh: Generations[tuple[str, ...], "FreshStock"] = field(default_factory=lambda: Generations(MAX_CLIPS))
    recipes: Generations[tuple[object, ...], "Recipe"] = field(default_factory=lambda: Generations(MAX_CONTEXTS))
    told: Generations[tuple[object, ...], "ToldStock"] = field(default_factory=lambda: Generations(MAX_CLIPS))
    templates: Generations[tuple[object, ...], OverlayTemplate] = field(
        default_factory=lambda: Generations(MAX_TEMPLATE_BYTES // 2, _weigh_template)
    )
    buckets: MutableMapping[str, Bucket] = field(default_factory=lambda: LRUCache(MAX_DROPS))
    calls: Generations[str, int] = field(default_factory=lambda: Generations(MAX_CALLERS // 2))
    calls_since_ms: int = 0
    priced: Generations[tuple[object, ...], "Priced"] = field(default_factory=lambda: Generations(MAX_PRICED // 2))
    claims: Generations[str, "GivenClaim"] = field(default_factory=lambda: Generations(MAX_CLAIMS // 2))
    refusals_at_ms: int = 0
    refusals: int = 0
    suppressed: int = 0
    beacons_refused: int = 0


@dataclass(slots=True)
class Window:
    """Events that go out together, as one batch.

    Attributes:
        seq: the batch's number.
        size: an upper bound of the events' JSON, in bytes.
    """

    seq: int
    opened_at_ms: int
    colo: str
    country: str
    events: list[EdgeEvent] = field(default_factory=list)
    size: int = 0


class Priced(Struct, frozen=True):
    """The price of taps that are alike, and the forms of claims at it.

    Attributes:
        forms: by the unit's price as it is just now, whether stock is known, and the place.
    """

    price: Price
    quantity: int
    forms: dict[tuple[int, bool, str], ClaimForm]


class GivenClaim(Struct, frozen=True):
    """A claim's answer as it was given, what was asked for, and until when it is worth repeating."""

    body: bytes
    asked: tuple[object, ...]
    expires_at_ms: int


class FreshStock(Struct, frozen=True):
    """The snapshots of some drops, while none of them is due.

    Attributes:
        found: by drop; the same object for as long as nothing has changed.
        from_ms, until_ms: when nothing of it is due.
    """

    found: dict[str, StockSnapshot]
    from_ms: int
    until_ms: int


class Recipe(NamedTuple):
    """How the overlay of a context is made.

    Attributes:
        template: the key of its template.
        telling: the key of what is told of stock in it.
        drops: of the clip, in the manifest's order.
    """

    template: tuple[object, ...]
    telling: tuple[object, ...]
    drops: tuple[str, ...]


class ToldStock(NamedTuple):
    """What was told of a clip's offers, and the snapshots that it was made of."""

    found: dict[str, StockSnapshot]
    told: Told
