"""The overlay: what a viewer sees of a clip's offers, as a view (for the component) and as a document of its own.

A pure function of manifest, snapshots, viewer context and now. A creator's words are escaped wherever they meet HTML;
prices and stock are written for the viewer's language, with the currency's own digits.
"""

from collections.abc import Mapping
from html import escape
from typing import Final, Literal

import msgspec

from shared.locales import choose_currency, choose_text, direction_of, language_of
from shared.manifest import Manifest, Offer, PolicyLink
from shared.money import format_price
from shared.stock import StockSnapshot, StockState, report_stock
from shared.structs import Wire
from shared.texts import texts_for

WindowState = Literal["upcoming", "open", "closed"]


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


class PriceView(Wire, frozen=True, kw_only=True):
    """A price, and how to write it."""

    amount_minor: int
    currency: str
    text: str


class StockView(Wire, frozen=True, kw_only=True):
    """What is left: state, count with version and instant, and how to say it."""

    state: StockState
    remaining: int | None
    version: int
    as_of_ms: int
    stale: bool
    text: str


class OfferView(Wire, frozen=True, kw_only=True):
    """One offer as a viewer sees it; `claimable` says whether a tap makes sense now."""

    offer: str
    drop: str
    kind: str
    title: str
    description: str
    image: str | None
    price: PriceView
    payment: str
    stock: StockView
    opens_at_ms: int
    closes_at_ms: int
    window: WindowState
    claimable: bool
    action: str
    max_quantity: int


class LinkView(Wire, frozen=True, kw_only=True):
    """A policy that belongs to the offers, for the viewer's region."""

    rel: str
    href: str
    text: str


class OverlayView(Wire, frozen=True, kw_only=True):
    """All that the component shows.

    Attributes:
        server_time_ms: the clock of whoever rendered; first, so that it can be told anew without a new rendering.
        shared: whether this is the unpersonalised overlay.
        settle_url: the origin's public address.
        messages: the overlay's own words, by key and by problem code.
    """

    server_time_ms: int
    clip: str
    title: str
    manifest_version: int
    locale: str
    dir: str
    settle_url: str
    shared: bool
    offers: tuple[OfferView, ...]
    links: tuple[LinkView, ...]
    messages: dict[str, str]


_ENCODER: Final = msgspec.json.Encoder()


def build_view(  # noqa: PLR0913 - the facts that an overlay is made from
    manifest: Manifest,
    snapshots: Mapping[str, StockSnapshot],
    context: ViewerContext,
    *,
    settle_url: str,
    now_ms: int,
    shared: bool = False,
) -> OverlayView:
    """Return the overlay of a clip for one viewer."""
    words = texts_for(language_of(context.locale))
    return OverlayView(
        server_time_ms=now_ms,
        clip=manifest.clip,
        title=choose_text(manifest.names, context.locale, manifest.default_locale),
        manifest_version=manifest.version,
        locale=context.locale,
        dir=direction_of(context.locale),
        settle_url=settle_url,
        shared=shared,
        offers=tuple(_view_offer(manifest, offer, snapshots, context, now_ms) for offer in manifest.offers),
        links=tuple(
            LinkView(
                rel=link.rel,
                href=link.href,
                text=choose_text(link.names, context.locale, manifest.default_locale),
            )
            for link in manifest.links
            if _is_for(link, context.country)
        ),
        messages=words,
    )


def encode_view(view: OverlayView) -> bytes:
    """Return the view as JSON."""
    return _ENCODER.encode(view)


def tell_window(opens_at_ms: int, closes_at_ms: int, now_ms: int) -> WindowState:
    """Return where `now_ms` is: the opening instant is in the window, the closing one is not."""
    if now_ms < opens_at_ms:
        return "upcoming"
    return "open" if now_ms < closes_at_ms else "closed"


def _is_for(link: PolicyLink, country: str) -> bool:
    return not link.regions or country in link.regions


def _view_offer(
    manifest: Manifest, offer: Offer, snapshots: Mapping[str, StockSnapshot], context: ViewerContext, now_ms: int
) -> OfferView:
    language = language_of(context.locale)
    words = texts_for(language)
    terms = offer.terms
    currency = choose_currency(context.currency, context.country, [price.currency for price in offer.prices])
    amount = next(price.amount_minor for price in offer.prices if price.currency == currency)
    stock = _view_stock(terms.drop, snapshots.get(terms.drop), words, now_ms)
    window = tell_window(terms.opens_at_ms, terms.closes_at_ms, now_ms)
    return OfferView(
        offer=offer.offer,
        drop=terms.drop,
        kind=offer.kind,
        title=choose_text(offer.names, context.locale, manifest.default_locale),
        description=choose_text(offer.descriptions, context.locale, manifest.default_locale),
        image=offer.image,
        price=PriceView(
            amount_minor=amount,
            currency=currency,
            text=format_price(amount, currency, language) if amount else words["free"],
        ),
        payment=offer.payment,
        stock=stock,
        opens_at_ms=terms.opens_at_ms,
        closes_at_ms=terms.closes_at_ms,
        window=window,
        claimable=window == "open" and stock.state != "sold_out",
        action=words["claim"] if offer.payment == "none" else words["reserve"],
        max_quantity=terms.max_quantity,
    )


def _view_stock(drop: str, snapshot: StockSnapshot | None, words: Mapping[str, str], now_ms: int) -> StockView:
    report = report_stock(drop, snapshot, now_ms)
    if report.state == "unknown":
        text = words["stock_unknown"]
    elif report.state == "sold_out":
        text = words["sold_out"]
    elif report.state == "last":
        text = words["last_one"]
    else:
        text = words["left"].replace("{n}", str(report.remaining))
    return StockView(
        state=report.state,
        remaining=report.remaining,
        version=report.version,
        as_of_ms=report.as_of_ms,
        stale=report.stale,
        text=text,
    )


def render_html(view: OverlayView, edge_url: str) -> bytes:
    """Return the overlay as a document of its own, for a frame, a landing page, or a browser without scripts.

    With scripts, the component takes the place of the list (`data-fallback`).

    Args:
        view: what to show.
        edge_url: base address of the edge that the component asks.
    """
    offers = "".join(_render_offer(offer) for offer in view.offers)
    links = "".join(
        f'<a rel="{escape(link.rel)}" href="{escape(link.href)}">{escape(link.text)}</a>' for link in view.links
    )
    title = escape(view.title)
    return (
        f'<!doctype html><html lang="{escape(view.locale)}" dir="{view.dir}"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{title}</title>'
        f'<link rel="stylesheet" href="{escape(edge_url)}/overlay.css">'
        f'<script type="module" src="{escape(edge_url)}/cliptill-overlay.js"></script></head><body>'
        f'<cliptill-overlay clip="{escape(view.clip)}" edge="{escape(edge_url)}">'
        f'<section data-fallback aria-label="{escape(view.messages["offers"])}"><h1>{title}</h1>'
        f"<ul>{offers}</ul><nav>{links}</nav></section></cliptill-overlay></body></html>"
    ).encode()


def _render_offer(offer: OfferView) -> str:
    image = f'<img src="{escape(offer.image)}" alt="" loading="lazy">' if offer.image else ""
    description = f"<p>{escape(offer.description)}</p>" if offer.description else ""
    return (
        f'<li data-offer="{escape(offer.offer)}" data-window="{offer.window}">{image}<h2>{escape(offer.title)}</h2>'
        f'{description}<p><data value="{offer.price.amount_minor}">{escape(offer.price.text)}</data> '
        f'<span data-state="{offer.stock.state}" data-version="{offer.stock.version}">{escape(offer.stock.text)}</span>'
        "</p></li>"
    )
