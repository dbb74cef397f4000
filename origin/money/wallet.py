"""Paying with credit: nobody else is asked, so goods and money meet in one transaction, and nothing is ever half-done.

Rules:

1. The drop's row is locked first, then the wallet: as for every payment, so that no two wait for each other.
2. What cannot be paid leaves no trace: the units stay held, and the viewer may come back with more credit.
"""

from typing import Final

from msgspec.structs import replace

from origin.database import Connection, Database
from origin.money import ledger_store as ledger
from origin.money import payments_store as store
from origin.money.payments_store import FIRST_LOOK_MS, StoredPayment
from origin.money.shares_store import share_out
from origin.settlement.answers import Decision
from origin.settlement.holds_store import StoredHold
from origin.settlement.settling import Settler
from shared.claims.tokens import Claim
from shared.errors import CliptillError
from shared.problems import Code

WALLET: Final = "wallet"


class _NotPaidError(CliptillError):
    """Ends a transaction without a trace."""

    def __init__(self, code: Code) -> None:
        super().__init__(code.value)
        self.code = code


def describe_new(held: StoredHold, attempt: int, provider: str, now_ms: int) -> StoredPayment:
    """Return a payment of a held claim, as it begins."""
    claim = held.to_claim()
    return StoredPayment(
        payment=f"{held.claim_id}.{attempt}",
        claim_id=held.claim_id,
        provider=provider,
        reference=None,
        amount_minor=claim.total_minor,
        currency=claim.currency,
        state="begun",
        changed_ms=now_ms,
        next_look_ms=now_ms + FIRST_LOOK_MS,
    )


def has_bought(payment: StoredPayment) -> bool:
    """Return whether a payment has its goods."""
    return payment.state == "captured"


async def settle_paid(settler: Settler, connection: Connection, claim: Claim, now_ms: int) -> Decision:
    """Settle a claim whose money is there, in the caller's transaction; refused is what must have its money back."""
    (decision,) = await settler.settle_in(connection, [claim], "payment", now_ms)
    if isinstance(decision, Decision):
        return decision
    raise AssertionError(f"paid claim {claim.jti} was neither settled nor refused")


async def pay_from_wallet(
    database: Database, settler: Settler, held: StoredHold, attempt: int, now_ms: int
) -> StoredPayment | Code:
    """Take credit and give the goods; or return why not."""
    try:
        async with database.transaction() as connection:
            return await _pay_in(connection, settler, held, attempt, now_ms)
    except _NotPaidError as error:
        return error.code


async def _pay_in(
    connection: Connection, settler: Settler, held: StoredHold, attempt: int, now_ms: int
) -> StoredPayment:
    claim = held.to_claim()
    total = claim.total_minor
    decision = await settle_paid(settler, connection, claim, now_ms)
    if decision.code is not None:
        raise _NotPaidError(decision.code)
    before = next(filter(has_bought, await store.list_payments(connection, held.claim_id)), None)
    if before is not None:
        return before
    if await ledger.lock_balance(connection, held.viewer, claim.currency) < total:
        raise _NotPaidError(Code.CREDIT_TOO_LOW)
    paid = replace(
        describe_new(held, attempt, WALLET, now_ms), state="captured", next_look_ms=None, captured_minor=total,
        captured_currency=claim.currency,
    )  # fmt: skip
    await store.add_payment(connection, paid)
    shared = await share_out(connection, claim.drop, claim.creator, claim.jti, 0, total)
    amounts = {ledger.wallet_of(held.viewer): -total, **shared}
    await ledger.post(connection, f"{paid.payment}:captured", claim.currency, amounts, now_ms)
    return paid
