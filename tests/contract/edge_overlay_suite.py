"""What any edge does with overlays and stock: languages, prices, windows, hostile texts."""

import re
from html import unescape
from typing import Final

import pytest

from tests.contract.edge_driver import JSON, Edge

HTML: Final = "text/html"
HOSTILE: Final = "\"><script>alert('1')</script>&amp;<img src=x onerror=alert(1)>"


class OverlayContract:
    """`GET /v1/clips/{clip}/overlay`."""

    def test_an_overlay_tells_all_that_a_viewer_needs(self, edge: Edge) -> None:
        clip = edge.publish(
            remaining=50,
            terms={"max_quantity": 3},
            offer={"kind": "product", "payment": "at_pickup", "prices": [{"currency": "EUR", "amount_minor": 1990}]},
        )
        overlay = edge.overlay(clip)
        (offer,) = overlay["offers"]
        assert overlay["clip"] == clip.clip
        assert overlay["settle_url"] == edge.world.origin_url
        assert overlay["shared"] is False
        assert abs(overlay["server_time_ms"] - edge.world.now_ms()) < 5000
        assert (offer["offer"], offer["drop"], offer["kind"]) == (clip.offer, clip.drop, "product")
        assert offer["price"] == {"amount_minor": 1990, "currency": "EUR", "text": "€19.90"}
        assert (offer["stock"]["state"], offer["stock"]["remaining"], offer["stock"]["version"]) == ("available", 50, 1)
        assert (offer["window"], offer["claimable"], offer["max_quantity"]) == ("open", True, 3)

    @pytest.mark.parametrize(
        ("accept", "media_type"),
        [
            pytest.param("", JSON, id="absent"),
            pytest.param("*/*", JSON, id="anything"),
            pytest.param("application/json", JSON, id="json"),
            pytest.param("text/html", HTML, id="html"),
            pytest.param("text/*", HTML, id="any text"),
            pytest.param("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", HTML, id="browser"),
            pytest.param("text/html;q=0.3, application/json;q=0.4", JSON, id="weights"),
            pytest.param("application/json;q=0, */*", HTML, id="json refused"),
            pytest.param("TEXT/HTML", HTML, id="upper case"),
            pytest.param("text/html;level=1", HTML, id="with a parameter"),
        ],
    )
    def test_the_form_is_the_accepted_one(self, edge: Edge, accept: str, media_type: str) -> None:
        clip = edge.publish()
        received = edge.request("GET", f"/v1/clips/{clip.clip}/overlay", {"accept": accept} if accept else {})
        assert received.status == 200
        assert received.headers["content-type"].startswith(media_type)
        assert "accept" in received.headers["vary"]

    @pytest.mark.parametrize("accept", ["image/png", "text/plain", "*/*;q=0", "nonsense"])
    def test_what_is_not_made_is_not_acceptable(self, edge: Edge, accept: str) -> None:
        clip = edge.publish()
        assert edge.get(f"/v1/clips/{clip.clip}/overlay", accept=accept).code == "not_acceptable"

    @pytest.mark.parametrize(
        ("query", "header", "locale"),
        [
            pytest.param("", "", "en", id="nothing asked"),
            pytest.param("", "de", "de", id="header"),
            pytest.param("", "de-AT,de;q=0.9", "de", id="region falls back to language"),
            pytest.param("", "fr;q=0.2, de;q=0.8", "de", id="weights"),
            pytest.param("", "xx, zz;q=0.5", "en", id="none fits"),
            pytest.param("", ";;;,,q=1,*;q=9", "en", id="nonsense"),
            pytest.param("?locale=ar", "de", "ar", id="wish first"),
            pytest.param("?locale=tlh", "de", "de", id="unknown wish"),
            pytest.param("?locale=%00%ff%22%3E", "", "en", id="hostile wish"),
            pytest.param("?locale=" + "de-" * 2000, "", "de", id="endless wish"),
        ],
    )
    def test_the_language_is_wished_or_accepted_or_the_clips_own(
        self, edge: Edge, query: str, header: str, locale: str
    ) -> None:
        clip = edge.publish(names={"en": "Clip", "de": "Clip", "ar": "مقطع"})
        overlay = edge.overlay(clip, query, accept_language=header)
        assert (overlay["locale"], overlay["dir"]) == (locale, "rtl" if locale == "ar" else "ltr")

    @pytest.mark.parametrize(
        ("country", "query", "currency", "text"),
        [
            pytest.param("US", "", "USD", "$21.00", id="country"),
            pytest.param("JP", "", "JPY", "¥3,000", id="no digits"),
            pytest.param("BH", "", "BHD", "BHD\u00a07.500", id="three digits"),
            pytest.param("US", "?currency=jpy", "JPY", "¥3,000", id="wish first"),
            pytest.param("", "", "EUR", "€19.90", id="unknown country"),
            pytest.param("US", "?currency=XXX", "USD", "$21.00", id="wish not offered"),
            pytest.param("zz", "?currency=%E2%82%AC%00", "EUR", "€19.90", id="nonsense"),
        ],
    )
    def test_the_price_is_in_the_wished_or_the_countrys_currency(
        self, edge: Edge, country: str, query: str, currency: str, text: str
    ) -> None:
        prices = [("EUR", 1990), ("USD", 2100), ("JPY", 3000), ("BHD", 7500)]
        listed = [{"currency": code, "amount_minor": amount} for code, amount in prices]
        clip = edge.publish(offer={"prices": listed, "payment": "at_pickup"})
        edge.world.set_place(country=country)
        price = edge.overlay(clip, query)["offers"][0]["price"]
        assert (price["currency"], price["text"]) == (currency, text)

    def test_links_are_those_of_the_region(self, edge: Edge) -> None:
        link = {"rel": "terms", "names": {"en": "Terms"}, "href": "https://creator.example/terms"}
        regional = {**link, "rel": "withdrawal", "regions": ["DE", "FR"]}
        clip = edge.publish(links=[link, regional])
        edge.world.set_place(country="DE")
        assert [shown["rel"] for shown in edge.overlay(clip)["links"]] == ["terms", "withdrawal"]
        edge.world.set_place(country="US")
        assert [shown["rel"] for shown in edge.overlay(clip)["links"]] == ["terms"]

    @pytest.mark.parametrize(
        ("opens_in_ms", "closes_in_ms", "window", "claimable"),
        [
            pytest.param(60_000, 120_000, "upcoming", False, id="upcoming"),
            pytest.param(-60_000, 60_000, "open", True, id="open"),
            pytest.param(-120_000, -60_000, "closed", False, id="closed"),
        ],
    )
    def test_only_an_open_window_is_claimable(
        self, edge: Edge, opens_in_ms: int, closes_in_ms: int, window: str, *, claimable: bool
    ) -> None:
        clip = edge.publish(opens_in_ms=opens_in_ms, closes_in_ms=closes_in_ms)
        (offer,) = edge.overlay(clip)["offers"]
        assert (offer["window"], offer["claimable"]) == (window, claimable)

    def test_a_clip_without_offers_is_an_overlay(self, edge: Edge) -> None:
        clip = edge.publish(offers=[])
        assert edge.overlay(clip)["offers"] == []
        assert edge.get(f"/v1/clips/{clip.clip}/overlay", accept=HTML).status == 200

    @pytest.mark.parametrize(
        "name",
        ["none-such", "UPPER", "a_b", "-a", "a" * 64, "%0A", "x%0A", "..%2f..%2fetc", "%F0%9F%8E%AC", "a%00b"],
    )
    def test_what_cannot_be_or_is_not_a_clip_is_unknown(self, edge: Edge, name: str) -> None:
        received = edge.get(f"/v1/clips/{name}/overlay")
        assert (received.status, received.code) in ((404, "clip_unknown"), (404, "not_found"))

    def test_a_document_of_its_own_is_semantic_and_says_its_language_and_direction(self, edge: Edge) -> None:
        clip = edge.publish(names={"en": "Clip", "ar": "مقطع"}, remaining=1)
        received = edge.get(f"/v1/clips/{clip.clip}/overlay?locale=ar", accept=HTML)
        document = received.body.decode()
        assert received.headers["content-type"] == "text/html; charset=utf-8"
        assert document.startswith('<!doctype html><html lang="ar" dir="rtl">')
        assert "<title>مقطع</title>" in document
        assert f'<cliptill-overlay clip="{clip.clip}"' in document
        assert 'data-window="open" data-state="last"' in document

    def test_creators_texts_never_become_markup(self, edge: Edge) -> None:
        texts = {"en": HOSTILE}
        link = {"rel": "terms", "names": texts, "href": "https://creator.example/?a=1&b=2"}
        clip = edge.publish(names=texts, offer={"names": texts, "descriptions": texts}, links=[link])
        received = edge.get(f"/v1/clips/{clip.clip}/overlay", accept=HTML)
        document = received.body.decode()
        assert "<script>alert" not in document
        assert "<img src=x" not in document
        assert document.count("<script") == 1
        assert re.findall(r"<h1>(.*?)</h1>", document) == re.findall(r"<h2>(.*?)</h2>", document)
        assert unescape(re.findall(r"<h2>(.*?)</h2>", document)[0]) == HOSTILE
        assert edge.overlay(clip)["title"] == HOSTILE

    def test_a_document_may_load_nothing_but_what_it_needs(self, edge: Edge) -> None:
        clip = edge.publish()
        received = edge.get(f"/v1/clips/{clip.clip}/overlay", accept=HTML)
        policy = {
            name: values
            for name, *values in (part.split() for part in received.headers["content-security-policy"].split(";"))
        }
        assert policy["default-src"] == ["'none'"]
        assert policy["base-uri"] == policy["form-action"] == ["'none'"]
        assert not any("unsafe" in value for values in policy.values() for value in values)
        assert edge.world.origin_url in policy["connect-src"]
        assert received.headers["x-content-type-options"] == "nosniff"

    def test_head_says_what_get_says_without_a_body(self, edge: Edge) -> None:
        clip = edge.publish()
        received = edge.request("HEAD", f"/v1/clips/{clip.clip}/overlay")
        assert (received.status, received.body) == (200, b"")
        assert received.headers["content-type"] == JSON
        assert edge.request("HEAD", "/v1/clips/none-such/overlay").status == 404

    def test_personal_answers_are_not_kept_by_caches(self, edge: Edge) -> None:
        clip = edge.publish()
        assert edge.get(f"/v1/clips/{clip.clip}/overlay").headers["cache-control"] == "no-store"


class StockContract:
    """`GET /v1/drops/{drop}/stock`."""

    @pytest.mark.parametrize(
        ("remaining", "state"),
        [(100, "available"), (21, "available"), (20, "low"), (2, "low"), (1, "last"), (0, "sold_out")],
    )
    def test_stock_is_told_with_band_version_and_age(self, edge: Edge, remaining: int, state: str) -> None:
        drop = edge.new_name("drop")
        edge.world.set_stock(drop, remaining=remaining, total=100, version=9)
        told = edge.get(f"/v1/drops/{drop}/stock").json
        assert (told["drop"], told["state"], told["remaining"], told["version"]) == (drop, state, remaining, 9)
        assert 0 <= told["age_ms"] < 5000
        assert told["as_of_ms"] <= edge.world.now_ms()
        assert told["stale"] is False

    @pytest.mark.parametrize("name", ["none-such", "UPPER", "x%0A", "a,b", "a%2Cb", "%22", "a" * 64])
    def test_what_cannot_be_or_is_not_a_drop_is_unknown(self, edge: Edge, name: str) -> None:
        assert edge.get(f"/v1/drops/{name}/stock").code == "drop_unknown"

    def test_overlay_and_stock_tell_the_same(self, edge: Edge) -> None:
        clip = edge.publish(remaining=3)
        shown = edge.overlay(clip)["offers"][0]["stock"]
        told = edge.get(f"/v1/drops/{clip.drop}/stock").json
        assert {name: shown[name] for name in ("state", "remaining", "version")} == {
            name: told[name] for name in ("state", "remaining", "version")
        }

    def test_a_snapshot_from_the_future_is_not_believed(self, edge: Edge) -> None:
        clip = edge.publish(remaining=None)
        edge.world.set_stock(clip.drop, remaining=50, age_ms=-60_000)
        told = edge.get(f"/v1/drops/{clip.drop}/stock")
        assert (told.status, told.json["state"], told.json["remaining"]) == (200, "unknown", None)
        assert edge.overlay(clip)["offers"][0]["stock"]["state"] == "unknown"

    def test_an_old_snapshot_is_told_as_stale(self, edge: Edge) -> None:
        drop = edge.new_name("drop")
        edge.world.set_stock(drop, remaining=50, age_ms=60_000)
        told = edge.get(f"/v1/drops/{drop}/stock").json
        assert (told["stale"], told["remaining"]) == (True, 50)
        assert 60_000 <= told["age_ms"] < 65_000
