"""A tap becomes a claim: admission, the claim's content, its signature, and the answer.

The same tap (drop, viewer, idempotency key) is the same claim: an isolate repeats the very token that it gave, and
another node gives a token with the same id, which the origin settles once.
"""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from edge.isolate import GivenClaim, Isolate
from edge.ports import Services
from shared.catalogue.manifest import Manifest, Offer, Price, price_unit
from shared.catalogue.stock import StockSnapshot
from shared.claims.admission import NotAdmitted, decide_admission
from shared.claims.tokens import Claim, Confirmation, Line, derive_claim_id, sign_claim
from shared.insight.events import ClaimIssued
from shared.overlay.locales import choose_currency
from shared.problems import Code, Problem
from shared.structs import (
    AmountMinor,
    ClaimId,
    CurrencyCode,
    IdempotencyKey,
    Identifier,
    InstantMs,
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


class ClaimAnswer(Wire, frozen=True, kw_only=True):
    """A claim, and what to do with it.

    Attributes:
        claim: compact JWS; to be settled with a proof of the viewer key.
        settles: `event` when it settles by itself, `request` when the viewer must ask for it.
        settle_url: the origin's public address.
    """

    claim: Annotated[str, Meta(description="compact JWS, type claim+jwt")]
    claim_id: ClaimId
    expires_at_ms: InstantMs
    settles: Literal["event", "request"]
    settle_url: str
    lines: tuple[Line, ...]
    total_minor: AmountMinor
    currency: CurrencyCode


_ENCODER: Final = msgspec.json.Encoder()


class Given(Wire, frozen=True, kw_only=True):
    """A claim was given: the answer's bytes, and the event to report (None for a repeated tap)."""

    body: bytes
    event: ClaimIssued | None


def give_claim(
    services: Services, manifest: Manifest, offer: Offer, snapshot: StockSnapshot | None, tap: ClaimRequest
) -> Given | Problem:
    """Decide one tap, and make the claim."""
    isolate, now_ms, drop = services.isolate, services.now_ms(), offer.terms.drop
    price = _choose_price(offer, tap, services.place.country)
    if isinstance(price, Problem):
        return price
    claim_id = derive_claim_id(drop, tap.viewer, tap.idempotency_key)
    fingerprint = _fingerprint(manifest, offer, tap, price)
    repeated = _find_given(isolate, claim_id, fingerprint, now_ms)
    if repeated is not None:
        return repeated
    decision = decide_admission(offer.terms, snapshot, isolate.buckets.get(drop), tap.quantity, now_ms)
    if decision.bucket is not None:
        isolate.buckets[drop] = decision.bucket
    if isinstance(decision, NotAdmitted):
        return decision.problem
    unit_minor = price_unit(price, offer.terms, snapshot, now_ms)
    claim = Claim(
        iss=services.config.issuer,
        aud=services.config.origin_url,
        cnf=Confirmation(jkt=tap.viewer),
        jti=claim_id,
        iat=now_ms // 1000,
        nbf=now_ms // 1000,
        exp=now_ms // 1000 + manifest.claim_ttl_s,
        drop=drop,
        run=offer.terms.run,
        lines=(Line(sku=offer.terms.sku, quantity=tap.quantity, unit_minor=unit_minor),),
        currency=price.currency,
        creator=manifest.creator,
        clip=manifest.clip,
        offer=offer.offer,
        mode=offer.terms.mode,
        stock_version=decision.stock_version,
        colo=services.place.colo,
    )
    return _give(services, claim, fingerprint)


def _give(services: Services, claim: Claim, fingerprint: str) -> Given:
    """Sign a claim, and remember what was given."""
    token = sign_claim(claim, services.config.claim_keys[0])
    body = _ENCODER.encode(_answer(claim, token, services.config.origin_url))
    expires_at_ms = claim.exp * 1000
    services.isolate.claims[claim.jti] = GivenClaim(body, fingerprint, expires_at_ms)
    event = ClaimIssued(
        claim_id=claim.jti,
        drop=claim.drop,
        clip=claim.clip,
        offer=claim.offer,
        token=token,
        expires_at_ms=expires_at_ms,
    )
    return Given(body=body, event=event)


def _find_given(isolate: Isolate, claim_id: str, fingerprint: str, now_ms: int) -> Given | Problem | None:
    given = isolate.claims.get(claim_id)
    if given is None or given.expires_at_ms <= now_ms:
        return None
    if given.fingerprint != fingerprint:
        return Problem(code=Code.IDEMPOTENCY_CONFLICT)
    return Given(body=given.body, event=None)


def _fingerprint(manifest: Manifest, offer: Offer, tap: ClaimRequest, price: Price) -> str:
    """Return what one tap asks for: offers that share a drop differ in price, although they settle alike."""
    terms = offer.terms
    what = (manifest.clip, offer.offer, terms.drop, terms.run, tap.viewer, price.currency, terms.sku, str(tap.quantity))
    # Nothing in it can hold the separator, so it needs no hash.
    return "/".join(what)


def _choose_price(offer: Offer, tap: ClaimRequest, country: str) -> Price | Problem:
    offered = [price.currency for price in offer.prices]
    if tap.currency is not None and tap.currency not in offered:
        return Problem(code=Code.CURRENCY_NOT_OFFERED)
    return offer.prices[offered.index(choose_currency(tap.currency or "", country, offered))]


def _answer(claim: Claim, token: str, settle_url: str) -> ClaimAnswer:
    return ClaimAnswer(
        claim=token,
        claim_id=claim.jti,
        expires_at_ms=claim.exp * 1000,
        settles="request" if claim.total_minor else "event",
        settle_url=settle_url,
        lines=claim.lines,
        total_minor=claim.total_minor,
        currency=claim.currency,
    )
