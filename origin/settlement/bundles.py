"""What is stored of settled bundles: a receipt that says all that those of its parts do, and the rows of the parts.

`shared.claims.bundles` decides. What is settled of a part goes into the part's own drop as any other settlement: with a
receipt, which follows from the bundle's, and an entry in that drop's audit trail.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from origin.settlement.answers import Decision, read_receipt
from shared.claims.bundles import list_parts
from shared.claims.receipts import Paid, ReceiptPart, commit_holder, encode_receipt, unfold_parts, write_receipt
from shared.claims.settlement import DropStock, Settled, Source
from shared.claims.tokens import Claim


class DecidedPart(NamedTuple):
    """A part that is settled: its claim, its row, its receipt, and the units that it gives."""

    claim: Claim
    decision: Decision
    receipt: bytes
    quantity: int
    first_number: int


def write_bundle(  # noqa: PLR0913, PLR0917 - all that a receipt states
    claim: Claim,
    settled: Settled,
    drops: Mapping[str, DropStock],
    places: Mapping[str, tuple[int, str]],
    issuer: str,
    now_ms: int,
    paid: Paid | None,
    *,
    handed_over: bool,
) -> bytes:
    """Return the payload of a bundle's receipt, which says all that those of its parts do.

    Args:
        claim: on the bundle.
        settled: what was decided of it.
        drops: rows by id.
        places: by drop: where its next entry goes, and the hash before it.
        issuer: as of `write_receipt`.
        now_ms: the instant of the decision.
        paid: how, when it is paid already.
        handed_over: whether the viewer has the units already, so that nothing is picked up.
    """
    pickups = {drop: None if handed_over else drops[drop].pickup for drop in places}
    parts = []
    for part in settled.parts:
        drop = drops[part.claim.drop]
        position, previous = places[drop.drop]
        numbers = range(part.first_number, part.first_number + part.quantity)
        parts.append(
            ReceiptPart(
                claim_id=part.claim.claim_id,
                holder=commit_holder(part.claim.claim_id, claim.cnf.jkt),
                drop=drop.drop,
                run=drop.run,
                sku=drop.sku,
                run_numbers=tuple(numbers),
                position=position,
                previous=previous,
                pickup=pickups[drop.drop],
            )
        )
    own, first, pickup = places[claim.drop], settled.first_number, pickups[claim.drop]
    said = write_receipt(claim, issuer, first, now_ms, paid, place=own, pickup=pickup, parts=tuple(parts))
    return encode_receipt(said)


def decide_parts(
    claim: Claim, settled: Settled, whole: Decision, drops: Mapping[str, DropStock]
) -> Iterator[DecidedPart]:
    """Give the rows of a settled bundle's parts; `whole` is the bundle's own."""
    if whole.receipt is None:
        raise AssertionError(f"bundle {claim.jti} is settled without a receipt")
    # What is sold over a counter is in the buyer's hands, whatever it is a part of.
    source: Source = whole.source if whole.source == "pos" else "bundle"
    receipts = unfold_parts(read_receipt(whole.receipt))
    for part, made, said in zip(settled.parts, list_parts(claim, drops), receipts, strict=True):
        receipt = encode_receipt(said)
        decision = Decision(
            claim_id=said.jti,
            drop=said.drop,
            fingerprint=part.claim.fingerprint,
            code=None,
            receipt=receipt,
            kid=whole.kid,
            source=source,
            decided_at_ms=whole.decided_at_ms,
            stock_total=drops[said.drop].total,
            stock_remaining=part.remaining,
            stock_version=part.version,
        )
        yield DecidedPart(made, decision, receipt, part.quantity, part.first_number)
