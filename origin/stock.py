"""Stock snapshots: what drops have left, read at one instant, with the rate at which each edge node may admit.

The rate is a share among the nodes that were heard of lately. Nodes come and go, so the number is doubled: a node that
has not reported yet must not push all of them together over the published bound.
"""

from collections.abc import Collection
from typing import Final

from origin.database import Connection
from shared.stock import StockSnapshot, StockSnapshots, set_admission_rate

LIVE_MS: Final = 60_000  # within which a node must have reported to count as live
HEADROOM: Final = 2

# One statement, one snapshot of the database: all drops are read at the same instant.
_READ: Final = """
    SELECT drop, stock_version, total, free, (SELECT count(*) FROM edge_nodes WHERE last_received_ms > %(live)s)
    FROM drops WHERE drop = ANY(%(drops)s) ORDER BY drop
"""


async def read_snapshots(connection: Connection, drops: Collection[str], now_ms: int) -> StockSnapshots:
    """Return the snapshots of those of these drops that there are, by id."""
    found = await connection.execute(_READ, {"drops": list(drops), "live": now_ms - LIVE_MS})
    return StockSnapshots(
        as_of_ms=now_ms,
        drops=tuple(
            StockSnapshot(
                drop=drop,
                version=version,
                as_of_ms=now_ms,
                total=total,
                remaining=free,
                admit_per_s=set_admission_rate(free, HEADROOM * max(1, live)),
            )
            for drop, version, total, free, live in await found.fetchall()
        ),
    )
