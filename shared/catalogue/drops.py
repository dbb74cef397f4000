"""Drops: what a drop's document must respect, by itself, against what has happened to it, its pool, and its parts."""

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from shared.catalogue.entries import DropBody, PartBody, refuse_field
from shared.claims.bundles import count_parts
from shared.claims.settlement import PartUnits
from shared.money.splits import WHOLE_BP, Share
from shared.problems import Code, Problem
from shared.structs import Identifier, InstantMs, Strict


class DropStanding(Strict, frozen=True, kw_only=True):
    """A stored drop, as far as a change of it must respect it.

    Attributes:
        taken: units that `total` cannot do without: held, settled, and those that went to the pool.
        place: that passes were given for; None where none were.
        opens_at_ms, shares, sold: when it opens, who has which part of a sale, and whether there has been one.
    """

    run: Identifier
    sku: Identifier
    taken: int
    allotment_of: Identifier | None = None
    release_at_ms: InstantMs | None = None
    place: Identifier | None = None
    opens_at_ms: InstantMs = 0
    shares: tuple[Share, ...] = ()
    sold: bool = False
    parts: tuple[PartBody, ...] = ()


def sort_shares(body: DropBody) -> DropBody:
    """Return a drop's document with its shares in the order of the creators' ids: the one in which they are kept."""
    return replace(body, shares=tuple(sorted(body.shares, key=lambda share: share.creator)))


def check_drop(body: DropBody, stored: DropStanding | None, now_ms: int) -> Problem | None:
    """Return what is wrong with a drop's document, by itself and against what is stored under its id."""
    if body.opens_at_ms >= body.closes_at_ms:
        return refuse_field("$.closes_at_ms", "must be later than opens_at_ms")
    if body.max_quantity > body.per_viewer_cap:
        return refuse_field("$.max_quantity", "must not exceed per_viewer_cap: no such claim could settle")
    if (body.allotment_of is None) != (body.release_at_ms is None) or body.allotment_of == body.drop:
        return refuse_field("$.allotment_of", "goes with release_at_ms, and names another drop")
    if body.parts and body.allotment_of is not None:
        return refuse_field("$.parts", "a bundle is no allotment: its parts may have them")
    return _check_shares(body, stored, now_ms) or (None if stored is None else _check_change(body, stored, now_ms))


def _check_shares(body: DropBody, stored: DropStanding | None, now_ms: int) -> Problem | None:
    if len({share.creator for share in body.shares}) != len(body.shares):
        return refuse_field("$.shares", "must not name a creator twice")
    if sum(share.share_bp for share in body.shares) > WHOLE_BP:
        return refuse_field("$.shares", f"must not come to more than {WHOLE_BP} basis points")
    if stored is None or sort_shares(body).shares == stored.shares:
        return None
    if stored.sold or stored.opens_at_ms <= now_ms:
        return Problem(code=Code.REVISION_CONFLICT, detail="A drop keeps its shares once it has opened, or sold.")
    return None


def _check_change(body: DropBody, stored: DropStanding, now_ms: int) -> Problem | None:
    if (body.allotment_of, body.parts) != (stored.allotment_of, stored.parts):
        return Problem(code=Code.REVISION_CONFLICT, detail="A drop keeps what it is an allotment of, and its parts.")
    if body.release_at_ms != stored.release_at_ms and (stored.release_at_ms or 0) <= now_ms:
        return Problem(code=Code.REVISION_CONFLICT, detail="The allotment was released: that cannot be taken back.")
    if (body.run, body.sku) != (stored.run, stored.sku):
        detail = "A drop keeps its run and its SKU: make a new drop for a new run."
        return Problem(code=Code.REVISION_CONFLICT, detail=detail)
    if body.total < stored.taken:
        return Problem(code=Code.TOTAL_BELOW_TAKEN, detail=f"{stored.taken} units are held, settled or given on.")
    if stored.place is not None and (body.pickup is None or body.pickup.place != stored.place):
        # A place's scanners know its passes by the drops that are picked up there.
        return Problem(code=Code.REVISION_CONFLICT, detail="Passes for this drop's place were given.")
    return None


def check_allotment(body: DropBody, pool: DropBody | None) -> Problem | None:
    """Return what keeps a drop from being an allotment of `pool`, or None."""
    if pool is None:
        return Problem(code=Code.DROP_UNKNOWN, detail="At $.allotment_of.")
    if pool.allotment_of is not None or pool.parts or pool.sku != body.sku:
        return refuse_field("$.allotment_of", "names a drop of the same SKU that is neither allotment nor bundle")
    return None


def check_parts(body: DropBody, drops: Mapping[str, DropBody]) -> Problem | None:
    """Return what keeps a drop from being a bundle of its parts, or None; `drops` are those of them that are stored."""
    for index, part in enumerate(body.parts):
        other = drops.get(part.drop)
        if other is None:
            return Problem(code=Code.DROP_UNKNOWN, detail=f"At $.parts[{index}].drop.")
        if other.parts or other.allotment_of is not None or part.drop == body.drop:
            return refuse_field(f"$.parts[{index}].drop", "names a drop that is neither bundle nor allotment")
        if body.opens_at_ms < other.opens_at_ms or body.closes_at_ms > other.closes_at_ms:
            return refuse_field(f"$.parts[{index}].drop", "must be open as long as the bundle is")
    for drop, units in _count_units(body).items():
        if units * body.max_quantity > drops[drop].per_viewer_cap:
            return refuse_field("$.parts", f"one claim would have more of {drop} than its per_viewer_cap")
    return None


def check_bundles(body: DropBody, bundles: Iterable[DropBody], drops: Mapping[str, DropBody]) -> Problem | None:
    """Return what keeps a drop from being changed because of bundles that it is a part of, or None.

    Args:
        body: as it would be.
        bundles: that it is a part of.
        drops: what is stored of all their parts.
    """
    for bundle in bundles:
        problem = check_parts(bundle, {**drops, body.drop: body})
        if problem is not None:
            detail = f"The drop is a part of bundle {bundle.drop}. {problem.detail}"
            return Problem(code=Code.REVISION_CONFLICT, detail=detail)
    return None


def _count_units(body: DropBody) -> dict[str, int]:
    return count_parts([PartUnits(drop=part.drop, units=part.units) for part in body.parts])
