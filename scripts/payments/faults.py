"""What the sandbox does wrong when it is told to."""

from typing import Annotated, Literal

from msgspec import Meta

from shared.money.payments import Charge
from shared.structs import Strict

Count = Annotated[int, Meta(ge=0, le=100)]
Pause = Annotated[int, Meta(ge=0, le=60_000)]
Call = Literal["create", "read", "capture", "void", "refund"]
Lie = Literal["", "amount", "currency", "payment", "took_nothing", "never_refunded", "let_go"]


class Faults(Strict, frozen=True, kw_only=True):
    """How it misbehaves, until told otherwise.

    Attributes:
        fail_before: that many of the next calls are answered 500, and do nothing.
        fail_after: that many of the next calls are answered 500, and do what was asked.
        answer_ms: how long each answer to a call is held back.
        hang: calls of this kind stand still until the faults are replaced: before they do what was asked, or `acted`.
        message_ms: how late a message is sent.
        duplicates: how many more times each message is sent.
        keep_messages: messages are kept until `POST /sandbox/messages/flush`, which sends the last one first.
        silent: messages are never sent.
        lie: what is wrong about each answer: the amount and the currency (of new charges: what is charged is wrong),
            the payment's name, money that was taken and is not told, refunds that are not told, money that it says it
            let go of.
    """

    fail_before: Count = 0
    fail_after: Count = 0
    answer_ms: Pause = 0
    hang: Call | None = None
    acted: bool = False
    message_ms: Pause = 0
    duplicates: Count = 0
    keep_messages: bool = False
    silent: bool = False
    lie: Lie = ""


def charge_wrongly(lie: Lie, amount_minor: int, currency: str) -> tuple[int, str]:
    """Return what a new charge is of."""
    if lie == "amount":
        return amount_minor + 1, currency
    if lie == "currency":
        return amount_minor, "USD" if currency != "USD" else "EUR"
    return amount_minor, currency


def tell_wrongly(lie: Lie, charge: Charge) -> dict[str, object]:
    """Return what is wrong in the answer about a charge."""
    match lie:
        case "payment":
            return {"payment": charge.payment + "0"}
        case "took_nothing":
            return {"captured_minor": 0, "refunded_minor": 0}
        case "let_go":
            return {"state": "voided", "captured_minor": 0, "refunded_minor": 0, "pay_at": ""}
        case "never_refunded":
            return {"refunded_minor": 0}
        case _:
            return {}
