"""Allotments: units that are set aside for one channel (a pre-sale, a counter) until an instant, then for everybody.

Rules:

1. An allotment is a drop of its own, with its own offers, caps and numbers, and so is the pool that it belongs to. No
   unit is in both: what all channels sell together is never more than the run has.
2. From the instant on, what is free in the allotment is the pool's. Nobody has to do anything for it: whoever settles
   from either of the two moves the units first, and whoever reads the stock counts them so.
3. What becomes free in it later (a hold that lapses, goods that are brought back) goes the same way.
"""

from collections.abc import Iterable

from msgspec.structs import replace

from shared.claims.settlement import DropStock


def is_released(drop: DropStock, now_ms: int) -> bool:
    """Return whether what is free in a drop is its pool's by now."""
    return drop.release_at_ms is not None and drop.release_at_ms <= now_ms


def release_allotments(drops: Iterable[DropStock], now_ms: int) -> dict[str, DropStock]:
    """Move what is free in released allotments to their pools, as far as these are among `drops`.

    Args:
        drops: rows, locked; what has lapsed of them is free already.
        now_ms: the instant of the decision.

    Returns:
        Those that changed, by id.
    """
    rows = {drop.drop: drop for drop in drops}
    changed: dict[str, DropStock] = {}
    for drop in sorted(rows):
        allotment = rows[drop]
        pool = rows.get(allotment.allotment_of or "")
        if pool is None or allotment.free == 0 or not is_released(allotment, now_ms):
            continue
        units = allotment.free
        changed[drop] = replace(
            allotment,
            total=allotment.total - units,
            free=0,
            released=allotment.released + units,
            version=allotment.version + 1,
        )
        rows[pool.drop] = changed[pool.drop] = replace(
            pool,
            total=pool.total + units,
            free=pool.free + units,
            received=pool.received + units,
            version=pool.version + 1,
        )
    return changed
