"""Whatever strangers send: headers, bodies, texts. Nothing raises, and nothing that was not offered comes out."""

import json
from html import unescape
from html.parser import HTMLParser
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from edge.claiming import ClaimRequest
from shared.catalogue.manifest import Manifest, ManifestFault, read_manifest
from shared.catalogue.money import MINOR_DIGITS, format_price
from shared.insight.events import Beacon
from shared.overlay.locales import choose_currency, choose_locale, choose_text, direction_of
from shared.overlay.negotiation import choose_media_type, parse_weighted
from shared.overlay.rendering import OverlayView, ViewerContext, compile_html, compile_json, render_html, render_json
from shared.problems import Code, Problem
from shared.structs import Wire
from shared.wire import decode_body
from tests.samples import NOW_MS, make_manifest, make_snapshot, offer_document

any_text = st.text(max_size=60)
weighted = st.lists(
    st.tuples(
        st.sampled_from(["de", "en-GB", "*", "text/html", "*/*", "", "-"]),
        st.sampled_from(["", ";q=0", ";q=.", ";q=1.0", ";;"]),
    ),
    max_size=5,
).map(lambda items: ",".join(name + weight for name, weight in items))
headers = any_text | weighted
printable = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=120)


class Lenient(Wire, frozen=True, kw_only=True):
    """What a later edge might send: more than is known."""

    name: str = ""


DECODERS = [msgspec.json.Decoder(kind) for kind in (ClaimRequest, Beacon, Lenient, Any)]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | any_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4),
    max_leaves=10,
)
json_bytes = json_values.map(lambda value: json.dumps(value).encode())


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """JSON with some bytes changed, as on a bad line or from a bad mind."""
    raw = bytearray(draw(json_bytes))
    for position, byte in draw(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=4)):
        if raw:
            raw[position % len(raw)] = byte
    return bytes(raw)


@given(st.binary(max_size=200) | json_bytes | damaged())
def test_a_body_is_a_value_or_a_problem(raw: bytes) -> None:
    for decoder in DECODERS:
        value = decode_body(raw, decoder, 150)
        if len(raw) > 150:
            assert isinstance(value, Problem)
            assert value.code == Code.BODY_TOO_LARGE


@given(st.binary(max_size=200) | damaged())
def test_a_document_is_a_manifest_or_a_fault(raw: bytes) -> None:
    assert isinstance(read_manifest(raw, "clip-1"), Manifest | ManifestFault)


@given(headers)
def test_weights_are_read_from_any_text(header: str) -> None:
    items = parse_weighted(header)
    weights = [weight for _, weight in items]
    assert weights == sorted(weights, reverse=True)
    assert all(0 <= weight < 2 for weight in weights)
    assert all(name == name.strip() != "" for name, _ in items)


@given(headers)
def test_a_media_type_is_one_of_those_offered_or_none(header: str) -> None:
    assert choose_media_type(header, ("application/json", "text/html")) in {"application/json", "text/html", None}


@given(any_text, headers, st.sets(st.sampled_from(["de", "en-GB", "pt-BR", "ar"])))
def test_a_locale_is_one_of_those_there_are_or_the_default(wish: str, header: str, available: set[str]) -> None:
    chosen = choose_locale(wish, header, available, "en")
    assert chosen in available | {"en"}
    assert direction_of(chosen) in {"ltr", "rtl"}


@given(any_text, any_text, st.lists(st.sampled_from(sorted(MINOR_DIGITS)), min_size=1, max_size=4))
def test_a_currency_is_one_of_those_offered(wish: str, country: str, offered: list[str]) -> None:
    assert choose_currency(wish, country, offered) in offered


@given(st.dictionaries(any_text, any_text, max_size=3), any_text, any_text)
def test_a_text_is_one_of_those_there_are(texts: dict[str, str], locale: str, default: str) -> None:
    assert choose_text(texts, locale, default) in {*texts.values(), ""}


@given(st.integers(0, 10**12), st.sampled_from(sorted(MINOR_DIGITS)), st.sampled_from(["ar", "de", "en", "fr", "ja"]))
def test_a_price_can_be_read_back(amount_minor: int, currency: str, language: str) -> None:
    digits = "".join(character for character in format_price(amount_minor, currency, language) if character.isdigit())
    assert int(digits) == amount_minor


class Collected(HTMLParser):
    """The elements and texts of a document."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}


TAGS = ["html", "head", "meta", "meta", "title", "link", "script", "body", "cliptill-overlay", "section", "h1", "ul"]
CARD = ["li", "h2", "p", "p", "data", "span"]


@given(printable, printable)
def test_no_text_of_a_creator_becomes_markup(name: str, description: str) -> None:
    offer = offer_document(names={"en": name}, descriptions={"en": description})
    manifest = make_manifest(names={"en": name}, offers=[offer])
    template = compile_html(manifest, ViewerContext(locale="en"), settle_url="https://o", edge_url="https://e")
    document = render_html(template, {}, NOW_MS).decode()
    collected = Collected()
    collected.feed(document)
    assert collected.tags == [*TAGS, *CARD, "nav"]
    assert not any(attribute.startswith("on") for attribute in collected.attributes)
    assert name in unescape(document)


@given(printable, any_text, st.integers(0, 200), st.integers(-10_000, 10_000))
def test_an_overlay_is_what_is_documented_for_any_viewer(name: str, currency: str, remaining: int, age_ms: int) -> None:
    manifest = make_manifest(names={"en": name}, offers=[offer_document(names={"en": name})])
    context = ViewerContext(locale="en", currency=currency, country=currency)
    template = compile_json(manifest, context, settle_url="https://o")
    snapshot = make_snapshot(remaining=remaining, as_of_ms=NOW_MS - age_ms)
    view = msgspec.json.decode(render_json(template, {"drop-1": snapshot}, NOW_MS), type=OverlayView)
    (offer,) = view.offers
    assert (view.title, offer.title) == (name, name)
    assert (offer.stock.remaining, offer.claimable) == (remaining, remaining > 0)
