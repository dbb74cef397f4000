"""The isolate's caches in front of the manifest store and the stock source.

One request at a time reads again (a lease), the others go on with what there is; no request ever waits for another's
I/O, which the platform forbids. For an overlay, the one does not wait either while what there is was read not long
ago: it reads beside its answer (`stale-while-revalidate` of RFC 5861), so that no overlay of a clip that is watched is
late. A tap is decided on what is fresh. What cannot be read again is served as it was: an overlay beats a blank.
"""

import re
from typing import Any, Final

from edge.isolate import Entry, FreshStock
from edge.ports import Services
from shared.catalogue.manifest import Manifest, ManifestFault, read_manifest
from shared.catalogue.stock import FRESH_MS, StockSnapshot, is_believable
from shared.errors import ServiceAwayError
from shared.problems import Code, Problem

MANIFEST_FRESH_MS: Final = 5_000
# Until these ages an overlay shows what there is while it is read again.
MANIFEST_USABLE_MS: Final = 2 * MANIFEST_FRESH_MS
STOCK_USABLE_MS: Final = 2 * FRESH_MS
LEASE_MS: Final = 1_000  # also how long a dead service is left alone
LEASED_LOOK_MS: Final = 25  # how long a request that does not read may miss what another has read
NEVER_MS: Final = -1

_IDENTIFIER: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


def is_identifier(text: str) -> bool:
    """Return whether `text` can name anything: what cannot is never looked up."""
    return _IDENTIFIER.fullmatch(text) is not None


def peek_manifest(services: Services, clip: str, now_ms: int) -> Manifest | None:
    """Return a clip's manifest while it need not be read again, without a coroutine; else None."""
    entry = services.isolate.manifests.get(clip)
    return entry.value if entry is not None and now_ms - entry.read_at_ms < MANIFEST_FRESH_MS else None


async def load_manifest(services: Services, clip: str, usable_ms: int = MANIFEST_FRESH_MS) -> Manifest | Problem:
    """Return a clip's manifest: `clip_unknown` when there is none, `unavailable` when the store is away too long.

    Args:
        services: of the request.
        clip: its identifier, as it was asked for.
        usable_ms: until this age what there is will do while it is read again; beyond, its reading is waited for.
    """
    entry = services.isolate.manifests.get(clip)
    if entry is None and not is_identifier(clip):
        return Problem(code=Code.CLIP_UNKNOWN)
    now_ms = services.now_ms()
    if entry is None or _must_read(entry, now_ms, MANIFEST_FRESH_MS):
        reading = _read_manifest(services, clip)
        if _is_usable(entry, now_ms, usable_ms):
            services.go_on(reading)
        else:
            await reading
        entry = services.isolate.manifests.get(clip) or entry
    if entry is None:
        return Problem(code=Code.UNAVAILABLE, retry_after_s=1)
    return entry.value or Problem(code=Code.CLIP_UNKNOWN)


async def _read_manifest(services: Services, clip: str) -> None:
    """Read the store; what is there but cannot be used changes nothing."""
    try:
        raw = await services.manifests.read(clip)
    except ServiceAwayError:
        return
    manifest = None if raw is None else read_manifest(raw, clip)
    if isinstance(manifest, ManifestFault):
        return
    entry = services.isolate.manifests.get(clip)
    if manifest is not None and entry is not None and entry.value and entry.value.version >= manifest.version:
        manifest = entry.value  # the store is eventually consistent: never go back; and a version never changes
    services.isolate.manifests[clip] = Entry(manifest, services.now_ms(), read_bytes=len(raw or ""))


def peek_stock(services: Services, drops: tuple[str, ...], now_ms: int) -> dict[str, StockSnapshot] | None:
    """Return what `load_stock` returns while nothing of it is due, without a coroutine; else None."""
    fresh = services.isolate.fresh.get(drops)
    return fresh.found if fresh is not None and fresh.from_ms <= now_ms < fresh.until_ms else None


async def load_stock(services: Services, drops: tuple[str, ...], usable_ms: int = FRESH_MS) -> dict[str, StockSnapshot]:
    """Return the newest snapshots at hand of `drops`; a drop without any is left out.

    It is the same dictionary for as long as nothing has changed, and nobody may change it.

    Args:
        services: of the request.
        drops: of a clip, in its manifest's order.
        usable_ms: until this age what there is will do while it is read again; beyond, its reading is waited for.
    """
    now_ms = services.now_ms()
    known = peek_stock(services, drops, now_ms)
    if known is not None:
        return known
    # All of them, not the first alone: each drop that is due must be leased.
    due = [drop for drop in drops if _is_due(services, drop, now_ms)]
    if not due:
        return _gather(services, drops, now_ms)
    if all(_is_usable(services.isolate.stock.get(drop), now_ms, usable_ms) for drop in drops):
        services.go_on(_read_beside(services, drops))
        return _gather(services, drops, now_ms)
    await _read_stock(services, drops)
    return _gather(services, drops, services.now_ms())


async def _read_beside(services: Services, drops: tuple[str, ...]) -> None:
    await _read_stock(services, drops)
    _gather(services, drops, services.now_ms())


def _gather(services: Services, drops: tuple[str, ...], now_ms: int) -> dict[str, StockSnapshot]:
    """Return what there is, and remember until when it need not be looked at."""
    isolate = services.isolate
    entries = [(drop, isolate.stock.get(drop)) for drop in drops]
    found = {drop: entry.value for drop, entry in entries if entry is not None and entry.value}
    known = isolate.fresh.get(drops)  # read only now: another request may have been faster
    if known is not None and known.found == found:
        found = known.found
    until_ms = min((_look_again_ms(entry, now_ms) for _, entry in entries), default=NEVER_MS)
    isolate.fresh[drops] = FreshStock(found, now_ms, until_ms)
    return found


def is_known_absent(services: Services, drop: str) -> bool:
    """Return whether the origin said, not long ago, that there is no such drop."""
    entry = services.isolate.stock.get(drop)
    return entry is not None and entry.value is None and entry.read_at_ms != NEVER_MS


def _look_again_ms(entry: Entry[StockSnapshot | None] | None, now_ms: int) -> int:
    """Return until when an entry need not be looked at: what another request reads just now may be there soon."""
    if entry is None:
        return NEVER_MS
    due_ms = entry.read_at_ms + FRESH_MS
    return due_ms if now_ms < due_ms else min(entry.leased_until_ms, now_ms + LEASED_LOOK_MS)


def _is_due(services: Services, drop: str, now_ms: int) -> bool:
    entry = services.isolate.stock.get(drop)
    return entry is None or _must_read(entry, now_ms, FRESH_MS)


async def _read_stock(services: Services, drops: tuple[str, ...]) -> None:
    stock = services.isolate.stock
    try:
        snapshots = await services.stock.read(drops)
    except ServiceAwayError:
        # What was never read is leased only now: until an answer failed, each request of a cold isolate asks.
        for drop in drops:
            if drop not in stock:
                stock[drop] = Entry(None, NEVER_MS, services.now_ms() + LEASE_MS)
        return
    now_ms = services.now_ms()
    told = {snapshot.drop: snapshot for snapshot in snapshots.drops}
    for drop in drops:
        newest = _newest(stock.get(drop), told.get(drop), now_ms)
        if newest is None and drop in told:
            # There is such a drop, but what is told of it is not believed: as if it had not been read.
            stock[drop] = Entry(None, NEVER_MS, now_ms + LEASE_MS)
        else:
            stock[drop] = Entry(newest, now_ms)


def _newest(entry: Entry[StockSnapshot | None] | None, told: StockSnapshot | None, now_ms: int) -> StockSnapshot | None:
    """Return which snapshot to keep: caches may answer out of order, and clocks may be wrong."""
    known = entry.value if entry is not None else None
    if told is None or not is_believable(told, now_ms):
        return known
    if known is not None and (known.version, known.as_of_ms) > (told.version, told.as_of_ms):
        return known
    return told


def _is_usable(entry: Entry[Any] | None, now_ms: int, usable_ms: int) -> bool:
    return entry is not None and now_ms - entry.read_at_ms < usable_ms


def _must_read(entry: Entry[Any], now_ms: int, fresh_ms: int) -> bool:
    """Return whether this request is the one that reads again; if so, it holds the lease from now."""
    if now_ms - entry.read_at_ms < fresh_ms or now_ms < entry.leased_until_ms:
        return False
    entry.leased_until_ms = now_ms + LEASE_MS
    return True
