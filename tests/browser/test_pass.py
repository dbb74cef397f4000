"""A viewer's pass: fetched with the settlement, kept in the browser, shown where there is no network."""

import os
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Locator, Page, expect

from origin.pickup.passes import draw_code
from shared.claims.passes import write_code
from tests.browser.drive import button, faults, offer, open_shop, wait_until
from tests.browser.fake_services import PASS
from tests.browser.world import World

PICKUP: Final[dict[str, Any]] = {"place": "kiln", "nbf": 1_795_860_000, "exp": 1_795_863_600, "units": 1}


def open_pass(overlay: Locator) -> Locator:
    """Open the list of claims and the pass in it, and return the pass."""
    overlay.get_by_text("Your claims (1)").click()
    shown = overlay.locator("details.pass")
    shown.get_by_text("Show this at pickup").click()
    return shown


def shoot(page: Page, name: str) -> None:
    folder = os.environ.get("CLIPTILL_SCREENSHOTS")
    if folder:
        page.screenshot(path=Path(folder) / f"{name}.png")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pass_is_a_code_to_scan_and_a_code_to_type(page: Page, world: World, scheme: Any) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 390, "height": 844})
    world.pickup = PICKUP
    overlay = open_shop(page, world)
    button(overlay, "Shirt").click()
    expect(offer(overlay, "Shirt")).to_contain_text("No. 7")
    shown = open_pass(overlay)
    picture = shown.get_by_role("img", name="Show this at pickup")
    picture.scroll_into_view_if_needed()
    assert picture.locator("path").nth(1).get_attribute("d") == draw_code(PASS).path
    box = picture.bounding_box()
    assert box is not None
    assert box["width"] == pytest.approx(box["height"], abs=1)
    assert box["width"] > 250
    expect(shown).to_contain_text(write_code(PASS))
    expect(shown).to_contain_text("kiln")
    shoot(page, f"6-pass-{scheme}")
    assert faults(page) == []


def test_the_pass_is_there_without_network_and_its_claim_is_forgotten(page: Page, world: World) -> None:
    world.pickup = PICKUP
    overlay = open_shop(page, world)
    button(overlay, "Shirt").click()
    expect(overlay.locator("details.pass")).to_be_attached()
    world.origin_away = world.edge_away = world.shared_away = True
    page.reload()
    expect(open_pass(overlay)).to_contain_text(write_code(PASS))
    kept = page.evaluate(
        """() => new Promise((resolve) => {
          const opening = indexedDB.open("cliptill");
          opening.onsuccess = () => {
            const all = opening.result.transaction("claims").objectStore("claims").getAll();
            all.onsuccess = () => resolve(all.result);
          };
        })"""
    )
    assert [(saved["state"], saved.get("claim")) for saved in kept] == [("settled", None)]


def test_a_pass_that_cannot_be_fetched_yet_stops_nobody_and_comes_later(page: Page, world: World) -> None:
    world.pickup, world.passes_away, world.max_quantity = PICKUP, True, 2
    overlay = open_shop(page, world)
    button(overlay, "Shirt").click()
    expect(offer(overlay, "Shirt")).to_contain_text("No. 7")
    wait_until(lambda: any(seen.path.endswith("/pass") for seen in world.origin_seen), "the pass is asked for", page)
    button(overlay, "Shirt").click()
    expect(offer(overlay, "Shirt")).to_contain_text("No. 8")
    expect(overlay.locator("details.pass")).to_have_count(0)
    world.passes_away = False
    page.reload()
    expect(overlay.locator("details.pass")).to_have_count(2)


def test_what_is_not_picked_up_has_no_pass(page: Page, world: World) -> None:
    overlay = open_shop(page, world)
    button(overlay, "Shirt").click()
    expect(offer(overlay, "Shirt")).to_contain_text("No. 7")
    assert not any(seen.path.endswith("/pass") for seen in world.origin_seen)
    expect(overlay.locator("details.pass")).to_have_count(0)
