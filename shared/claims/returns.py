"""Returns: a settled claim is called off, its units go back to the stock, and money where some was paid. Pure.

Rules:

1. A claim is returned once, whoever asks: units go back exactly once, and so does money. Goods that cannot be sold as
   they are leave the run; once they are mended, the operator raises the drop's total by them again.
2. What was paid is refunded, what was not is cancelled; asking for the other one is refused.
3. No more goes back than was paid, and in no other currency; a part may be kept. Nothing is no refund.
4. A run number that was given stays given: units that come back are sold under new numbers.
5. A part of a bundle is not returned alone: the bundle is, with all its parts.
6. The same request under the same key has the same answer; another one is told that the claim is returned already.
"""

from typing import Final, Literal

import msgspec
from msgspec.structs import replace

from shared.claims.settlement import DropStock
from shared.claims.states import Actor, State, may_move
from shared.encoding import digest_fields, encode_base64url
from shared.problems import Code
from shared.structs import (
    AmountMinor,
    ClaimId,
    CurrencyCode,
    IdempotencyKey,
    Identifier,
    InstantMs,
    ShortText,
    Strict,
    Wire,
)

Outcome = Literal["cancelled", "refunded"]

CODES: Final = {State.CANCELLED: Code.CLAIM_CANCELLED, State.REFUNDED: Code.CLAIM_REFUNDED}


class ReturnOrder(Strict, frozen=True, kw_only=True):
    """What an operator asks.

    Attributes:
        key: made anew for each return; the same key again is the same request.
        amount_minor: how much goes back; all that was paid where it is left out. Of no meaning when cancelling.
        currency: of the amount; checked where it is given.
        restock: whether the units can be sold again as they are.
        reason: in the operator's words; it is kept, and never shown to viewers.
    """

    key: IdempotencyKey
    amount_minor: AmountMinor | None = None
    currency: CurrencyCode | None = None
    restock: bool = True
    reason: ShortText | None = None


class Returned(Wire, frozen=True, kw_only=True):
    """A claim that was returned: the answer, and what the drop's audit trail covers.

    Attributes:
        units: that came back.
        restocked: whether they went to the stock, to be sold again; else they left the run.
        refund_minor: money that goes back; 0 when nothing was paid.
        position: of its entry in the drop's audit trail.
    """

    claim_id: ClaimId
    state: Outcome
    drop: Identifier
    units: int
    restocked: bool
    refund_minor: int
    currency: CurrencyCode
    returned_ms: InstantMs
    position: int
    by: Literal["operator", "provider"]
    reason: str = ""


class Sold(Wire, frozen=True, kw_only=True):
    """A claim as it stands before its return.

    Attributes:
        paid_minor, paid_currency: what was paid for it and is not back; 0 and the claim's own when nothing was.
        is_part: whether it is a part of a bundle.
    """

    claim_id: str
    drop: str
    state: State
    units: int
    paid_minor: int
    paid_currency: str
    is_part: bool = False


def digest_order(wanted: State, order: ReturnOrder) -> str:
    """Return what is compared when a key comes again."""
    fields = (wanted.value, msgspec.json.encode(order).decode())
    return encode_base64url(digest_fields("cliptill return order 1", fields))


def decide_return(sold: Sold, wanted: State, order: ReturnOrder, actor: Actor) -> int | Code:
    """Return how much money goes back, or why the claim is not returned.

    Args:
        sold: the claim; it has not been returned.
        wanted: cancelled, or refunded.
        order: what is asked.
        actor: who asks.
    """
    if sold.is_part or not may_move(sold.state, wanted, actor):
        return Code.PART_OF_BUNDLE if sold.is_part else Code.NOT_SETTLED
    if wanted is State.CANCELLED:
        return Code.REFUND_NEEDED if sold.paid_minor else 0
    if not sold.paid_minor:
        return Code.NOTHING_PAID
    amount = sold.paid_minor if order.amount_minor is None else order.amount_minor
    if order.currency not in (None, sold.paid_currency):
        return Code.CURRENCY_DIFFERS
    if amount == 0:
        return Code.NOTHING_TO_REFUND
    return Code.REFUND_TOO_LARGE if amount > sold.paid_minor else amount


def put_back(drop: DropStock, units: int, *, restock: bool) -> DropStock:
    """Return a drop's row with units back in its free stock, or out of its run (rules 1 and 4)."""
    if units > drop.settled:
        raise AssertionError(f"drop {drop.drop} has settled {drop.settled}, and {units} are to come back")
    settled, version = drop.settled - units, drop.version + 1
    if restock:
        return replace(drop, free=drop.free + units, settled=settled, version=version)
    return replace(drop, total=drop.total - units, settled=settled, version=version)
