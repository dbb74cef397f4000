"""The overlay: what a viewer sees of a clip's offers, as JSON (for the component) and as a document of its own.

Most of an overlay is the same for a long time: it depends on the manifest and on the viewer's language, currency and
country. That part is compiled once to bytes (`compile_json`, `compile_html`), once for all contexts of which
`distinguish` says the same. What changes, the time and each offer's stock and window, is put in between
(`shared.overlay.telling`).

Creators' words are escaped wherever they meet HTML. Prices and stock are written for the viewer's language, with the
currency's own digits.
"""

from collections.abc import Mapping
from html import escape
from typing import Final

import msgspec

from shared.catalogue.manifest import Manifest, Offer, PolicyLink, Price
from shared.catalogue.money import format_price
from shared.catalogue.stock import StockSnapshot
from shared.overlay.locales import choose_currency, choose_text, direction_of, language_of
from shared.overlay.telling import (
    MovingPrice,
    OfferTemplate,
    OverlayTemplate,
    PriceView,
    StockView,
    WindowState,
    fill_html,
    fill_json,
    tell_html,
    tell_json,
    write_price,
)
from shared.overlay.texts import texts_for
from shared.structs import Wire


class ViewerContext(Wire, frozen=True, kw_only=True):
    """What an overlay is personalised by.

    Attributes:
        locale: one that the manifest has texts for.
        currency: a wish, or empty.
        country: ISO 3166 code, or empty.
    """

    locale: str
    currency: str = ""
    country: str = ""


class OfferCard(Wire, frozen=True, kw_only=True):
    """What of an offer stays the same for all who share language, currency and country; a price that moves does not."""

    offer: str
    drop: str
    kind: str
    title: str
    description: str
    image: str | None
    price: PriceView | msgspec.UnsetType
    payment: str
    opens_at_ms: int
    closes_at_ms: int
    action: str
    max_quantity: int


class OfferView(OfferCard, frozen=True, kw_only=True):
    """One offer as a viewer sees it now.

    Attributes:
        price: at this instant; what a claim says is what counts.
        claimable: whether a tap makes sense: the window is open, something is left, and the drop does not close while
            what is left is not known (`when_origin_away`).
    """

    price: PriceView
    stock: StockView
    window: WindowState
    claimable: bool


class LinkView(Wire, frozen=True, kw_only=True):
    """A policy that belongs to the offers, for the viewer's region."""

    rel: str
    href: str
    text: str


class OverlayFrame(Wire, frozen=True, kw_only=True):
    """What of an overlay stays the same.

    Attributes:
        shared: whether this is the unpersonalised overlay.
        settle_url: the origin's public address.
        messages: the overlay's own words, by key and by problem code.
    """

    clip: str
    title: str
    manifest_version: int
    locale: str
    dir: str
    settle_url: str
    shared: bool
    links: tuple[LinkView, ...]
    messages: dict[str, str]


class OverlayView(OverlayFrame, frozen=True, kw_only=True):
    """All that the component shows; `server_time_ms` is the clock of whoever rendered."""

    server_time_ms: int
    offers: tuple[OfferView, ...]


_ENCODER: Final = msgspec.json.Encoder()


def distinguish(manifest: Manifest, context: ViewerContext) -> tuple[object, ...]:
    """Return what of a context an overlay depends on: contexts of which this is equal share one template."""
    return (
        context.locale,
        *(choose_currency(context.currency, context.country, _currencies(offer)) for offer in manifest.offers),
        *(_is_for(link, context.country) for link in manifest.links),
    )


def list_moving(manifest: Manifest, context: ViewerContext) -> tuple[str, ...]:
    """Return what of a context prices that move are told by: the currencies of their offers."""
    prices = (_choose_price(offer, context) for offer in manifest.offers)
    return tuple(price.currency for price in prices if price.rule is not msgspec.UNSET)


def compile_json(
    manifest: Manifest, context: ViewerContext, *, settle_url: str, shared: bool = False
) -> OverlayTemplate:
    """Compile the JSON overlay of a clip for those who share `context`; it decodes as `OverlayView`."""
    frame = _frame(manifest, context, settle_url=settle_url, shared=shared)
    return OverlayTemplate(
        head=_ENCODER.encode(frame)[:-1] + b',"server_time_ms":',
        offers=tuple(
            _template(offer, context, b"," * (number > 0) + _offer_json(_card(manifest, offer, context)))
            for number, offer in enumerate(manifest.offers)
        ),
        foot=b"]}",
        words=frame.messages,
    )


def render_json(template: OverlayTemplate, snapshots: Mapping[str, StockSnapshot], now_ms: int) -> bytes:
    """Return the overlay as JSON, as it is now."""
    return fill_json(template, tell_json(template, snapshots, now_ms), now_ms)


def compile_html(manifest: Manifest, context: ViewerContext, *, settle_url: str, edge_url: str) -> OverlayTemplate:
    """Compile the overlay as a document of its own: for a frame, a landing page, or a browser without scripts.

    With scripts, the component takes the place of the list (`data-fallback`).

    Args:
        manifest: of the clip.
        context: of those who share the document.
        settle_url: the origin's public address.
        edge_url: base address of the edge that the component asks.
    """
    frame = _frame(manifest, context, settle_url=settle_url, shared=False)
    title, edge = escape(frame.title), escape(edge_url)
    head = (
        f'<!doctype html><html lang="{escape(frame.locale)}" dir="{frame.dir}"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{title}</title>'
        f'<link rel="stylesheet" href="{edge}/overlay.css">'
        f'<script type="module" src="{edge}/cliptill-overlay.js"></script></head><body>'
        f'<cliptill-overlay clip="{escape(frame.clip)}" edge="{edge}">'
        f'<section data-fallback aria-label="{escape(frame.messages["offers"])}"><h1>{title}</h1><ul>'
    )
    links = "".join(
        f'<a rel="{escape(link.rel)}" href="{escape(link.href)}">{escape(link.text)}</a>' for link in frame.links
    )
    return OverlayTemplate(
        head=head.encode(),
        offers=tuple(
            _template(offer, context, _offer_html(_card(manifest, offer, context))) for offer in manifest.offers
        ),
        foot=f"</ul><nav>{links}</nav></section></cliptill-overlay></body></html>".encode(),
        words=frame.messages,
    )


def render_html(template: OverlayTemplate, snapshots: Mapping[str, StockSnapshot], now_ms: int) -> bytes:
    """Return the overlay as a document, as it is now."""
    return fill_html(template, tell_html(template, snapshots, now_ms))


def _frame(manifest: Manifest, context: ViewerContext, *, settle_url: str, shared: bool) -> OverlayFrame:
    links = [link for link in manifest.links if _is_for(link, context.country)]
    return OverlayFrame(
        clip=manifest.clip,
        title=choose_text(manifest.names, context.locale, manifest.default_locale),
        manifest_version=manifest.version,
        locale=context.locale,
        dir=direction_of(context.locale),
        settle_url=settle_url,
        shared=shared,
        links=tuple(
            LinkView(
                rel=link.rel,
                href=link.href,
                text=choose_text(link.names, context.locale, manifest.default_locale),
            )
            for link in links
        ),
        messages=texts_for(language_of(context.locale)),
    )


def _currencies(offer: Offer) -> list[str]:
    return [price.currency for price in offer.prices]


def _choose_price(offer: Offer, context: ViewerContext) -> Price:
    currency = choose_currency(context.currency, context.country, _currencies(offer))
    return next(price for price in offer.prices if price.currency == currency)


def _is_for(link: PolicyLink, country: str) -> bool:
    return not link.regions or country in link.regions


def _card(manifest: Manifest, offer: Offer, context: ViewerContext) -> OfferCard:
    language = language_of(context.locale)
    words = texts_for(language)
    price = _choose_price(offer, context)
    amount, currency = price.amount_minor, price.currency
    text = format_price(amount, currency, language) if amount else words["free"]
    moves = price.rule is not msgspec.UNSET
    return OfferCard(
        offer=offer.offer,
        drop=offer.terms.drop,
        kind=offer.kind,
        title=choose_text(offer.names, context.locale, manifest.default_locale),
        description=choose_text(offer.descriptions, context.locale, manifest.default_locale),
        image=offer.image,
        price=msgspec.UNSET if moves else PriceView(amount_minor=amount, currency=currency, text=text),
        payment=offer.payment,
        opens_at_ms=offer.terms.opens_at_ms,
        closes_at_ms=offer.terms.closes_at_ms,
        action=words["claim"] if offer.payment == "none" else words["reserve"],
        max_quantity=offer.terms.max_quantity,
    )


def _template(offer: Offer, context: ViewerContext, head: bytes) -> OfferTemplate:
    terms, price = offer.terms, _choose_price(offer, context)
    moves = price.rule is not msgspec.UNSET
    return OfferTemplate(
        drop=terms.drop,
        opens_at_ms=terms.opens_at_ms,
        closes_at_ms=terms.closes_at_ms,
        when_origin_away=terms.when_origin_away,
        head=head,
        moving=MovingPrice(price, terms, language_of(context.locale)) if moves else None,
    )


def _offer_json(card: OfferCard) -> bytes:
    """Return an offer's lasting bytes; the stock comes next, or a price that moves and then the stock."""
    return _ENCODER.encode(card)[:-1] + (b',"price":' if card.price is msgspec.UNSET else b',"stock":')


def _offer_html(card: OfferCard) -> bytes:
    image = f'<img src="{escape(card.image)}" alt="" loading="lazy">' if card.image else ""
    description = f"<p>{escape(card.description)}</p>" if card.description else ""
    return (
        f'<li data-offer="{escape(card.offer)}">{image}<h2>{escape(card.title)}</h2>{description}'
        f"<p>{'' if card.price is msgspec.UNSET else write_price(card.price)}"
    ).encode()
