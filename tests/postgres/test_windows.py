"""What everyone may read: stock, shared overlays, keys, the description; and what browsers of any site may do."""

import time
from typing import Any

import msgspec
import pytest

from shared.catalogue.stock import StockSnapshots
from shared.overlay.rendering import OverlayView
from tests.postgres.world import PUBLIC_URL, OriginProcess, Tap, World
from tests.samples import encode, manifest_document, offer_document, terms_document


def publish(world: World, version: int, **changes: Any) -> None:
    """Store a published manifest, as publishing does."""
    world.execute("INSERT INTO creators VALUES ('creator-1', 'x', NULL, 0, 0) ON CONFLICT DO NOTHING")
    world.execute(
        """
        INSERT INTO clips (clip, creator, names, default_locale, offers, links, claim_ttl_s, created_ms, updated_ms)
        VALUES ('clip-1', 'creator-1', '{}', 'en', '{}', '[]', 300, 0, 0) ON CONFLICT DO NOTHING
        """
    )
    now_ms = time.time_ns() // 1_000_000
    terms = terms_document(opens_at_ms=now_ms - 1000, closes_at_ms=now_ms + 3_600_000)
    body = encode(manifest_document(version=version, offers=[offer_document(terms=terms)], **changes))
    world.execute("INSERT INTO manifests VALUES ('clip-1', %s, %s, 0)", version, body)


def test_stock_snapshot_says_what_is_left_with_version_and_age(world: World, origin: OriginProcess) -> None:
    world.add_drop("drop-none", total=0)
    origin.settle(Tap())
    answer = origin.client.get("/v1/stock?drops=drop-1,drop-none,drop-unknown,drop-1")
    assert answer.headers["cache-control"] == "public, max-age=1"
    told = msgspec.json.decode(answer.content, type=StockSnapshots)
    assert abs(told.as_of_ms - time.time() * 1000) < 5000
    assert [(stock.drop, stock.total, stock.remaining, stock.version) for stock in told.drops] == [
        ("drop-1", 100, 99, 2),
        ("drop-none", 0, 0, 1),
    ]
    assert [stock.admit_per_s for stock in told.drops] == [50, 0]


def test_admission_is_shared_out_among_the_nodes_that_were_heard_of(world: World, origin: OriginProcess) -> None:
    now_ms = time.time_ns() // 1_000_000
    for number, heard_ms in enumerate((now_ms, now_ms, now_ms - 120_000)):
        world.execute(
            """
            INSERT INTO edge_nodes (node, colo, highest_seq, batches, first_received_ms, last_received_ms)
            VALUES (%s, 'FRA', 1, 1, %s, %s)
            """,
            f"node-{number}", heard_ms, heard_ms,
        )  # fmt: skip
    told = msgspec.json.decode(origin.client.get("/v1/stock?drops=drop-1").content, type=StockSnapshots)
    assert told.drops[0].admit_per_s == 25


def test_shared_overlay_is_the_newest_manifest_with_the_present_stock(world: World, origin: OriginProcess) -> None:
    publish(world, 1)
    publish(world, 2, names={"en": "Newer"})
    origin.settle(Tap())
    answer = origin.client.get("/shared/clips/clip-1/overlay.json")
    assert answer.headers["cache-control"] == "public, max-age=5, s-maxage=10, stale-if-error=86400"
    view = msgspec.json.decode(answer.content, type=OverlayView)
    assert (view.manifest_version, view.title, view.shared, view.settle_url) == (2, "Newer", True, PUBLIC_URL)
    assert (view.offers[0].stock.remaining, view.offers[0].claimable) == (99, True)


def test_shared_document_shows_the_overlay_without_scripts(world: World, origin: OriginProcess) -> None:
    publish(world, 1)
    answer = origin.client.get("/shared/clips/clip-1/overlay.html")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "public, max-age=5, s-maxage=10, stale-if-error=86400"
    assert "script-src https://edge.example;" in answer.headers["content-security-policy"]
    assert "https://edge.example/cliptill-overlay.js" in answer.text
    assert "Sample" in answer.text


@pytest.mark.parametrize("path", ["/v1/settlements", "/v1/settlements/x/stream", "/v1/creators/x"])
def test_preflight_allows_what_browsers_send(origin: OriginProcess, path: str) -> None:
    asked = {"Origin": "https://page.example", "Access-Control-Request-Method": "POST"}
    answer = origin.client.options(path, headers=asked)
    assert (answer.status_code, answer.headers["access-control-max-age"]) == (204, "86400")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["access-control-allow-headers"] == "Authorization, DPoP, Content-Type"


@pytest.mark.parametrize("path", ["/health", "/ready", "/.well-known/jwks.json", "/openapi.json"])
def test_head_has_the_headers_of_get_and_no_body(origin: OriginProcess, path: str) -> None:
    got, headed = origin.client.get(path), origin.client.head(path)
    assert (headed.status_code, headed.content) == (200, b"")
    assert headed.headers["content-length"] == str(len(got.content))
    assert headed.headers["timing-allow-origin"] == "*"
