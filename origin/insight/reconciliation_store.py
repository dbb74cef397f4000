"""SQL of reconciliation: the facts that are compared, and the claims that wait to be verified.

Rules:

1. All facts of one comparison are read in one snapshot (`read_only_snapshot`): what is committed meanwhile is in all of
   them or in none.
2. Claims are streamed in the order of their key, so memory does not grow with their number.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from psycopg.rows import class_row

from origin.catalogue.stock_store import NODE_ALIVE_MS
from origin.database import Connection, Database
from shared.catalogue.stock import LATE_MS
from shared.claims.tokens import Claim
from shared.insight.reconciliation import GAP_GRACE_MS, DropFact, GapFact, IntakeFact, RejectionFact
from shared.insight.standings import ALARM_MS, ClaimFact
from shared.structs import Wire

CHUNK: Final = 5_000
_PATIENT: Final = "SET LOCAL statement_timeout = '10min'; SET LOCAL idle_in_transaction_session_timeout = '10min'"

# Settlements older than what is kept of the edge's reports have nothing to be compared with.
_COMPARED: Final = """
    SELECT drop FROM drops WHERE closes_at_ms > %(closed)s
    UNION SELECT DISTINCT drop FROM issued_claims WHERE issued_at_ms >= %(since)s
"""
_DROP_FACTS: Final = """
    WITH counted AS (
      SELECT made.drop, sum(made.quantity)::bigint AS units, max(made.settled_at_ms) AS last_ms,
        count(*) FILTER (WHERE made.settled_at_ms < %(graced)s AND made.settled_at_ms > %(kept)s
          AND issued.claim_id IS NULL AND made.source NOT IN ('pos', 'bundle')) AS unreported,
        count(*) FILTER (WHERE made.settled_at_ms < %(graced)s AND made.settled_at_ms > %(alarm)s
          AND issued.claim_id IS NULL AND made.source NOT IN ('pos', 'bundle')) AS recent_unreported
      FROM settlements AS made
      LEFT JOIN issued_claims AS issued ON issued.drop = made.drop AND issued.claim_id = made.claim_id
      WHERE made.status = 'settled' AND made.drop = ANY(%(drops)s) GROUP BY made.drop
    ), ended AS (
      SELECT drops.drop, counted.last_ms FROM drops JOIN counted USING (drop) WHERE drops.free = 0
    ), before AS (
      SELECT made.drop, sum(made.quantity)::bigint AS units
      FROM settlements AS made JOIN ended USING (drop)
      WHERE made.status = 'settled' AND made.settled_at_ms > ended.last_ms - %(late)s GROUP BY made.drop
    )
    SELECT drops.drop, total, free, held, settled, coalesce(counted.units, 0) AS settled_units,
      coalesce(unreported, 0) AS unreported, coalesce(recent_unreported, 0) AS recent_unreported,
      ended.last_ms AS sold_out_at_ms, coalesce(before.units, 0) AS units_before,
      greatest(1, (
        SELECT count(*) FROM edge_nodes
        WHERE last_received_ms > ended.last_ms - %(alive)s AND first_received_ms <= ended.last_ms + %(late)s
      )) AS nodes
    FROM drops LEFT JOIN counted USING (drop) LEFT JOIN ended USING (drop) LEFT JOIN before USING (drop)
    WHERE drops.drop = ANY(%(drops)s) ORDER BY drops.drop
"""
_CLAIM_FACTS: Final = """
    SELECT issued.claim_id, issued.drop, issued.units, issued.free, issued.trusted, issued.issued_at_ms,
      issued.expires_at_ms, issued.node, issued.repaired_ms IS NOT NULL AS repaired,
      CASE WHEN made.status IN ('cancelled', 'refunded') THEN 'settled' ELSE made.status END AS decision,
      CASE WHEN holds.state IN ('released', 'lapsed') THEN 0 ELSE holds.until_ms END AS held_until_ms,
      coalesce(made.status <> 'refused' AND made.source = 'payment', false) AS paid
    FROM issued_claims AS issued
    LEFT JOIN settlements AS made ON made.claim_id = issued.claim_id
    LEFT JOIN holds ON holds.claim_id = issued.claim_id
    WHERE issued.issued_at_ms >= %s
    ORDER BY issued.drop, issued.issued_at_ms / 60000, issued.node, issued.claim_id
"""
# A gap is known since the next batch came of which an event is stored; else, since the node was last heard of.
_GAP_FACTS: Final = """
    SELECT nodes.node, nodes.colo, lower(gap) AS first, upper(gap) - 1 AS last,
      coalesce((
        SELECT received_ms FROM edge_events WHERE node = nodes.node AND seq >= upper(gap) ORDER BY seq LIMIT 1
      ), last_received_ms) AS known_since_ms
    FROM edge_nodes AS nodes
    CROSS JOIN LATERAL unnest(int8multirange(int8range(1, upper(nodes.seen))) - nodes.seen) AS gap
    WHERE nodes.batches < nodes.highest_seq ORDER BY nodes.node, first
"""
_INTAKE_FACT: Final = """
    SELECT count(*) AS nodes, coalesce(sum(batches), 0)::bigint AS batches, coalesce(sum(events), 0)::bigint AS events,
      greatest(0, coalesce(max(ahead_ms) FILTER (WHERE last_received_ms > %(alarm)s), 0)) AS ahead_ms,
      coalesce((array_agg(node ORDER BY ahead_ms DESC, node) FILTER (
        WHERE last_received_ms > %(alarm)s AND ahead_ms > 0
      ))[1], '') AS ahead_node,
      coalesce(max(slowest_ms), 0) AS slowest_ms
    FROM edge_nodes
"""
_REJECTION_FACTS: Final = """
    SELECT reason, count(*) AS count, count(*) FILTER (WHERE received_ms > %(alarm)s) AS recent
    FROM event_rejections GROUP BY reason ORDER BY reason
"""
_UNVERIFIED: Final = """
    SELECT drop, claim_id, clip, offer, colo, issued_at_ms, expires_at_ms, token FROM issued_claims
    WHERE token IS NOT NULL AND (drop, claim_id) > (%s, %s) ORDER BY drop, claim_id LIMIT %s
"""
_VERIFIED: Final = """
    UPDATE issued_claims SET trusted = true, token = NULL, units = %(units)s, free = %(free)s,
      repaired_ms = CASE WHEN %(free)s THEN %(now)s ELSE repaired_ms END
    WHERE drop = %(drop)s AND claim_id = %(claim_id)s AND token IS NOT NULL
"""
_FORGED: Final = """
    WITH gone AS (DELETE FROM issued_claims WHERE drop = %(drop)s AND claim_id = %(claim_id)s RETURNING claim_id, token)
    INSERT INTO event_rejections
      (delivery, reason, position, size_bytes, body_sha256, body_start, received_ms)
    SELECT 'claim ' || claim_id, 'claim_forged', -1, length(token), sha256(convert_to(token, 'UTF8')), '', %(now)s
    FROM gone
    ON CONFLICT DO NOTHING
"""


class Unverified(Wire, frozen=True, kw_only=True):
    """A claim that was reported under a key that was not known here."""

    drop: str
    claim_id: str
    clip: str
    offer: str
    colo: str
    issued_at_ms: int
    expires_at_ms: int
    token: str


@asynccontextmanager
async def read_only_snapshot(database: Database) -> AsyncIterator[Connection]:
    """Lend a connection that sees one state of the database, and has time."""
    async with database.snapshot() as connection:
        await connection.execute(_PATIENT)
        yield connection


@asynccontextmanager
async def patient_transaction(database: Database) -> AsyncIterator[Connection]:
    """Lend a connection within a transaction whose statements may take minutes."""
    async with database.transaction() as connection:
        await connection.execute(_PATIENT)
        yield connection


async def list_compared(connection: Connection, closed_after_ms: int, since_ms: int) -> list[str]:
    """Return the drops that closed after an instant, or had claims since another."""
    found = await connection.execute(_COMPARED, {"closed": closed_after_ms, "since": since_ms})
    return sorted(drop for (drop,) in await found.fetchall())


async def read_drop_facts(
    connection: Connection, drops: Sequence[str], now_ms: int, kept_since_ms: int
) -> tuple[DropFact, ...]:
    """Return those of the drops that exist, with what their settlements say."""
    scope = {
        "drops": list(drops),
        "graced": now_ms - GAP_GRACE_MS,
        "alarm": now_ms - ALARM_MS,
        "kept": kept_since_ms,
        "late": LATE_MS,
        "alive": NODE_ALIVE_MS,
    }
    found = await connection.cursor(row_factory=class_row(DropFact)).execute(_DROP_FACTS, scope)
    return tuple(await found.fetchall())


async def stream_claim_facts(connection: Connection, since_ms: int) -> AsyncIterator[list[ClaimFact]]:
    """Give the claims that were issued since an instant, in the order in which they are counted, in chunks."""
    async with connection.cursor("claim_facts", row_factory=class_row(ClaimFact)) as cursor:
        await cursor.execute(_CLAIM_FACTS, (since_ms,))
        while chunk := await cursor.fetchmany(CHUNK):
            yield chunk


async def read_gap_facts(connection: Connection) -> tuple[GapFact, ...]:
    """Return what is missing of each node's sequence."""
    found = await connection.cursor(row_factory=class_row(GapFact)).execute(_GAP_FACTS)
    return tuple(await found.fetchall())


async def read_intake_fact(connection: Connection, now_ms: int) -> IntakeFact:
    """Return what was taken in, over all nodes."""
    cursor = connection.cursor(row_factory=class_row(IntakeFact))
    row = await (await cursor.execute(_INTAKE_FACT, {"alarm": now_ms - ALARM_MS})).fetchone()
    return row or IntakeFact()


async def read_rejection_facts(connection: Connection, now_ms: int) -> tuple[RejectionFact, ...]:
    """Return what did not count, by reason."""
    cursor = connection.cursor(row_factory=class_row(RejectionFact))
    return tuple(await (await cursor.execute(_REJECTION_FACTS, {"alarm": now_ms - ALARM_MS})).fetchall())


async def read_unverified(connection: Connection, after: tuple[str, str], limit: int) -> list[Unverified]:
    """Return a page of the claims that wait for their key."""
    cursor = connection.cursor(row_factory=class_row(Unverified))
    return await (await cursor.execute(_UNVERIFIED, (*after, limit))).fetchall()


async def note_verified(connection: Connection, verified: Sequence[tuple[Unverified, Claim]], now_ms: int) -> None:
    """Note that claims were verified; the free ones among them were settled, which is a repair."""
    rows = [
        {
            "drop": waiting.drop,
            "claim_id": waiting.claim_id,
            "units": claim.quantity,
            "free": claim.total_minor == 0,
            "now": now_ms,
        }
        for waiting, claim in verified
    ]
    if rows:
        await connection.cursor().executemany(_VERIFIED, rows)


async def note_forged(connection: Connection, claims: Sequence[Unverified], now_ms: int) -> None:
    """Move claims that turned out to be forged to the rejections."""
    rows = [{"drop": claim.drop, "claim_id": claim.claim_id, "now": now_ms} for claim in claims]
    if rows:
        await connection.cursor().executemany(_FORGED, rows)
