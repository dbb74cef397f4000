"""A tap becomes a claim: admission, the claim's content, its signature, and the answer.

The same tap (drop, viewer, idempotency key) is the same claim: an isolate repeats the very token that it gave, and
another node gives a token with the same id, which the origin settles once.
"""

import re
from typing import Any, Final

from edge.forms import ClaimForm
from edge.isolate import MAX_FORMS, GivenClaim, Isolate, Priced
from edge.ports import Services
from shared.catalogue.manifest import Manifest, Offer, Price, price_unit
from shared.catalogue.stock import StockSnapshot
from shared.claims.admission import NotAdmitted, decide_admission
from shared.claims.tokens import Claim, Confirmation, Line, derive_claim_id
from shared.insight.events import ClaimIssued
from shared.overlay.locales import choose_currency
from shared.problems import Code, Problem
from shared.structs import (
    CurrencyCode,
    IdempotencyKey,
    Identifier,
    Quantity,
    Strict,
    Thumbprint,
    Wire,
)

MAX_BODY_BYTES: Final = 4096


class ClaimRequest(Strict, frozen=True, kw_only=True):
    """A tap.

    Attributes:
        viewer: thumbprint of the viewer key; the origin asks for proof of it, the edge does not.
        idempotency_key: made for this tap; the same one again is the same tap.
        currency: a wish; without one, the viewer's country decides among the offer's.
    """

    clip: Identifier
    offer: Identifier
    viewer: Thumbprint
    idempotency_key: IdempotencyKey
    quantity: Quantity = 1
    currency: CurrencyCode | None = None


_END: Final = r"$(?!\n)"


def _within(text: Any) -> str:  # noqa: ANN401 - a type of `shared.structs`
    """Return the pattern of a text, without its ends."""
    pattern: str = text.__metadata__[0].pattern
    return f"({pattern.removeprefix('^').removesuffix(_END)})"


_USUAL: Final = re.compile(
    rf'{{"clip":"{_within(Identifier)}","offer":"{_within(Identifier)}","viewer":"{_within(Thumbprint)}",'
    rf'"idempotency_key":"{_within(IdempotencyKey)}"(?:,"quantity":([1-9][0-9]?|100))?'
    rf'(?:,"currency":"{_within(CurrencyCode)}")?}}'
)


def read_usual(body: bytes) -> ClaimRequest | None:
    """Read a tap as browsers write it; None for all else, which takes a decoder, and several times as long."""
    found = _USUAL.fullmatch(body.decode("latin-1"))
    if found is None:
        return None
    clip, offer, viewer, idempotency_key, quantity, currency = found.groups()
    return ClaimRequest(
        clip=clip,
        offer=offer,
        viewer=viewer,
        idempotency_key=idempotency_key,
        quantity=int(quantity) if quantity else 1,
        currency=currency,
    )


class Given(Wire, frozen=True, kw_only=True):
    """A claim was given: the answer's bytes, and the event to report (None for a repeated tap)."""

    body: bytes
    event: ClaimIssued | None


def give_claim(  # noqa: PLR0913, PLR0917 - what it is decided on
    services: Services, manifest: Manifest, offer: Offer, snapshot: StockSnapshot | None, tap: ClaimRequest, now_ms: int
) -> Given | Problem:
    """Decide one tap, and make the claim."""
    isolate, drop = services.isolate, offer.terms.drop
    priced = _find_price(services, manifest, offer, tap)
    if isinstance(priced, Problem):
        return priced
    claim_id = derive_claim_id(drop, tap.viewer, tap.idempotency_key)
    # Offers that share a drop differ in price, although they settle alike.
    terms, price = offer.terms, priced.price
    asked = (manifest.clip, offer.offer, terms.drop, terms.run, tap.viewer, price.currency, terms.sku, tap.quantity)
    repeated = _find_given(isolate, claim_id, asked, now_ms)
    if repeated is not None:
        return repeated
    decision = decide_admission(terms, snapshot, isolate.buckets.get(drop), tap.quantity, now_ms)
    if decision.bucket is not None:
        isolate.buckets[drop] = decision.bucket
    if isinstance(decision, NotAdmitted):
        return decision.problem
    unit_minor, version = price_unit(price, terms, snapshot, now_ms), decision.stock_version
    key = (unit_minor, version > 0, services.place.colo)
    form = priced.forms.get(key)
    if form is None:
        form = _make_form(services, manifest, offer, priced, key)
    token, body, expires_at_ms = form.fill(tap.viewer, claim_id, now_ms // 1000, version)
    isolate.claims[claim_id] = GivenClaim(body, asked, expires_at_ms)
    event = ClaimIssued(
        claim_id=claim_id,
        drop=drop,
        clip=manifest.clip,
        offer=offer.offer,
        token=token,
        expires_at_ms=expires_at_ms,
    )
    return Given(body=body, event=event)


def _find_price(services: Services, manifest: Manifest, offer: Offer, tap: ClaimRequest) -> Priced | Problem:
    """Return the price of a tap, and the forms of claims at it: nearly all taps on an offer share them."""
    # A version of a manifest never changes.
    key = (manifest.clip, manifest.version, offer.offer, tap.currency, services.place.country, tap.quantity)
    priced = services.isolate.priced.get(key)
    if priced is None:
        price = _choose_price(offer, tap, services.place.country)
        if isinstance(price, Problem):
            return price
        priced = services.isolate.priced[key] = Priced(price, tap.quantity, {})
    return priced


def _make_form(
    services: Services, manifest: Manifest, offer: Offer, priced: Priced, key: tuple[int, bool, str]
) -> ClaimForm:
    terms, (unit_minor, has_version, colo) = offer.terms, key
    alike = Claim(
        iss=services.config.issuer,
        aud=services.config.origin_url,
        cnf=Confirmation(jkt=""),
        jti="",
        iat=0,
        nbf=0,
        exp=manifest.claim_ttl_s,
        drop=terms.drop,
        run=terms.run,
        lines=(Line(sku=terms.sku, quantity=priced.quantity, unit_minor=unit_minor),),
        currency=priced.price.currency,
        creator=manifest.creator,
        clip=manifest.clip,
        offer=offer.offer,
        mode=terms.mode,
        stock_version=int(has_version),
        colo=colo,
    )
    form = ClaimForm(alike, services.config.claim_keys[0], services.config.origin_url)
    if len(priced.forms) >= MAX_FORMS:  # a price that moves comes back to few of those that it was
        priced.forms.clear()
    priced.forms[key] = form
    return form


def _find_given(isolate: Isolate, claim_id: str, asked: tuple[object, ...], now_ms: int) -> Given | Problem | None:
    given = isolate.claims.get(claim_id)
    if given is None or given.expires_at_ms <= now_ms:
        return None
    if given.asked != asked:
        return Problem(code=Code.IDEMPOTENCY_CONFLICT)
    return Given(body=given.body, event=None)


def _choose_price(offer: Offer, tap: ClaimRequest, country: str) -> Price | Problem:
    offered = [price.currency for price in offer.prices]
    if tap.currency is not None and tap.currency not in offered:
        return Problem(code=Code.CURRENCY_NOT_OFFERED)
    return offer.prices[offered.index(choose_currency(tap.currency or "", country, offered))]
