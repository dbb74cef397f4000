"""A self-hosted edge node and the real origin: what it acknowledged is stored once, whoever is killed, and when."""

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from origin.apikeys import hash_key, make_key
from tests import samples
from tests.emulator.workerd_program import Node, make_node, running_node
from tests.postgres.test_windows import publish
from tests.postgres.world import CLAIM_KEYS, OriginProcess, World, base64url, free_port, until

CLIP = "clip-1"
EDGE_KEY = make_key()


@pytest.fixture(scope="session")
def edge_node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_node(tmp_path_factory.mktemp("edge-node") / "node")


class Pair:
    """A node and its origin, either of which may be killed."""

    def __init__(self, world: World, origin: OriginProcess, node: Node) -> None:
        self.world, self.origin, self.node = world, origin, node
        self._sent = 0

    def start_origin(self) -> None:
        """Start the origin again, at the same address."""
        self.origin = start_origin(self.world, self.origin.port)

    def restart_node(self) -> None:
        """Kill the node as the kernel does when memory is short, and start it again."""
        self.node.end(signal.SIGKILL)
        self.node.start()

    def beacons(self, count: int) -> None:
        """Report so many views, each of a clip of its own."""
        for number in range(self._sent, self._sent + count):
            self.node.beacon(f"seen-{number}")
        self._sent += count

    def stock(self) -> dict[str, Any]:
        """Return what the clip's overlay says of its stock."""
        answer = self.node.client.get(f"/v1/clips/{CLIP}/overlay")
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()["offers"][0]["stock"]
        return told

    def tap(self, number: int) -> str:
        """Tap the offer, and return the claim's name."""
        tap = {
            "clip": CLIP,
            "offer": "offer-1",
            "viewer": samples.VIEWER,
            "idempotency_key": base64url(number.to_bytes(16)),
        }
        answer = self.node.client.post("/v1/claims", json=tap)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["claim_id"])

    def seen(self) -> Counter[str]:
        """Return how often each view is stored."""
        return Counter(clip for (clip,) in self.world.execute("SELECT clip FROM edge_events WHERE type = 'view'"))

    def issued(self) -> list[str]:
        """Return the claims that the origin was told of."""
        return sorted(claim for (claim,) in self.world.execute("SELECT claim_id FROM issued_claims"))

    def missing(self) -> int:
        """Return how many batches the origin knows that it has not."""
        return int(self.world.execute("SELECT coalesce(sum(highest_seq - batches), 0) FROM edge_nodes")[0][0])

    def until_all_is_stored(self) -> None:
        """Wait until every view is stored, and see that each is there once and nothing is missing."""
        until(lambda: self.node.spool()["waiting"] == 0 and len(self.seen()) == self._sent)
        assert self.seen() == Counter(f"seen-{number}" for number in range(self._sent))
        assert self.missing() == 0
        assert self.node.spool()["dropped"] == 0


def start_origin(world: World, port: int) -> OriginProcess:
    """Start an origin under the address that the node knows: claims are made out to it."""
    return world.start(port, CLIPTILL_PUBLIC_URL=f"http://127.0.0.1:{port}")


@contextmanager
def pair_in(world: World, edge_node: Path, state: Path, spool_bytes: str = "") -> Iterator[Pair]:
    world.execute("INSERT INTO api_keys VALUES (%s, 'edge', 0, NULL, 'edge')", hash_key(EDGE_KEY))
    publish(world, 1)
    origin = start_origin(world, free_port())
    with running_node(
        edge_node, origin.url, state, CLAIM_KEYS=CLAIM_KEYS, EDGE_KEY=EDGE_KEY, SPOOL_BYTES=spool_bytes
    ) as node:
        yield Pair(world, origin, node)


@pytest.fixture
def pair(own_world: World, edge_node: Path, tmp_path: Path) -> Iterator[Pair]:
    with pair_in(own_world, edge_node, tmp_path / "state") as made:
        yield made


def test_overlay_claim_and_events_arrive_once(pair: Pair) -> None:
    stock = pair.stock()
    assert (stock["remaining"], stock["stale"]) == (100, False)
    claim = pair.tap(1)
    assert pair.tap(1) == claim
    pair.beacons(5)
    pair.until_all_is_stored()
    assert pair.issued() == [claim]
    assert pair.node.spool()["problem"] == ""


def test_while_the_origin_is_away_overlays_are_stale_and_events_wait_until_it_is_back(pair: Pair) -> None:
    pair.stock()
    pair.origin.kill()
    claims = [pair.tap(number) for number in range(3)]
    pair.beacons(10)
    until(lambda: bool(pair.stock()["stale"]))
    assert pair.stock()["remaining"] == 100
    told = pair.node.spool()
    assert (told["waiting"], told["problem"]) == (13, "the origin does not answer")
    pair.start_origin()
    pair.until_all_is_stored()
    assert pair.issued() == sorted(claims)
    until(lambda: not pair.stock()["stale"])


def test_a_node_that_is_killed_while_the_origin_is_away_still_renders_and_delivers(pair: Pair) -> None:
    pair.stock()
    pair.origin.kill()
    pair.beacons(10)
    pair.restart_node()
    stock = pair.stock()
    assert (stock["state"], stock["stale"]) == ("unknown", True)
    claim = pair.tap(1)
    pair.beacons(10)
    pair.restart_node()
    pair.start_origin()
    pair.until_all_is_stored()
    assert pair.issued() == [claim]


@pytest.mark.parametrize("killed", ["node", "origin", "both"])
def test_a_kill_while_events_are_posted_loses_none_and_doubles_none(pair: Pair, killed: str) -> None:
    with psycopg.connect(pair.world.conninfo) as lock:
        # The origin's transaction stands still in its middle.
        lock.execute("LOCK TABLE edge_events IN ACCESS EXCLUSIVE MODE")
        pair.beacons(20)
        until(lambda: bool(pair.world.waiting_backends()))
        if killed in ("node", "both"):
            pair.restart_node()
        if killed in ("origin", "both"):
            pair.origin.kill()
        pair.beacons(5)
    if killed != "node":
        pair.start_origin()
    pair.until_all_is_stored()


def test_a_loss_is_told_by_the_node_and_found_by_the_origin(own_world: World, edge_node: Path, tmp_path: Path) -> None:
    with pair_in(own_world, edge_node, tmp_path / "state", spool_bytes="2000") as pair:
        pair.origin.kill()
        pair.beacons(30)
        told = pair.node.spool()
        assert told["full"]
        assert told["dropped"] + told["waiting"] == 30
        pair.start_origin()
        until(lambda: pair.node.spool()["waiting"] == 0)
        pair.beacons(1)
        until(lambda: sum(pair.seen().values()) == told["waiting"] + 1)
        assert pair.missing() == told["dropped"]
