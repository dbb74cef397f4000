"""What a test does to a page, and how it waits: Chromium's own waiting needs no code made from strings."""

import time
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Locator, Page

from tests.browser.world import World

WAIT_S = 8.0
FOCUSED = """() => {
  let at = document.activeElement;
  while (at?.shadowRoot?.activeElement) at = at.shadowRoot.activeElement;
  return at?.textContent ?? "";
}"""


def wait_until(holds: Callable[[], object], what: str, page: Page, seconds: float = WAIT_S) -> None:
    """Wait until `holds` does; the page goes on meanwhile."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        page.wait_for_timeout(20)


def open_shop(page: Page, world: World, overlays: int = 1) -> Locator:
    """Open the shop's page, and return its (first) overlay."""
    page.goto(f"{world.site_url}/?overlays={overlays}", wait_until="domcontentloaded")
    return page.locator("cliptill-overlay").first


def offer(overlay: Locator, title: str) -> Locator:
    """Return the row of an offer."""
    return overlay.get_by_role("listitem").filter(has=overlay.page.get_by_role("heading", name=title))


def button(overlay: Locator, title: str) -> Locator:
    """Return the button of an offer."""
    return offer(overlay, title).get_by_role("button")


def happened(page: Page, name: str) -> list[dict[str, Any]]:
    """Return the details of the overlay's events of a name, so far."""
    told: list[tuple[str, dict[str, Any]]] = page.evaluate("happened")
    return [detail for event, detail in told if event == name]


def faults(page: Page) -> list[str]:
    """Return what the page's policy refused and what no script handled."""
    told: list[str] = page.evaluate("faults")
    return told


def focused(page: Page) -> str:
    """Return the text of the focused element, looked for through shadow roots."""
    text: str = page.evaluate(FOCUSED)
    return text
