"""A self-hosted node and an origin that answers badly: what is kept has to do, and nobody is kept waiting for ever."""

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import samples
from tests.contract.edge_driver import Edge
from tests.emulator.edge_program import Clock
from tests.emulator.origin_double import OriginDouble, serve_origin
from tests.emulator.origin_faults import FAULTS
from tests.emulator.workerd_program import Node, make_faulty, running_node

DAY_MS = 86_400_000
LATE_MS = 11_000  # beyond what a node serves without asking
SHARED = "/shared/clips/clip-1/overlay.json"


class Pair:
    """A node, its origin, and the clock of both."""

    def __init__(self, node: Node, origin: OriginDouble, clock: Clock, faulty: str) -> None:
        self.node, self.origin = node, origin
        self._clock, self._faulty = clock, faulty

    def wait_ms(self, duration_ms: int) -> None:
        """Let that much time pass, for both."""
        self._clock.shift_ms += duration_ms
        faults = {"store": "", "clock_shift_ms": self._clock.shift_ms, "clock_ms": None}
        assert httpx.put(f"http://{self._faulty}/", json=faults, trust_env=False).status_code == 200

    def publish(self, clip: str) -> None:
        """Have the origin know a clip with one offer, and its stock."""
        self.origin.manifests[clip] = samples.encode(samples.manifest_document(clip=clip))
        drop = samples.terms_document()["drop"]
        self.origin.stock[drop] = {"remaining": 50, "total": 100, "version": 1, "admit_per_s": None, "age_ms": 0}

    def overlay(self, clip: str) -> dict[str, Any]:
        """Return a clip's overlay."""
        answer = self.node.client.get(f"/v1/clips/{clip}/overlay")
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told

    def refused(self, clip: str) -> tuple[int, str, str]:
        """Return status, code and waiting time of a clip that has no overlay."""
        answer = self.node.client.get(f"/v1/clips/{clip}/overlay")
        return answer.status_code, answer.json()["code"], answer.headers["retry-after"]

    def restart(self) -> None:
        """Kill it and start it again; its clock is the machine's until the next wait."""
        self.node.end(signal.SIGKILL)
        self.node.start()


@pytest.fixture
def pair(edge_node: Path, tmp_path: Path) -> Iterator[Pair]:
    faulty = make_faulty(edge_node, tmp_path / "node")
    clock = Clock()
    with serve_origin(clock.now_ms) as origin, running_node(tmp_path / "node", origin.url, tmp_path / "state") as node:
        yield Pair(node, origin, clock, faulty)


@pytest.mark.parametrize("fault", FAULTS)
def test_an_origin_that_answers_badly_leaves_what_is_known(pair: Pair, fault: str) -> None:
    pair.publish("clip-1")
    assert pair.overlay("clip-1")["offers"][0]["stock"]["stale"] is False
    pair.origin.fail(fault)
    pair.wait_ms(LATE_MS)
    told = pair.overlay("clip-1")
    assert told["manifest_version"] == 1
    stock = told["offers"][0]["stock"]
    assert (stock["remaining"], stock["stale"]) == (50, True)
    assert pair.refused("clip-2") == (503, "unavailable", "1")
    pair.origin.fail("")
    pair.publish("clip-2")
    pair.wait_ms(LATE_MS)
    assert pair.overlay("clip-2")["offers"][0]["stock"]["stale"] is False


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault not in ("garbage", "redirect")])
def test_a_shared_overlay_is_served_from_the_last_copy(pair: Pair, fault: str) -> None:
    pair.origin.shared = b'{"kept":1}'
    assert pair.node.client.get(SHARED).status_code == 200
    pair.origin.fail(fault)
    pair.wait_ms(LATE_MS)
    stale = pair.node.client.get(SHARED)
    assert (stale.status_code, stale.content, stale.headers["cf-cache-status"]) == (200, b'{"kept":1}', "STALE")
    never_seen = pair.node.client.get("/shared/clips/clip-2/overlay.json")
    assert (never_seen.status_code, never_seen.json()["code"]) == (503, "origin_unavailable")


@pytest.mark.parametrize("fault", ["never", "garbage"])
def test_a_node_that_starts_while_the_origin_is_away_renders_what_it_knew(pair: Pair, fault: str) -> None:
    pair.publish("clip-1")
    pair.overlay("clip-1")
    pair.origin.fail(fault)
    pair.restart()
    stock = pair.overlay("clip-1")["offers"][0]["stock"]
    assert (stock["state"], stock["remaining"], stock["stale"]) == ("unknown", None, True)
    pair.origin.fail("")
    # From now on it is asked again, and by its tag: what has not changed is not sent again.
    pair.wait_ms(LATE_MS)
    assert pair.overlay("clip-1")["offers"][0]["stock"]["stale"] is False


def test_what_a_node_knew_is_used_no_longer_than_the_origin_allows(pair: Pair) -> None:
    pair.publish("clip-1")
    pair.overlay("clip-1")
    pair.origin.fail("error")
    pair.restart()
    pair.wait_ms(2 * DAY_MS)
    assert pair.refused("clip-1") == (503, "unavailable", "1")


def test_a_clip_that_was_taken_away_does_not_come_back_with_a_restart(pair: Pair) -> None:
    pair.publish("clip-1")
    pair.overlay("clip-1")
    del pair.origin.manifests["clip-1"]
    pair.wait_ms(LATE_MS)
    assert pair.node.client.get("/v1/clips/clip-1/overlay").status_code == 404
    pair.origin.fail("error")
    pair.restart()
    assert pair.refused("clip-1") == (503, "unavailable", "1")


def test_names_that_nobody_has_are_not_remembered(pair: Pair) -> None:
    pair.publish("clip-1")
    pair.overlay("clip-1")
    for number in range(30):
        assert pair.node.client.get(f"/v1/clips/none-{number}/overlay").status_code == 404
    assert pair.node.status()["manifests"]["entries"] == 1


def test_a_clip_that_many_want_at_once_is_asked_for_once(pair: Pair) -> None:
    pair.publish("clip-1")
    pair.origin.manifest_delay_s = 0.3
    with ThreadPoolExecutor(8) as viewers:
        told = list(viewers.map(pair.overlay, ["clip-1"] * 8))
    assert [overlay["manifest_version"] for overlay in told] == [1] * 8
    assert pair.origin.asked.count("/v1/edge/manifests/clip-1") == 1


def test_a_viewer_who_leaves_takes_no_manifest_from_the_others(pair: Pair) -> None:
    pair.publish("clip-1")
    pair.origin.fail("never")
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(f"{pair.node.client.base_url}/v1/clips/clip-1/overlay", timeout=0.2, trust_env=False)
    pair.origin.fail("")
    Edge.wait_for(lambda: pair.node.client.get("/v1/clips/clip-1/overlay").status_code == 200)
