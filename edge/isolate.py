"""What an isolate remembers between requests: plain data, bounded, and safe to lose at any time.

Nothing here is made at import but empty containers: no clock, no randomness.
"""

from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from cachetools import LRUCache

from shared.catalogue.manifest import Manifest
from shared.catalogue.stock import StockSnapshot
from shared.claims.admission import Bucket
from shared.overlay.rendering import OverlayTemplate

T = TypeVar("T")

# By size, not by number: what anyone may ask for in as many sizes as there are clips, or in as many contexts as there
# are words, must not fill an isolate's memory.
MAX_MANIFEST_BYTES: Final = 16 * 2**20  # of the documents; what they are decoded to takes a few times as much
MAX_TEMPLATE_BYTES: Final = 16 * 2**20
_OVERHEAD_BYTES: Final = 4096  # the key, which is the viewer's own text, and the objects around it
MAX_DROPS: Final = 2048
MAX_CLAIMS: Final = 2048
MAX_CALLERS: Final = 8192


@dataclass(slots=True)
class Entry(Generic[T]):
    """A cached value, when it was read, until when one request is busy with reading it again, and how long it was."""

    value: T
    read_at_ms: int
    leased_until_ms: int = 0
    read_bytes: int = 0


@dataclass(slots=True)
class Calls:
    """How often somebody came since an instant."""

    since_ms: int
    number: int = 0


def _weigh_manifest(entry: Entry[Manifest | None]) -> int:
    return min(entry.read_bytes + _OVERHEAD_BYTES, MAX_MANIFEST_BYTES)


def _weigh_template(template: OverlayTemplate) -> int:
    lasting = len(template.head) + len(template.foot) + sum(len(offer.head) for offer in template.offers)
    return lasting + _OVERHEAD_BYTES


@dataclass(slots=True)
class Isolate:
    """The memory of one isolate.

    Attributes:
        node: its name in events; given with its first request.
        seq: event batches reported so far.
        manifests: by clip; None for a clip that does not exist.
        stock: by drop.
        templates: compiled overlays, by `edge.rendering.ContextKey`.
        buckets: of admission, by drop.
        calls: by whom requests are limited by, those of the present period (`edge.limiting`).
        claims: tokens given, by claim id: a repeated tap gets the very same one.
        refusals_at_ms, refusals: how many refusals were reported in the second that began then.
        suppressed: refusals that were counted but not reported yet.
        beacons_refused: the same of what browsers report.
    """

    node: str = ""
    seq: int = 0
    manifests: MutableMapping[str, Entry[Manifest | None]] = field(
        default_factory=lambda: LRUCache(MAX_MANIFEST_BYTES, getsizeof=_weigh_manifest)
    )
    stock: MutableMapping[str, Entry[StockSnapshot | None]] = field(default_factory=lambda: LRUCache(MAX_DROPS))
    templates: MutableMapping[tuple[object, ...], OverlayTemplate] = field(
        default_factory=lambda: LRUCache(MAX_TEMPLATE_BYTES, getsizeof=_weigh_template)
    )
    buckets: MutableMapping[str, Bucket] = field(default_factory=lambda: LRUCache(MAX_DROPS))
    calls: MutableMapping[str, Calls] = field(default_factory=lambda: LRUCache(MAX_CALLERS))
    claims: MutableMapping[str, "GivenClaim"] = field(default_factory=lambda: LRUCache(MAX_CLAIMS))
    refusals_at_ms: int = 0
    refusals: int = 0
    suppressed: int = 0
    beacons_refused: int = 0


@dataclass(frozen=True, slots=True)
class GivenClaim:
    """A claim's answer as it was given, and until when it is worth repeating."""

    body: bytes
    fingerprint: str
    expires_at_ms: int
