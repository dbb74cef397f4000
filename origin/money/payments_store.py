"""SQL of payments and of what providers tell of them."""

from typing import Final

import msgspec
from psycopg.rows import class_row

from origin.database import Connection
from shared.money.payments import GIVE_UP_MS, PaymentState, Wanted
from shared.structs import Wire

FIRST_LOOK_MS: Final = 5_000
_DOUBLINGS: Final = 6  # then it is looked at every five minutes and a bit

_COLUMNS: Final = """
    payment, claim_id, provider, reference, amount_minor, currency, state, captured_minor, captured_currency,
    refund_minor, refunded_minor, told_minor, changed_ms, next_look_ms
"""
_ADD: Final = """
    INSERT INTO payments (payment, claim_id, provider, reference, amount_minor, currency, state, captured_minor,
      captured_currency, created_ms, changed_ms, next_look_ms)
    VALUES (%(payment)s, %(claim_id)s, %(provider)s, %(reference)s, %(amount_minor)s, %(currency)s, %(state)s,
      %(captured_minor)s, %(captured_currency)s, %(changed_ms)s, %(changed_ms)s, %(next_look_ms)s)
    ON CONFLICT (payment) DO NOTHING
"""
_ONE: Final = f"SELECT {_COLUMNS} FROM payments WHERE payment = %s"  # noqa: S608 - our own column list
_OF_CLAIM: Final = f"SELECT {_COLUMNS} FROM payments WHERE claim_id = %s ORDER BY created_ms, payment"  # noqa: S608 - as above
_NAMED: Final = "SELECT payment FROM payments WHERE provider = %s AND reference = %s"
_MOVE: Final = """
    UPDATE payments SET state = %(state)s, captured_minor = %(captured_minor)s,
      captured_currency = %(captured_currency)s, refund_minor = %(refund_minor)s, refunded_minor = %(refunded_minor)s,
      told_minor = %(told_minor)s, changed_ms = %(changed_ms)s, next_look_ms = %(next_look_ms)s
    WHERE payment = %(payment)s
"""
# Each process takes others; what was taken has its next turn later, each time twice as late.
_TAKE_DUE: Final = """
    UPDATE payments SET looks = looks + 1, next_look_ms = %(now)s + %(first)s * (1 << least(looks, %(doublings)s))
    WHERE payment IN (
      SELECT payment FROM payments WHERE next_look_ms <= %(now)s ORDER BY next_look_ms LIMIT %(limit)s
      FOR UPDATE SKIP LOCKED
    ) RETURNING payment
"""
_LOOK_NOW: Final = "UPDATE payments SET next_look_ms = %s, looks = 0 WHERE payment = %s AND provider = %s"
_REST: Final = """
    UPDATE payments SET next_look_ms = NULL
    WHERE payment = %s AND state NOT IN ('begun', 'refund_due') AND NOT EXISTS (
      SELECT FROM payment_messages AS told
      WHERE told.payment = payments.payment AND told.provider = payments.provider AND applied_ms IS NULL
    )
"""
_TAKES_MONEY: Final = """
    SELECT (holds.state = 'held' AND until_ms > %(now)s)
      OR (late_payment = 'honour' AND until_ms + %(give_up)s > %(now)s)
    FROM holds JOIN drops USING (drop) WHERE claim_id = %(claim)s AND holds.state IN ('held', 'lapsed', 'released')
"""
_ADD_MESSAGE: Final = """
    INSERT INTO payment_messages (provider, message, payment, received_ms) VALUES (%s, %s, %s, %s)
    ON CONFLICT DO NOTHING
"""
_WAITING: Final = "SELECT message FROM payment_messages WHERE payment = %s AND applied_ms IS NULL"
_APPLY: Final = """
    UPDATE payment_messages SET applied_ms = %s WHERE provider = %s AND message = ANY(%s) AND applied_ms IS NULL
"""


class StoredPayment(Wire, frozen=True, kw_only=True):
    """A row of `payments`.

    Attributes:
        captured_minor, captured_currency: what the provider took.
        refund_minor: how much of it is to go back; refunded_minor: how much of it went.
        told_minor: what the provider said last that it has of it, where that is not what is noted here.
        next_look_ms: when it is looked at next; None once nothing is open.
    """

    payment: str
    claim_id: str
    provider: str
    reference: str | None
    amount_minor: int
    currency: str
    state: PaymentState
    captured_minor: int = 0
    captured_currency: str | None = None
    refund_minor: int = 0
    refunded_minor: int = 0
    told_minor: int | None = None
    changed_ms: int
    next_look_ms: int | None

    @property
    def wanted(self) -> Wanted:
        """Return it as the core takes it."""
        return Wanted(
            payment=self.payment,
            state=self.state,
            amount_minor=self.amount_minor,
            currency=self.currency,
            captured_minor=self.captured_minor,
            refund_minor=self.refund_minor,
            refunded_minor=self.refunded_minor,
            told_minor=self.told_minor,
        )


async def add_payment(connection: Connection, payment: StoredPayment) -> None:
    """Store a new payment; one that is there stays."""
    await connection.execute(_ADD, msgspec.structs.asdict(payment))


async def read_payment(connection: Connection, payment: str, *, lock: bool = False) -> StoredPayment | None:
    """Return a payment; locked, it stays as it is until the transaction ends."""
    cursor = connection.cursor(row_factory=class_row(StoredPayment))
    return await (await cursor.execute(_ONE + (" FOR UPDATE" if lock else ""), [payment])).fetchone()


async def find_payment(connection: Connection, provider: str, reference: str) -> str | None:
    """Return our name for what a provider calls `reference`, or None when it is nothing of ours."""
    row = await (await connection.execute(_NAMED, (provider, reference))).fetchone()
    return None if row is None else str(row[0])


async def list_payments(connection: Connection, claim_id: str) -> list[StoredPayment]:
    """Return all payments of a claim, oldest first."""
    cursor = connection.cursor(row_factory=class_row(StoredPayment))
    return await (await cursor.execute(_OF_CLAIM, [claim_id])).fetchall()


async def note_reference(connection: Connection, payment: str, reference: str) -> None:
    """Note the provider's name for a payment."""
    await connection.execute(
        "UPDATE payments SET reference = %s WHERE payment = %s AND reference IS NULL", (reference, payment)
    )


async def move_payment(connection: Connection, payment: StoredPayment) -> None:
    """Write a payment's new state; the caller holds its lock."""
    await connection.execute(_MOVE, msgspec.structs.asdict(payment))


async def take_due(connection: Connection, now_ms: int, limit: int) -> list[str]:
    """Return payments that are to be looked at now; they count as looked at."""
    scope = {"now": now_ms, "first": FIRST_LOOK_MS, "doublings": _DOUBLINGS, "limit": limit}
    found = await connection.execute(_TAKE_DUE, scope)
    return [payment for (payment,) in await found.fetchall()]


async def takes_money(connection: Connection, claim_id: str, now_ms: int) -> bool:
    """Return whether money may still buy a claim's units: they are held, or the drop honours late money."""
    scope = {"now": now_ms, "claim": claim_id, "give_up": GIVE_UP_MS}
    row = await (await connection.execute(_TAKES_MONEY, scope)).fetchone()
    return row is not None and bool(row[0])


async def add_message(connection: Connection, provider: str, message: str, payment: str, now_ms: int) -> None:
    """Keep what a provider told, once, and have its payment looked at soon."""
    added = await connection.execute(_ADD_MESSAGE, (provider, message, payment, now_ms))
    if added.rowcount:
        await connection.execute(_LOOK_NOW, (now_ms, payment, provider))


async def list_waiting(connection: Connection, payment: str) -> list[str]:
    """Return the messages about a payment that have not been looked into."""
    found = await connection.execute(_WAITING, [payment])
    return [message for (message,) in await found.fetchall()]


async def apply_messages(connection: Connection, stored: StoredPayment, messages: list[str], now_ms: int) -> None:
    """Note that messages have been looked into; a payment of which nothing is open any more rests."""
    await connection.execute(_APPLY, (now_ms, stored.provider, messages))
    await connection.execute(_REST, [stored.payment])
