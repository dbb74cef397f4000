"""The operator's page in a real browser: under its own policy, on a phone, light and dark."""

import re
from collections.abc import Iterator
from typing import Literal

import pytest
from playwright.sync_api import Browser
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from origin.insight.report_page import POLICY, write_page
from tests.browser.conftest import WATCH, Served
from tests.report_samples import RUNS, make_run


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    async def show(_: Request) -> Response:
        page = write_page(make_run(), RUNS, live=False)
        return Response(page, 200, {"Content-Security-Policy": POLICY}, "text/html")

    served = Served()
    stop = served.start(Starlette(routes=[Route("/", show)]))
    yield served.url
    stop()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_it_fits_and_its_policy_lets_its_style_in_and_nothing_else(
    browser: Browser, address: str, scheme: Literal["light", "dark"]
) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 740}, color_scheme=scheme)
    context.add_init_script(WATCH)
    page = context.new_page()
    page.goto(address)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert page.evaluate("getComputedStyle(document.querySelector('.drops')).display") == "grid"
    shown = page.evaluate("getComputedStyle(document.body).color")
    assert (sum(map(int, re.findall(r"\d+", shown)[:3])) < 384) == (scheme == "light")
    assert page.evaluate("faults") == []
    page.evaluate("document.body.setAttribute('style', 'color: red')")
    assert page.evaluate("faults") == ["style-src-attr inline"]
    bar = page.locator("svg rect.settled").first
    assert (bar.bounding_box() or {"width": 0})["width"] > 0
    context.close()
