"""A pre-sale beside the live sale: what is left of it at its instant is sold live, and no unit twice."""

import time
from typing import Any

import httpx

from origin.apikeys import hash_key, make_key
from tests.postgres.world import OriginProcess, Tap, World, together

KEY = make_key()


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def set_aside(world: World, units: int, *, live: int, release_at_ms: int) -> None:
    """Have `early` be an allotment of drop-1."""
    world.execute("UPDATE drops SET total = %s, free = %s WHERE drop = 'drop-1'", live, live)
    world.add_drop("early", total=units)
    world.execute("UPDATE drops SET allotment_of = 'drop-1', release_at_ms = %s WHERE drop = 'early'", release_at_ms)


def release(world: World) -> None:
    """Let the instant pass; nobody writes anything down."""
    world.execute("UPDATE drops SET release_at_ms = 1 WHERE drop = 'early'")


def snapshot(origin: OriginProcess) -> dict[str, tuple[int, int, int]]:
    told = origin.client.get("/v1/stock?drops=drop-1,early").json()["drops"]
    return {drop["drop"]: (drop["total"], drop["remaining"], drop["version"]) for drop in told}


def sell(origin: OriginProcess, drop: str, count: int) -> int:
    answers = together(lambda _: origin.settle(Tap(drop=drop)), range(count))
    return sum(answer.status_code == 200 for answer in answers)


def test_channels_keep_to_their_own_until_the_instant(world: World, origin: OriginProcess) -> None:
    set_aside(world, 3, live=5, release_at_ms=2**52)
    assert (sell(origin, "drop-1", 8), sell(origin, "early", 5)) == (5, 3)


def test_unsold_pre_sale_is_sold_live_from_the_instant_on(world: World, origin: OriginProcess) -> None:
    set_aside(world, 4, live=2, release_at_ms=2**52)
    assert sell(origin, "early", 1) == 1
    release(world)
    assert snapshot(origin) == {"drop-1": (5, 5, 2), "early": (1, 0, 3)}
    assert sell(origin, "early", 1) == 0
    assert sell(origin, "drop-1", 9) == 5
    assert (world.stock(), world.stock("early")) == ((0, 0, 5), (0, 0, 1))
    assert world.execute("SELECT drop, total, received, released FROM drops ORDER BY drop") == [
        ("drop-1", 5, 3, 0), ("early", 1, 0, 3)
    ]  # fmt: skip


def test_stock_is_told_the_same_before_and_after_it_is_written_down(world: World, origin: OriginProcess) -> None:
    set_aside(world, 4, live=2, release_at_ms=2**52)
    world.add_paid_offer(drop="early")
    assert origin.settle(Tap(drop="early", lines=[{"sku": "sku-1", "quantity": 1, "unit_minor": 5}])).status_code == 202
    world.expire_holds("early")
    release(world)
    before = snapshot(origin)
    assert origin.settle(Tap(drop="early")).json()["code"] == "sold_out"
    assert snapshot(origin) == before == {"drop-1": (6, 6, 2), "early": (0, 0, 4)}


def test_sale_of_both_channels_across_the_instant_is_never_more_than_the_run(
    world: World, origin: OriginProcess
) -> None:
    set_aside(world, 10, live=10, release_at_ms=now_ms() + 150)
    other = world.start()

    def tap(number: int) -> int:
        at, drop = (origin, other)[number % 2], ("drop-1", "early")[number // 2 % 2]
        return int(at.settle_patiently(Tap(drop=drop)).status_code == 200)

    sold = sum(together(tap, range(60)))
    while now_ms() < world.execute("SELECT release_at_ms FROM drops WHERE drop = 'early'")[0][0]:
        time.sleep(0.01)
    sold += sell(origin, "drop-1", 20)
    assert sold == 20
    rows = world.execute("SELECT sum(total), sum(free), sum(settled) FROM drops")
    assert rows == [(20, 0, 20)]
    assert world.numbers() == list(range(1, len(world.numbers()) + 1))
    assert world.numbers("early") == list(range(1, len(world.numbers("early")) + 1))


def put(origin: OriginProcess, **changes: Any) -> httpx.Response:
    told = {"drop": "early", "run": "r1", "sku": "sku-1", "total": 6, "opens_at_ms": 0, "closes_at_ms": 500}
    document = {**told, "allotment_of": "drop-1", "release_at_ms": 2**52, **changes}
    headers = {"Authorization": f"Bearer {KEY}"}
    return origin.client.put("/v1/drops/early", json=document, headers=headers)


def test_operator_sets_units_aside_and_sees_where_they_went(world: World, origin: OriginProcess) -> None:
    world.execute("INSERT INTO api_keys VALUES (%s, 'shop', 0, NULL, 'operator')", hash_key(KEY))
    try:
        assert put(origin).status_code == 201
        assert put(origin, allotment_of="unheard", drop="early").json()["code"] == "revision_conflict"
        assert put(origin, release_at_ms=1).status_code == 200
        assert sell(origin, "drop-1", 1) == 1
        told = put(origin, release_at_ms=1).json()
        assert (told["total"], told["free"], told["released"], told["received"]) == (6, 0, 6, 0)
        pool = origin.client.get("/v1/drops/drop-1", headers={"Authorization": f"Bearer {KEY}"}).json()
        assert (pool["total"], pool["free"], pool["settled"], pool["received"]) == (100, 105, 1, 6)
        assert put(origin, release_at_ms=2**52).json()["code"] == "revision_conflict"
    finally:
        world.patiently("TRUNCATE api_keys")
