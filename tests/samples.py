"""Sample values, made as the product makes them: by decoding documents, so that every limit has been applied."""

from typing import Any, Final

import msgspec

from shared.catalogue.manifest import DropTerms, Manifest, Offer
from shared.catalogue.stock import StockSnapshot
from shared.claims.keys import ClaimKey, make_claim_key
from shared.claims.tokens import Claim

NOW_MS: Final = 1_800_000_000_000
NOW_S: Final = NOW_MS // 1000
HOUR_MS: Final = 3_600_000

ISSUER: Final = "cliptill-edge"
ORIGIN_URL: Final = "https://origin.example"
VIEWER: Final = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"  # the thumbprint that RFC 9449 has in its examples
OTHER_VIEWER: Final = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"  # that of RFC 7638
TAP: Final = "AAAAAAAAAAAAAAAAAAAAAA"
OTHER_TAP: Final = "BBBBBBBBBBBBBBBBBBBBBB"

OLD_KEY: Final[ClaimKey] = make_claim_key("2026-10", bytes(range(32)))
NEW_KEY: Final[ClaimKey] = make_claim_key("2026-11", bytes(range(32, 64)))


def terms_document(**changes: Any) -> dict[str, Any]:
    """Return what a drop allows: open for an hour around `NOW_MS`, one unit a claim."""
    return {
        "drop": "drop-1",
        "run": "run-1",
        "sku": "sku-1",
        "total": 100,
        "opens_at_ms": NOW_MS - HOUR_MS,
        "closes_at_ms": NOW_MS + HOUR_MS,
        **changes,
    }


def offer_document(**changes: Any) -> dict[str, Any]:
    """Return an offer: a free sample, priced in no currency but for zero."""
    terms = changes.pop("terms", None) or terms_document()
    return {
        "offer": "offer-1",
        "kind": "sample",
        "names": {"en": "Sample"},
        "prices": [{"currency": "EUR", "amount_minor": 0}],
        "terms": terms,
        **changes,
    }


def manifest_document(**changes: Any) -> dict[str, Any]:
    """Return a clip's manifest with one free offer."""
    return {
        "schema": 1,
        "clip": "clip-1",
        "version": 1,
        "creator": "creator-1",
        "names": {"en": "Clip"},
        "default_locale": "en",
        "offers": [offer_document()],
        "published_at_ms": NOW_MS - HOUR_MS,
        **changes,
    }


def claim_document(**changes: Any) -> dict[str, Any]:
    """Return a claim of one unit, given at `NOW_S` for five minutes."""
    return {
        "iss": ISSUER,
        "aud": ORIGIN_URL,
        "cnf": {"jkt": VIEWER},
        "jti": "CCCCCCCCCCCCCCCCCCCCCA",
        "iat": NOW_S,
        "nbf": NOW_S,
        "exp": NOW_S + 300,
        "drop": "drop-1",
        "run": "run-1",
        "lines": [{"sku": "sku-1", "quantity": 1, "unit_minor": 990}],
        "currency": "EUR",
        "creator": "creator-1",
        "clip": "clip-1",
        "offer": "offer-1",
        **changes,
    }


def encode(document: Any) -> bytes:
    """Return a document as JSON."""
    return msgspec.json.encode(document)


def make_terms(**changes: Any) -> DropTerms:
    """Return decoded terms."""
    return msgspec.json.decode(encode(terms_document(**changes)), type=DropTerms)


def make_offer(**changes: Any) -> Offer:
    """Return a decoded offer."""
    return msgspec.json.decode(encode(offer_document(**changes)), type=Offer)


def make_manifest(**changes: Any) -> Manifest:
    """Return a decoded manifest."""
    return msgspec.json.decode(encode(manifest_document(**changes)), type=Manifest)


def make_claim(**changes: Any) -> Claim:
    """Return a decoded claim."""
    return msgspec.json.decode(encode(claim_document(**changes)), type=Claim)


def make_snapshot(**changes: Any) -> StockSnapshot:
    """Return a decoded snapshot: half of 100 units left, taken at `NOW_MS`, no rate."""
    document = {"drop": "drop-1", "version": 7, "as_of_ms": NOW_MS, "total": 100, "remaining": 50, **changes}
    return msgspec.json.decode(encode(document), type=StockSnapshot)
