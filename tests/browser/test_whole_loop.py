"""The whole product in a real browser: CPython in workerd at the edge, PostgreSQL at the origin, Chromium in front."""

import datetime as dt
from collections.abc import Callable, Iterator

import httpx
import jwt
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from scripts.demo.campaign import CLIP
from scripts.demo.site_server import FILES, make_app
from tests.browser.conftest import WATCH, Served
from tests.browser.drive import wait_until
from tests.real_stack import RealStack

Visit = Callable[[str], Page]


@pytest.fixture(scope="module")
def stack() -> Iterator[RealStack]:
    running = RealStack().start()
    yield running
    running.stop()


@pytest.fixture
def visit(stack: RealStack, browser: Browser) -> Iterator[Visit]:
    """Open the demo page on a clip, as a new person each time: another browser profile, another key."""
    contexts: list[BrowserContext] = []
    stops: list[Callable[[], None]] = []

    def open_page(clip: str) -> Page:
        site = Served()
        stops.append(site.start(make_app(FILES, stack.edge_url, stack.origin_url, clip)))
        context = browser.new_context(viewport={"width": 1000, "height": 900}, locale="en-GB")
        context.add_init_script(WATCH)
        contexts.append(context)
        page = context.new_page()
        page.goto(site.url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    for stop in stops:
        stop()


def happened(page: Page, name: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = page.evaluate("window.happened")
    return [detail for event, detail in found if event == name]  # type: ignore[misc]


def tap(page: Page) -> None:
    page.locator("cliptill-overlay").get_by_role("button", name="Reserve").first.click()


def says(page: Page, text: str) -> bool:
    return page.locator("cliptill-overlay").get_by_text(text).first.is_visible()


def receipt_of(page: Page, stack: RealStack) -> dict[str, object]:
    """Return the receipt that the page was given, verified by a JOSE library that the product does not use."""
    answers = happened(page, "settled")
    token = str(answers[0]["receipt"])
    keys = jwt.PyJWKSet.from_dict(httpx.get(f"{stack.origin_url}/.well-known/jwks.json", trust_env=False).json())
    key = keys[jwt.get_unverified_header(token)["kid"]]
    return dict(jwt.decode(token, key=key, algorithms=["EdDSA"], issuer=stack.origin_url))


def test_of_two_viewers_who_tap_the_last_unit_one_has_a_receipt_and_the_other_is_told_kindly(
    stack: RealStack, visit: Visit
) -> None:
    stack.sell("last-unit", units=1)
    pages = [visit("last-unit"), visit("last-unit")]
    for page in pages:
        wait_until(lambda page=page: says(page, "Last one"), "the last unit is on offer", page)  # type: ignore[misc]
    for page in pages:
        tap(page)

    for page in pages:
        wait_until(
            lambda page=page: happened(page, "settled") or happened(page, "refused"),  # type: ignore[misc]
            "each viewer has an answer",
            page,
        )
    winners = [page for page in pages if happened(page, "settled")]
    losers = [page for page in pages if happened(page, "refused")]
    assert (len(winners), len(losers)) == (1, 1)
    assert receipt_of(winners[0], stack)["run_numbers"] == [1]
    assert happened(losers[0], "refused")[0]["code"] == "sold_out"
    wait_until(lambda: says(losers[0], "Somebody was a moment faster"), "it is told kindly", losers[0])
    for page in pages:
        wait_until(lambda page=page: says(page, "Sold out"), "both overlays show none left", page, seconds=2)  # type: ignore[misc]
        assert page.evaluate("window.faults") == []


def test_a_tap_while_the_origin_is_away_settles_when_it_is_back_without_a_second_tap(
    stack: RealStack, visit: Visit
) -> None:
    stack.sell("outage", units=3)
    page = visit("outage")
    wait_until(lambda: says(page, "3 left"), "the offer is there", page)
    stack.kill_origin()
    tap(page)
    wait_until(lambda: happened(page, "claim"), "the edge gives a claim while the origin is away", page)
    assert happened(page, "settled") == []
    stack.start_origin()

    wait_until(lambda: happened(page, "settled"), "the claim settles by itself", page, seconds=20)
    assert receipt_of(page, stack)["run_numbers"] == [1]
    assert len(happened(page, "claim")) == 1


def test_a_free_claim_settles_from_the_queued_event_and_the_page_is_told(stack: RealStack, visit: Visit) -> None:
    stack.sell("sample", units=5, price_minor=0)
    page = visit("sample")
    page.locator("cliptill-overlay").get_by_role("button", name="Claim").first.click()
    wait_until(lambda: happened(page, "settled"), "the acknowledgement came", page)
    assert receipt_of(page, stack)["total_minor"] == 0
    wait_until(lambda: says(page, "4 left"), "the overlay shows the new stock", page)


def test_the_video_plays_on_while_the_edge_cannot_be_reached(stack: RealStack, visit: Visit) -> None:
    stack.sell("unreached", units=3)
    page = visit("unreached")
    page.context.set_offline(True)
    before = page.evaluate("document.querySelector('video').currentTime")
    wait_until(
        lambda: page.evaluate("document.querySelector('video').currentTime") != before, "the video moves on", page
    )


def test_a_viewer_s_code_picks_up_at_a_phone_without_network_and_the_origin_hears_of_it(
    stack: RealStack, visit: Visit, browser: Browser
) -> None:
    now = dt.datetime.now(dt.UTC)
    opens, closes = (f"{now + dt.timedelta(hours=hours):%Y-%m-%dT%H:%M}" for hours in (-1, 1))
    stack.sell("stall", units=2, pickup={"place": "stall", "zone": "Etc/UTC", "opens": opens, "closes": closes})
    page = visit("stall")
    tap(page)
    page.locator("cliptill-overlay").get_by_text("Your claims (1)").click()
    code = page.locator("cliptill-overlay details.pass b")
    wait_until(code.count, "the pass is there", page)

    with stack.operator() as operator:
        invited = operator.post(f"{stack.origin_url}/v1/scanners", json={"scanner": "stall-1", "place": "stall"}).json()
    phone = browser.new_page(viewport={"width": 390, "height": 844})
    phone.goto(f"{stack.origin_url}/scanner")
    phone.get_by_label("Code", exact=True).fill(invited["code"])
    phone.get_by_role("button", name="Set up").click()
    expect(phone.locator("#kept")).to_contain_text("Ready without network. All sent")
    phone.context.set_offline(True)
    phone.get_by_label("Code under the QR code").fill(code.text_content() or "")
    phone.get_by_role("button", name="Check").click()
    expect(phone.locator("#verdict")).to_contain_text("Collect \u20ac24.00")
    phone.get_by_role("button", name="Handed out").click()
    expect(phone.locator("#kept")).to_contain_text("1 to send")
    phone.context.set_offline(False)
    expect(phone.locator("#kept")).to_contain_text("All sent")
    claim_id = happened(page, "settled")[0]["claim_id"]
    kept = phone.evaluate(
        """async (claim) => (await (await import("/scanner/store.js")).findPass(claim)).state""", claim_id
    )
    assert kept == "used"
    with stack.operator() as operator:
        assert operator.get(f"{stack.origin_url}/v1/pickups/disputed").json()["pickups"] == []
    phone.close()


def test_a_viewer_pays_on_the_sandbox_s_page_and_comes_back_to_a_receipt(stack: RealStack, visit: Visit) -> None:
    page = visit(CLIP)
    overlay = page.locator("cliptill-overlay")
    shown = overlay.get_by_role("listitem").filter(has=page.get_by_role("heading", name="Lantern Row art print"))
    shown.get_by_role("button").click()
    link = overlay.get_by_role("link", name="Pay €8.00")
    with page.context.expect_page() as opened:
        link.click()
    opened.value.get_by_role("button", name="Pay with a good card").click()
    expect(opened.value.get_by_role("status")).to_contain_text("Paid.")
    opened.value.close()
    wait_until(lambda: happened(page, "settled"), "it is settled", page, 20)
    said = receipt_of(page, stack)
    assert (said["payment"], said["total_minor"], said["run_numbers"]) == ("card", 800, [1])
    expect(link).to_be_hidden()
