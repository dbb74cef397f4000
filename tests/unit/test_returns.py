"""What may be returned, for how much, and where its units go."""

from typing import Any

import pytest

from shared.claims.returns import ReturnOrder, Sold, decide_return, digest_order, put_back
from shared.claims.settlement import DropStock
from shared.claims.states import Actor, State
from shared.problems import Code


def sold(paid_minor: int = 990, state: State = State.SETTLED) -> Sold:
    return Sold(claim_id="c", drop="d", state=state, units=2, paid_minor=paid_minor, paid_currency="EUR")


def order(**changes: Any) -> ReturnOrder:
    return ReturnOrder(key="k" * 22, **changes)


@pytest.mark.parametrize(
    ("claim", "wanted", "asked", "comes"),
    [
        pytest.param(sold(0), State.CANCELLED, order(), 0, id="free, cancelled"),
        pytest.param(sold(), State.CANCELLED, order(), Code.REFUND_NEEDED, id="paid, cancelled"),
        pytest.param(sold(), State.REFUNDED, order(), 990, id="all by default"),
        pytest.param(sold(), State.REFUNDED, order(amount_minor=990, currency="EUR"), 990, id="all, named"),
        pytest.param(sold(), State.REFUNDED, order(amount_minor=400), 400, id="a part is kept"),
        pytest.param(sold(), State.REFUNDED, order(amount_minor=991), Code.REFUND_TOO_LARGE, id="more than was paid"),
        pytest.param(sold(), State.REFUNDED, order(amount_minor=0), Code.NOTHING_TO_REFUND, id="of nothing"),
        pytest.param(sold(), State.REFUNDED, order(currency="USD"), Code.CURRENCY_DIFFERS, id="another currency"),
        pytest.param(sold(0), State.REFUNDED, order(), Code.NOTHING_PAID, id="free, refunded"),
        pytest.param(sold(0, State.REFUSED), State.CANCELLED, order(), Code.NOT_SETTLED, id="refused"),
        pytest.param(sold(0, State.CANCELLED), State.CANCELLED, order(), Code.NOT_SETTLED, id="cancelled before"),
        pytest.param(sold(0, State.REFUNDED), State.REFUNDED, order(), Code.NOT_SETTLED, id="refunded before"),
        pytest.param(sold(state=State.PICKED_UP), State.REFUNDED, order(), 990, id="fetched, and brought back"),
    ],
)
def test_what_comes_back(claim: Sold, wanted: State, asked: ReturnOrder, comes: int | Code) -> None:
    assert decide_return(claim, wanted, asked, Actor.OPERATOR) == comes


def test_a_viewer_returns_nothing_by_themselves() -> None:
    assert decide_return(sold(), State.REFUNDED, order(), Actor.VIEWER) is Code.NOT_SETTLED


def test_units_come_back_under_new_numbers() -> None:
    drop = DropStock(
        drop="d", run="r", sku="s", total=5, free=0, held=1, settled=4, next_number=5, version=9, per_viewer_cap=1,
        max_quantity=2,
    )  # fmt: skip
    after = put_back(drop, 2, restock=True)
    assert (after.free, after.held, after.settled, after.next_number, after.version) == (2, 1, 2, 5, 10)
    with pytest.raises(AssertionError):
        put_back(drop, 5, restock=True)
    gone = put_back(drop, 2, restock=False)
    assert (gone.total, gone.free, gone.held, gone.settled, gone.version) == (3, 0, 1, 2, 10)


def test_another_order_under_the_same_key_is_another_request() -> None:
    asked = [digest_order(state, order(amount_minor=n)) for state in (State.CANCELLED, State.REFUNDED) for n in (1, 2)]
    assert len(set(asked)) == 4
    assert asked[0] == digest_order(State.CANCELLED, order(amount_minor=1))
