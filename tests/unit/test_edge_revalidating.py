"""What is due is read beside an overlay's answer while it was fresh a moment ago; a tap waits for it."""

import asyncio

import pytest

from edge.caches import MANIFEST_FRESH_MS, MANIFEST_USABLE_MS, STOCK_USABLE_MS, load_manifest
from shared.catalogue.manifest import Manifest
from shared.catalogue.stock import FRESH_MS
from shared.problems import Code
from tests.edge_world import AsgiClient, MemoryWorld, make_clip_world
from tests.samples import encode, manifest_document


@pytest.fixture
def world() -> MemoryWorld:
    return make_clip_world()


def overlay(world: MemoryWorld) -> tuple[int, int]:
    """Ask for the clip's overlay; return the manifest's version and what is left."""
    told = AsgiClient(world).request("GET", "/v1/clips/clip-1/overlay", {"accept": "application/json"}).json
    return told["manifest_version"], told["offers"][0]["stock"]["remaining"]


def reads(world: MemoryWorld) -> tuple[int, int]:
    return len(world.manifests.reads), len(world.stock.reads)


def change_all(world: MemoryWorld) -> None:
    world.publish("clip-1", encode(manifest_document(version=4)))
    world.set_stock("drop-1", remaining=20, version=6)


def test_an_overlay_does_not_wait_for_what_was_fresh_a_moment_ago(world: MemoryWorld) -> None:
    assert overlay(world) == (3, 50)
    change_all(world)
    world.wait_ms(MANIFEST_FRESH_MS - 1)
    overlay(world)  # stock is of now, the manifest becomes due
    world.set_stock("drop-1", remaining=10, version=7)
    world.wait_ms(FRESH_MS)
    assert overlay(world) == (3, 20)
    assert overlay(world) == (4, 10)
    assert reads(world) == (2, 3)


@pytest.mark.parametrize(
    ("waited_ms", "expected"),
    [
        pytest.param(STOCK_USABLE_MS - 1, (3, 50), id="stock will still do"),
        pytest.param(STOCK_USABLE_MS, (3, 20), id="stock is waited for"),
        pytest.param(MANIFEST_USABLE_MS - 1, (3, 20), id="the manifest will still do"),
        pytest.param(MANIFEST_USABLE_MS, (4, 20), id="the manifest is waited for"),
    ],
)
def test_an_overlay_waits_for_what_is_too_old(world: MemoryWorld, waited_ms: int, expected: tuple[int, int]) -> None:
    overlay(world)
    change_all(world)
    world.wait_ms(waited_ms)
    assert overlay(world) == expected


def test_a_tap_is_decided_on_what_is_fresh(world: MemoryWorld) -> None:
    overlay(world)
    world.set_stock("drop-1", remaining=0, version=6)
    world.wait_ms(FRESH_MS)
    tap = {"clip": "clip-1", "offer": "offer-1", "viewer": "v" * 43, "idempotency_key": "k" * 22}
    received = AsgiClient(world).request("POST", "/v1/claims", {"content-type": "application/json"}, encode(tap))
    assert received.json["code"] == Code.SOLD_OUT
    assert not world.left


def test_one_overlay_reads_again_beside_its_answer_and_what_fails_changes_nothing(world: MemoryWorld) -> None:
    overlay(world)
    world.set_origin_away(away=True)
    world.set_store_away(away=True)
    world.wait_ms(MANIFEST_FRESH_MS)
    services = world.services()

    async def load() -> None:
        assert isinstance(await load_manifest(services, "clip-1", MANIFEST_USABLE_MS), Manifest)

    for _ in range(3):
        asyncio.run(load())
    assert len(world.left) == 1
    world.go_on()
    assert reads(world) == (2, 1)
    assert overlay(world) == (3, 50)
    assert reads(world) == (2, 2)
