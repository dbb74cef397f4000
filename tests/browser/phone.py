"""A phone at a counter, with the scanner's page open, and a camera that sees what a test holds up."""

import os
from pathlib import Path
from typing import Final

from playwright.sync_api import BrowserContext, Page, ViewportSize, expect

from tests.postgres.world import OriginProcess

PHONE: Final[ViewportSize] = {"width": 390, "height": 844}
# A camera whose picture is black, and a reader that sees what the test holds up.
CAMERA: Final = """
window.heldUp = undefined;
const canvas = document.createElement("canvas");
setInterval(() => canvas.getContext("2d").fillRect(0, 0, 9, 9), 100);
navigator.mediaDevices.getUserMedia = async () => canvas.captureStream(10);
globalThis.BarcodeDetector = class {
  static getSupportedFormats = async () => ["qr_code"];
  detect = async () => (heldUp ? [{ rawValue: heldUp }] : []);
};
"""


class Phone:
    """A device of its own, with the scanner's page open."""

    def __init__(self, context: BrowserContext, origin: OriginProcess) -> None:
        self.context, self.origin = context, origin
        self.page: Page = context.new_page()
        self.page.goto(f"{origin.url}/scanner")

    def open_tab(self) -> "Phone":
        """Open the page once more on the same device."""
        tab = Phone(self.context, self.origin)
        expect(tab.page.locator("#network")).to_have_text("Online")
        return tab

    def set_up(self, code: str) -> None:
        self.page.get_by_label("Code", exact=True).fill(code)
        self.page.get_by_role("button", name="Set up").click()
        expect(self.page.locator("#network")).to_have_text("Online")
        expect(self.page.locator("#kept")).to_contain_text("Ready without network. All sent")

    def go(self, *, offline: bool) -> None:
        self.context.set_offline(offline=offline)
        expect(self.page.locator("#network")).to_have_text("No network" if offline else "Online")

    def type_code(self, code: str) -> None:
        self.page.get_by_label("Code under the QR code").fill(code)
        self.page.get_by_role("button", name="Check").click()

    def hold_up(self, token: str) -> None:
        self.page.evaluate("(token) => { heldUp = token; }", token)
        expect(self.page.locator("#verdict")).to_be_visible()
        self.page.evaluate("heldUp = undefined")

    def says(self, title: str, more: str = "") -> None:
        expect(self.page.locator("#verdict-title")).to_have_text(title)
        expect(self.page.locator("#verdict")).to_contain_text(more)

    def press(self, button: str) -> None:
        self.page.get_by_role("button", name=button).click()
        expect(self.page.locator("#verdict")).to_be_hidden()

    def to_send(self, number: int) -> None:
        expect(self.page.locator("#kept")).to_contain_text(f"{number} to send" if number else "All sent")

    def keeps(self, store: str) -> int:
        """Return how many documents of a kind the device keeps."""
        count: int = self.page.evaluate(
            """(store) => new Promise((resolve) => {
                 const opened = indexedDB.open("cliptill-scanner");
                 opened.onsuccess = () => {
                   const asked = opened.result.transaction(store).objectStore(store).count();
                   asked.onsuccess = () => { opened.result.close(); resolve(asked.result); };
                 };
               })""",
            store,
        )
        return count

    def shoot(self, name: str) -> None:
        """Keep a picture where somebody wants to look at it."""
        folder = os.environ.get("CLIPTILL_SCREENSHOTS")
        if folder:
            self.page.screenshot(path=Path(folder) / f"{name}.png")
