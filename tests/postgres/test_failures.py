"""Failures that others shipped, as tests of settlement; those of payments are in `test_failures_payments`."""

import ast
import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

from origin.database import Database
from tests.postgres.world import OriginProcess, Tap, Viewer, World, together

ROOT = Path(__file__).resolve().parents[2]


def test_a_code_is_redeemed_no_more_often_than_its_limit(world: World, origin: OriginProcess) -> None:
    """Failure table: code redeemed above its limit."""
    world.add_drop("coupon", total=3)
    other, barrier = world.start(), Barrier(50)

    def redeem(number: int) -> int:
        tap = Tap(drop="coupon", lines=[{"sku": "sku-1", "quantity": 1, "unit_minor": 0}])
        barrier.wait()
        return (origin, other)[number % 2].settle(tap).status_code

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(redeem, range(50)))
    assert (answers.count(200), answers.count(409), len(answers)) == (3, 47, 50)
    assert world.stock("coupon") == (0, 0, 3)


def test_a_viewer_redeems_a_code_once_however_many_taps(world: World, origin: OriginProcess) -> None:
    """Failure table: code redeemed above its limit (the limit of one viewer)."""
    viewer = Viewer()
    answers = together(lambda _: origin.settle(Tap(viewer)), range(12))
    assert sorted(answer.status_code for answer in answers) == [200, *[409] * 11]
    assert {answer.json().get("code") for answer in answers} == {None, "cap_reached"}
    assert world.stock() == (99, 0, 1)


def test_lines_of_one_sku_are_one_demand(world: World, origin: OriginProcess) -> None:
    """Failure table: two lines of one order share a SKU and each passes the check."""
    world.add_drop("pair", total=3, cap=9, most=9)
    line = {"sku": "sku-1", "quantity": 2, "unit_minor": 5}
    answer = origin.settle(Tap(drop="pair", lines=[line, line]))
    assert (answer.status_code, answer.json()["code"], world.stock("pair")) == (409, "sold_out", (3, 0, 0))


def test_a_claim_is_settled_whole_or_not_at_all(world: World, origin: OriginProcess) -> None:
    """Failure table: two lines of one order share a SKU; a bundle is one SKU, and what has another is refused whole."""
    world.add_drop("pair", total=3, cap=9, most=9)
    lines = [{"sku": sku, "quantity": 1, "unit_minor": 5} for sku in ("sku-1", "sku-2")]
    answer = origin.settle(Tap(drop="pair", lines=lines))
    assert (answer.status_code, answer.json()["code"], world.stock("pair")) == (404, "offer_unknown", (3, 0, 0))


def test_a_unit_that_is_free_again_goes_to_who_asks_first_as_the_trail_shows(
    world: World, origin: OriginProcess
) -> None:
    """Failure table: wrong person promoted."""
    world.execute("UPDATE drops SET total = 1, free = 1 WHERE drop = 'drop-1'")
    world.add_paid_offer()
    priced = [{"sku": "sku-1", "quantity": 1, "unit_minor": 5}]
    assert origin.settle(Tap(lines=priced)).status_code == 202
    refused, first, second = Tap(offer="offer-2"), Tap(offer="offer-2"), Tap(offer="offer-2")
    assert origin.settle(refused).json()["code"] == "sold_out"
    world.expire_holds()
    assert [origin.settle(tap).status_code for tap in (first, second, refused)] == [200, 409, 409]
    assert world.execute("SELECT claim_id FROM trail_entries WHERE drop = 'drop-1' ORDER BY position") == [
        (first.claim.jti,)
    ]


def test_nothing_that_writes_stock_or_decisions_does_so_without_the_lock() -> None:
    """Failure table: a fast path skips the lock."""
    lockers = {"lock_drops", "lock_and_read"}
    writers = {"write_decisions", "write_drops", "add_holds", "move_holds", "write_trail"}
    for file in sorted((ROOT / "origin").rglob("*.py")):
        if file.name.endswith("_store.py"):
            continue
        called = {
            node.func.id
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert not called & writers or called & lockers, file


def test_without_the_lock_the_database_itself_refuses_what_does_not_add_up(world: World) -> None:
    """Failure table: a fast path skips the lock."""

    async def take() -> bool:
        database = Database(world.conninfo)
        await database.open()
        try:
            async with database.transaction() as connection:
                await connection.execute("UPDATE drops SET settled = settled + 1 WHERE drop = 'drop-1'")
        except Exception as error:  # noqa: BLE001 - which one is what is looked at
            return "stock_adds_up" in str(error)
        finally:
            await database.close()
        return False

    assert asyncio.run(take())
