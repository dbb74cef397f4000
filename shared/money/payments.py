"""Payments: what is to be done next with one, from what we noted and what the provider says now. Pure.

Rules:

1. What a message or a browser says is only a hint to look. What counts is what the provider answers when it is asked.
2. Paid means goods or refund: from every state in which the provider has money, `decide_step` leads to one of both.
3. Money of another amount or another currency than ours buys nothing, and goes back.
4. Every step may be done any number of times, by several processes at once: each has a key of its own at the provider.
5. An answer that contradicts itself, or is about another payment, is no answer (`is_sound`).
6. Money that the provider gave back without being asked (in its own dashboard, say) takes the goods back when it was
   all of it. A part of it is noted, and the goods stay: it is the operator's own affair with the viewer.
7. What the provider has and should not have, or does not have and should, is noted for a person; nothing is guessed.
"""

from typing import Final, Literal

from shared.structs import AmountMinor, CurrencyCode, Wire

PaymentState = Literal["begun", "captured", "refund_due", "refunded", "voided", "failed"]
ChargeState = Literal["pending", "authorised", "captured", "voided", "failed"]
Step = Literal[
    "wait",
    "capture",
    "settle",
    "give_back",
    "void",
    "close",
    "refund",
    "note_refund",
    "note_difference",
    "take_back",
    "nothing",
]

GIVE_UP_MS: Final = 3_600_000  # a payment that has not come this long after its hold was to end is called off
PATIENCE_MS: Final = 2 * GIVE_UP_MS  # what is open this long after its hold was to end needs a person


class Charge(Wire, frozen=True, kw_only=True):
    """What a provider says of a payment now.

    Attributes:
        reference: the provider's name for it; empty when it was never made.
        payment: our name for it.
        pay_at: where the viewer pays; empty when there is nothing to do, or no such page.
        client_secret: what the provider's own script in the viewer's browser asks for; empty when there is none.
    """

    reference: str
    payment: str
    state: ChargeState
    amount_minor: AmountMinor
    currency: CurrencyCode
    captured_minor: AmountMinor = 0
    refunded_minor: AmountMinor = 0
    pay_at: str = ""
    client_secret: str = ""


class Wanted(Wire, frozen=True, kw_only=True):
    """What we noted of a payment: what it should be, and how far it is.

    Attributes:
        captured_minor: what the provider took.
        refund_minor: how much of it must have gone back; refunded_minor: how much of it went.
        told_minor: what the provider said last that it has, where that is not what we noted.
    """

    payment: str
    state: PaymentState
    amount_minor: int
    currency: str
    captured_minor: int = 0
    refund_minor: int = 0
    refunded_minor: int = 0
    told_minor: int | None = None


def is_sound(charge: Charge, payment: str) -> bool:
    """Return whether a provider's answer can be true of a payment (rule 5)."""
    money_is_there = charge.captured_minor > 0
    return (
        charge.payment == payment
        and money_is_there == (charge.state == "captured")
        and charge.refunded_minor <= charge.captured_minor
    )


def decide_step(wanted: Wanted, charge: Charge, *, takes_money: bool) -> Step:
    """Return what is to be done next.

    Args:
        wanted: the stored payment.
        charge: as the provider tells it now; sound.
        takes_money: whether money may still buy the units: they are held, or the drop honours late money.

    Returns:
        `capture`, `void` and `refund` at the provider; `settle` for goods; `give_back` to note that a refund is due,
        also of money that came although the payment was over; `note_refund` for what has gone back; `note_difference`
        for what does not fit (rule 7); `close` to note that there will be no money; `wait` for the viewer; `take_back`
        when the provider gave all of the money back without being asked; `nothing` once it is over.
    """
    match wanted.state:
        case "begun":
            return _decide_begun(wanted, charge, takes_money=takes_money)
        case "refund_due":
            return "refund" if charge.refunded_minor < wanted.refund_minor else "note_refund"
        case "captured" if 0 < charge.captured_minor == charge.refunded_minor:
            return "take_back"
        case "captured" | "refunded":
            return _compare(wanted, charge)
        case "voided" | "failed":
            return "give_back" if charge.refunded_minor < charge.captured_minor else "nothing"


def _compare(wanted: Wanted, charge: Charge) -> Step:
    """Return what is to be noted of a payment that is over."""
    if charge.captured_minor == wanted.captured_minor and charge.refunded_minor > wanted.refunded_minor:
        return "note_refund"
    has = charge.captured_minor - charge.refunded_minor
    told = None if has == wanted.captured_minor - wanted.refunded_minor else has
    return "nothing" if told == wanted.told_minor else "note_difference"


def _decide_begun(wanted: Wanted, charge: Charge, *, takes_money: bool) -> Step:
    same = (charge.amount_minor, charge.currency) == (wanted.amount_minor, wanted.currency)
    match charge.state:
        case "captured":
            right = same and charge.captured_minor == wanted.amount_minor and not charge.refunded_minor
            return "settle" if right else "give_back"
        case "voided" | "failed":
            return "close"
        case "authorised":
            return "capture" if same and takes_money else "void"
        case "pending":
            return "wait" if same and takes_money else "void"
