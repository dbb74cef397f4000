"""Booking what a provider gave back: what was due, and what somebody gave back by hand in the provider's own dashboard.

Rules:

1. The drop's row is locked first, then the payment's, as by whoever settles.
2. What the provider says has gone back in all is compared with what is noted; only the difference is posted. So it does
   not matter how often it is told, by how many processes at once, or in how many parts it went.
3. What went back beyond what was due is taken from the sale, by its creators' shares.
4. What the provider has and should not have, or does not have and should, is written down for a person to look into;
   nothing is guessed from it.
"""

from msgspec.structs import replace

from origin.database import Connection
from origin.money import ledger_store as ledger
from origin.money import payments_store as store
from origin.money.payments_store import StoredPayment
from origin.money.shares_store import share_out
from origin.settlement import returns_store as returns
from origin.settlement.settlements_store import lock_and_read
from shared.money.payments import Charge


async def book_refund(connection: Connection, stored: StoredPayment, charge: Charge, now_ms: int) -> None:
    """Book what has gone back of a payment, within the caller's transaction."""
    drop = await returns.find_drop(connection, stored.claim_id)
    if drop is not None:
        await lock_and_read(connection, [drop], (), now_ms)
    locked = await store.read_payment(connection, stored.payment, lock=True)
    more = 0 if locked is None else charge.refunded_minor - locked.refunded_minor
    if locked is None or locked.captured_currency is None or more <= 0:
        return
    due = min(more, locked.refund_minor - locked.refunded_minor)
    amounts = {f"provider:{locked.provider}": more}
    if due:
        amounts["refunds_due"] = -due
    amounts |= await _take_from_sale(connection, locked, more - due)
    back = charge.refunded_minor
    await store.move_payment(
        connection,
        replace(
            locked, state="captured" if locked.state == "captured" else "refunded", refund_minor=back,
            refunded_minor=back, told_minor=None, changed_ms=now_ms, next_look_ms=None,
        ),
    )  # fmt: skip
    posting = f"{locked.payment}:refunded" if due else f"{locked.payment}:refunded:{back}"
    await ledger.post(connection, posting, locked.captured_currency, amounts, now_ms)


async def note_difference(connection: Connection, stored: StoredPayment, charge: Charge, now_ms: int) -> None:
    """Note what the provider says it has of a payment, where that is not what we noted (rule 4)."""
    locked = await store.read_payment(connection, stored.payment, lock=True)
    if locked is not None and locked.state == stored.state:
        has = charge.captured_minor - charge.refunded_minor
        told = None if has == locked.captured_minor - locked.refunded_minor else has
        await store.move_payment(connection, replace(locked, told_minor=told, changed_ms=now_ms))


async def _take_from_sale(connection: Connection, locked: StoredPayment, by_hand: int) -> dict[str, int]:
    if not by_hand:
        return {}
    row = await returns.read_sold(connection, locked.claim_id)
    kept = locked.captured_minor - locked.refund_minor
    return await share_out(connection, row.drop, row.creator, row.claim_id, kept, kept - by_hand)
