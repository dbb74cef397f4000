"""The catalogue: creators, drops, offers and clips as an operator writes them, and the manifest that they make.

Rules:

1. What is stored can be published. Each document is checked by itself (`check_creator` and so on), and a clip is
   checked with all that it shows (`check_clip`) whenever the clip or a part of it changes.
2. The operator chooses the ids. The same document twice is the same state, so every write may be repeated.
3. A drop is one run of one SKU: neither ever changes, and a new run is a new drop. Its total may go up, and down to
   what is held and settled, never below: what was promised stays promised.
4. What viewers read has no control characters and no invisible marks that reorder text.
5. Nothing is for free and for money at once: the prices of an offer are all zero, or none is.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from shared.catalogue.manifest import (
    Descriptions,
    DropTerms,
    Kind,
    Manifest,
    Names,
    Offer,
    PolicyLink,
    Price,
    WebAddress,
    encode_manifest,
    read_manifest,
)
from shared.catalogue.money import MINOR_DIGITS
from shared.catalogue.pricing import PriceRuleBody, find_rule_fault, publish_rule
from shared.claims.bundles import MAX_PARTS
from shared.money.splits import Share
from shared.problems import Code, Problem
from shared.structs import (
    AmountMinor,
    CurrencyCode,
    Identifier,
    InstantMs,
    LocaleTag,
    Quantity,
    ShortText,
    Strict,
    Units,
)

MAX_BODY_BYTES: Final = 131_072
MAX_MANIFEST_BYTES: Final = 262_144

# C0, DEL and C1 controls, line and paragraph separators, marks that reorder what is read, lone surrogates.
_UNREADABLE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
# Addresses are https; plain http only to the machine itself, where a developer's pictures are.
_ADDRESS: Final = re.compile(
    r"https://[A-Za-z0-9.-]+(:\d{1,5})?(/\S*)?|http://(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?(/\S*)?"
)


class CreatorBody(Strict, frozen=True, kw_only=True, omit_defaults=False):
    """Someone whose clips sell.

    Attributes:
        page: where viewers find them; optional.
    """

    creator: Identifier
    name: ShortText
    page: WebAddress | None = None


ZoneName = Annotated[
    str, Meta(pattern=r"^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}$(?!\n)", max_length=64, description="IANA zone")
]
WallTime = Annotated[
    str,
    Meta(
        pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}([+-]\d{2}:\d{2})?$(?!\n)",
        description="date and time by the zone's clock; with the offset where the clock shows it twice",
    ),
]


class PickupBody(Strict, frozen=True, kw_only=True, omit_defaults=False):
    """Where and when the units of a drop are picked up.

    Attributes:
        place: where the scanners are that check its passes.
        opens, closes: from (inclusive) and until (exclusive), by the clock of `zone`.
    """

    place: Identifier
    zone: ZoneName
    opens: WallTime
    closes: WallTime


class PartBody(Strict, frozen=True, kw_only=True, omit_defaults=False):
    """What one unit of a bundle has of another drop."""

    drop: Identifier
    units: Quantity = 1


class DropBody(Strict, frozen=True, kw_only=True, omit_defaults=False):
    """One limited run of a SKU: how many, when, and how many for whom.

    Attributes:
        drop: its id; `run` is the id of the run within the life of `sku`. Neither run nor SKU ever changes.
        total: units of the run.
        opens_at_ms, closes_at_ms: claims are given from the one (inclusive) to the other (exclusive).
        mode: how admission works.
        max_quantity: units that one claim may have; at most `per_viewer_cap`.
        per_viewer_cap: units that one viewer may settle, over all claims.
        when_origin_away: with no fresh stock, `take` claims (settled or refused later), or `close` until it is back.
        hold_s: how long units are held for a claim that is to be paid.
        late_payment: what money gets that comes after its hold is gone: `honour` gives units if any are left and else
            the money back, `refund` always gives the money back.
        pickup: where and when units are picked up: what settles from now on has a pass. A slot is a drop of its own, so
            that its total is its capacity. Passes that were given stay as they are, and so does their place.
        allotment_of, release_at_ms: for units that are set aside out of another drop's run, for one channel: at that
            instant what is free goes to the other drop. `total` counts them here, and not there, whatever went since.
        shares: what creators have of each sale that is paid through here, at most 10,000 basis points together; the
            rest is the shop's. Fixed once the drop has opened, or sold. An allotment has its own.
        partner: who sends or hands over what is sold, and is told of each settled claim, also of earlier ones; not of
            what is sold over a counter. An allotment has its own.
        parts: for a bundle: the drops that each unit of it draws on as well, all or nothing. They never change; those
            of one drop are one demand. `total` says how many bundles there are at most.
    """

    drop: Identifier
    run: Identifier
    sku: Identifier
    total: Annotated[int, Meta(ge=1, le=10**9)]
    opens_at_ms: InstantMs
    closes_at_ms: InstantMs
    mode: Literal["open"] = "open"
    max_quantity: Quantity = 1
    per_viewer_cap: Annotated[int, Meta(ge=1, le=10**9)] = 1
    when_origin_away: Literal["take", "close"] = "take"
    hold_s: Annotated[int, Meta(ge=5, le=86_400)] = 300
    late_payment: Literal["honour", "refund"] = "honour"
    pickup: PickupBody | None = None
    allotment_of: Identifier | None = None
    release_at_ms: InstantMs | None = None
    shares: Annotated[tuple[Share, ...], Meta(max_length=50)] = ()
    partner: Identifier | None = None
    parts: Annotated[tuple[PartBody, ...], Meta(max_length=MAX_PARTS)] = ()


class DropView(DropBody, frozen=True, kw_only=True):
    """A drop with its stock, and the version that counts its changes.

    Always `free + held + settled = total + received - released`.

    Attributes:
        received, released: units that came from its allotments, and that went to the drop that it is an allotment of.
        pickup_from_ms, pickup_until_ms: the pickup window as instants.
    """

    free: Units
    held: Units
    settled: Units
    received: Units
    released: Units
    stock_version: int
    pickup_from_ms: InstantMs | None = None
    pickup_until_ms: InstantMs | None = None


class PriceBody(Strict, frozen=True, kw_only=True, omit_defaults=False):
    """What one unit costs, in one currency; with a rule, what it moves from."""

    currency: CurrencyCode
    amount_minor: AmountMinor
    rule: PriceRuleBody | msgspec.UnsetType = msgspec.UNSET


class OfferBody(Strict, frozen=True, kw_only=True, omit_defaults=False):
    """What an overlay puts before a viewer.

    Attributes:
        drop: what a claim of it draws on.
        names, descriptions: texts by locale.
        image: https address of a picture; optional.
        prices: one per currency; the first is used where none fits the viewer.
        payment: `none` when all prices are zero; when none is, `at_pickup` (settled at once, paid on fetching), or
            `card` or `wallet` (held until it is paid).
    """

    offer: Identifier
    drop: Identifier
    kind: Kind
    names: Names
    descriptions: Descriptions = {}
    image: WebAddress | None = None
    prices: Annotated[tuple[PriceBody, ...], Meta(min_length=1, max_length=20)]
    payment: Literal["none", "at_pickup", "card", "wallet"] = "none"


class LinkBody(Strict, frozen=True, kw_only=True, omit_defaults=False):
    """A page that viewers must be able to read before a tap: terms, shipping, sample policy, privacy.

    Attributes:
        regions: ISO 3166 country codes that it is for; empty for everywhere.
    """

    rel: Identifier
    href: WebAddress
    names: Names
    regions: Annotated[tuple[Annotated[str, Meta(pattern=r"^[A-Z]{2}$(?!\n)")], ...], Meta(max_length=250)] = ()


class ClipBody(Strict, frozen=True, kw_only=True, omit_defaults=False):
    """A clip, and what it shows.

    Attributes:
        default_locale: used where none of the viewer's fits; every text of the clip and of its offers has it.
        offers: ids, in the order in which they are shown.
        claim_ttl_s: how long a claim may be settled.
    """

    clip: Identifier
    creator: Identifier
    names: Names
    default_locale: LocaleTag
    offers: Annotated[tuple[Identifier, ...], Meta(max_length=24)] = ()
    links: Annotated[tuple[LinkBody, ...], Meta(max_length=12)] = ()
    claim_ttl_s: Annotated[int, Meta(ge=10, le=3600)] = 300


def check_creator(body: CreatorBody) -> Problem | None:
    """Return what is wrong with a creator's document, or None."""
    return _check_text("$.name", body.name) or _check_address("$.page", body.page)


def check_offer(body: OfferBody) -> Problem | None:
    """Return what is wrong with an offer's document by itself, or None."""
    return (
        _check_texts("$.names", body.names)
        or _check_texts("$.descriptions", body.descriptions)
        or _check_address("$.image", body.image)
        or _check_prices(body)
    )


def check_clip(body: ClipBody, offers: Mapping[str, OfferBody], drops: Mapping[str, DropBody]) -> Problem | None:
    """Return what keeps a clip from being published, or None.

    Args:
        body: the clip.
        offers: by id: those of the clip's offers that are stored.
        drops: by id: those of their drops that are stored.
    """
    problem = _check_texts("$.names", body.names) or _check_clip_offers(body, offers)
    if problem is not None:
        return problem
    if body.default_locale not in body.names:
        return refuse_field("$.names", "must have the default locale")
    for index, link in enumerate(body.links):
        problem = _check_link(f"$.links[{index}]", link, body.default_locale)
        if problem is not None:
            return problem
    manifest = build_manifest(body, offers, drops, version=1, published_at_ms=0)
    raw = encode_manifest(manifest)
    if len(raw) > MAX_MANIFEST_BYTES:
        return refuse_field("$", f"the manifest would be larger than {MAX_MANIFEST_BYTES} bytes")
    if read_manifest(raw, body.clip) != manifest:
        raise AssertionError(f"the checks of the catalogue let through what makes no manifest: clip {body.clip}")
    return None


def build_manifest(
    clip: ClipBody,
    offers: Mapping[str, OfferBody],
    drops: Mapping[str, DropBody],
    *,
    version: int,
    published_at_ms: int,
) -> Manifest:
    """Return the manifest of a clip that `check_clip` found nothing wrong with."""
    return Manifest(
        clip=clip.clip,
        version=version,
        creator=clip.creator,
        names=clip.names,
        default_locale=clip.default_locale,
        offers=tuple(_publish_offer(offers[offer], drops[offers[offer].drop]) for offer in clip.offers),
        links=tuple(
            PolicyLink(rel=link.rel, href=link.href, names=link.names, regions=link.regions) for link in clip.links
        ),
        claim_ttl_s=clip.claim_ttl_s,
        published_at_ms=published_at_ms,
    )


def says_the_same(first: Manifest, second: Manifest) -> bool:
    """Return whether two manifests differ in nothing but version and time of publication."""
    return first == msgspec.structs.replace(second, version=first.version, published_at_ms=first.published_at_ms)


def _publish_offer(offer: OfferBody, drop: DropBody) -> Offer:
    return Offer(
        offer=offer.offer,
        kind=offer.kind,
        names=offer.names,
        descriptions=offer.descriptions,
        image=offer.image,
        prices=tuple(_publish_price(price) for price in offer.prices),
        payment=offer.payment,
        terms=DropTerms(
            drop=drop.drop,
            run=drop.run,
            sku=drop.sku,
            total=drop.total,
            opens_at_ms=drop.opens_at_ms,
            closes_at_ms=drop.closes_at_ms,
            mode=drop.mode,
            max_quantity=drop.max_quantity,
            per_viewer_cap=drop.per_viewer_cap,
            when_origin_away=drop.when_origin_away,
        ),
    )


def _publish_price(price: PriceBody) -> Price:
    rule = price.rule if price.rule is msgspec.UNSET else publish_rule(price.rule)
    return Price(currency=price.currency, amount_minor=price.amount_minor, rule=rule)


def _check_clip_offers(body: ClipBody, offers: Mapping[str, OfferBody]) -> Problem | None:
    if len(set(body.offers)) != len(body.offers):
        return refuse_field("$.offers", "must not name an offer twice")
    for index, offer_id in enumerate(body.offers):
        offer = offers.get(offer_id)
        if offer is None:
            return Problem(code=Code.OFFER_UNKNOWN, detail=f"At $.offers[{index}].")
        for texts in (offer.names, offer.descriptions):
            if texts and body.default_locale not in texts:
                detail = f"The texts of offer {offer_id} must have the default locale of clip {body.clip}."
                return Problem(code=Code.REVISION_CONFLICT, detail=detail)
    return None


def _check_link(path: str, link: LinkBody, default_locale: str) -> Problem | None:
    if default_locale not in link.names:
        return refuse_field(f"{path}.names", "must have the default locale")
    return _check_texts(f"{path}.names", link.names) or _check_address(f"{path}.href", link.href)


def _check_prices(body: OfferBody) -> Problem | None:
    currencies = [price.currency for price in body.prices]
    if len(set(currencies)) != len(currencies):
        return refuse_field("$.prices", "must not name a currency twice")
    for index, price in enumerate(body.prices):
        if price.currency not in MINOR_DIGITS:
            return refuse_field(f"$.prices[{index}].currency", "must be a current ISO 4217 code")
        fault = None if price.rule is msgspec.UNSET else find_rule_fault(price.rule, price.amount_minor)
        if fault is not None:
            return refuse_field(f"$.prices[{index}].rule", fault)
    free = {price.amount_minor == 0 for price in body.prices}
    if len(free) > 1:
        return refuse_field("$.prices", "must be all zero, or none")
    if (body.payment == "none") is not free.pop():
        return refuse_field("$.payment", "must be `none` for what is free, and another for what has a price")
    return None


def _check_texts(path: str, texts: Mapping[str, str]) -> Problem | None:
    if len({locale.lower() for locale in texts}) != len(texts):
        return refuse_field(path, "must not name a locale twice")
    return _first(_check_text(f"{path}.{locale}", text) for locale, text in texts.items())


def _check_text(path: str, text: str) -> Problem | None:
    if not text.strip():
        return refuse_field(path, "must not be blank")
    if _UNREADABLE.search(text):
        return refuse_field(path, "must not have control characters or marks that reorder text")
    return None


def _check_address(path: str, address: str | None) -> Problem | None:
    if address is None or (_ADDRESS.fullmatch(address) and not _UNREADABLE.search(address)):
        return None
    return refuse_field(path, "must be an https address")


def _first(problems: Iterable[Problem | None]) -> Problem | None:
    return next((problem for problem in problems if problem is not None), None)


def refuse_field(path: str, rule: str) -> Problem:
    """Return the problem that a field does not keep a rule."""
    return Problem(code=Code.INVALID_FIELD, detail=f"At {path}: {rule}.")
