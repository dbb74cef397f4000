"""SQL of what the edge and the CDN read: stock, and published manifests."""

from collections.abc import Sequence
from typing import Final

from origin.database import Connection
from shared.catalogue.stock import StockSnapshot, set_admission_rate

NODE_ALIVE_MS: Final = 60_000  # an isolate that was heard of within this time counts when admission is shared out

# What has lapsed is free, what allotments have free after their instant is the pool's, and both count as the changes of
# stock that they will be once somebody writes them down (`shared.claims.allotments`). A bundle has as many left as its
# parts allow, and its version counts their changes too (`shared.claims.bundles`).
_STOCK: Final = """
    WITH part AS MATERIALIZED (
      SELECT bundle.drop AS bundle, each ->> 'drop' AS drop, sum((each ->> 'units')::int) AS units
      FROM drops AS bundle CROSS JOIN LATERAL jsonb_array_elements(bundle.parts) AS each
      WHERE bundle.drop = ANY(%(drops)s) AND parts IS NOT NULL GROUP BY 1, 2
    ), asked AS (
      SELECT %(drops)s::text[] || ARRAY(SELECT drop FROM part) AS drops
    ), concerned AS (
      SELECT drops.* FROM drops, asked WHERE drop = ANY(asked.drops)
      UNION SELECT drops.* FROM drops, asked WHERE allotment_of = ANY(asked.drops) AND release_at_ms <= %(now)s
    ), present AS (
      SELECT drop, stock_version + lapsed.holds AS version, total, free + lapsed.units AS free,
        CASE WHEN release_at_ms <= %(now)s THEN free + lapsed.units ELSE 0 END AS gone, allotment_of
      FROM concerned CROSS JOIN LATERAL (
        SELECT count(*) AS holds, coalesce(sum(quantity), 0)::int AS units FROM holds
        WHERE holds.drop = concerned.drop AND state = 'held' AND until_ms <= %(now)s
      ) AS lapsed
    ), moved AS (
      SELECT drop, version + (gone > 0)::int + come.times AS version, total - gone + come.units AS total,
        free - gone + come.units AS free
      FROM present CROSS JOIN LATERAL (
        SELECT count(*) AS times, coalesce(sum(other.gone), 0)::int AS units
        FROM present AS other WHERE other.allotment_of = present.drop AND other.gone > 0
      ) AS come
    ), tied AS (
      SELECT bundle, sum(version)::bigint AS version, min(free / units) AS most
      FROM part JOIN moved USING (drop) GROUP BY bundle
    )
    SELECT drop, moved.version + coalesce(tied.version, 0), total, least(free, most)::int
    FROM moved LEFT JOIN tied ON tied.bundle = moved.drop WHERE drop = ANY(%(drops)s) ORDER BY drop
"""
_NODES: Final = "SELECT count(*) FROM edge_nodes WHERE last_received_ms > %s"
_MANIFEST: Final = "SELECT body FROM manifests WHERE clip = %s ORDER BY version DESC LIMIT 1"


async def read_stock(connection: Connection, drops: Sequence[str], now_ms: int) -> tuple[StockSnapshot, ...]:
    """Return snapshots of those of the drops that exist, by id."""
    async with connection.pipeline():
        found = await connection.execute(_STOCK, {"now": now_ms, "drops": list(drops)})
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
