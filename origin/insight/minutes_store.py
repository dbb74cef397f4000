"""SQL of the claims' standings by drop, minute and node (`shared.insight.standings.Minute`).

Rules:

1. A run counts anew from `find_start` on: what is recent, what may still change, and what came late. Older minutes stay
   as they were counted.
2. What is counted anew replaces what was there, in one transaction: a run that is killed leaves the earlier counts.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from psycopg.rows import class_row

from origin.database import Connection, Database
from origin.insight.reconciliation_store import patient_transaction
from shared.insight.standings import MINUTE_MS, Minute

RECENT_MS: Final = 2 * 86_400_000
_COUNTS: Final = (
    "issued", "presented", "held", "settled", "paid", "refused", "outstanding", "lapsed", "due", "unverified",
    "repaired", "over_issued", "blind",
)  # fmt: skip
_COLUMNS: Final = ("drop", "minute_ms", "node", *_COUNTS)
_WRITE: Final = f"COPY claim_minutes ({', '.join(_COLUMNS)}) FROM STDIN"
_SUMS: Final = f"""
    SELECT drop, 0::bigint AS minute_ms, '' AS node, {", ".join(f"sum({name})::bigint AS {name}" for name in _COUNTS)}
    FROM claim_minutes WHERE drop = ANY(%s) AND minute_ms < %s GROUP BY drop
"""  # noqa: S608 - our own column list
_LIST: Final = f"""
    SELECT {", ".join(_COLUMNS)} FROM claim_minutes WHERE drop = %s AND (minute_ms, node) > (%s, %s)
    ORDER BY minute_ms, node LIMIT %s
"""  # noqa: S608 - our own column list
_START: Final = """
    SELECT least(%(recent)s, (
      SELECT min(minute_ms) FROM claim_minutes WHERE held + outstanding + due > 0
    ), (
      SELECT min(issued_at_ms) FROM issued_claims WHERE received_ms >= %(last)s
    ), %(verified)s)
"""


async def find_start(connection: Connection, now_ms: int, last_run_ms: int | None, verified_ms: int | None) -> int:
    """Return the beginning of the first minute that is to be counted anew.

    Args:
        connection: in the snapshot that is counted.
        now_ms: the origin's clock.
        last_run_ms: when the last run began; None to count all.
        verified_ms: when the oldest claim was issued that this run found to be good or forged; None for none.
    """
    if last_run_ms is None:
        return 0
    # A transaction that committed since then may have begun a little earlier.
    scope = {"recent": now_ms - RECENT_MS, "last": last_run_ms - MINUTE_MS, "verified": verified_ms}
    row = await (await connection.execute(_START, scope)).fetchone()
    start: int = row[0] if row else 0
    return start // MINUTE_MS * MINUTE_MS


async def sum_minutes(connection: Connection, drops: Sequence[str], before_ms: int) -> list[Minute]:
    """Return what was counted of drops before an instant, one sum for each."""
    cursor = connection.cursor(row_factory=class_row(Minute))
    return await (await cursor.execute(_SUMS, (list(drops), before_ms))).fetchall()


async def list_minutes(connection: Connection, drop: str, after: tuple[int, str], limit: int) -> list[Minute]:
    """Return the minutes of a drop after one of them, in order."""
    cursor = connection.cursor(row_factory=class_row(Minute))
    return await (await cursor.execute(_LIST, (drop, *after, limit))).fetchall()


@asynccontextmanager
async def replace_minutes(database: Database, since_ms: int) -> AsyncIterator[Connection]:
    """Lend a connection on which what is written replaces all minutes since an instant, once the block ends."""
    async with patient_transaction(database) as connection:
        await connection.execute("DELETE FROM claim_minutes WHERE minute_ms >= %s", (since_ms,))
        yield connection


async def write_minutes(connection: Connection, minutes: Sequence[Minute]) -> None:
    """Write some minutes."""
    async with connection.cursor() as cursor, cursor.copy(_WRITE) as copy:
        for minute in minutes:
            await copy.write_row([getattr(minute, name) for name in _COLUMNS])
