"""Chromium, the built component, and fake services: one of each for all tests; a new page and world for each."""

import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, sync_playwright
from starlette.types import ASGIApp

from scripts.bundling import ROOT, stage_assets
from tests.browser.fake_services import FakeEdge, FakeOrigin, FakeShop
from tests.browser.world import World

START_S = 10
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# Everything that the page's policy refuses, or that a script leaves unhandled, is told to the test.
WATCH = """
window.faults = [];
window.happened = [];
addEventListener("securitypolicyviolation", (event) => faults.push(`${event.violatedDirective} ${event.blockedURI}`));
addEventListener("unhandledrejection", (event) => faults.push(`${event.reason}`));
addEventListener("error", (event) => faults.push(event.message));
for (const name of ["claim", "pay", "settled", "refused", "error"])
  addEventListener(`cliptill:${name}`, ({ detail }) => happened.push([name, detail]));
"""


class Served:
    """An app on a port of its own, in a thread of this process."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def start(self, app: ASGIApp) -> Callable[[], None]:
        """Serve, and return what ends it."""
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=0))
        thread = threading.Thread(target=server.run, args=([self._socket],))
        thread.start()
        deadline = time.monotonic() + START_S
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.01)

        def stop() -> None:
            server.should_exit = True
            thread.join()

        return stop


@pytest.fixture(scope="session")
def assets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the component as `scripts/bundle` does."""
    folder = tmp_path_factory.mktemp("built") / "assets"
    stage_assets(ROOT, folder)
    return folder


# Not for the session: while it runs, this thread has an event loop, and other tests could not run one of their own.
@pytest.fixture(scope="package")
def playwright_driver() -> Iterator[Playwright]:
    with sync_playwright() as driver:
        yield driver


@pytest.fixture(scope="package")
def browser(playwright_driver: Playwright) -> Iterator[Browser]:
    executable = shutil.which("chromium")
    if executable is None:
        pytest.fail("The browser tests need Chromium: install it with `apt-get install chromium`.", pytrace=False)
    browser = playwright_driver.chromium.launch(executable_path=executable, args=FLAGS)
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def served_world(assets: Path) -> Iterator[World]:
    world = World()
    edge, origin, shop = Served(), Served(), Served()
    world.edge_url, world.origin_url, world.site_url = edge.url, origin.url, shop.url
    stops = [
        edge.start(FakeEdge(world, assets).app()),
        origin.start(FakeOrigin(world).app()),
        shop.start(FakeShop(world).app()),
    ]
    yield world
    for stop in stops:
        stop()


@pytest.fixture
def world(served_world: World) -> World:
    """Every test finds healthy services that have seen nothing."""
    served_world.start_again()
    return served_world


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1000, "height": 800}, locale="en-GB")
    context.add_init_script(WATCH)
    context.set_default_timeout(8000)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()
