"""What of an overlay changes: each offer's stock and window, told in the viewer's language, as JSON and as HTML.

Of an offer whose price moves, so does its price. It is the same for all who share the words (and what moving prices are
in), for as long as stock is the same and no instant passes that matters to an offer: so it is made once for many
answers (`tell_json`, `tell_html`) and filled into their templates (`fill_json`, `fill_html`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Final, Literal

import msgspec

from shared.catalogue.manifest import DropTerms, Price, price_unit
from shared.catalogue.money import format_price
from shared.catalogue.pricing import list_instants
from shared.catalogue.stock import LATE_MS, StockSnapshot, StockState, report_stock
from shared.structs import Wire

WindowState = Literal["upcoming", "open", "closed"]
_NEVER_MS: Final = 2**53


class StockView(Wire, frozen=True, kw_only=True):
    """What is left: state, count with version and instant, and how to say it."""

    state: StockState
    remaining: int | None
    version: int
    as_of_ms: int
    stale: bool
    text: str


class PriceView(Wire, frozen=True, kw_only=True):
    """A price, and how to write it."""

    amount_minor: int
    currency: str
    text: str


@dataclass(frozen=True, slots=True)
class MovingPrice:
    """A price that moves with stock and time, told in a language."""

    price: Price
    terms: DropTerms
    language: str


@dataclass(frozen=True, slots=True)
class OfferTemplate:
    """An offer's lasting bytes, and what is needed to add the rest; its price is there where it does not move."""

    drop: str
    opens_at_ms: int
    closes_at_ms: int
    when_origin_away: Literal["take", "close"]
    head: bytes
    moving: MovingPrice | None = None


@dataclass(frozen=True, slots=True)
class OverlayTemplate:
    """An overlay's lasting bytes. `words` are the overlay's own, in the viewer's language."""

    head: bytes
    offers: tuple[OfferTemplate, ...]
    foot: bytes
    words: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Told:
    """What there is to tell of each offer now: bytes for a template's offers, in their order.

    Attributes:
        from_ms, until_ms: from the one (inclusive) to the other (exclusive) it stays the same, if stock does.
    """

    tails: tuple[bytes, ...]
    from_ms: int
    until_ms: int


_ENCODER: Final = msgspec.json.Encoder()


def fill_json(template: OverlayTemplate, told: Told, now_ms: int) -> bytes:
    """Put an overlay as JSON together."""
    pieces = [template.head, b'%d,"offers":[' % now_ms]
    for offer, tail in zip(template.offers, told.tails, strict=True):
        pieces += (offer.head, tail)
    pieces.append(template.foot)
    return b"".join(pieces)


def tell_json(template: OverlayTemplate, snapshots: Mapping[str, StockSnapshot], now_ms: int) -> Told:
    """Tell of each offer its stock, its window, and whether a tap makes sense, as JSON."""
    tails, until_ms = [], _NEVER_MS
    for offer in template.offers:
        snapshot = snapshots.get(offer.drop)
        stock = view_stock(offer.drop, snapshot, template.words, now_ms)
        window = tell_window(offer.opens_at_ms, offer.closes_at_ms, now_ms)
        claimable = b"true}" if _is_claimable(offer, stock, window) else b"false}"
        price = b"" if offer.moving is None else _price_json(offer.moving, snapshot, now_ms)
        tails.append(price + _ENCODER.encode(stock) + _WINDOW_JSON[window] + claimable)
        until_ms = min(until_ms, _next_change_ms(offer, snapshot, now_ms))
    return Told(tails=tuple(tails), from_ms=now_ms, until_ms=until_ms)


def _next_change_ms(offer: OfferTemplate, snapshot: StockSnapshot | None, now_ms: int) -> int:
    """Return the next instant at which the same snapshot makes something else to tell of an offer."""
    instants = [offer.opens_at_ms, offer.closes_at_ms]
    if offer.moving is not None and offer.moving.price.rule is not msgspec.UNSET:
        instants += list_instants(offer.moving.price.rule)
    if snapshot is not None:
        late_ms = snapshot.as_of_ms + LATE_MS + 1
        # Once it is late, its age is told, in whole seconds.
        instants.append(late_ms if now_ms < late_ms else now_ms + 1000 - (now_ms - snapshot.as_of_ms) % 1000)
    return min((instant for instant in instants if instant > now_ms), default=_NEVER_MS)


def _is_claimable(offer: OfferTemplate, stock: StockView, window: WindowState) -> bool:
    if window != "open" or stock.state == "sold_out":
        return False
    return offer.when_origin_away == "take" or not stock.stale


_WINDOW_JSON: Final[dict[WindowState, bytes]] = {
    "upcoming": b',"window":"upcoming","claimable":',
    "open": b',"window":"open","claimable":',
    "closed": b',"window":"closed","claimable":',
}


def fill_html(template: OverlayTemplate, told: Told) -> bytes:
    """Put an overlay as a document together."""
    pieces = [template.head]
    for offer, tail in zip(template.offers, told.tails, strict=True):
        pieces += (offer.head, tail)
    pieces.append(template.foot)
    return b"".join(pieces)


def tell_html(template: OverlayTemplate, snapshots: Mapping[str, StockSnapshot], now_ms: int) -> Told:
    """Tell of each offer its stock and its window, for a document."""
    tails, until_ms = [], _NEVER_MS
    for offer in template.offers:
        snapshot = snapshots.get(offer.drop)
        stock = view_stock(offer.drop, snapshot, template.words, now_ms)
        window = tell_window(offer.opens_at_ms, offer.closes_at_ms, now_ms)
        said = stock.text if window != "closed" else template.words["closed"]
        price = "" if offer.moving is None else write_price(view_price(offer.moving, snapshot, now_ms))
        tail = (
            f'{price} <span data-window="{window}" data-state="{stock.state}" data-version="{stock.version}"'
            f"{' data-stale' if stock.stale else ''}>{escape(said)}</span>"
            f"{_age_html(stock, window, template.words, now_ms)}</p></li>"
        )
        tails.append(tail.encode())
        until_ms = min(until_ms, _next_change_ms(offer, snapshot, now_ms))
    return Told(tails=tuple(tails), from_ms=now_ms, until_ms=until_ms)


def view_price(moving: MovingPrice, snapshot: StockSnapshot | None, now_ms: int) -> PriceView:
    """Return what a price is now."""
    amount, currency = price_unit(moving.price, moving.terms, snapshot, now_ms), moving.price.currency
    return PriceView(amount_minor=amount, currency=currency, text=format_price(amount, currency, moving.language))


def write_price(price: PriceView) -> str:
    """Return a price for a document."""
    return f'<data value="{price.amount_minor}">{escape(price.text)}</data>'


def _price_json(moving: MovingPrice, snapshot: StockSnapshot | None, now_ms: int) -> bytes:
    return _ENCODER.encode(view_price(moving, snapshot, now_ms)) + b',"stock":'


def _age_html(stock: StockView, window: WindowState, words: Mapping[str, str], now_ms: int) -> str:
    """Return how old a count is that is still shown although it is stale; nothing else is claimed to be known."""
    if not stock.stale or not stock.remaining or window == "closed":
        return ""
    age = str(max(0, now_ms - stock.as_of_ms) // 1000)
    return f" <small>{escape(words['not_fresh'].replace('{age}', age))}</small>"


def tell_window(opens_at_ms: int, closes_at_ms: int, now_ms: int) -> WindowState:
    """Return where `now_ms` is: the opening instant is in the window, the closing one is not."""
    if now_ms < opens_at_ms:
        return "upcoming"
    return "open" if now_ms < closes_at_ms else "closed"


def view_stock(drop: str, snapshot: StockSnapshot | None, words: Mapping[str, str], now_ms: int) -> StockView:
    """Return a drop's stock in the words of a language."""
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
