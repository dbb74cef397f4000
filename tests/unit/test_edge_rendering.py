"""Overlays from templates: one for a context, made anew when anything lasting changes, always with stock of now."""

import asyncio
import json
from typing import Any

import pytest

from edge.generations import Generations
from edge.rendering import ContextKey, drops_of, render_overlay
from shared.catalogue.stock import FRESH_MS, LATE_MS
from tests.edge_world import MemoryWorld
from tests.samples import HOUR_MS, NOW_MS, make_manifest, offer_document, terms_document

KEY = ContextKey(clip="clip-1", version=1, accept_language="en", locale="", currency="", country="DE", edge_url="")


@pytest.fixture
def world() -> MemoryWorld:
    world = MemoryWorld(start_ms=NOW_MS)
    world.set_stock("drop-1", remaining=50)
    return world


def render(world: MemoryWorld, key: ContextKey = KEY, **manifest: Any) -> bytes:
    return asyncio.run(render_overlay(world.services(), make_manifest(**manifest), key))


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


def test_a_compiled_overlay_has_the_time_and_stock_of_now(world: MemoryWorld) -> None:
    first = json.loads(render(world))
    world.wait_ms(FRESH_MS)
    world.set_stock("drop-1", remaining=1, version=2)
    second = json.loads(render(world))
    assert second["server_time_ms"] == first["server_time_ms"] + FRESH_MS
    assert [view["offers"][0]["stock"]["remaining"] for view in (first, second)] == [50, 1]


def test_a_language_needs_words_of_the_creator_and_of_the_overlay(world: MemoryWorld) -> None:
    names = {"en": "Clip", "tlh": "Clip", "de": "Clip"}
    chosen = [json.loads(render(world, KEY._replace(locale=wish), names=names))["locale"] for wish in ("tlh", "fr")]
    assert chosen == ["en", "en"]


def test_drops_are_asked_for_in_the_manifests_order() -> None:
    offers = [offer_document(offer=f"o{name}", terms=terms_document(drop=f"drop-{name}")) for name in ("b", "a")]
    assert drops_of(make_manifest(offers=offers)) == ("drop-b", "drop-a")
