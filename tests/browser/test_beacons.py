"""What an overlay reports: views, clicks, errors and timings, in the edge's own terms, never holding anything up."""

import msgspec
from playwright.sync_api import BrowserContext, Page, expect

from shared.insight.events import Beacon, report_beacon
from tests.browser.drive import button, offer, open_shop, wait_until
from tests.browser.world import World

LEAVE = (
    "() => { Object.defineProperty(document, 'hidden', { value: true, configurable: true });"
    " document.dispatchEvent(new Event('visibilitychange')); }"
)


def names(world: World) -> list[str]:
    return [str(event.get("name", event["type"])) for event in world.beacons()]


def test_a_view_a_click_and_timings_are_reported_when_the_page_is_left(page: Page, world: World) -> None:
    overlay = open_shop(page, world)
    button(overlay, "Shirt").click()
    expect(offer(overlay, "Shirt")).to_contain_text("No. 7")
    page.wait_for_timeout(1200)
    page.evaluate(LEAVE)
    wait_until(world.beacons, "a beacon", page)
    assert sorted(names(world)) == ["click", "overlay", "tap_to_claim", "tap_to_settled", "view"]


def test_the_edge_can_read_every_beacon_and_it_names_no_viewer(page: Page, world: World) -> None:
    world.settlement_refusal = "cap_reached"
    overlay = open_shop(page, world)
    button(overlay, "Shirt").click()
    expect(offer(overlay, "Shirt")).to_contain_text("as many as")
    page.evaluate(LEAVE)
    wait_until(world.beacons, "a beacon", page)
    (tap,) = world.posts("/v1/claims")
    for seen in world.posts("/v1/events"):
        assert seen.headers["content-type"].startswith("text/plain")
        assert report_beacon(msgspec.json.decode(seen.body, type=Beacon))
        assert tap.json()["viewer"].encode() not in seen.body
        assert tap.json()["idempotency_key"].encode() not in seen.body
    assert "cap_reached" in names(world)


def test_a_view_needs_half_of_the_overlay_for_a_second_and_counts_once(page: Page, world: World) -> None:
    open_shop(page, world)
    page.wait_for_timeout(400)
    page.evaluate(LEAVE)
    wait_until(world.beacons, "a beacon", page)
    assert "view" not in names(world)
    page.wait_for_timeout(1000)
    page.evaluate("scrollTo(0, 5000)")
    page.evaluate(LEAVE)
    wait_until(lambda: "view" in names(world), "the view", page)
    assert names(world).count("view") == 1


def test_what_cannot_be_sent_is_kept_and_what_cannot_be_kept_is_counted(
    context: BrowserContext, page: Page, world: World
) -> None:
    context.add_init_script(
        "window.send = Navigator.prototype.sendBeacon; Navigator.prototype.sendBeacon = () => false;"
    )
    world.claim_refusal = "cap_reached"
    overlay = open_shop(page, world)
    expect(button(overlay, "Shirt")).to_be_visible()
    for _ in range(30):
        button(overlay, "Shirt").click()
        expect(button(overlay, "Shirt")).to_have_attribute("aria-disabled", "false")
    page.evaluate(LEAVE)
    assert world.beacons() == []
    page.evaluate("void (Navigator.prototype.sendBeacon = window.send)")
    page.evaluate(LEAVE)
    wait_until(world.beacons, "a beacon", page)
    last = world.beacons()[-1]
    assert len(world.beacons()) == 50
    assert (last["type"], last["name"]) == ("error", "beacon_lost")
    assert int(last["detail"]) >= 12
