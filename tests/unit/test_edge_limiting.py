"""Rate limits at the edge: who comes too often waits, others do not notice, and most are never asked about."""

import json
import tomllib
from pathlib import Path

import pytest

from edge.limiting import PERIOD_S, UNASKED, name_network
from edge.ports import Place
from tests import samples
from tests.contract.edge_driver import Received
from tests.edge_world import AsgiClient, MemoryLimit, MemoryWorld
from tests.samples import NOW_MS

LIMIT = 4
OTHER_VIEWER = samples.VIEWER[::-1]
ROOT = Path(__file__).resolve().parents[2]
BEACON = json.dumps({"clip": "clip-1", "events": [{"type": "view", "at_ms": 1}]}).encode()


@pytest.fixture
def world() -> MemoryWorld:
    world = MemoryWorld(start_ms=NOW_MS)
    world.publish("clip-1", samples.encode(samples.manifest_document()))
    world.viewer_limit, world.network_limit = MemoryLimit(LIMIT), MemoryLimit(LIMIT)
    return world


def tap(world: MemoryWorld, viewer: str = samples.VIEWER) -> Received:
    body = {"clip": "clip-1", "offer": "offer-1", "viewer": viewer, "idempotency_key": samples.TAP}
    return AsgiClient(world).request("POST", "/v1/claims", {"content-type": "text/plain"}, json.dumps(body).encode())


def report(world: MemoryWorld) -> Received:
    return AsgiClient(world).request("POST", "/v1/events", {"content-type": "text/plain"}, BEACON)


def is_limited(received: Received) -> bool:
    if received.json.get("code") != "rate_limited":
        return False
    assert (received.status, received.headers["retry-after"], received.json["retry_after_s"]) == (429, "10", 10)
    return True


def test_the_first_tap_beyond_the_limit_is_refused_and_another_viewer_s_is_not(world: MemoryWorld) -> None:
    assert not any(is_limited(tap(world)) for _ in range(UNASKED + LIMIT))
    assert is_limited(tap(world))
    assert not is_limited(tap(world, OTHER_VIEWER))


def test_a_location_is_not_asked_about_who_comes_seldom(world: MemoryWorld) -> None:
    world.place = Place(address="192.0.2.7")
    for _ in range(UNASKED):
        tap(world)
    assert (world.viewer_limit.calls, world.network_limit.calls) == ({}, {})
    tap(world)
    assert list(world.network_limit.calls) == ["claims 192.0.2.7"]


def test_what_another_isolate_of_the_location_has_let_through_counts(world: MemoryWorld) -> None:
    world.viewer_limit.calls[f"viewer {samples.VIEWER}"] = LIMIT
    assert not any(is_limited(tap(world)) for _ in range(UNASKED))
    assert is_limited(tap(world))


def test_a_new_period_begins_with_nothing_counted(world: MemoryWorld) -> None:
    for _ in range(UNASKED + LIMIT + 1):
        received = tap(world)
    assert is_limited(received)
    world.wait_ms(PERIOD_S * 1000)
    assert not any(is_limited(tap(world)) for _ in range(UNASKED))


def test_a_network_is_limited_for_claims_and_beacons_apart_and_another_network_is_not(world: MemoryWorld) -> None:
    world.place = Place(address="192.0.2.7")
    assert not any(is_limited(report(world)) for _ in range(UNASKED + LIMIT))
    assert is_limited(report(world))
    assert not is_limited(tap(world))
    world.place = Place(address="192.0.2.8")
    assert not is_limited(report(world))


def test_a_network_is_refused_before_its_body_is_read(world: MemoryWorld) -> None:
    world.place = Place(address="192.0.2.7")
    client = AsgiClient(world)
    answers = [client.request("POST", "/v1/claims", {"content-type": "text/plain"}, b"{") for _ in range(10)]
    assert [answer.code for answer in answers] == ["malformed_json"] * (UNASKED + LIMIT) + ["rate_limited"]


def test_without_an_address_no_network_is_limited(world: MemoryWorld) -> None:
    assert not any(is_limited(report(world)) for _ in range(UNASKED + LIMIT + 5))


def test_reports_that_were_refused_are_told_with_the_next_one_that_is_taken(world: MemoryWorld) -> None:
    world.place = Place(address="192.0.2.7")
    for _ in range(UNASKED + LIMIT + 3):
        report(world)
    world.place = Place(address="192.0.2.8")
    report(world)
    (told,) = [event for batch in world.batches() for event in batch.events if getattr(event, "name", "") != "overlay"]
    assert (told.name, told.detail) == ("beacons_refused", "3")  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("address", "network"),
    [
        pytest.param("192.0.2.7", "192.0.2.7", id="IPv4"),
        pytest.param("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64", id="IPv6"),
        pytest.param("2001:0DB8:1:02::9", "2001:db8:1:2::/64", id="IPv6, short"),
        pytest.param("2001:db8::9", "2001:db8:0:0::/64", id="IPv6, shorter"),
        pytest.param("2001:db8::1:2:3:4:5", "2001:db8:0:1::/64", id="IPv6, a gap of one"),
        pytest.param("::1", "0:0:0:0::/64", id="IPv6, this machine"),
        pytest.param("no:address", "no:address:0:0::/64", id="no address"),
        pytest.param("x" * 200, "x" * 64, id="too long"),
    ],
)
def test_an_address_stands_for_its_network(address: str, network: str) -> None:
    assert name_network(address) == network


def test_every_environment_has_both_limits_with_the_period_that_viewers_are_told() -> None:
    configuration = tomllib.loads((ROOT / "wrangler.toml").read_text())
    numbers = []
    for environment in (configuration, *configuration["env"].values()):
        limits = {limit["name"]: limit for limit in environment["ratelimits"]}
        assert set(limits) == {"VIEWER_LIMIT", "NETWORK_LIMIT"}
        assert {limit["simple"]["period"] for limit in limits.values()} == {PERIOD_S}
        numbers += [limit["namespace_id"] for limit in limits.values()]
    assert len(set(numbers)) == len(numbers)
