"""SQL of handing on: reading audit trails by a cursor, messages that are due, what came of them, what partners report.

Rules:

1. A drop's cursor is locked while its trail is read, and moves in the transaction that stores the messages: each entry
   is one message, however many processes read, and wherever one is killed.
2. Whoever takes messages to deliver them has them for `LEASE_MS`. One that is killed meanwhile leaves them to others.
3. Of a claim, only the first message that is not delivered is ever taken: what was sold is told before it is called
   off.
4. An acknowledgement counts whoever had it, and once; a failure only if nobody has taken the message since.
5. What was sold over a counter was handed over there: nobody is told of it.
"""

from typing import Final, NamedTuple

from psycopg.rows import class_row

from origin.database import Connection
from shared.fulfilment.handoffs import Kind, Next, Progress, Standing
from shared.structs import ClaimId, Identifier, InstantMs, Wire

LEASE_MS: Final = 30_000
ENTRIES: Final = 1_000  # of one drop's trail in one transaction
DROPS: Final = 20

_START: Final = """
    INSERT INTO handoff_cursors (drop, position) SELECT drop, 0 FROM drops
    WHERE partner IS NOT NULL AND NOT EXISTS (SELECT FROM handoff_cursors AS known WHERE known.drop = drops.drop)
    ON CONFLICT DO NOTHING
"""
_BEHIND: Final = """
    SELECT place.drop, place.position, partner FROM handoff_cursors AS place JOIN drops USING (drop)
    WHERE partner IS NOT NULL AND EXISTS (
      SELECT FROM trail_entries AS entry WHERE entry.drop = place.drop AND entry.position > place.position
    )
    ORDER BY place.drop LIMIT %s FOR UPDATE OF place SKIP LOCKED
"""
_READ_ON: Final = """
    WITH told AS (
      INSERT INTO handoffs (drop, position, claim_id, kind, partner, since_ms, next_try_ms)
      SELECT entry.drop, position, claim_id, kind, %(partner)s, %(now)s, %(now)s
      FROM trail_entries AS entry JOIN settlements USING (claim_id)
      WHERE entry.drop = %(drop)s AND position > %(position)s AND position <= %(position)s + %(most)s
        AND kind IN ('settled', 'returned') AND source <> 'pos'
      ON CONFLICT DO NOTHING RETURNING position
    )
    UPDATE handoff_cursors SET position = greatest(
      (SELECT max(position) FROM trail_entries WHERE drop = %(drop)s AND position <= %(position)s + %(most)s), position
    ) WHERE drop = %(drop)s RETURNING (SELECT count(*) FROM told)
"""
_PARTNERS: Final = """
    SELECT partner FROM partners WHERE EXISTS (
      SELECT FROM handoffs WHERE handoffs.partner = partners.partner AND state = 'waiting' AND next_try_ms <= %s
    )
"""
_TAKE: Final = """
    WITH taken AS (
      UPDATE handoffs SET tries = tries + 1, next_try_ms = %(now)s + %(lease)s
      WHERE (drop, position) IN (
        SELECT drop, position FROM handoffs AS due WHERE partner = %(partner)s AND state = 'waiting'
          AND next_try_ms <= %(now)s AND NOT EXISTS (
            SELECT FROM handoffs AS before
            WHERE before.claim_id = due.claim_id AND before.position < due.position AND before.state <> 'delivered'
          )
        ORDER BY next_try_ms, position LIMIT %(limit)s FOR UPDATE SKIP LOCKED
      ) RETURNING drop, position, claim_id, kind, tries, since_ms
    )
    SELECT taken.*, at_ms, CASE taken.kind WHEN 'settled' THEN made.receipt ELSE returns.document END AS document
    FROM taken JOIN trail_entries AS entry USING (drop, position)
    JOIN settlements AS made ON made.claim_id = taken.claim_id
    LEFT JOIN returns ON returns.claim_id = taken.claim_id
    ORDER BY taken.drop, taken.position
"""
_DELIVERED: Final = """
    UPDATE handoffs SET state = 'delivered', next_try_ms = NULL, delivered_ms = coalesce(delivered_ms, %(now)s),
      answer = %(answer)s
    WHERE drop = %(drop)s AND position = %(position)s AND state <> 'delivered'
"""
_FAILED: Final = """
    UPDATE handoffs SET state = %(state)s, next_try_ms = %(next)s, answer = %(answer)s
    WHERE drop = %(drop)s AND position = %(position)s AND state = 'waiting' AND tries = %(tries)s
"""
_LIST: Final = """
    SELECT claim_id, kind, drop, position, partner, state, tries, next_try_ms, answer, delivered_ms, progress,
      progress_at_ms
    FROM handoffs WHERE (drop, position) > (%(after_drop)s, %(after_position)s)
      AND (%(state)s::text IS NULL OR state = %(state)s) AND (%(partner)s::text IS NULL OR partner = %(partner)s)
      AND (%(drop)s::text IS NULL OR drop = %(drop)s) AND (%(claim)s::text IS NULL OR claim_id = %(claim)s)
      AND (%(progress)s::text IS NULL OR progress = %(progress)s)
    ORDER BY drop, position LIMIT %(limit)s
"""
_RESEND: Final = """
    UPDATE handoffs SET state = 'waiting', since_ms = %(now)s, next_try_ms = %(now)s, tries = 0
    WHERE claim_id = %(claim)s
"""
_RESEND_ALL: Final = """
    UPDATE handoffs SET state = 'waiting', since_ms = %(now)s, next_try_ms = %(now)s, tries = 0
    WHERE partner = %(partner)s AND state IN ('waiting', 'dead')
"""
_SOLD: Final = """
    SELECT progress_at_ms, drop, position FROM handoffs WHERE claim_id = %s AND kind = 'settled' AND partner = %s
    FOR UPDATE
"""
_ADD_REPORT: Final = """
    INSERT INTO partner_reports (partner, message, digest, claim_id, type, reason, at_ms, received_ms)
    VALUES (%(partner)s, %(message)s, %(digest)s, %(claim_id)s, %(type)s, %(reason)s, %(at_ms)s, %(received_ms)s)
    ON CONFLICT DO NOTHING
"""
_KNOWN_REPORT: Final = "SELECT digest FROM partner_reports WHERE partner = %s AND message = %s"
_MOVE: Final = "UPDATE handoffs SET progress = %s, progress_at_ms = %s WHERE claim_id = %s AND kind = 'settled'"


class DueMessage(Wire, frozen=True, kw_only=True):
    """A message that is to be delivered now; `document` is what its entry of the audit trail covers."""

    drop: str
    position: int
    claim_id: str
    kind: Kind
    tries: int
    since_ms: int
    at_ms: int
    document: bytes


class HandoffView(Wire, frozen=True, kw_only=True):
    """How far a message to a partner is.

    Attributes:
        kind, position: of the entry of the drop's audit trail that it tells of.
        state: `waiting` (to be tried, at `next_try_ms`), `delivered` (the partner took it), or `dead` (send it again).
        tries: how often, since it was first sent, or sent again.
        answer: what the last try came to: an HTTP status, or `no_answer`.
        delivered_ms: when the partner took it first.
        progress, progress_at_ms: what the partner reported last of the claim, and when that was by its clock.
    """

    claim_id: ClaimId
    kind: Kind
    drop: Identifier
    position: int
    partner: Identifier
    state: Standing
    tries: int
    next_try_ms: InstantMs | None
    answer: str
    delivered_ms: InstantMs | None
    progress: Progress | None
    progress_at_ms: InstantMs | None


class Wanted(Wire, frozen=True, kw_only=True):
    """Which messages are listed; None is any."""

    state: Standing | None = None
    partner: Identifier | None = None
    drop: Identifier | None = None
    claim: ClaimId | None = None
    progress: Progress | None = None


class NewReport(NamedTuple):
    """A partner's report, as it is stored."""

    partner: str
    message: str
    digest: bytes
    claim_id: str
    type: str
    reason: str
    at_ms: int
    received_ms: int


async def read_trails(connection: Connection, now_ms: int) -> int:
    """Make messages of what trails of drops with a partner have more, in the caller's transaction; return how many."""
    await connection.execute(_START)
    behind = await (await connection.execute(_BEHIND, [DROPS])).fetchall()
    made = 0
    for drop, position, partner in behind:
        scope = {"drop": drop, "position": position, "partner": partner, "now": now_ms, "most": ENTRIES}
        row = await (await connection.execute(_READ_ON, scope)).fetchone()
        made += 0 if row is None else row[0]
    return made


async def list_due_partners(connection: Connection, now_ms: int) -> list[str]:
    """Return the partners that may have messages to be delivered."""
    return [partner for (partner,) in await (await connection.execute(_PARTNERS, [now_ms])).fetchall()]


async def take_messages(connection: Connection, partner: str, now_ms: int, limit: int) -> list[DueMessage]:
    """Return messages of a partner that are due; they are the caller's for `LEASE_MS`."""
    scope = {"partner": partner, "now": now_ms, "lease": LEASE_MS, "limit": limit}
    return await (await connection.cursor(row_factory=class_row(DueMessage)).execute(_TAKE, scope)).fetchall()


async def note_try(connection: Connection, message: DueMessage, outcome: Next, answer: str, now_ms: int) -> None:
    """Note what came of a try (rule 4)."""
    scope = {
        "drop": message.drop, "position": message.position, "tries": message.tries, "answer": answer, "now": now_ms,
        "state": outcome.standing, "next": outcome.next_try_ms,
    }  # fmt: skip
    await connection.execute(_DELIVERED if outcome.standing == "delivered" else _FAILED, scope)


async def list_handoffs(
    connection: Connection, wanted: Wanted, after: tuple[str, int], limit: int
) -> list[HandoffView]:
    """Return a page of messages, by drop and position."""
    scope = {name: getattr(wanted, name) for name in Wanted.__struct_fields__}
    scope |= {"after_drop": after[0], "after_position": after[1], "limit": limit}
    return await (await connection.cursor(row_factory=class_row(HandoffView)).execute(_LIST, scope)).fetchall()


async def resend_claim(connection: Connection, claim_id: str, now_ms: int) -> bool:
    """Have all messages about a claim sent again, in their order; return whether there are any."""
    return (await connection.execute(_RESEND, {"claim": claim_id, "now": now_ms})).rowcount > 0


async def resend_partner(connection: Connection, partner: str, now_ms: int) -> int:
    """Have all messages that a partner has not taken sent now; return how many there are."""
    return (await connection.execute(_RESEND_ALL, {"partner": partner, "now": now_ms})).rowcount


async def lock_sold(connection: Connection, claim_id: str, partner: str) -> tuple[bool, int | None]:
    """Return whether a claim was handed on to a partner, and the instant of its last report; it stays so."""
    row = await (await connection.execute(_SOLD, (claim_id, partner))).fetchone()
    return (False, None) if row is None else (True, row[0])


async def add_report(connection: Connection, report: NewReport) -> bool:
    """Store a report, once; return whether it is new."""
    return (await connection.execute(_ADD_REPORT, report._asdict())).rowcount == 1


async def read_report_digest(connection: Connection, partner: str, message: str) -> bytes | None:
    """Return the digest of a report that is stored."""
    row = await (await connection.execute(_KNOWN_REPORT, (partner, message))).fetchone()
    return None if row is None else bytes(row[0])


async def move_progress(connection: Connection, claim_id: str, progress: Progress, at_ms: int) -> None:
    """Write what a partner reported last of a claim whose row is locked."""
    await connection.execute(_MOVE, (progress, at_ms, claim_id))
