"""What breaks "paid means goods or refund", what creators are owed wrongly, and goods that went nowhere. Pure.

| Code | Meaning |
|---|---|
| `paid_no_goods` | money was taken, and the claim is not settled |
| `goods_not_paid` | a claim was settled for money that was not taken |
| `refund_late` | money that must go back has not gone for hours |
| `payment_never_ended` | a payment is open hours after its hold was to end |
| `payment_unknown` | the provider tells of a payment that is not known here |
| `payment_unclear` | what the provider says of a payment has contradicted itself for hours |
| `provider_differs` | the provider does not have of a payment what is noted here: a refund came back, say |
| `ledger_differs` | the ledger does not say of a payment what the payment says |
| `shares_differ` | creators are not owed of a payment what their shares of it come to |
| `handoff_dead` | a partner did not take what it was told of a claim, and it is not tried any more |
| `handoff_failed` | a partner reports that it cannot send, or hand over, what was sold |
"""

from typing import Literal

from shared.structs import Wire

OrphanCode = Literal[
    "paid_no_goods",
    "goods_not_paid",
    "refund_late",
    "payment_never_ended",
    "payment_unknown",
    "payment_unclear",
    "provider_differs",
    "ledger_differs",
    "shares_differ",
    "handoff_dead",
    "handoff_failed",
]


class OrphanFact(Wire, frozen=True, kw_only=True):
    """One breach: `subject` names the payment, or the claim."""

    subject: str
    code: OrphanCode
    amount_minor: int
    currency: str | None
