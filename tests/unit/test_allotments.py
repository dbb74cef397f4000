"""Allotments: no unit is in two channels, and what is left at the instant is the pool's."""

from typing import Any

import pytest

from shared.catalogue.drops import DropStanding, check_allotment, check_drop
from shared.catalogue.entries import DropBody
from shared.claims.allotments import is_released, release_allotments
from shared.claims.settlement import DropStock
from shared.problems import Code

AT_MS = 1_000


def row(drop: str, free: int, **changes: Any) -> DropStock:
    told = {
        "drop": drop, "run": "r1", "sku": "mug", "total": free + 3, "free": free, "held": 1, "settled": 2,
        "next_number": 3, "version": 7, "per_viewer_cap": 1, "max_quantity": 1,
    }  # fmt: skip
    return DropStock(**{**told, **changes})


def allotment(drop: str, free: int, pool: str = "live") -> DropStock:
    return row(drop, free, allotment_of=pool, release_at_ms=AT_MS)


def body(**changes: Any) -> DropBody:
    told = {"drop": "early", "run": "r1", "sku": "mug", "total": 10, "opens_at_ms": 0, "closes_at_ms": 500}
    return DropBody(**{**told, "allotment_of": "live", "release_at_ms": AT_MS, **changes})


@pytest.mark.parametrize(("now_ms", "released"), [(AT_MS - 1, False), (AT_MS, True), (AT_MS + 1, True)])
def test_allotment_is_released_at_its_instant(now_ms: int, released: bool) -> None:  # noqa: FBT001 - a table
    assert is_released(allotment("early", 5), now_ms) == released


def test_drop_that_is_no_allotment_is_never_released() -> None:
    assert not is_released(row("live", 5), 10**12)


def test_what_is_free_goes_to_the_pool_and_the_rest_stays() -> None:
    moved = release_allotments([row("live", 10), allotment("early", 5)], AT_MS)
    early, live = moved["early"], moved["live"]
    assert (early.total, early.free, early.held, early.settled, early.released, early.version) == (3, 0, 1, 2, 5, 8)
    assert (live.total, live.free, live.held, live.settled, live.received, live.version) == (18, 15, 1, 2, 5, 8)


def test_several_allotments_go_to_one_pool() -> None:
    moved = release_allotments([allotment("a", 2), row("live", 1), allotment("z", 3)], AT_MS)
    assert (moved["live"].free, moved["live"].received, moved["live"].version) == (6, 5, 9)


@pytest.mark.parametrize(
    ("rows", "now_ms"),
    [
        pytest.param([row("live", 10), allotment("early", 5)], AT_MS - 1, id="before the instant"),
        pytest.param([row("live", 10), allotment("early", 0)], AT_MS, id="nothing is free"),
        pytest.param([allotment("early", 5)], AT_MS, id="the pool is not locked"),
        pytest.param([row("live", 10), row("other", 5)], AT_MS, id="no allotment"),
    ],
)
def test_nothing_moves_otherwise(rows: list[DropStock], now_ms: int) -> None:
    assert release_allotments(rows, now_ms) == {}


def test_releasing_twice_is_releasing_once() -> None:
    moved = release_allotments([row("live", 10), allotment("early", 5)], AT_MS)
    assert release_allotments(moved.values(), AT_MS + 1) == {}


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"release_at_ms": None}, id="no instant"),
        pytest.param({"allotment_of": None}, id="no pool"),
        pytest.param({"allotment_of": "early"}, id="of itself"),
    ],
)
def test_allotment_that_is_not_whole_is_refused(changes: dict[str, Any]) -> None:
    problem = check_drop(body(**changes), None, 0)
    assert problem is not None
    assert problem.code is Code.INVALID_FIELD
    assert "$.allotment_of" in problem.detail


@pytest.mark.parametrize(
    ("pool", "code"),
    [
        pytest.param(None, Code.DROP_UNKNOWN, id="unknown pool"),
        pytest.param(body(drop="live"), Code.INVALID_FIELD, id="pool that is an allotment"),
        pytest.param(body(drop="live", sku="cup", allotment_of=None), Code.INVALID_FIELD, id="another SKU"),
    ],
)
def test_pool_must_be_a_drop_of_the_same_goods(pool: DropBody | None, code: Code) -> None:
    problem = check_allotment(body(), pool)
    assert problem is not None
    assert problem.code is code


@pytest.mark.parametrize(
    ("changes", "now_ms", "code"),
    [
        pytest.param({"allotment_of": "other"}, 0, Code.REVISION_CONFLICT, id="another pool"),
        pytest.param({"release_at_ms": 2_000}, AT_MS, Code.REVISION_CONFLICT, id="later, once it is released"),
        pytest.param({"total": 6}, 0, Code.TOTAL_BELOW_TAKEN, id="less than was sold and given on"),
        pytest.param({"release_at_ms": 2_000}, AT_MS - 1, None, id="later, before it is released"),
        pytest.param({"total": 7}, AT_MS, None, id="just what is needed"),
    ],
)
def test_change_respects_what_has_happened(changes: dict[str, Any], now_ms: int, code: Code | None) -> None:
    stored = DropStanding(run="r1", sku="mug", taken=7, allotment_of="live", release_at_ms=AT_MS)
    problem = check_drop(body(**changes), stored, now_ms)
    assert (None if problem is None else problem.code) is code
