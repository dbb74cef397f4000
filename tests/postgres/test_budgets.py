"""Deadlines over HTTP: what is late is pending or released, is counted once, and several processes add up."""

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor

import psycopg

from origin.database import Database
from origin.settlement.budgets_store import HOUR_MS, KEPT_MS, add_counts, read_budgets
from origin.settlement.confirming import Confirmations
from shared.claims.budgets import BudgetState, Kind, Stage
from tests.postgres.test_counter import add_registers, make_sale, told
from tests.postgres.test_counter import post as report_sales
from tests.postgres.test_reconcile_service import operator_headers
from tests.postgres.till import Till
from tests.postgres.world import OriginProcess, Tap, World, until

MISSED_CARD = 'cliptill_budget_misses_total{kind="card",stage="payment"}'
MISSED_WALLET = 'cliptill_budget_misses_total{kind="wallet",stage="database"}'
MISSED_SALE = 'cliptill_budget_misses_total{kind="point_of_sale",stage="database"}'
NOW_MS = 1_800_000_000_000


def metric(origin: OriginProcess, name: str) -> float:
    """Return the value of one line of `/metrics`."""
    told = origin.client.get("/metrics")
    assert told.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    found = re.search(rf"^{re.escape(name)} (\S+)$", told.text, re.MULTILINE)
    assert found, told.text
    return float(found.group(1))


def test_a_claim_that_takes_too_long_is_pending_and_settles_all_the_same(world: World) -> None:
    origin, tap = world.start(), Tap()
    with world.hold() as hold:
        late = origin.settle(tap)
        assert (late.status_code, late.headers["retry-after"]) == (202, "1")
        assert late.json() == {
            "status": "pending",
            "claim_id": tap.claim.jti,
            "stream_url": f"{tap.claim.aud}/v1/settlements/{tap.claim.jti}/stream",
        }
        hold.release()
    until(lambda: world.count() == 1)
    settled = origin.settle(tap)
    assert (settled.status_code, settled.json()["run_numbers"]) == (200, [1])
    assert metric(origin, 'cliptill_budget_misses_total{kind="tap",stage="database"}') == 1
    assert metric(origin, 'cliptill_confirmations_total{kind="tap"}') == 1


def test_a_wallet_payment_that_takes_too_long_is_refused_and_frees_the_units(world: World) -> None:
    world.add_paid_offer("wallet")
    origin, tap = world.start(), Tap()
    assert origin.settle(tap).status_code == 202
    assert world.stock() == (99, 1, 0)
    with world.hold() as hold, ThreadPoolExecutor(1) as pool:
        paying = pool.submit(origin.post, tap, "/payment")
        until(lambda: metric(origin, MISSED_WALLET) == 1)
        hold.release()
        late = paying.result()
    assert (late.status_code, late.json()["code"]) == (410, "hold_released")
    assert world.stock() == (100, 0, 0)
    assert world.execute("SELECT count(*) FROM payments") == [(0,)]


def test_a_card_payment_that_takes_too_long_is_pending_and_ends_in_goods(till: Till, counter: OriginProcess) -> None:
    tap = till.begin(counter)
    till.sandbox.fault(silent=True)
    till.sandbox.pay(tap)
    before = metric(counter, MISSED_CARD)
    till.sandbox.fault(silent=True, answer_ms=4_000)  # shorter than an answer may take, and three are needed
    late = counter.post(tap, "/payment")
    till.sandbox.fault(silent=True)
    assert (late.status_code, late.json()["status"], late.headers["retry-after"]) == (202, "pending", "1")
    assert metric(counter, MISSED_CARD) == before + 1
    until(lambda: till.state_of(tap) == ["captured"])
    assert counter.read(tap).json()["payment"] == "card"
    till.assert_in_order()


def test_report_that_takes_too_long_goes_on_and_is_told_when_it_is_sent_again(own_world: World) -> None:
    """The declared fallback of a point of sale is to go on: who sends the same again hears what came of it."""
    add_registers(own_world)
    origin, sales = own_world.start(), [make_sale(number) for number in range(3)]
    with own_world.hold() as hold:
        late = report_sales(origin, *sales)
        assert (late.status_code, late.json()["code"], late.headers["retry-after"]) == (503, "unavailable", "1")
        assert (metric(origin, MISSED_SALE), own_world.count()) == (1, 0)
        hold.release()
    until(lambda: own_world.count() == len(sales))
    again = report_sales(origin, *sales)
    assert told(again) == [("settled", None)] * 3
    assert [sale["run_numbers"] for sale in again.json()["sales"]] == [[1], [2], [3]]
    assert own_world.stock() == (97, 0, 3)
    assert metric(origin, MISSED_SALE) == 1
    assert metric(origin, 'cliptill_confirmations_total{kind="point_of_sale"}') == 1
    assert origin.stop() == 0  # its counts are kept for the report
    origin = own_world.start(CLIPTILL_RECONCILE_INTERVAL_S="1")
    headers = operator_headers(own_world.conninfo)
    until(lambda: origin.client.get("/v1/reconciliations/latest", headers=headers).is_success)
    report = origin.client.get("/v1/reconciliations/latest", headers=headers).json()
    (budget,) = [one for one in report["report"]["budgets"] if one["kind"] == "point_of_sale"]
    assert (budget["met"], budget["missed"], budget["fallback"]) == (1, {"database": 1}, "pending")


def test_metrics_name_no_person_and_no_drop(origin: OriginProcess) -> None:
    tap = Tap()
    origin.settle(tap)
    text = origin.client.get("/metrics").text
    labels = set(re.findall(r'(\w+)="', text))
    assert labels == {"kind", "stage"}
    assert all(secret not in text for secret in (tap.claim.drop, tap.claim.jti, tap.viewer.thumbprint))


def test_counts_of_several_processes_add_up(conninfo: str) -> None:
    async def act() -> dict[Kind, BudgetState]:
        database = Database(conninfo)
        await database.open()
        try:
            for _ in range(2):
                one = Confirmations()
                one.note(Kind.TAP, {Stage.DATABASE: 5.0})
                one.note(Kind.TAP, {Stage.BATCH: 9_000.0})
                await one.store(database, NOW_MS)
                await one.store(database, NOW_MS)  # nothing is counted twice
            async with database.connection() as connection:
                return {state.kind: state for state in await read_budgets(connection, NOW_MS)}
        finally:
            await database.close()

    states = asyncio.run(act())
    assert (states[Kind.TAP].met, states[Kind.TAP].missed) == (2, {Stage.BATCH: 2})


def test_old_counts_are_forgotten(conninfo: str) -> None:
    async def act() -> None:
        async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as connection:
            await add_counts(connection, {(Kind.TAP, None): 1}, NOW_MS)
            await add_counts(connection, {(Kind.TAP, None): 1}, NOW_MS + KEPT_MS + HOUR_MS)
            assert sum(state.met for state in await read_budgets(connection, 0)) == 1

    asyncio.run(act())


def test_a_process_that_ends_leaves_its_counts(world: World) -> None:
    world.close_all()  # another origin would store what it has counted, some time or other
    world.execute("DELETE FROM budget_counts")
    origin = world.start()
    origin.settle(Tap())
    assert origin.stop() == 0
    assert world.execute("SELECT kind, stage, count FROM budget_counts") == [("tap", "", 1)]
