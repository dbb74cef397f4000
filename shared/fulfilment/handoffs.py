"""Handing on what was sold: what a partner is told, when it is told again, and what it may report. Pure.

Rules:

1. A drop that names a partner has each of its settled claims handed on, once: one message with one id, `CLAIM-settled`,
   sent until the partner takes it. What was called off is a second one, `CLAIM-returned`, after the first. What was
   sold over a counter is not handed on: the buyer has it.
2. A message is made from what the audit trail covers (receipt, return), so it says the same on every try.
3. Taken is an answer of 200 to 299, and nothing else: a redirect is not followed, an answer's body is not read.
4. It is tried again after a second, then twice as late each time, at random within half of that, up to an hour; never
   sooner than `Retry-After` asks, up to that hour. After `GIVE_UP_MS`, or an answer of 410, it is dead: a person looks.
5. Of what a partner reports of a claim, the latest by the partner's own clock counts, in whatever order it comes.
6. No address and nothing else of a viewer is in a message: who holds the receipt shows it to the partner.
"""

import re
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from shared.claims.receipts import Payment, Pickup, Receipt
from shared.claims.returns import Outcome, Returned
from shared.claims.tokens import Line
from shared.structs import ClaimId, Identifier, InstantMs, Strict, Wire

FIRST_PAUSE_MS: Final = 1_000
SLOWEST_MS: Final = 3_600_000
GIVE_UP_MS: Final = 3 * 86_400_000
CLOCK_AHEAD_MS: Final = 300_000
_DOUBLINGS: Final = 12  # beyond the slowest
_TAKEN: Final = range(200, 300)
_GONE: Final = 410

Kind = Literal["settled", "returned"]
Standing = Literal["waiting", "delivered", "dead"]
Progress = Literal["shipped", "handed_over", "failed"]
MessageType = Literal["claim.settled", "claim.cancelled", "claim.refunded"]
ReportType = Literal["claim.shipped", "claim.handed_over", "claim.failed"]

_SAFE: Final = re.compile(r"https://[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?(/[!-\"$-~]*)?")
_LOOPBACK: Final = re.compile(r"http://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?(/[!-\"$-~]*)?")


class PartnerBody(Strict, frozen=True, kw_only=True, omit_defaults=False):
    """Who sends or hands over what a drop sells.

    Attributes:
        url: where messages are posted: https; http only to the machine itself, where the settings allow it.
    """

    partner: Identifier
    url: Annotated[str, Meta(max_length=500, description="https address, without user or fragment")]


class Sale(Wire, frozen=True, kw_only=True):
    """What is to be sent or handed over; `payment` says whether it is still to be paid then."""

    claim_id: str
    drop: str
    run: str
    run_numbers: tuple[int, ...]
    offer: str
    lines: tuple[Line, ...]
    payment: Payment
    total_minor: int
    currency: str
    pickup: Pickup | msgspec.UnsetType = msgspec.UNSET


class CalledOff(Wire, frozen=True, kw_only=True):
    """A sale that does not count any more; `restocked` says whether its units are sold again."""

    claim_id: str
    drop: str
    units: int
    restocked: bool


class HandoffMessage(Wire, frozen=True, kw_only=True):
    """What a partner is told; `at_ms` is when it happened, not when it is told."""

    type: MessageType
    at_ms: int
    data: Sale | CalledOff


class ProgressReport(Wire, frozen=True, kw_only=True):
    """What a partner tells of a claim; `at_ms` is when it happened, by the partner's clock."""

    type: ReportType
    claim_id: ClaimId
    at_ms: InstantMs
    reason: Annotated[str, Meta(max_length=200)] = ""


class Next(Wire, frozen=True, kw_only=True):
    """What becomes of a message after a try; `next_try_ms` is None unless it waits."""

    standing: Standing
    next_try_ms: int | None = None


_RETURN_TYPES: Final[dict[Outcome, MessageType]] = {"cancelled": "claim.cancelled", "refunded": "claim.refunded"}
_PROGRESS: Final[dict[ReportType, Progress]] = {
    "claim.shipped": "shipped",
    "claim.handed_over": "handed_over",
    "claim.failed": "failed",
}
_ENCODE: Final = msgspec.json.Encoder().encode
_RECEIPT: Final = msgspec.json.Decoder(Receipt)
_RETURNED: Final = msgspec.json.Decoder(Returned)


def is_partner_address(url: str, *, loopback: bool) -> bool:
    """Return whether messages may be posted there; `loopback` allows http to the machine itself."""
    return _SAFE.fullmatch(url) is not None or (loopback and _LOOPBACK.fullmatch(url) is not None)


def name_message(claim_id: str, kind: Kind) -> str:
    """Return the id that a message has on every try."""
    return f"{claim_id}-{kind}"


def write_message(kind: Kind, document: bytes, at_ms: int) -> bytes:
    """Return the body of a message.

    Args:
        kind: of the entry of the audit trail.
        document: what that entry covers: the receipt's payload, or the return.
        at_ms: the entry's instant.
    """
    if kind == "settled":
        told = _RECEIPT.decode(document)
        sale = Sale(
            claim_id=told.jti, drop=told.drop, run=told.run, run_numbers=told.run_numbers, offer=told.offer,
            lines=told.lines, payment=told.payment, total_minor=told.total_minor, currency=told.currency,
            pickup=told.pickup,
        )  # fmt: skip
        return _ENCODE(HandoffMessage(type="claim.settled", at_ms=at_ms, data=sale))
    back = _RETURNED.decode(document)
    off = CalledOff(claim_id=back.claim_id, drop=back.drop, units=back.units, restocked=back.restocked)
    return _ENCODE(HandoffMessage(type=_RETURN_TYPES[back.state], at_ms=at_ms, data=off))


def decide_delivery(  # noqa: PLR0913 - what a try was, and when
    status: int | None, *, tries: int, since_ms: int, now_ms: int, chance: float, retry_after_s: int = 0
) -> Next:
    """Return what becomes of a message after a try (rules 3 and 4).

    Args:
        status: that it was answered with; None for no answer.
        tries: how often it was tried, this one included.
        since_ms: when it was to be sent at first, or again.
        now_ms: the clock here.
        chance: from 0 to 1, anew for each try.
        retry_after_s: that the partner asked for; 0 when it did not.
    """
    if status in _TAKEN:
        return Next(standing="delivered")
    if status == _GONE or now_ms - since_ms >= GIVE_UP_MS:
        return Next(standing="dead")
    longest = min(SLOWEST_MS, FIRST_PAUSE_MS << min(tries - 1, _DOUBLINGS))
    pause_ms = max(round(longest * (1 + chance) / 2), min(retry_after_s * 1000, SLOWEST_MS))
    return Next(standing="waiting", next_try_ms=now_ms + pause_ms)


def is_news(stored_at_ms: int | None, report: ProgressReport) -> bool:
    """Return whether a report counts beside what was reported before (rule 5)."""
    return stored_at_ms is None or report.at_ms > stored_at_ms


def progress_of(report: ProgressReport) -> Progress:
    """Return what a report says of its claim."""
    return _PROGRESS[report.type]
