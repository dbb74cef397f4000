"""SQL of what the edge and the CDN read: stock, and published manifests."""

from collections.abc import Sequence
from typing import Final

from origin.database import Connection
from shared.catalogue.stock import StockSnapshot, set_admission_rate

NODE_ALIVE_MS: Final = 60_000  # an isolate that was heard of within this time counts when admission is shared out

# What has lapsed is free, and counts as the changes of stock that it will be once somebody writes it down.
_STOCK: Final = """
    SELECT drops.drop, stock_version + lapsed.holds, total, free + lapsed.units
    FROM drops CROSS JOIN LATERAL (
      SELECT count(*) AS holds, coalesce(sum(quantity), 0)::int AS units FROM holds
      WHERE holds.drop = drops.drop AND state = 'held' AND until_ms <= %s
    ) AS lapsed
    WHERE drops.drop = ANY(%s) ORDER BY drops.drop
"""
_NODES: Final = "SELECT count(*) FROM edge_nodes WHERE last_received_ms > %s"
_MANIFEST: Final = "SELECT body FROM manifests WHERE clip = %s ORDER BY version DESC LIMIT 1"


async def read_stock(connection: Connection, drops: Sequence[str], now_ms: int) -> tuple[StockSnapshot, ...]:
    """Return snapshots of those of the drops that exist, by id."""
    async with connection.pipeline():
        found = await connection.execute(_STOCK, (now_ms, list(drops)))
        alive = await connection.execute(_NODES, (now_ms - NODE_ALIVE_MS,))
        rows = await found.fetchall()
        row = await alive.fetchone()
    nodes = max(1, row[0] if row else 0)
    return tuple(
        StockSnapshot(
            drop=drop,
            version=version,
            as_of_ms=now_ms,
            total=total,
            remaining=free,
            admit_per_s=set_admission_rate(free, nodes),
        )
        for drop, version, total, free in rows
    )


async def read_manifest_body(connection: Connection, clip: str) -> bytes | None:
    """Return the newest published manifest of a clip, as published."""
    found = await (await connection.execute(_MANIFEST, (clip,))).fetchone()
    return None if found is None else bytes(found[0])
