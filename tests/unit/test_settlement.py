"""Settlement: each of its five rules, and the order that they are applied in."""

from typing import Any

import pytest

from shared.claims.settlement import Conflicting, DropStock, Presented, Refused, Repeated, Settled, settle_batch
from shared.problems import Code


def stock(**changes: Any) -> DropStock:
    fields: dict[str, Any] = {
        "drop": "drop-1",
        "run": "run-1",
        "sku": "sku-1",
        "total": 10,
        "free": 10,
        "held": 0,
        "settled": 0,
        "next_number": 1,
        "version": 5,
        "per_viewer_cap": 10,
        "max_quantity": 10,
    }
    return DropStock(**{**fields, **changes})


def claim(claim_id: str = "c1", quantity: int = 1, **changes: Any) -> Presented:
    fields: dict[str, Any] = {
        "claim_id": claim_id,
        "drop": "drop-1",
        "run": "run-1",
        "viewer": "v1",
        "fingerprint": f"f-{claim_id}",
        "units": (("sku-1", quantity),),
    }
    return Presented(**{**fields, **changes})


def codes(decisions: tuple[Any, ...]) -> list[Code | str]:
    return [decision.code if isinstance(decision, Refused) else type(decision).__name__ for decision in decisions]


def test_a_settled_claim_takes_its_units_and_numbers() -> None:
    outcome = settle_batch(stock(), {}, {}, [claim("c1", 2), claim("c2", 3)])
    first, second = outcome.decisions
    assert first == Settled(claim=claim("c1", 2), quantity=2, first_number=1, remaining=8, version=6)
    assert second == Settled(claim=claim("c2", 3), quantity=3, first_number=3, remaining=5, version=7)
    assert outcome.drop == stock(free=5, settled=5, next_number=6, version=7)


def test_no_claim_changes_nothing() -> None:
    assert settle_batch(stock(), {}, {}, []).drop == stock()


def test_a_claim_that_was_decided_before_keeps_its_decision() -> None:
    outcome = settle_batch(stock(free=0, settled=10), {"c1": "f-c1"}, {}, [claim("c1")])
    assert outcome.decisions == (Repeated(claim=claim("c1")),)
    assert outcome.drop == stock(free=0, settled=10)


def test_the_same_id_twice_in_a_batch_is_decided_once() -> None:
    outcome = settle_batch(stock(), {}, {}, [claim("c1"), claim("c1"), claim("c1")])
    assert codes(outcome.decisions) == ["Settled", "Repeated", "Repeated"]
    assert outcome.drop.free == 9


def test_a_refused_claim_is_decided_too() -> None:
    outcome = settle_batch(stock(free=0, settled=10), {}, {}, [claim("c1"), claim("c1")])
    assert codes(outcome.decisions) == [Code.SOLD_OUT, "Repeated"]


@pytest.mark.parametrize("decided", [{"c1": "another"}, {}], ids=["before", "in this batch"])
def test_the_same_id_with_another_content_is_a_conflict_and_changes_nothing(decided: dict[str, str]) -> None:
    batch = [] if decided else [claim("c1", fingerprint="another")]
    outcome = settle_batch(stock(), decided, {}, [*batch, claim("c1")])
    assert outcome.decisions[-1] == Conflicting(claim=claim("c1"))
    assert outcome.drop.settled == len(batch)


@pytest.mark.parametrize(
    ("drop", "asked", "taken", "code"),
    [
        pytest.param({}, {"run": "run-2"}, 0, Code.DROP_CLOSED, id="another run"),
        pytest.param({}, {"units": (("sku-2", 1),)}, 0, Code.OFFER_UNKNOWN, id="another SKU"),
        pytest.param({}, {"units": (("sku-1", 1), ("sku-2", 1))}, 0, Code.OFFER_UNKNOWN, id="another SKU too"),
        pytest.param({"max_quantity": 2}, {"quantity": 3}, 0, Code.QUANTITY_NOT_OFFERED, id="too many for one claim"),
        pytest.param({"max_quantity": 2}, {"quantity": 2}, 0, None, id="just as many as one may have"),
        pytest.param({"per_viewer_cap": 2}, {"quantity": 3}, 0, Code.CAP_REACHED, id="above the cap at once"),
        pytest.param({"per_viewer_cap": 2}, {}, 2, Code.CAP_REACHED, id="above the cap with those before"),
        pytest.param({"per_viewer_cap": 2}, {}, 1, None, id="just at the cap"),
        pytest.param({"free": 1, "settled": 9}, {"quantity": 2}, 0, Code.SOLD_OUT, id="more than is left"),
        pytest.param({"free": 1, "settled": 9}, {}, 0, None, id="the last one"),
        pytest.param({"free": 1, "held": 9}, {"quantity": 2}, 0, Code.SOLD_OUT, id="held units are not free"),
        pytest.param({"free": 0, "settled": 10}, {"run": "run-2"}, 0, Code.DROP_CLOSED, id="run before stock"),
        pytest.param({"free": 0, "settled": 10, "per_viewer_cap": 1}, {}, 1, Code.CAP_REACHED, id="cap before stock"),
    ],
)
def test_a_claim_is_refused_by_the_first_rule_that_it_breaks(
    drop: dict[str, Any], asked: dict[str, Any], taken: int, code: Code | None
) -> None:
    (decision,) = settle_batch(stock(**drop), {}, {"v1": taken}, [claim(**asked)]).decisions
    assert (decision.code if isinstance(decision, Refused) else None) == code


def test_the_cap_counts_claims_of_the_same_batch() -> None:
    outcome = settle_batch(stock(per_viewer_cap=2), {}, {}, [claim(f"c{number}") for number in range(3)])
    assert codes(outcome.decisions) == ["Settled", "Settled", Code.CAP_REACHED]


def test_each_viewer_has_a_cap_of_their_own() -> None:
    batch = [claim("c1", viewer="v1"), claim("c2", viewer="v2"), claim("c3", viewer="v1")]
    assert codes(settle_batch(stock(per_viewer_cap=1), {}, {}, batch).decisions) == [
        "Settled",
        "Settled",
        Code.CAP_REACHED,
    ]


def test_units_are_taken_in_order_and_what_does_not_fit_lets_smaller_ones_pass() -> None:
    batch = [claim("c1", 2), claim("c2", 2), claim("c3", 1)]
    outcome = settle_batch(stock(total=3, free=3), {}, {}, batch)
    assert codes(outcome.decisions) == ["Settled", Code.SOLD_OUT, "Settled"]
    numbered = [item for item in outcome.decisions if isinstance(item, Settled)]
    assert [(item.first_number, item.quantity) for item in numbered] == [(1, 2), (3, 1)]


def test_lines_of_one_sku_are_summed_before_they_are_checked() -> None:
    batch = [claim("c1", units=(("sku-1", 1), ("sku-1", 1)))]
    assert codes(settle_batch(stock(max_quantity=1), {}, {}, batch).decisions) == [Code.QUANTITY_NOT_OFFERED]
    assert codes(settle_batch(stock(total=1, free=1), {}, {}, batch).decisions) == [Code.SOLD_OUT]


def test_stock_that_does_not_add_up_is_never_written() -> None:
    with pytest.raises(AssertionError, match="drop-1"):
        settle_batch(stock(free=11), {}, {}, [claim()])
