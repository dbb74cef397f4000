"""Overlays from templates: one for a context, made anew when anything lasting changes, always with stock of now."""

import asyncio
import json
from typing import Any

import pytest

from edge.caches import STOCK_USABLE_MS
from edge.generations import Generations
from edge.rendering import ContextKey, drops_of, render_overlay
from shared.catalogue.stock import LATE_MS
from tests.edge_world import MemoryWorld
from tests.samples import HOUR_MS, NOW_MS, make_manifest, offer_document, terms_document

KEY = ContextKey(clip="clip-1", version=1, accept_language="en", locale="", currency="", country="DE", edge_url="")


@pytest.fixture
def world() -> MemoryWorld:
    world = MemoryWorld(start_ms=NOW_MS)
    world.set_stock("drop-1", remaining=50)
    return world


def render(world: MemoryWorld, key: ContextKey = KEY, **manifest: Any) -> bytes:
    return asyncio.run(render_overlay(world.services(), make_manifest(**manifest), key, world.now_ms()))


def test_a_repeated_context_is_compiled_once(world: MemoryWorld) -> None:
    assert render(world) == render(world)
    assert len(world.isolate.templates) == 1


# A clip in two languages and currencies, with a policy for one country alone.
MIXED: dict[str, Any] = {
    "names": {"en": "Clip", "de": "Clip"},
    "offers": [
        offer_document(prices=[{"currency": "EUR", "amount_minor": 0}, {"currency": "USD", "amount_minor": 0}]),
    ],
    "links": [{"rel": "terms", "href": "https://shop.example", "names": {"en": "Terms"}, "regions": ["FR"]}],
}


@pytest.mark.parametrize(
    "changes",
    [
        {"clip": "clip-2"},
        {"version": 2},
        {"accept_language": "de"},
        {"locale": "de"},
        {"currency": "USD"},
        {"country": "FR"},
        {"edge_url": "https://edge.example"},
    ],
)
def test_a_context_that_is_shown_something_else_has_a_template_of_its_own(
    world: MemoryWorld, changes: dict[str, Any]
) -> None:
    render(world, **MIXED)
    render(world, KEY._replace(**changes), **MIXED)
    assert len(world.isolate.templates) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"accept_language": "en-GB,en;q=0.9"},
        {"locale": "tlh"},
        {"currency": "eur"},
        {"currency": "no such"},
        {"country": "AT"},
    ],
)
def test_contexts_that_are_shown_the_same_share_a_template(world: MemoryWorld, changes: dict[str, Any]) -> None:
    first = render(world, **MIXED)
    assert render(world, KEY._replace(**changes), **MIXED) == first
    assert len(world.isolate.templates) == 1
    assert len(world.isolate.recipes) == 2


def test_what_is_told_of_stock_is_made_once_for_a_language(world: MemoryWorld) -> None:
    render(world, **MIXED)
    (told,) = [world.isolate.told.get(("clip-1", 1, "en", False))]
    render(world, KEY._replace(currency="USD"), **MIXED)
    assert told is not None
    assert world.isolate.told.get(("clip-1", 1, "en", False)) is told


@pytest.mark.parametrize("edge_url", ["", "https://edge.example"], ids=["json", "html"])
def test_what_is_kept_says_what_would_be_said_anew(world: MemoryWorld, edge_url: str) -> None:
    key = KEY._replace(edge_url=edge_url)
    render(world, key)
    world.set_origin_away(away=True)
    # Past each instant that matters: late, the next full second of its age, and the window's end.
    for step_ms in (1, LATE_MS - 1, 1, 1, 998, 1, 1, 1000, HOUR_MS - LATE_MS - 2003, 1, 1):
        world.wait_ms(step_ms)
        kept = render(world, key)
        world.isolate.told = Generations(8)
        assert render(world, key) == kept


STEPS: list[dict[str, int]] = [
    {"from_ms": NOW_MS + 2500, "price_bp": 9_000}, {"from_ms": NOW_MS + 5000, "price_bp": 12_000}
]  # fmt: skip
MOVING: dict[str, Any] = {
    "offers": [
        offer_document(
            payment="card",
            prices=[
                {
                    "currency": currency,
                    "amount_minor": 1000,
                    "rule": {
                        "floor_minor": 800,
                        "ceiling_minor": 1500,
                        "by_stock": [{"left_bp": 5000, "price_bp": 11_000}],
                        "by_time": STEPS,
                    },
                }
                for currency in ("EUR", "JPY")
            ],
        ),
        offer_document(offer="offer-2", prices=[{"currency": "EUR", "amount_minor": 700}], payment="card"),
    ]
}


def prices_of(world: MemoryWorld, key: ContextKey = KEY) -> list[str]:
    return [offer["price"]["text"] for offer in json.loads(render(world, key, **MOVING))["offers"]]


def test_a_price_that_moves_is_told_as_of_now_in_each_currency(world: MemoryWorld) -> None:
    assert prices_of(world) == ["€11.00", "€7.00"]  # 50 of 100 are left
    assert prices_of(world, KEY._replace(currency="JPY")) == ["¥1,100", "€7.00"]
    assert prices_of(world) == ["€11.00", "€7.00"]
    world.wait_ms(STOCK_USABLE_MS)
    world.set_stock("drop-1", remaining=80, version=2)
    assert prices_of(world) == ["€10.00", "€7.00"]
    world.set_origin_away(away=True)
    for wait_ms, price in ((2499 - STOCK_USABLE_MS, "€10.00"), (1, "€9.00"), (2500, "€12.00")):
        world.wait_ms(wait_ms)
        assert prices_of(world)[0] == price


@pytest.mark.parametrize("edge_url", ["", "https://edge.example"], ids=["json", "html"])
@pytest.mark.parametrize("currency", ["EUR", "JPY"])
def test_a_price_that_is_kept_is_the_one_that_would_be_told_anew(
    world: MemoryWorld, edge_url: str, currency: str
) -> None:
    key = KEY._replace(edge_url=edge_url, currency=currency)
    for step_ms in (0, 2499, 1, 2499, 1, 1):
        world.wait_ms(step_ms)
        kept = render(world, key, **MOVING)
        world.isolate.told = Generations(8)
        assert render(world, key, **MOVING) == kept


def test_a_document_tells_a_moving_price_where_others_are_told(world: MemoryWorld) -> None:
    page = render(world, KEY._replace(edge_url="https://edge.example"), **MOVING).decode()
    assert '<p><data value="1100">€11.00</data> <span data-window="open"' in page
    assert '<p><data value="700">€7.00</data> <span data-window="open"' in page


def test_a_compiled_overlay_has_the_time_and_stock_of_now(world: MemoryWorld) -> None:
    first = json.loads(render(world))
    world.wait_ms(STOCK_USABLE_MS)
    world.set_stock("drop-1", remaining=1, version=2)
    second = json.loads(render(world))
    assert second["server_time_ms"] == first["server_time_ms"] + STOCK_USABLE_MS
    assert [view["offers"][0]["stock"]["remaining"] for view in (first, second)] == [50, 1]


def test_a_language_needs_words_of_the_creator_and_of_the_overlay(world: MemoryWorld) -> None:
    names = {"en": "Clip", "tlh": "Clip", "de": "Clip"}
    chosen = [json.loads(render(world, KEY._replace(locale=wish), names=names))["locale"] for wish in ("tlh", "fr")]
    assert chosen == ["en", "en"]


def test_drops_are_asked_for_in_the_manifests_order() -> None:
    offers = [offer_document(offer=f"o{name}", terms=terms_document(drop=f"drop-{name}")) for name in ("b", "a")]
    assert drops_of(make_manifest(offers=offers)) == ("drop-b", "drop-a")
