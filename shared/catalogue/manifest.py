"""The manifest: the versioned document that the origin publishes for a clip. All that the edge needs, but stock.

A version of a manifest never changes; a change is a new version. Edge and origin deploy apart, so `schema` says which
form a document has, and `read_manifest` refuses a form that this code does not know rather than guess.
"""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from shared.catalogue.money import MINOR_DIGITS
from shared.catalogue.pricing import PriceRule, quote_price
from shared.catalogue.stock import StockSnapshot
from shared.structs import (
    AmountMinor,
    CurrencyCode,
    Identifier,
    InstantMs,
    LocaleTag,
    LongText,
    Quantity,
    ShortText,
    Units,
    Wire,
)
from shared.wire import nests_deeply

SCHEMA: Final = 1
KEY_PREFIX: Final = "manifest/"

Names = Annotated[dict[LocaleTag, ShortText], Meta(min_length=1, max_length=40)]
Descriptions = Annotated[dict[LocaleTag, LongText], Meta(max_length=40)]
Kind = Literal["product", "sample"]
WebAddress = Annotated[
    str, Meta(pattern=r"^https?://[^\s\"'<>\\]{1,500}$(?!\n)", description="absolute http(s) address")
]


class Price(Wire, frozen=True, kw_only=True):
    """What one unit costs, in one currency; with a rule, what it moves from."""

    currency: CurrencyCode
    amount_minor: AmountMinor
    rule: PriceRule | msgspec.UnsetType = msgspec.UNSET


class DropTerms(Wire, frozen=True, kw_only=True):
    """What a drop allows. How much is left is in the stock snapshot.

    Attributes:
        drop, run: the limited run, and its id within the SKU's life.
        sku: what is taken from stock.
        total: units of the run when this was published.
        opens_at_ms, closes_at_ms: claims are given from the one (inclusive) to the other (exclusive).
        mode: how admission works.
        max_quantity: units that one claim may have.
        per_viewer_cap: units that one viewer key may settle, over all claims.
        when_origin_away: with no fresh stock, `take` claims (settled or refused later), or `close` until it is back.
    """

    drop: Identifier
    run: Identifier
    sku: Identifier
    total: Units
    opens_at_ms: InstantMs
    closes_at_ms: InstantMs
    mode: Literal["open"] = "open"
    max_quantity: Quantity = 1
    per_viewer_cap: Units = 1
    when_origin_away: Literal["take", "close"] = "take"


class Offer(Wire, frozen=True, kw_only=True):
    """What an overlay puts before a viewer.

    Attributes:
        prices: one per currency; the first is used where none fits the viewer.
        payment: `none` for what is free, `at_pickup` where the price is paid when it is fetched, `card` or `wallet`
            where units are held until it is paid.
    """

    offer: Identifier
    kind: Kind
    names: Names
    descriptions: Descriptions = {}
    image: WebAddress | None = None
    prices: Annotated[tuple[Price, ...], Meta(min_length=1, max_length=20)]
    payment: Literal["none", "at_pickup", "card", "wallet"] = "none"
    terms: DropTerms


class PolicyLink(Wire, frozen=True, kw_only=True):
    """A page that a viewer must be able to read before a tap: terms, shipping, sample policy, privacy.

    Attributes:
        regions: ISO 3166 country codes that it is for; empty for everywhere.
    """

    rel: Identifier
    href: WebAddress
    names: Names
    regions: Annotated[tuple[Annotated[str, Meta(pattern=r"^[A-Z]{2}$(?!\n)")], ...], Meta(max_length=250)] = ()


class Manifest(Wire, frozen=True, kw_only=True):
    """All that the edge needs to know of a clip, but stock.

    Attributes:
        version: counts up with each publication of this clip.
        default_locale: used where none of the viewer's fits; every text has it.
        claim_ttl_s: how long a claim may be settled.
    """

    schema: int = SCHEMA
    clip: Identifier
    version: Annotated[int, Meta(ge=1)]
    creator: Identifier
    names: Names
    default_locale: LocaleTag
    offers: Annotated[tuple[Offer, ...], Meta(max_length=24)] = ()
    links: Annotated[tuple[PolicyLink, ...], Meta(max_length=12)] = ()
    claim_ttl_s: Annotated[int, Meta(ge=10, le=3600)] = 300
    published_at_ms: InstantMs


class ManifestFault(Wire, frozen=True, kw_only=True):
    """Why a document is not a manifest that this code can use."""

    reason: Literal["not_json", "other_schema", "not_a_manifest", "unknown_currency", "other_clip"]


class _Versioned(Wire, frozen=True, kw_only=True):
    schema: int


_DECODER: Final = msgspec.json.Decoder(Manifest)
_VERSION_DECODER: Final = msgspec.json.Decoder(_Versioned)
_ENCODER: Final = msgspec.json.Encoder()


def manifest_key(clip: str) -> str:
    """Return the key-value store's key of a clip's manifest."""
    return KEY_PREFIX + clip


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the document as published."""
    return _ENCODER.encode(manifest)


def read_manifest(raw: bytes | str, clip: str) -> Manifest | ManifestFault:
    """Decode what the store holds for `clip`."""
    if nests_deeply(raw.encode("utf-8", "replace") if isinstance(raw, str) else raw):
        return ManifestFault(reason="not_a_manifest")
    try:
        versioned = _VERSION_DECODER.decode(raw)
        if versioned.schema != SCHEMA:
            return ManifestFault(reason="other_schema")
        manifest = _DECODER.decode(raw)
    except msgspec.ValidationError:
        return ManifestFault(reason="not_a_manifest")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ManifestFault(reason="not_json")
    if any(price.currency not in MINOR_DIGITS for offer in manifest.offers for price in offer.prices):
        # Nobody here knows how many digits it has, so the price could be told wrong by orders of magnitude.
        return ManifestFault(reason="unknown_currency")
    return manifest if manifest.clip == clip else ManifestFault(reason="other_clip")


def price_unit(price: Price, terms: DropTerms, snapshot: StockSnapshot | None, now_ms: int) -> int:
    """Return what one unit costs now, in minor units; `snapshot` is None where nothing is known of the stock."""
    if price.rule is msgspec.UNSET:
        return price.amount_minor
    total, remaining = (terms.total, terms.total) if snapshot is None else (snapshot.total, snapshot.remaining)
    return quote_price(price.amount_minor, price.rule, remaining=remaining, total=total, now_ms=now_ms)


def find_offer(manifest: Manifest, offer: str) -> Offer | None:
    """Return the offer of that name, if the clip has it."""
    for candidate in manifest.offers:  # a generator costs as much as the whole look
        if candidate.offer == offer:
            return candidate
    return None
