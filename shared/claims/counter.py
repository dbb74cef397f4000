"""Sales over a counter: made by a register that may have no network, reported later, settled once.

Rules:

1. A sale over a counter has happened. It is settled as a claim of the register's: from the same stock as the taps of
   viewers, in the same transaction, on the same audit trail. Only what cannot be is refused.
2. The sale's number, made by the register, is its dedup key: a batch that is sent again, in whole or in part, in any
   order, changes nothing and is answered the same.
3. Caps of viewers do not apply to a register; the stock does. What a counter sells beyond it is not settled: it is kept
   as refused (`sold_out`), for a person to look into, because the goods are gone. Give a register a drop of its own to
   sell from where it may be without network, and that cannot be.
"""

from typing import Annotated, Final

from msgspec import Meta

from shared.claims.tokens import Claim, Confirmation, Line, derive_claim_id
from shared.encoding import digest_fields, encode_base64url
from shared.problems import Code, Problem
from shared.structs import AmountMinor, CurrencyCode, Identifier, InstantMs, Quantity, Strict, Wire

MAX_SALES: Final = 500
CLOCK_LEEWAY_MS: Final = 5_000  # how early a register's clock may be

SaleNumber = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$(?!\n)", description="unique for ever within its register")
]


class CounterSale(Strict, frozen=True, kw_only=True):
    """One line of a register.

    Attributes:
        sale: its number.
        offer: what was sold.
        unit_minor: what one unit was sold for, as charged.
        sold_at_ms: by the register's clock.
    """

    sale: SaleNumber
    offer: Identifier
    quantity: Quantity
    unit_minor: AmountMinor
    currency: CurrencyCode
    sold_at_ms: InstantMs


class CounterBatch(Strict, frozen=True, kw_only=True):
    """What a register sold.

    Attributes:
        clip: in whose name: sales count for this clip and its creator.
        sales: in the order in which they were made.
    """

    clip: Identifier
    sales: Annotated[tuple[CounterSale, ...], Meta(min_length=1, max_length=MAX_SALES)]


class CounterOffer(Wire, frozen=True, kw_only=True):
    """What a sale of an offer draws on, and under which currencies it is offered."""

    offer: str
    drop: str
    run: str
    sku: str
    currencies: tuple[str, ...]


def identify_register(name: str) -> str:
    """Return what stands for a register where a viewer's thumbprint stands: nobody has a key to it."""
    return encode_base64url(digest_fields("cliptill register 1", (name,)))


def claim_sale(  # noqa: PLR0913 - a sale, and what it is known by
    sale: CounterSale, offer: CounterOffer | None, *, register: str, clip: str, creator: str, issuer: str, now_ms: int
) -> Claim | Problem:
    """Return the claim that a sale is, or why it cannot be one; that may change, so nothing is kept of it.

    Args:
        sale: as reported.
        offer: what is known of its offer; None when that is not known.
        register: the register's name.
        clip: in whose name it was sold.
        creator: whose the clip is.
        issuer: the origin's public address: it vouches for the register.
        now_ms: the origin's clock.
    """
    if offer is None:
        return Problem(code=Code.OFFER_UNKNOWN)
    if sale.currency not in offer.currencies:
        return Problem(code=Code.CURRENCY_NOT_OFFERED)
    if sale.sold_at_ms > now_ms + CLOCK_LEEWAY_MS:
        return Problem(code=Code.INVALID_FIELD, detail="$.sold_at_ms is in the future: look at the register's clock.")
    viewer, at_s = identify_register(register), sale.sold_at_ms // 1000
    return Claim(
        iss=issuer,
        aud=issuer,
        cnf=Confirmation(jkt=viewer),
        # One number, one sale: whichever offer it is said to be of.
        jti=derive_claim_id("", viewer, sale.sale),
        iat=at_s,
        nbf=at_s,
        exp=at_s,
        drop=offer.drop,
        run=offer.run,
        lines=(Line(sku=offer.sku, quantity=sale.quantity, unit_minor=sale.unit_minor),),
        currency=sale.currency,
        creator=creator,
        clip=clip,
        offer=offer.offer,
        mode="pos",
    )
