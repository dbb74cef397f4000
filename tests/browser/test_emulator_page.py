"""The emulator's page in a real browser, over two nodes: what it shows is so, and what is set there happens."""

import re
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.browser.drive import wait_until
from tests.real_stack import RealStack

CLIP = "lantern-row"
LUMINANCE = """(colour) => {
  const parts = colour.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255);
  const linear = parts.map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
}"""
# Of every element with text of its own: how far it stands out from what lies behind it (WCAG 2.2, 1.4.3).
CONTRASTS = f"""() => {{
  const luminance = {LUMINANCE};
  const behind = (element) => {{
    const colour = element ? getComputedStyle(element).backgroundColor : "rgb(255, 255, 255)";
    return colour === "rgba(0, 0, 0, 0)" ? behind(element.parentElement) : colour;
  }};
  return [...document.querySelectorAll("body *")]
    .filter((element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()))
    .filter((element) => element.checkVisibility())
    .map((element) => {{
      const pair = [getComputedStyle(element).color, behind(element)].map(luminance).sort((one, other) => other - one);
      return [(pair[0] + 0.05) / (pair[1] + 0.05), element.textContent.trim().slice(0, 40)];
    }});
}}"""


@pytest.fixture(scope="module")
def stack() -> Iterator[RealStack]:
    running = RealStack(nodes=2, with_site=True).start()
    yield running
    running.stop()


@pytest.fixture
def page(stack: RealStack, context: BrowserContext) -> Iterator[Page]:
    page = context.new_page()
    page.goto(stack.stack.addresses.page_url)
    expect(page.get_by_role("article")).to_have_count(2)
    yield page
    assert page.evaluate("window.faults") == []
    httpx.delete(f"{stack.stack.addresses.page_url}/faults/all", trust_env=False).raise_for_status()


def card(page: Page, node: str) -> Locator:
    return page.get_by_role("article", name=re.compile(node))


def fact(page: Page, node: str, name: str) -> str:
    return card(page, node).locator(f'[data-fact="{name}"]').inner_text()


def choose(page: Page, node: str, fault: str, value: str) -> None:
    card(page, node).get_by_role("combobox", name=fault, exact=True).select_option(value)
    card(page, node).get_by_role("button", name="Set").click()
    expect(page.get_by_text(f"Set at {node}: {fault.lower()} {value}")).to_be_visible()


def overlay(stack: RealStack, node: int, timeout_s: float = 5.0) -> httpx.Response:
    url = f"{stack.stack.addresses.edge_urls[node]}/v1/clips/{CLIP}/overlay"
    return httpx.get(url, headers={"accept": "application/json"}, timeout=timeout_s, trust_env=False)


def test_requests_caches_and_the_age_of_manifests_are_shown_as_they_come(stack: RealStack, page: Page) -> None:
    before = int(fact(page, "fra", "requests"))
    other = fact(page, "nrt", "requests")
    for _request in range(7):
        overlay(stack, 0)
    wait_until(lambda: int(fact(page, "fra", "requests")) == before + 7, "the requests are counted", page)
    assert fact(page, "nrt", "requests") == other
    assert re.fullmatch(r"[\d.]+ / [\d.]+ / [\d.]+ ms", fact(page, "fra", "latency"))
    assert re.search(r"\d+ of \d+", fact(page, "fra", "stock"))
    assert re.search(rf"{CLIP}: version \d+, \d+ (s|min) old", fact(page, "fra", "keys"))
    expect(page.get_by_role("row", name=re.compile("^cliptill-events "))).to_contain_text("0")


def test_a_dead_origin_is_set_by_hand_for_one_node_and_cleared_again(stack: RealStack, page: Page) -> None:
    choose(page, "nrt", "Origin", "dead")
    expect(card(page, "nrt").get_by_text("1 fault")).to_be_visible()
    expect(card(page, "fra").get_by_text("serving")).to_be_visible()
    wait_until(lambda: overlay(stack, 1).json()["offers"][0]["stock"]["stale"], "its stock grows stale", page)
    assert not overlay(stack, 0).json()["offers"][0]["stock"]["stale"]
    page.get_by_role("button", name="Clear all faults").click()
    expect(card(page, "nrt").get_by_text("serving")).to_be_visible()
    wait_until(lambda: not overlay(stack, 1).json()["offers"][0]["stock"]["stale"], "its stock is fresh again", page)


def test_a_wedged_isolate_answers_nobody_and_the_page_still_shows_it(stack: RealStack, page: Page) -> None:
    choose(page, "fra", "Isolate", "wedged")
    expect(card(page, "fra").locator(".pill")).to_have_text("wedged")
    with pytest.raises(httpx.ReadTimeout):
        overlay(stack, 0, timeout_s=0.5)
    card(page, "fra").get_by_role("button", name="Clear").click()
    expect(card(page, "fra").locator(".pill")).to_have_text("serving")
    assert overlay(stack, 0).status_code == 200


def test_a_form_is_set_by_keyboard_alone_and_faults_of_others_do_not_disturb_it(stack: RealStack, page: Page) -> None:
    latency = card(page, "fra").get_by_label("Answers later, ms")
    latency.focus()
    page.keyboard.type("150")
    url = f"{stack.stack.addresses.page_url}/faults/fra"
    httpx.put(url, json={"queue": "dead"}, trust_env=False).raise_for_status()
    expect(card(page, "fra").get_by_text("1 fault")).to_be_visible()
    assert latency.input_value() == "150"
    page.keyboard.press("Enter")
    expect(page.get_by_text("Set at fra: latency 150.")).to_be_visible()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.name") == "store"
    assert overlay(stack, 0).elapsed.total_seconds() >= 0.15


def test_a_late_node_is_shown_with_the_version_that_it_waits_for(stack: RealStack, page: Page) -> None:
    url = f"{stack.stack.addresses.page_url}/faults/nrt"
    faults = httpx.put(url, json={"lateness_ms": 60_000}, trust_env=False).json()
    assert faults == {"fra": {}, "nrt": {"lateness_ms": 60_000}}
    stack.sell("late", units=3, nodes=1)
    wait_until(lambda: "late: not yet (version 1 is on its way)" in fact(page, "nrt", "keys"), "it waits", page)
    assert "late: version 1, " in fact(page, "fra", "keys")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_in_light_and_in_dark(page: Page, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    choose(page, "nrt", "Queue", "dead")
    background = page.evaluate(f"({LUMINANCE})(getComputedStyle(document.body).backgroundColor)")
    assert (background < 0.2) == (scheme == "dark")
    contrasts = page.evaluate(CONTRASTS)
    assert len(contrasts) > 40
    assert [text for contrast, text in contrasts if contrast < 4.5] == []


def test_a_narrow_window_needs_no_sideways_scrolling(page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
