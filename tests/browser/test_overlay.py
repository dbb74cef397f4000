"""What a viewer sees of an overlay, and what they do not notice: the edge being late, or away."""

import gzip
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.drive import button, faults, focused, offer, open_shop, wait_until
from tests.browser.world import DROP, FREE_DROP, HOUR_MS, World

# Two files: the second is fetched once the overlay is drawn. Later features go there.
OVERLAY_GZIP_MOST = 6 * 1024
CLAIMS_GZIP_MOST = 6 * 1024


def playing(page: Page) -> float:
    seconds: float = page.evaluate("document.querySelector('video').currentTime")
    return seconds


def test_the_component_is_small(assets: Path) -> None:
    sizes = {path.name: len(gzip.compress(path.read_bytes(), 9)) for path in assets.glob("*.js")}
    assert set(sizes) == {"cliptill-overlay.js", "cliptill-claims.js"}
    assert sizes["cliptill-overlay.js"] < OVERLAY_GZIP_MOST
    assert sizes["cliptill-claims.js"] < CLAIMS_GZIP_MOST


def test_a_strict_content_security_policy_has_nothing_to_refuse(page: Page, world: World) -> None:
    overlay = open_shop(page, world)
    button(overlay, "Shirt").click()
    expect(offer(overlay, "Shirt")).to_contain_text("No. 7")
    button(overlay, "Sticker").click()
    expect(offer(overlay, "Sticker")).to_contain_text("No. 8")
    assert faults(page) == []


def test_a_screen_reader_finds_a_region_with_named_buttons_and_hears_the_outcome(page: Page, world: World) -> None:
    overlay = open_shop(page, world)
    expect(page.get_by_role("region", name="Lantern Row")).to_be_visible()
    expect(page.get_by_role("button", name="Reserve Shirt")).to_have_attribute("aria-disabled", "false")
    expect(page.get_by_role("button", name="Lantern Row")).to_have_attribute("aria-expanded", "true")
    expect(overlay.get_by_role("status")).to_have_text("")
    page.get_by_role("button", name="Reserve Shirt").click()
    expect(overlay.get_by_role("status")).to_have_text("Shirt: It is yours. No. 7 · Pay €24.00 when you pick it up.")
    expect(page.get_by_role("button", name="It is yours. Shirt")).to_have_attribute("aria-disabled", "true")


def test_a_late_edge_shows_the_shared_overlay_and_swaps_in_place_with_the_focus_kept(page: Page, world: World) -> None:
    world.edge_delay_s = 1.5
    overlay = open_shop(page, world)
    expect(page.get_by_role("region", name="Lantern Row (shared)")).to_be_visible(timeout=1200)
    button(overlay, "Sticker").focus()
    expect(page.get_by_role("region", name="Lantern Row", exact=True)).to_be_visible()
    assert focused(page) == "Claim"
    assert [seen.path for seen in world.edge_seen].count(f"/shared/clips/{world.clip}/overlay.json") == 1


def test_a_quick_edge_is_not_asked_for_the_shared_overlay(page: Page, world: World) -> None:
    # Quick means: within 100 ms. This machine may be busy, so this page's clock gives it a second.
    page.add_init_script("const later = setTimeout; window.setTimeout = (work, ms) => later(work, ms * 10)")
    overlay = open_shop(page, world)
    expect(button(overlay, "Shirt")).to_be_visible()
    page.wait_for_timeout(1500)
    assert f"/shared/clips/{world.clip}/overlay.json" not in [seen.path for seen in world.edge_seen]


def test_an_edge_that_is_away_never_stops_the_video_and_what_is_shown_is_marked_old(page: Page, world: World) -> None:
    world.edge_away = True
    overlay = open_shop(page, world)
    expect(page.get_by_role("region", name="Lantern Row (shared)")).to_be_visible()
    expect(overlay.get_by_text("Stock as of")).to_be_visible()
    before = playing(page)
    wait_until(lambda: playing(page) > before + 0.5, "the video goes on", page)
    world.edge_away = False
    expect(page.get_by_role("region", name="Lantern Row", exact=True)).to_be_visible()
    expect(overlay.get_by_text("Stock as of")).to_be_hidden()


def test_without_edge_and_cdn_the_overlay_is_quietly_absent(page: Page, world: World) -> None:
    world.edge_away = world.shared_away = True
    open_shop(page, world)
    wait_until(lambda: playing(page) > 0.5, "the video plays", page)
    expect(page.get_by_role("region")).to_have_count(0)
    assert faults(page) == []


def test_the_card_leaves_the_rest_of_the_video_to_its_controls(page: Page, world: World) -> None:
    overlay = open_shop(page, world)
    expect(button(overlay, "Shirt")).to_be_visible()
    hit = """(y) => { const box = document.querySelector("video").getBoundingClientRect();
      return document.elementFromPoint(box.x + box.width / 2, y < 0 ? box.bottom + y : box.top + y).localName; }"""
    assert [page.evaluate(hit, -20), page.evaluate(hit, 20)] == ["video", "video"]


def test_stock_that_goes_is_seen_to_go(page: Page, world: World) -> None:
    overlay = open_shop(page, world)
    expect(offer(overlay, "Shirt")).to_contain_text("5 left")
    world.stock, world.stock_version = 1, 8
    expect(offer(overlay, "Shirt")).to_contain_text("Last one")
    assert offer(overlay, "Shirt").locator("[data-version]").get_attribute("data-version") == "8"
    world.stock, world.stock_version = 0, 9
    expect(button(overlay, "Shirt")).to_have_text("Sold out")
    world.stock, world.stock_version = 3, 6
    page.wait_for_timeout(1500)
    expect(button(overlay, "Shirt")).to_have_text("Sold out")


def test_plenty_is_looked_at_again_too_but_less_often(page: Page, world: World) -> None:
    def asked(drop: str) -> int:
        return [seen.path for seen in world.edge_seen].count(f"/v1/drops/{drop}/stock")

    page.add_init_script("Math.random = () => 0.999")  # whatever chance says
    open_shop(page, world)
    wait_until(lambda: asked(FREE_DROP) == 2, "the stock of what there is plenty of is asked for again", page)
    assert asked(FREE_DROP) < asked(DROP) <= 3 * asked(FREE_DROP)


def test_an_offer_opens_and_closes_at_its_instant_by_the_servers_clock(page: Page, world: World) -> None:
    world.clock_ahead_ms = 7 * HOUR_MS
    world.opens_in_ms, world.closes_in_ms = 1_500, 2_500
    overlay = open_shop(page, world)
    expect(button(overlay, "Shirt")).to_contain_text("Opens in 00:00:0")
    expect(button(overlay, "Shirt")).to_have_attribute("aria-disabled", "true")
    expect(button(overlay, "Shirt")).to_have_text("Reserve")
    expect(button(overlay, "Shirt")).to_have_text("Closed")


def test_arabic_runs_from_right_to_left(page: Page, world: World) -> None:
    world.language = "ar"
    overlay = open_shop(page, world)
    region = overlay.get_by_role("region")
    expect(region).to_have_attribute("lang", "ar")
    expect(region).to_have_css("direction", "rtl")
    expect(button(overlay, "Shirt")).to_have_text("احجز")


def test_nothing_moves_for_those_who_ask_for_less_motion(browser: Browser, world: World) -> None:
    moving = {}
    for wish in ("reduce", "no-preference"):
        context = browser.new_context(reduced_motion=wish)
        overlay = open_shop(context.new_page(), world)
        moving[wish] = overlay.get_by_role("region").evaluate("(card) => getComputedStyle(card).animationName")
        context.close()
    assert moving == {"reduce": "none", "no-preference": "in"}


@pytest.mark.parametrize(("wish", "how"), [("reduce", "auto"), ("no-preference", "smooth")])
def test_the_run_number_of_a_tap_low_in_a_short_card_is_scrolled_into_view(
    browser: Browser, world: World, wish: Literal["reduce", "no-preference"], how: str
) -> None:
    context = browser.new_context(reduced_motion=wish)
    page = context.new_page()
    overlay = open_shop(page, world)
    expect(button(overlay, "Shirt")).to_be_visible()
    region = overlay.get_by_role("region")
    expect(region).to_have_css("scroll-behavior", how)
    # The button is the last that can be seen of the card.
    page.evaluate(
        """() => {
             const card = document.querySelector("cliptill-overlay").shadowRoot.querySelector("section");
             const tapped = card.querySelector("li button").getBoundingClientRect();
             card.style.setProperty("max-block-size", `${tapped.bottom - card.getBoundingClientRect().top + 2}px`);
           }"""
    )
    button(overlay, "Shirt").scroll_into_view_if_needed()
    at = page.evaluate("scrollY")
    button(overlay, "Shirt").click()
    expect(offer(overlay, "Shirt")).to_contain_text("No. 7")

    def is_seen() -> bool:
        told, card = offer(overlay, "Shirt").get_by_text("No. 7").bounding_box(), region.bounding_box()
        assert told is not None
        assert card is not None
        return told["y"] + told["height"] <= card["y"] + card["height"]

    wait_until(is_seen, "the run number is seen", page)
    assert page.evaluate("scrollY") == at
    context.close()


def test_a_narrow_phone_with_text_twice_as_large_has_all_of_the_card_and_large_targets(
    browser: Browser, world: World
) -> None:
    context = browser.new_context(viewport={"width": 320, "height": 640})
    page = context.new_page()
    overlay = open_shop(page, world)
    expect(button(overlay, "Shirt")).to_be_visible()
    page.evaluate("document.documentElement.style.fontSize = '200%'")
    expect(overlay.get_by_role("region")).to_have_class("below")
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    heights = overlay.locator("button, summary, a").evaluate_all(
        "(nodes) => nodes.map((node) => node.getBoundingClientRect().height).filter(Boolean)"
    )
    assert min(heights) >= 44
    context.close()


def test_another_clip_starts_afresh_and_a_removed_overlay_asks_no_more(page: Page, world: World) -> None:
    overlay = open_shop(page, world)
    expect(button(overlay, "Shirt")).to_be_visible()
    overlay.evaluate("(node) => node.setAttribute('clip', 'another')")
    wait_until(lambda: "/v1/clips/another/overlay" in [seen.path for seen in world.edge_seen], "the other clip", page)
    expect(button(overlay, "Shirt")).to_be_visible()
    overlay.evaluate("(node) => node.remove()")
    page.wait_for_timeout(1500)  # what was on its way has come
    asked = len(world.edge_seen)
    page.wait_for_timeout(1500)
    assert [seen.path for seen in world.edge_seen[asked:]] == []
