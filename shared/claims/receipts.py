"""Receipts: what the origin signs when a claim is settled. Anyone can verify one; it carries no personal data.

Signed as EdDSA (Ed25519, RFC 8037) JWS of type `receipt+jwt`. The viewer's thumbprint is not in it, because it would
tie all receipts of one person together: `holder` commits to it, and only who has the key and the receipt can show that
they belong together.
"""

import hashlib
from typing import Final, Literal

import msgspec

from shared.claims.tokens import Claim, Line
from shared.encoding import encode_base64url, frame_field
from shared.structs import Identifier, InstantMs, Wire

TYPE: Final = "receipt+jwt"

Paid = Literal["card", "wallet", "at_counter"]
Payment = Literal["none", "at_pickup", "card", "wallet", "at_counter"]


class Pickup(Wire, frozen=True, kw_only=True):
    """Where and when something is to be picked up: from the one instant (inclusive) to the other (exclusive)."""

    place: Identifier
    from_ms: InstantMs
    until_ms: InstantMs


class ReceiptPart(Wire, frozen=True, kw_only=True, omit_defaults=True):
    """What a bundle's receipt says of one of its parts: all that the part's own receipt has beside it.

    Attributes:
        claim_id: of the part.
        holder: `commit_holder` of that id and the viewer key.
        run_numbers: of the units, within the run of their own drop.
        position, previous: its entry's place in the audit trail of that drop, and the hash before it.
    """

    claim_id: str
    holder: str
    drop: str
    run: str
    sku: str
    run_numbers: tuple[int, ...]
    position: int
    previous: str
    pickup: Pickup | None = None


class Receipt(Wire, frozen=True, kw_only=True):
    """What a receipt states.

    Attributes:
        iss: the origin's public address; its key set is at `/.well-known/jwks.json`.
        jti: the claim's id.
        iat: when it was settled, in seconds.
        holder: `commit_holder` of the claim and the viewer key.
        run_numbers: of the units, within the run.
        payment: `none` when it was free, `at_pickup` when it is paid on fetching, `card`, `wallet` or
            `at_counter` when it is paid.
        position, previous: its entry's place in the drop's audit trail, and the hash before it (`shared.audit.trail`).
        pickup: where and when it is to be picked up; absent where nothing is.
        parts: of a bundle: what was settled with it in other drops; absent for all else.
        bundle: of such a part: the claim id of the bundle; absent for all else.
    """

    iss: str
    jti: str
    iat: int
    holder: str
    drop: str
    run: str
    run_numbers: tuple[int, ...]
    lines: tuple[Line, ...]
    currency: str
    total_minor: int
    payment: Payment
    creator: str
    clip: str
    offer: str
    position: int = 0
    previous: str = ""
    pickup: Pickup | msgspec.UnsetType = msgspec.UNSET
    parts: tuple[ReceiptPart, ...] | msgspec.UnsetType = msgspec.UNSET
    bundle: str | msgspec.UnsetType = msgspec.UNSET


_ENCODER: Final = msgspec.json.Encoder()
_HOLDER: Final = frame_field("cliptill receipt holder 1")


def commit_holder(claim_id: str, viewer: str) -> str:
    """Return the commitment to the viewer key that a receipt carries."""
    return encode_base64url(hashlib.sha256(_HOLDER + frame_field(claim_id) + frame_field(viewer)).digest())


def write_receipt(  # noqa: PLR0913 - all that a receipt states
    claim: Claim,
    issuer: str,
    first_number: int,
    settled_at_ms: int,
    paid: Paid | None = None,
    *,
    place: tuple[int, str] = (0, ""),
    pickup: Pickup | None = None,
    parts: tuple[ReceiptPart, ...] = (),
) -> Receipt:
    """Return the receipt of a settled claim.

    Args:
        claim: what is settled.
        issuer: the origin's public address.
        first_number: the first of its run numbers.
        settled_at_ms: the instant of the decision.
        paid: how, when it is paid already.
        place: position in the audit trail, and the hash before it.
        pickup: where and when it is to be picked up, if it is.
        parts: what is settled with it, where it is a bundle.
    """
    quantity, total_minor = claim.quantity, claim.total_minor
    return Receipt(
        iss=issuer,
        jti=claim.jti,
        iat=settled_at_ms // 1000,
        holder=commit_holder(claim.jti, claim.cnf.jkt),
        drop=claim.drop,
        run=claim.run,
        run_numbers=(first_number,) if quantity == 1 else tuple(range(first_number, first_number + quantity)),
        lines=claim.lines,
        currency=claim.currency,
        total_minor=total_minor,
        payment=paid or ("at_pickup" if total_minor else "none"),
        creator=claim.creator,
        clip=claim.clip,
        offer=claim.offer,
        position=place[0],
        previous=place[1],
        pickup=msgspec.UNSET if pickup is None else pickup,
        parts=parts or msgspec.UNSET,
    )


def unfold_parts(receipt: Receipt) -> tuple[Receipt, ...]:
    """Return the receipts of a bundle's parts: they follow from the bundle's, and from nothing else."""
    if receipt.parts is msgspec.UNSET:
        return ()
    return tuple(
        msgspec.structs.replace(
            receipt,
            jti=part.claim_id,
            holder=part.holder,
            drop=part.drop,
            run=part.run,
            run_numbers=part.run_numbers,
            lines=(Line(sku=part.sku, quantity=len(part.run_numbers), unit_minor=0),),
            total_minor=0,
            payment="none",
            position=part.position,
            previous=part.previous,
            pickup=msgspec.UNSET if part.pickup is None else part.pickup,
            parts=msgspec.UNSET,
            bundle=receipt.jti,
        )
        for part in receipt.parts
    )


def encode_receipt(receipt: Receipt) -> bytes:
    """Return the payload that is signed."""
    return _ENCODER.encode(receipt)


class ReceiptForm:
    """The receipts of claims that differ in nothing but their ids, viewers, numbers and places.

    What they have in common is encoded once; each gets the very bytes of `encode_receipt(write_receipt(...))`.

    Args:
        claim: one of them.
        issuer, settled_at_ms, paid, pickup: as of `write_receipt`.
    """

    def __init__(
        self, claim: Claim, issuer: str, settled_at_ms: int, paid: Paid | None = None, pickup: Pickup | None = None
    ) -> None:
        said = write_receipt(claim, issuer, 0, settled_at_ms, paid, pickup=pickup)
        blank = msgspec.structs.replace(said, jti="", holder="", run_numbers=())
        rest = encode_receipt(blank).decode()
        self._quantity = claim.quantity
        self._pieces: list[str] = []
        # Within a text, a quote stands behind a backslash: nobody's text can look like one of these.
        for gap in ('"jti":"', '"holder":"', '"run_numbers":[', '"position":', '"previous":"'):
            before, _, rest = rest.partition(gap)
            self._pieces.append(before + gap)
        self._pieces[-1] = self._pieces[-1].removeprefix("0")  # the position that was left open
        self._pieces.append(rest)

    def fill(self, claim: Claim, first_number: int, place: tuple[int, str]) -> bytes:
        """Return the payload of one of them; arguments as of `write_receipt`."""
        a, b, c, d, e, f = self._pieces
        position, previous = place
        numbers: int | str = first_number
        if self._quantity > 1:
            numbers = ",".join(map(str, range(first_number, first_number + self._quantity)))
        holder = commit_holder(claim.jti, claim.cnf.jkt)
        return f"{a}{claim.jti}{b}{holder}{c}{numbers}{d}{position}{e}{previous}{f}".encode()
