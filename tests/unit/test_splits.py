"""Splits of sales among creators: what the published rule gives, and which shares a drop may have."""

from typing import Any

import msgspec
import pytest

from shared.catalogue.drops import DropStanding, check_drop, sort_shares
from shared.catalogue.entries import DropBody
from shared.money.splits import SHOP, Share, split_money
from shared.problems import Code
from tests.samples import NOW_MS

SALE = "AAAAAAAAAAAAAAAAAAAAAA"
THIRDS = {"ada": 3333, "bo": 3333, "cy": 3333}


def shares(parts: dict[str, int]) -> tuple[Share, ...]:
    return tuple(Share(creator=creator, share_bp=share_bp) for creator, share_bp in parts.items())


def body(parts: dict[str, int], **changes: Any) -> DropBody:
    told = {"drop": "mug-1", "run": "r1", "sku": "mug", "total": 5, "opens_at_ms": NOW_MS, "closes_at_ms": NOW_MS + 1}
    return msgspec.convert({**told, "shares": msgspec.to_builtins(shares(parts)), **changes}, DropBody)


@pytest.mark.parametrize(
    ("amount_minor", "parts", "expected"),
    [
        pytest.param(3000, {"ada": 6000, "bo": 2500}, {"ada": 1800, "bo": 750, SHOP: 450}, id="JPY, even"),
        pytest.param(1, {"ada": 6000, "bo": 2500}, {"ada": 1, "bo": 0, SHOP: 0}, id="JPY, one yen"),
        pytest.param(1099, {"ada": 7000, "bo": 3000}, {"ada": 769, "bo": 330, SHOP: 0}, id="KRW, nothing for the shop"),
        pytest.param(12_345, {"ada": 3350, "bo": 1}, {"ada": 4136, "bo": 1, SHOP: 8208}, id="BHD, three digits"),
        pytest.param(990, {"ada": 10_000}, {"ada": 990, SHOP: 0}, id="EUR, all to one"),
        pytest.param(990, {}, {SHOP: 990}, id="EUR, all to the shop"),
        pytest.param(0, {"ada": 5000}, {"ada": 0, SHOP: 0}, id="nothing"),
        pytest.param(10**12, {"ada": 3333}, {"ada": 333_300_000_000, SHOP: 666_700_000_000}, id="as much as there is"),
    ],
)
def test_an_amount_is_split_by_the_largest_remainder(
    amount_minor: int, parts: dict[str, int], expected: dict[str, int]
) -> None:
    assert split_money(amount_minor, shares(parts), SALE) == expected


def test_ties_are_decided_by_the_sale_and_nobody_wins_them_all() -> None:
    winners = [split_money(1, shares({"ada": 5000, "bo": 5000}), f"sale-{number}") for number in range(400)]
    assert all(sorted(won.values()) == [0, 0, 1] and won[SHOP] == 0 for won in winners)
    assert 160 < sum(won["ada"] for won in winners) < 240
    assert split_money(2, shares(THIRDS), SALE) == {"ada": 1, "bo": 1, "cy": 0, SHOP: 0}  # pinned: it is published


@pytest.mark.parametrize(
    "parts", [pytest.param((-1, {}), id="less than nothing"), pytest.param((1, {"ada": 10_001}), id="more than all")]
)
def test_what_cannot_be_split_is_a_bug(parts: tuple[int, dict[str, int]]) -> None:
    with pytest.raises(AssertionError):
        split_money(parts[0], shares(parts[1]), SALE)


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([("ada", 5000), ("ada", 1)], id="a creator twice"),
        pytest.param([("ada", 5001), ("bo", 5000)], id="more than the whole"),
    ],
)
def test_shares_that_do_not_add_up_are_refused(parts: list[tuple[str, int]]) -> None:
    wrong = [{"creator": creator, "share_bp": share_bp} for creator, share_bp in parts]
    problem = check_drop(body({}, shares=wrong), None, NOW_MS)
    assert problem is not None
    assert (problem.code, "$.shares" in problem.detail) == (Code.INVALID_FIELD, True)


@pytest.mark.parametrize("share_bp", [0, -1, 10_001])
def test_a_share_is_one_of_ten_thousand(share_bp: int) -> None:
    with pytest.raises(msgspec.ValidationError):
        body({"ada": share_bp})


@pytest.mark.parametrize(
    ("parts", "opens_at_ms", "sold", "code"),
    [
        pytest.param({"bo": 1}, NOW_MS + 1, False, None, id="before it opens"),
        pytest.param({"bo": 1}, NOW_MS, False, Code.REVISION_CONFLICT, id="once it is open"),
        pytest.param({"bo": 1}, NOW_MS + 1, True, Code.REVISION_CONFLICT, id="once it has sold"),
        pytest.param({}, NOW_MS, False, Code.REVISION_CONFLICT, id="taken away once it is open"),
        pytest.param({"cy": 200, "ada": 100}, NOW_MS, True, None, id="the same in another order"),
    ],
)
def test_shares_are_fixed_once_a_drop_has_opened_or_sold(
    parts: dict[str, int], opens_at_ms: int, code: Code | None, *, sold: bool
) -> None:
    kept = sort_shares(body({"cy": 200, "ada": 100})).shares
    stored = DropStanding(run="r1", sku="mug", taken=0, opens_at_ms=opens_at_ms, shares=kept, sold=sold)
    problem = check_drop(body(parts, opens_at_ms=NOW_MS + 1, closes_at_ms=NOW_MS + 2), stored, NOW_MS)
    assert (None if problem is None else problem.code) == code
