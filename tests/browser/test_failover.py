"""What holds while origin or queue is down, and what holds again when they are back: two nodes, all of it real."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import httpx
import pytest
from playwright.sync_api import BrowserContext

from scripts.demo.site_server import FILES, make_app
from scripts.stack import ROOT
from scripts.viewer import Viewer, settlements_url
from tests.browser.conftest import Served
from tests.browser.drive import happened, wait_until
from tests.real_stack import RealStack

WAIT_S = 20.0
UNITS = 3
VIEWERS = 6


@pytest.fixture(scope="module")
def stack() -> Iterator[RealStack]:
    running = RealStack(nodes=2).start()
    yield running
    running.stop()


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False, timeout=15) as client:
        yield client


@pytest.fixture
def faults(stack: RealStack, client: httpx.Client) -> Iterator[Callable[..., None]]:
    """Set the faults of every node; they are undone after the test."""

    def set_faults(**faults: str) -> None:
        client.put(f"{stack.stack.control}/faults/all", json=faults).raise_for_status()

    yield set_faults
    set_faults()


def until(holds: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline, f"not within {WAIT_S} s: {what}"
        time.sleep(0.1)


def see(client: httpx.Client, edge_url: str, clip: str) -> dict[str, Any]:
    """Return the one offer of a clip's overlay at a node."""
    answer = client.get(f"{edge_url}/v1/clips/{clip}/overlay", headers={"accept": "application/json"})
    assert answer.status_code == 200
    (offer,) = answer.json()["offers"]
    return dict(offer)


def is_stale(client: httpx.Client, edge_url: str, clip: str) -> bool:
    """Return whether a clip's overlay at a node says that its stock is old."""
    return bool(see(client, edge_url, clip)["stock"]["stale"])


def read_document(client: httpx.Client, edge_url: str, clip: str) -> str:
    answer = client.get(f"{edge_url}/v1/clips/{clip}/overlay", headers={"accept": "text/html", "accept-language": "en"})
    assert answer.status_code == 200
    return answer.text


def tap(client: httpx.Client, edge_url: str, clip: str, viewer: Viewer) -> httpx.Response:
    return client.post(f"{edge_url}/v1/claims", json=viewer.tap(clip, f"{clip}-offer"))


def settle(client: httpx.Client, viewer: Viewer, claim: dict[str, Any]) -> str:
    """Present a claim, and return what was decided: `settled`, or why not."""
    url = settlements_url(claim)
    answer = client.post(url, headers=viewer.headers("POST", url, claim["claim"], int(time.time())), json={})
    decided: dict[str, str] = answer.json()
    return decided.get("code") or decided["status"]


def reconcile(stack: RealStack) -> dict[str, Any]:
    """Reconcile as cron does, and return the report."""
    command = [sys.executable, "-m", "origin.reconcile", "--json"]
    done = subprocess.run(
        command, cwd=ROOT, env=stack.stack.environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode in {0, 1}, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)["report"]
    return report


def drop_report(stack: RealStack, clip: str, issued: int) -> dict[str, Any]:
    """Return what reconciliation says of a clip's drop, once the reports of so many claims have come."""
    found: list[dict[str, Any]] = []

    def has_come() -> bool:
        found[:] = [drop for drop in reconcile(stack)["drops"] if drop["drop"] == f"{clip}-drop"]
        return bool(found) and found[0]["issued"] >= issued

    until(has_come, f"{issued} claims of {clip} are reported")
    return found[0]


def test_with_the_origin_down_overlays_say_so_and_each_drop_goes_to_its_declared_mode(
    stack: RealStack, client: httpx.Client
) -> None:
    stack.sell("away-take", units=UNITS, when_origin_away="take")
    stack.sell("away-close", units=UNITS, when_origin_away="close")
    edges = stack.stack.addresses.edge_urls
    for edge_url in edges:
        for clip in ("away-take", "away-close"):
            until(lambda edge_url=edge_url, clip=clip: see(client, edge_url, clip)["claimable"], "it is on offer")  # type: ignore[misc]
    stack.kill_origin()
    viewers = [Viewer() for _viewer in range(VIEWERS)]
    try:
        for edge_url in edges:
            for clip in ("away-take", "away-close"):
                until(partial(is_stale, client, edge_url, clip), "stock is stale")
                offer = see(client, edge_url, clip)
                assert (offer["stock"]["remaining"], offer["claimable"]) == (UNITS, clip == "away-take")
                assert re.search(
                    r" data-stale>3 left</span> <small>Stock as of \d+ s ago<", read_document(client, edge_url, clip)
                )
        given = [tap(client, edges[number % 2], "away-take", viewer) for number, viewer in enumerate(viewers)]
        refused = [tap(client, edge_url, "away-close", Viewer()) for edge_url in edges]
    finally:
        stack.start_origin()
    assert [answer.status_code for answer in given] == [201] * VIEWERS
    assert [(answer.status_code, answer.json()["code"], answer.headers["retry-after"]) for answer in refused] == [
        (503, "stock_unknown", "2")
    ] * 2

    decided = [settle(client, viewer, answer.json()) for viewer, answer in zip(viewers, given, strict=True)]
    assert sorted(decided) == ["settled"] * UNITS + ["sold_out"] * (VIEWERS - UNITS)
    for edge_url in edges:
        until(lambda edge_url=edge_url: see(client, edge_url, "away-take")["stock"]["state"] == "sold_out", "sold out")  # type: ignore[misc]
        until(lambda edge_url=edge_url: see(client, edge_url, "away-close")["claimable"], "it is on offer again")  # type: ignore[misc]
    assert tap(client, edges[0], "away-close", Viewer()).status_code == 201

    drop = drop_report(stack, "away-take", VIEWERS)
    assert (drop["issued"], drop["settled"], drop["refused"]) == (VIEWERS, UNITS, VIEWERS - UNITS)
    assert (drop["free"], drop["held"], drop["settled_units"], drop["adds_up"]) == (0, 0, UNITS, True)
    assert drop["over_issued"] <= drop["over_issue_bound"]
    assert "over_issue" not in {finding["code"] for finding in reconcile(stack)["findings"]}


def test_what_is_claimed_while_the_queue_is_down_settles_and_what_was_not_reported_is_told(
    stack: RealStack, client: httpx.Client, faults: Callable[..., None]
) -> None:
    stack.sell("queue-down", units=UNITS)
    edge_url = stack.edge_url
    before, after = Viewer(), Viewer()
    assert settle(client, before, tap(client, edge_url, "queue-down", before).json()) == "settled"
    drop_report(stack, "queue-down", 1)
    missing = reconcile(stack)["missing_batches"]
    faults(queue="dead")
    lost = Viewer()
    given = tap(client, edge_url, "queue-down", lost)
    assert given.status_code == 201
    assert settle(client, lost, given.json()) == "settled"
    faults()
    assert settle(client, after, tap(client, edge_url, "queue-down", after).json()) == "settled"

    drop = drop_report(stack, "queue-down", 2)
    assert (drop["issued"], drop["settled_units"], drop["free"], drop["adds_up"]) == (2, 3, 0, True)
    report = reconcile(stack)
    assert report["missing_batches"] == missing + 1
    assert any(gap["first"] == gap["last"] and not gap["lost"] for gap in report["gaps"])


def test_a_free_claim_whose_report_is_lost_is_settled_by_the_browser(
    stack: RealStack, context: BrowserContext, faults: Callable[..., None]
) -> None:
    stack.sell("free-unreported", units=UNITS, price_minor=0)
    faults(queue="dead")
    site = Served()
    stop = site.start(make_app(FILES, stack.edge_url, stack.origin_url, "free-unreported"))
    try:
        page = context.new_page()
        page.goto(site.url)
        page.locator("cliptill-overlay").get_by_role("button", name="Claim").first.click()
        wait_until(lambda: happened(page, "settled"), "it settles although no event came", page, seconds=WAIT_S)
    finally:
        stop()


def test_what_a_browser_reports_while_it_is_offline_waits_there(
    stack: RealStack, client: httpx.Client, context: BrowserContext
) -> None:
    stack.sell("offline", units=UNITS)
    site = Served()
    stop = site.start(make_app(FILES, stack.edge_url, stack.origin_url, "offline"))

    def beacons() -> int:
        (node,) = [one for one in client.get(f"{stack.stack.control}/state").json()["nodes"] if one["name"] == "fra"]
        return int(node["measured"]["routes"].get("beacon", 0))

    try:
        page = context.new_page()
        page.goto(site.url)
        overlay = page.locator("cliptill-overlay")
        wait_until(overlay.get_by_text("3 left").first.is_visible, "the offer is there", page)
        wait_until(beacons, "the view is reported", page)
        context.set_offline(True)
        sent = beacons()
        overlay.get_by_role("button", name="Reserve").first.click()
        page.wait_for_timeout(6000)  # longer than the pause between two reports
        assert beacons() == sent
        context.set_offline(False)
        wait_until(lambda: beacons() > sent, "what waited is reported", page, seconds=WAIT_S)
    finally:
        stop()
