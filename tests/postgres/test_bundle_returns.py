"""Bundles that are held, paid, given back and returned: their parts go with them; and the audit that sees to it."""

import asyncio
import time
from typing import Any

import psycopg
import pytest

from origin.pickup.scanner_store import read_passes
from origin.trail.auditing import audit_drop
from shared.claims.bundles import derive_part_id
from tests.postgres.partner import Partner
from tests.postgres.till import Till, free_tap, post_message, sell, take_back
from tests.postgres.world import OriginProcess, Tap, until

FULL = {"drop-1": (100, 0, 0), "mug": (100, 0, 0), "tea": (100, 0, 0)}
HELD = {"drop-1": (99, 1, 0), "mug": (98, 2, 0), "tea": (99, 1, 0)}
SOLD = {"drop-1": (99, 0, 1), "mug": (98, 0, 2), "tea": (99, 0, 1)}


@pytest.fixture(autouse=True)
def bundle(till: Till) -> None:
    """`drop-1`, which is paid by card, is a bundle of two mugs and a tea."""
    for drop in ("mug", "tea"):
        till.world.add_drop(drop, cap=10, most=5)
    parts = '[{"drop": "mug", "units": 1}, {"drop": "tea", "units": 1}, {"drop": "mug", "units": 1}]'
    till.world.execute("UPDATE drops SET parts = %s WHERE drop = 'drop-1'", parts)


def stocks(till: Till) -> dict[str, tuple[int, int, int]]:
    return {drop: till.world.stock(drop) for drop in FULL}


def states(till: Till) -> set[str]:
    return {state for (state,) in till.world.execute("SELECT DISTINCT state FROM holds")}


def audit(till: Till, drop: str) -> list[str]:
    async def look() -> list[str]:
        async with await psycopg.AsyncConnection.connect(till.world.conninfo) as connection:
            found = await audit_drop(connection, drop, lambda *_: True)
        assert found is not None
        return [fault.code for fault in found.faults]

    return asyncio.run(look())


def assert_audited(till: Till) -> None:
    assert {drop: audit(till, drop) for drop in FULL} == {drop: [] for drop in FULL}
    till.assert_in_order()


def test_bundle_is_held_with_its_parts_and_settled_once_it_is_paid(till: Till, counter: OriginProcess) -> None:
    tap = till.begin(counter)
    assert stocks(till) == HELD
    till.sandbox.fault(silent=True)
    till.sandbox.pay(tap)
    assert counter.post(tap, "/payment").json()["state"] == "captured"
    told = counter.read(tap).json()
    assert (told["payment"], told["total_minor"], len(told["parts"])) == ("card", 990, 2)
    assert stocks(till) == SOLD
    assert states(till) == {"settled"}
    assert_audited(till)


def test_giving_a_hold_back_restores_every_part(till: Till, counter: OriginProcess) -> None:
    tap = Tap()
    assert counter.settle(tap).status_code == 202
    assert stocks(till) == HELD
    assert counter.post(tap, "/release").json()["state"] == "released"
    assert (stocks(till), states(till)) == (FULL, {"released"})
    assert counter.settle(tap).status_code == 202
    assert (stocks(till), states(till)) == (HELD, {"held"})


def test_lapse_restores_every_part_at_once(till: Till, counter: OriginProcess) -> None:
    till.world.execute("UPDATE drops SET total = 2, free = 2 WHERE drop = 'mug'")
    assert counter.settle(Tap()).status_code == 202
    assert counter.settle(free_tap(drop="mug", offer="offer-2")).json()["code"] == "sold_out"
    assert counter.settle(Tap()).json()["code"] == "sold_out"
    till.lapse()
    assert counter.settle(Tap()).status_code == 202
    assert till.world.stock("mug") == (0, 2, 0)
    till.lapse()
    assert counter.settle(free_tap(drop="mug", offer="offer-2")).status_code == 200
    assert till.world.stock("mug") == (1, 0, 1)


def test_money_that_comes_late_buys_all_of_it_or_goes_back(till: Till, counter: OriginProcess) -> None:
    """Failure table: payment arrives after the hold lapsed."""
    lucky, late = till.begin(counter), till.begin(counter)
    till.sandbox.fault(silent=True)
    till.lapse()
    for tap in (lucky, late):
        if tap is late:
            till.world.execute("UPDATE drops SET total = 2, free = 0 WHERE drop = 'mug'")
        till.sandbox.pay(tap)
        post_message(counter, f"{tap.claim.jti}.1", message=f"msg-{tap.claim.jti}")
    till.until_states(lucky, "captured")
    till.until_states(late, "refunded")
    assert counter.read(late).json()["code"] == "sold_out"
    assert till.world.stock("mug") == (0, 0, 2)
    assert {till.world.stock(drop)[2] for drop in ("drop-1", "tea")} == {1}


@pytest.mark.parametrize("restock", [True, False], ids=["sold again", "broken"])
@pytest.mark.parametrize("way", ["cancel", "refund"])
def test_bundle_comes_back_with_all_its_parts_once(
    till: Till, counter: OriginProcess, operator: dict[str, str], way: str, *, restock: bool
) -> None:
    """Failure table: cancel frees nothing."""
    if way == "refund":
        tap = sell(till, counter)
    else:
        tap = free_tap()
        assert counter.settle(tap).status_code == 200
    assert stocks(till) == SOLD
    first = take_back(counter, tap, way, operator, key="k" * 22, restock=restock)
    assert (first.status_code, first.json()["units"]) == (200, 1)
    assert take_back(counter, tap, way, operator, key="k" * 22, restock=restock).content == first.content
    assert take_back(counter, tap, way, operator).json()["code"] == "already_returned"
    assert stocks(till) == (FULL if restock else {drop: (free, 0, 0) for drop, (free, _, _) in SOLD.items()})
    assert counter.read(tap).json()["code"] == {"cancel": "claim_cancelled", "refund": "claim_refunded"}[way]
    assert {drop: audit(till, drop) for drop in FULL} == {drop: [] for drop in FULL}


@pytest.mark.parametrize("way", ["cancel", "refund"])
def test_a_part_does_not_come_back_alone(
    till: Till, counter: OriginProcess, operator: dict[str, str], way: str
) -> None:
    tap = sell(till, counter)
    path = f"/v1/settlements/{derive_part_id(tap.claim.jti, 'mug')}/{way}"
    refused = counter.client.post(path, json={"key": "k" * 22}, headers=operator)
    assert (refused.status_code, refused.json()["code"]) == (409, "part_of_bundle")
    assert stocks(till) == SOLD


def test_passes_of_parts_are_void_once_the_bundle_came_back(
    till: Till, counter: OriginProcess, operator: dict[str, str]
) -> None:
    till.world.add_pickup("kiln", drop="mug", until_ms=time.time_ns() // 1_000_000 + 3_600_000)
    tap = free_tap()
    part = derive_part_id(tap.claim.jti, "mug")
    assert counter.settle(tap).status_code == 200

    async def look() -> str:
        async with await psycopg.AsyncConnection.connect(till.world.conninfo) as connection:
            return (await read_passes(connection, "kiln", [part]))[part].state

    assert asyncio.run(look()) == "good"
    assert take_back(counter, tap, "cancel", operator).status_code == 200
    assert asyncio.run(look()) == "revoked"


def test_partner_of_a_part_is_told_of_what_was_sold_of_it_in_bundles(
    till: Till, counter: OriginProcess, operator: dict[str, str]
) -> None:
    """Whoever sends the mugs sends those of a bundle too, and hears when it came back."""
    with Partner() as potter:
        potter.join(till, "mug")
        tap = free_tap()
        assert counter.settle(tap).status_code == 200
        assert take_back(counter, tap, "cancel", operator).status_code == 200
        part = derive_part_id(tap.claim.jti, "mug")
        until(lambda: potter.counts() == {f"{part}-settled": 1, f"{part}-returned": 1})
        assert dict(potter.messages)[f"{part}-settled"]["data"]["run_numbers"] == [1, 2]
        till.world.execute("UPDATE drops SET partner = NULL")


REMOVED_WITH_ITS_TRACES = [
    "UPDATE drops SET free = 100, settled = 0, next_number = 1 WHERE drop = 'mug'",
    "DELETE FROM trail_entries WHERE drop = 'mug'",
    "DELETE FROM settlements WHERE drop = 'mug'",
]


@pytest.mark.parametrize(
    ("statements", "faults"),
    [
        pytest.param(
            ["DELETE FROM settlements WHERE drop = 'mug'"],
            {"drop-1": ["part_missing"], "mug": ["settlement_removed"]},
            id="part removed",
        ),
        pytest.param(REMOVED_WITH_ITS_TRACES, {"drop-1": ["part_missing"]}, id="part removed with all its traces"),
        pytest.param(
            ["UPDATE settlements SET drop = 'tea', first_number = 2 WHERE drop = 'mug'"],
            {"drop-1": ["part_disagrees"], "mug": ["settlement_removed"], "tea": ["settlement_inserted"]},
            id="part moved to another drop",
        ),
        pytest.param(
            ["UPDATE settlements SET receipt = receipt || ' ' WHERE drop = 'mug'"],
            {"drop-1": ["part_disagrees"], "mug": ["settlement_changed"]},
            id="part with another receipt",
        ),
        pytest.param(
            ["UPDATE settlements SET status = 'cancelled' WHERE drop = 'mug'"],
            {"drop-1": ["part_disagrees"], "mug": ["settlement_changed"]},
            id="part called off alone",
        ),
        pytest.param(
            ["DELETE FROM settlements WHERE drop = 'drop-1'"],
            {"drop-1": ["settlement_removed"], "mug": ["bundle_missing"], "tea": ["bundle_missing"]},
            id="bundle removed",
        ),
    ],
)
def test_audit_names_a_bundle_and_a_part_that_do_not_fit(
    till: Till, counter: OriginProcess, statements: list[str], faults: dict[str, list[str]]
) -> None:
    assert counter.settle(free_tap()).status_code == 200
    assert {drop: audit(till, drop) for drop in FULL} == {drop: [] for drop in FULL}
    for statement in statements:
        till.world.execute(statement)
    assert {drop: found for drop in FULL if (found := audit(till, drop))} == faults


def test_audit_says_which_part_is_missing(till: Till, counter: OriginProcess) -> None:
    tap = free_tap()
    assert counter.settle(tap).status_code == 200
    till.world.execute("DELETE FROM settlements WHERE drop = 'tea'")

    async def look() -> Any:
        async with await psycopg.AsyncConnection.connect(till.world.conninfo) as connection:
            return await audit_drop(connection, "drop-1", lambda *_: True)

    (fault,) = asyncio.run(look()).faults
    assert (fault.position, fault.claim_id) == (1, tap.claim.jti)
    assert fault.detail == f"claim {derive_part_id(tap.claim.jti, 'tea')} in drop tea"
