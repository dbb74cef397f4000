"""SQL of the law "paid means goods or refund": what breaks it. It must find nothing.

Rules:

1. Money that was taken is beside goods that were given, or is on its way back, or is back.
2. Goods that are paid by card or wallet are beside money that was taken.
3. What is open has its time (`PATIENCE_MS` after its hold was to end, or after it changed); then it needs a person.
4. What a provider told of a payment that is not known here needs one too, after the same time; so does what it says of
   a payment and cannot be true, and what it has of one and should not have, or does not have and should.
5. The ledger says the same as the payments: what is captured and not refunded is what creators' sales got of it.
6. Creators are owed what their shares come to of what was paid for goods and is not to go back. It is computed anew,
   from the rule as it is published (`shared.money.splits`), and not by what made the entries.
7. What a partner must send was taken by it, and it does not say that it cannot.
"""

from collections.abc import Sequence
from typing import Final

from psycopg.rows import class_row

from origin.database import Connection
from shared.insight.orphans import OrphanFact
from shared.money.payments import PATIENCE_MS

MOST: Final = 100
_ORPHANS: Final = """
    WITH looked_at AS (SELECT * FROM payments WHERE changed_ms >= %(since)s),
    parts AS (
      SELECT drop, creator, share_bp FROM drop_shares
      UNION ALL
      SELECT drop, '', 10000 - sum(share_bp) FROM drop_shares GROUP BY drop
    ),
    divided AS (
      SELECT payment, captured_currency AS currency, drop, creator, kept * share_bp / 10000 AS whole,
        kept - sum(kept * share_bp / 10000) OVER (PARTITION BY payment) AS rest,
        row_number() OVER (PARTITION BY payment ORDER BY kept * share_bp %% 10000 DESC, sha256(
          int4send(16) || 'cliptill split 1'::bytea || int4send(length(claim_id)) || convert_to(claim_id, 'UTF8')
          || int4send(length(creator)) || convert_to(creator, 'UTF8')
        )) AS place
      FROM (
        SELECT payments.payment, claim_id, drop, captured_currency, captured_minor - refund_minor AS kept
        FROM looked_at AS payments JOIN holds USING (claim_id) WHERE captured_minor > refund_minor
      ) AS sold JOIN parts USING (drop)
    ),
    due AS (
      SELECT payment, 'owed:' || creator || ':' || drop AS account, currency, whole + (place <= rest)::integer AS part
      FROM divided WHERE creator <> ''
    ),
    owed AS (
      SELECT payment, account, ledger_entries.currency, sum(ledger_entries.amount_minor)::bigint AS part
      FROM looked_at JOIN ledger_entries ON posting > payment || ':' AND posting < payment || ';'
      WHERE account >= 'owed:' AND account < 'owed;' GROUP BY 1, 2, 3
    )
    SELECT payment AS subject, 'paid_no_goods' AS code, captured_minor AS amount_minor, captured_currency AS currency
    FROM looked_at AS payments WHERE state = 'captured' AND NOT EXISTS (
      SELECT FROM settlements AS given
      WHERE given.claim_id = payments.claim_id AND given.status = 'settled' AND given.source = 'payment'
    )
    UNION ALL
    SELECT payment, 'refund_late', refund_minor - refunded_minor, captured_currency
    FROM payments WHERE next_look_ms IS NOT NULL AND state = 'refund_due' AND changed_ms <= %(patient)s
    UNION ALL
    SELECT payments.payment, 'payment_never_ended', amount_minor, payments.currency
    FROM payments JOIN holds USING (claim_id)
    WHERE next_look_ms IS NOT NULL AND payments.state = 'begun' AND until_ms <= %(patient)s
    UNION ALL
    SELECT payment, 'payment_unknown', 0, NULL FROM payment_messages AS told
    WHERE applied_ms IS NULL AND received_ms <= %(patient)s
      AND NOT EXISTS (SELECT FROM payments WHERE payments.payment = told.payment)
    UNION ALL
    SELECT payment, 'payment_unclear', 0, NULL FROM payment_messages AS told
    WHERE applied_ms IS NULL AND received_ms <= %(patient)s
      AND EXISTS (SELECT FROM payments WHERE payments.payment = told.payment)
    UNION ALL
    SELECT payment, 'provider_differs', captured_minor - refunded_minor - told_minor, captured_currency
    FROM payments WHERE told_minor IS NOT NULL
    UNION ALL
    SELECT claim_id, 'goods_not_paid', 0, NULL FROM settlements AS given
    WHERE status = 'settled' AND source = 'payment' AND settled_at_ms >= %(since)s
      AND NOT EXISTS (SELECT FROM payments WHERE payments.claim_id = given.claim_id AND state = 'captured')
    UNION ALL
    SELECT coalesce(due.payment, owed.payment), 'shares_differ', coalesce(due.part, 0) - coalesce(owed.part, 0),
      coalesce(due.currency, owed.currency)
    FROM due FULL JOIN owed USING (payment, account, currency) WHERE coalesce(due.part, 0) <> coalesce(owed.part, 0)
    UNION ALL
    SELECT claim_id, 'handoff_dead', 0, NULL FROM handoffs WHERE handoffs.state = 'dead'
    UNION ALL
    SELECT claim_id, 'handoff_failed', 0, NULL FROM handoffs JOIN settlements USING (claim_id)
    WHERE progress = 'failed' AND status = 'settled'
    UNION ALL
    SELECT payment, 'ledger_differs', captured_minor - refunded_minor, captured_currency
    FROM looked_at AS payments WHERE (captured_minor, refunded_minor) <> (
      SELECT coalesce(-sum(amount_minor) FILTER (WHERE posting = payment || ':captured'), 0),
        coalesce(sum(amount_minor) FILTER (WHERE posting <> payment || ':captured'), 0)
      FROM ledger_entries
      WHERE posting > payment || ':' AND posting < payment || ';'
        AND (account = 'provider:' || provider OR account LIKE 'wallet:%%')
    )
    ORDER BY 1, 2 LIMIT %(most)s
"""


async def find_orphans(connection: Connection, now_ms: int, since_ms: int = 0) -> Sequence[OrphanFact]:
    """Return what breaks the law, at most `MOST` of it; nothing when all is well.

    Args:
        connection: in a snapshot.
        now_ms: the origin's clock.
        since_ms: what is over is compared when it changed since then; what is open, or was told, always.
    """
    scope = {"patient": now_ms - PATIENCE_MS, "since": since_ms, "most": MOST}
    cursor = connection.cursor(row_factory=class_row(OrphanFact))
    return await (await cursor.execute(_ORPHANS, scope)).fetchall()
