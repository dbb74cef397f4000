"""The isolate's caches: who reads again, what is kept, and what never comes back."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.types import Message

from edge.bridge import make_scope
from edge.caches import (
    LEASE_MS,
    LEASED_LOOK_MS,
    MANIFEST_FRESH_MS,
    is_identifier,
    is_known_absent,
    load_manifest,
    load_stock,
)
from edge.isolate import MAX_CALLERS, MAX_CLAIMS, MAX_DROPS, MAX_MANIFEST_BYTES, MAX_TEMPLATE_BYTES, Entry, Isolate
from shared.catalogue.manifest import Manifest
from shared.catalogue.stock import FRESH_MS, FUTURE_LEEWAY_MS, StockSnapshot, StockSnapshots
from shared.overlay.telling import OverlayTemplate
from shared.problems import Code, Problem
from tests.edge_world import AsgiClient, MemoryWorld, make_clip_world
from tests.samples import NOW_MS, encode, manifest_document


@pytest.fixture
def world() -> MemoryWorld:
    return make_clip_world()


def manifest(world: MemoryWorld, clip: str = "clip-1") -> Manifest | Problem:
    return asyncio.run(load_manifest(world.services(), clip))


def version(world: MemoryWorld) -> int | Code:
    loaded = manifest(world)
    return loaded.version if isinstance(loaded, Manifest) else loaded.code


def stock(world: MemoryWorld, *drops: str) -> dict[str, StockSnapshot]:
    return asyncio.run(load_stock(world.services(), drops or ("drop-1",)))


def test_a_fresh_manifest_is_not_read_again(world: MemoryWorld) -> None:
    assert version(world) == version(world) == 3
    world.wait_ms(MANIFEST_FRESH_MS - 1)
    assert version(world) == 3
    assert len(world.manifests.reads) == 1
    world.wait_ms(1)
    assert version(world) == 3
    assert len(world.manifests.reads) == 2


def test_one_request_reads_again_while_the_others_go_on_with_what_there_is(world: MemoryWorld) -> None:
    manifest(world)
    world.wait_ms(MANIFEST_FRESH_MS)
    services = world.services()
    started, release = asyncio.Event(), asyncio.Event()
    read = world.manifests.read

    async def slow(clip: str) -> str | None:
        started.set()
        await release.wait()
        return await read(clip)

    world.manifests.read = slow  # type: ignore[method-assign]

    async def run() -> list[Any]:
        reading = asyncio.create_task(load_manifest(services, "clip-1"))
        await started.wait()
        others = [await load_manifest(services, "clip-1") for _ in range(5)]
        release.set()
        return [*others, await reading]

    assert all(isinstance(loaded, Manifest) for loaded in asyncio.run(run()))
    assert len(world.manifests.reads) == 2


def test_a_store_that_is_away_is_left_alone_for_a_lease(world: MemoryWorld) -> None:
    manifest(world)
    world.set_store_away(away=True)
    world.wait_ms(MANIFEST_FRESH_MS)
    assert [version(world) for _ in range(3)] == [3, 3, 3]
    assert len(world.manifests.reads) == 2
    world.wait_ms(LEASE_MS)
    assert version(world) == 3
    assert len(world.manifests.reads) == 3


def test_until_a_first_answer_every_request_asks(world: MemoryWorld) -> None:
    world.set_store_away(away=True)
    assert [version(world) for _ in range(3)] == [Code.UNAVAILABLE] * 3
    assert len(world.manifests.reads) == 3
    world.set_store_away(away=False)
    assert version(world) == 3


def test_what_does_not_exist_is_remembered(world: MemoryWorld) -> None:
    for _ in range(3):
        loaded = manifest(world, "none-such")
        assert isinstance(loaded, Problem)
        assert loaded.code == Code.CLIP_UNKNOWN
    assert world.manifests.reads == ["none-such"]
    world.publish("none-such", encode(manifest_document(clip="none-such")))
    world.wait_ms(MANIFEST_FRESH_MS)
    assert isinstance(manifest(world, "none-such"), Manifest)


def test_what_does_not_exist_is_still_so_while_the_store_is_away(world: MemoryWorld) -> None:
    manifest(world, "none-such")
    world.set_store_away(away=True)
    world.wait_ms(MANIFEST_FRESH_MS)
    loaded = manifest(world, "none-such")
    assert isinstance(loaded, Problem)
    assert loaded.code == Code.CLIP_UNKNOWN


@pytest.mark.parametrize(("stored", "expected"), [(2, 3), (3, 3), (4, 4)])
def test_an_older_manifest_never_wins(world: MemoryWorld, stored: int, expected: int) -> None:
    manifest(world)
    world.publish("clip-1", encode(manifest_document(version=stored)))
    world.wait_ms(MANIFEST_FRESH_MS)
    assert version(world) == expected


@pytest.mark.parametrize("name", ["", "A", "-a", "a_b", "a" * 64, "a\n", "../a", "ä", "a b"])
def test_what_cannot_name_anything_is_never_looked_up(world: MemoryWorld, name: str) -> None:
    assert not is_identifier(name)
    assert isinstance(manifest(world, name), Problem)
    assert world.manifests.reads == []


def test_fresh_stock_is_not_read_again(world: MemoryWorld) -> None:
    stock(world)
    world.wait_ms(FRESH_MS - 1)
    stock(world)
    assert len(world.stock.reads) == 1
    world.wait_ms(1)
    stock(world)
    assert len(world.stock.reads) == 2


def test_stock_that_is_read_again_and_the_same_is_the_same_object(world: MemoryWorld) -> None:
    first = stock(world)
    world.wait_ms(FRESH_MS)
    world.set_stock("drop-1", remaining=50, version=5, age_ms=FRESH_MS)  # as the location's cache still has it
    assert stock(world) is first
    assert len(world.stock.reads) == 2
    world.wait_ms(FRESH_MS)
    world.set_stock("drop-1", remaining=49, version=6)
    assert stock(world)["drop-1"].remaining == 49


def test_who_does_not_read_sees_soon_what_another_clip_has_read(world: MemoryWorld) -> None:
    both = ("drop-1", "drop-2")
    world.set_stock("drop-2", remaining=1)
    stock(world, *both)
    stock(world, "drop-1")
    world.wait_ms(FRESH_MS)
    world.set_stock("drop-1", remaining=20, version=6)
    services = world.services()
    started, release = asyncio.Event(), asyncio.Event()
    read = world.stock.read

    async def slow(drops: tuple[str, ...]) -> StockSnapshots:
        started.set()
        await release.wait()
        return await read(drops)

    world.stock.read = slow  # type: ignore[method-assign]

    async def run() -> list[int]:
        reading = asyncio.create_task(load_stock(services, both))
        await started.wait()
        meanwhile = await load_stock(services, ("drop-1",))
        release.set()
        known = await reading
        world.wait_ms(LEASED_LOOK_MS)
        soon = await load_stock(services, ("drop-1",))
        return [found["drop-1"].remaining for found in (meanwhile, known, soon)]

    assert asyncio.run(run()) == [50, 20, 20]
    assert world.stock.reads[-1] == both


def test_all_drops_of_a_clip_are_read_at_once_when_one_is_due(world: MemoryWorld) -> None:
    world.set_stock("drop-2", remaining=1)
    stock(world, "drop-1")
    assert set(stock(world, "drop-1", "drop-2")) == {"drop-1", "drop-2"}
    assert world.stock.reads == [("drop-1",), ("drop-1", "drop-2")]


def test_a_clip_without_drops_asks_for_nothing(world: MemoryWorld) -> None:
    assert asyncio.run(load_stock(world.services(), ())) == {}
    assert world.stock.reads == []


def test_an_origin_that_was_never_there_is_asked_once_a_lease(world: MemoryWorld) -> None:
    world.set_origin_away(away=True)
    assert [stock(world) for _ in range(3)] == [{}] * 3
    assert len(world.stock.reads) == 1
    assert not is_known_absent(world.services(), "drop-1")
    world.wait_ms(LEASE_MS)
    world.set_origin_away(away=False)
    assert stock(world)["drop-1"].version == 5


def test_a_drop_that_the_origin_does_not_know_is_absent(world: MemoryWorld) -> None:
    assert stock(world, "none-such") == {}
    assert is_known_absent(world.services(), "none-such")
    assert not is_known_absent(world.services(), "never-asked")


def test_a_drop_that_is_told_from_the_future_is_not_absent(world: MemoryWorld) -> None:
    world.set_stock("drop-2", remaining=50, age_ms=-FUTURE_LEEWAY_MS - 1)
    assert stock(world, "drop-2") == {}
    assert not is_known_absent(world.services(), "drop-2")
    assert len(world.stock.reads) == 1
    stock(world, "drop-2")
    assert len(world.stock.reads) == 1
    world.set_stock("drop-2", remaining=50)
    world.wait_ms(LEASE_MS)
    assert set(stock(world, "drop-2")) == {"drop-2"}


@pytest.mark.parametrize(
    ("told_version", "age_ms", "remaining"),
    [
        pytest.param(6, 0, 20, id="newer"),
        pytest.param(4, 0, 50, id="older"),
        pytest.param(5, 0, 20, id="the same version, read later"),
        pytest.param(5, 10_000, 50, id="the same version, read earlier"),
        pytest.param(6, -60_000, 50, id="newer, from the future"),
    ],
)
def test_an_older_snapshot_never_wins(world: MemoryWorld, told_version: int, age_ms: int, remaining: int) -> None:
    stock(world)
    world.set_stock("drop-1", remaining=20, version=told_version, age_ms=age_ms)
    world.wait_ms(FRESH_MS)
    assert stock(world)["drop-1"].remaining == remaining


def test_a_snapshot_is_kept_while_the_origin_says_nothing_of_it(world: MemoryWorld) -> None:
    stock(world)
    world.stock.snapshots.clear()
    world.wait_ms(FRESH_MS)
    assert stock(world)["drop-1"].version == 5


@pytest.mark.parametrize(
    ("attribute", "bound"),
    [("stock", MAX_DROPS), ("buckets", MAX_DROPS), ("claims", MAX_CLAIMS), ("calls", MAX_CALLERS)],
)
def test_an_isolate_forgets_rather_than_grows(attribute: str, bound: int) -> None:
    memory = getattr(Isolate(), attribute)
    for number in range(bound + 10):
        memory[f"x{number}"] = number
    assert bound // 2 <= len(memory) <= bound
    assert "x0" not in memory
    assert f"x{bound + 9}" in memory


@pytest.mark.parametrize(
    ("read_bytes", "most"),
    [
        pytest.param(0, MAX_MANIFEST_BYTES // 4096, id="clips that do not exist"),
        pytest.param(250_000, MAX_MANIFEST_BYTES // 250_000, id="large"),
        pytest.param(100 * MAX_MANIFEST_BYTES, 2, id="larger than all that is kept"),
    ],
)
def test_manifests_are_bounded_by_their_bytes_whoever_asks_for_what(read_bytes: int, most: int) -> None:
    manifests = Isolate().manifests
    for number in range(most + 10):
        manifests[f"clip-{number}"] = Entry(None, NOW_MS, read_bytes=read_bytes)
    assert most * 0.4 <= len(manifests) <= most
    assert f"clip-{most + 9}" in manifests


def _manifest_entry(world: MemoryWorld) -> Entry[Manifest | None]:
    entry = world.services().isolate.manifests.get("clip-1")
    assert entry is not None
    return entry


def test_a_manifest_weighs_what_was_read(world: MemoryWorld) -> None:
    manifest(world)
    document = encode(manifest_document(version=3))
    assert _manifest_entry(world).read_bytes == len(document)


def test_templates_are_bounded_by_their_bytes_whoever_asks_for_what() -> None:
    templates = Isolate().templates
    large = OverlayTemplate(head=b"x" * 200_000, offers=(), foot=b"y" * 50_000, words={})
    for number in range(200):
        templates["clip-1", f"?locale={number}"] = large
    assert 0 < len(templates) * 250_000 <= MAX_TEMPLATE_BYTES
    assert ("clip-1", "?locale=199") in templates


def test_two_isolates_share_nothing() -> None:
    one, other = Isolate(), Isolate()
    one.manifests["a"] = Entry(None, NOW_MS)
    assert "a" not in other.manifests


def test_what_was_fresh_when_a_slow_tap_began_is_read_again(world: MemoryWorld) -> None:
    tap = {"clip": "clip-1", "offer": "offer-1", "viewer": "v" * 43, "idempotency_key": "k" * 22}
    headers = {"content-type": "application/json"}
    client = AsgiClient(world)
    assert client.request("POST", "/v1/claims", headers, encode(tap)).status == 201
    read = len(world.manifests.reads), len(world.stock.reads)

    def pieces() -> Iterator[bytes]:
        yield encode({**tap, "idempotency_key": "l" * 22})
        world.wait_ms(MANIFEST_FRESH_MS)  # the client takes its time
        yield b""

    scope = make_scope(
        "POST", "https://edge.example/v1/claims", [(b"content-type", b"application/json")], world.services()
    )
    rest = pieces()

    async def receive() -> Message:
        piece = next(rest)
        return {"type": "http.request", "body": piece, "more_body": bool(piece)}

    async def send(_: Message) -> None:
        pass

    async def ask() -> None:
        await client.app(scope, receive, send)

    asyncio.run(ask())
    assert (len(world.manifests.reads), len(world.stock.reads)) == (read[0] + 1, read[1] + 1)
