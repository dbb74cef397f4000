"""Prices that move: a function of rule, stock and time, within floor and ceiling, and the same wherever it is asked."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.catalogue.entries import OfferBody, check_offer
from shared.catalogue.manifest import Price, price_unit
from shared.catalogue.pricing import PriceRule, StockStep, TimeStep, quote_price
from shared.catalogue.stock import StockSnapshot
from shared.problems import Code
from tests.samples import encode, make_terms

RULE = PriceRule(
    floor_minor=1500,
    ceiling_minor=2500,
    by_stock=(StockStep(left_bp=5000, price_bp=11_000), StockStep(left_bp=1000, price_bp=13_000)),
    by_time=(TimeStep(from_ms=200, price_bp=9_000), TimeStep(from_ms=100, price_bp=10_500)),
)


def quote(remaining: int = 100, now_ms: int = 0, amount_minor: int = 2000, total: int = 100) -> int:
    return quote_price(amount_minor, RULE, remaining=remaining, total=total, now_ms=now_ms)


@pytest.mark.parametrize(
    ("remaining", "now_ms", "price"),
    [
        pytest.param(100, 0, 2000, id="as written"),
        pytest.param(51, 0, 2000, id="just more than half is left"),
        pytest.param(50, 0, 2200, id="half is left"),
        pytest.param(10, 0, 2500, id="a tenth is left, and the ceiling"),
        pytest.param(0, 0, 2500, id="nothing is left"),
        pytest.param(100, 99, 2000, id="just before an instant"),
        pytest.param(100, 100, 2100, id="at an instant"),
        pytest.param(100, 200, 1800, id="at the next one"),
        pytest.param(50, 100, 2310, id="both"),
        pytest.param(10, 200, 2340, id="the last step of each"),
        pytest.param(120, 0, 2000, id="more than the run"),
    ],
)
def test_price_is_what_the_steps_that_were_reached_make_of_it(remaining: int, now_ms: int, price: int) -> None:
    assert quote(remaining, now_ms) == price


@pytest.mark.parametrize(("amount", "price"), [(1, 1), (4, 4), (5, 6), (14, 15), (15, 17)])
def test_price_is_rounded_to_the_nearest_minor_unit_halves_up(amount: int, price: int) -> None:
    rule = PriceRule(floor_minor=1, ceiling_minor=100, by_stock=(StockStep(left_bp=10_000, price_bp=11_000),))
    assert quote_price(amount, rule, remaining=1, total=1, now_ms=0) == price


STEPS = st.integers(1, 100_000)
RULES = st.builds(
    lambda bounds, stock, time: PriceRule(
        floor_minor=min(bounds),
        ceiling_minor=max(bounds),
        by_stock=tuple(StockStep(left_bp=left, price_bp=price) for left, price in stock.items()),
        by_time=tuple(TimeStep(from_ms=at, price_bp=price) for at, price in time.items()),
    ),
    st.tuples(st.integers(1, 10**6), st.integers(1, 10**6)),
    st.dictionaries(st.integers(1, 10_000), STEPS, max_size=4),
    st.dictionaries(st.integers(0, 1000), STEPS, max_size=4),
)


@given(rule=RULES, amount=st.integers(1, 10**6), remaining=st.integers(0, 500), now_ms=st.integers(0, 2000))
def test_price_stays_within_its_bounds_and_survives_the_wire(
    rule: PriceRule, amount: int, remaining: int, now_ms: int
) -> None:
    price = quote_price(amount, rule, remaining=remaining, total=500, now_ms=now_ms)
    assert rule.floor_minor <= price <= rule.ceiling_minor
    published = msgspec.json.decode(msgspec.json.encode(rule), type=PriceRule)
    assert quote_price(amount, published, remaining=remaining, total=500, now_ms=now_ms) == price


@given(rule=RULES, remaining=st.integers(0, 500), now_ms=st.integers(0, 2000), order=st.randoms(use_true_random=False))
def test_order_of_the_steps_is_nothing(rule: PriceRule, remaining: int, now_ms: int, order: Any) -> None:
    shuffled = msgspec.structs.replace(
        rule,
        by_stock=tuple(order.sample(rule.by_stock, len(rule.by_stock))),
        by_time=tuple(order.sample(rule.by_time, len(rule.by_time))),
    )
    prices = {quote_price(999, one, remaining=remaining, total=500, now_ms=now_ms) for one in (rule, shuffled)}
    assert len(prices) == 1


def test_where_nothing_is_known_of_the_stock_all_is_left() -> None:
    price, terms = Price(currency="EUR", amount_minor=2000, rule=RULE), make_terms(total=100)
    snapshot = StockSnapshot(drop="drop-1", version=1, as_of_ms=0, total=100, remaining=50)
    assert (price_unit(price, terms, None, 0), price_unit(price, terms, snapshot, 0)) == (2000, 2200)


def test_price_without_a_rule_does_not_move() -> None:
    snapshot = StockSnapshot(drop="drop-1", version=1, as_of_ms=0, total=100, remaining=1)
    assert price_unit(Price(currency="EUR", amount_minor=2000), make_terms(), snapshot, 0) == 2000


@pytest.mark.parametrize(
    ("rule", "fault"),
    [
        pytest.param({}, None, id="good"),
        pytest.param({"floor_minor": 0}, "above zero", id="for nothing"),
        pytest.param({"floor_minor": 2001}, "between floor and ceiling", id="floor above the price"),
        pytest.param({"ceiling_minor": 1999}, "between floor and ceiling", id="ceiling below the price"),
        pytest.param({"by_stock": []}, "must have a step", id="no step"),
        pytest.param({"by_stock": [{"left_bp": 9, "price_bp": 9}] * 2}, "two steps", id="one share twice"),
        pytest.param({"by_time": [{"from_ms": 9, "price_bp": 9}] * 2}, "two steps", id="one instant twice"),
    ],
)
def test_rule_that_means_nothing_is_refused(rule: dict[str, Any], fault: str | None) -> None:
    told = {"floor_minor": 1, "ceiling_minor": 5000, "by_stock": [{"left_bp": 5000, "price_bp": 9000}], **rule}
    offer = {
        "offer": "mug", "drop": "mug-1", "kind": "product", "names": {"en": "Mug"}, "payment": "card",
        "prices": [{"currency": "EUR", "amount_minor": 2000, "rule": told}],
    }  # fmt: skip
    problem = check_offer(msgspec.json.decode(encode(offer), type=OfferBody))
    assert (problem is None) is (fault is None)
    if problem is not None:
        assert problem.code is Code.INVALID_FIELD
        assert "$.prices[0].rule" in problem.detail
        assert (fault or "") in problem.detail
