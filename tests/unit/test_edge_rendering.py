"""Overlays from templates: one for a context, made anew when anything lasting changes, always with stock of now."""

import asyncio
import json
from typing import Any

import pytest

from edge.rendering import ContextKey, drops_of, render_overlay
from shared.catalogue.stock import FRESH_MS
from tests.edge_world import MemoryWorld
from tests.samples import NOW_MS, make_manifest, offer_document, terms_document

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
def test_another_context_has_a_template_of_its_own(world: MemoryWorld, changes: dict[str, Any]) -> None:
    render(world)
    render(world, KEY._replace(**changes))
    assert len(world.isolate.templates) == 2


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
