"""Money that somebody gives back in the provider's own dashboard: in parts, told once, often, late, or not at all."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.postgres.till import Till, find, post_message, sell, take_back
from tests.postgres.world import OriginProcess, Tap, together, until

LATER_MS = 3 * 3_600_000
BALANCES = "SELECT account, balance_minor FROM ledger_accounts WHERE balance_minor <> 0 ORDER BY account"


def give_by_hand(till: Till, tap: Tap, amount_minor: int, key: str = "") -> None:
    """Have the provider give money back as from its dashboard; nobody is told."""
    headers = {"Authorization": "Bearer sandbox-key", "Idempotency-Key": key or f"hand-{tap.claim.jti}-{amount_minor}"}
    reference = till.sandbox.charges_of(tap)[0]["reference"]
    answer = till.sandbox.client.post(
        f"/charges/{reference}/refund", json={"amount_minor": amount_minor}, headers=headers
    )
    assert answer.is_success


def tell(origin: OriginProcess, tap: Tap, message: str = "msg-1") -> int:
    return post_message(origin, f"{tap.claim.jti}.1", message=message).status_code


def balances(till: Till) -> Any:
    return till.world.execute(BALANCES)


def test_a_part_that_goes_back_by_hand_is_noted_once_and_the_goods_stay(till: Till, counter: OriginProcess) -> None:
    tap = sell(till, counter)
    give_by_hand(till, tap, 300)
    statuses = together(lambda number: tell(counter, tap, f"msg-{number % 4}"), range(12))
    assert set(statuses) == {204}
    until(lambda: balances(till) == [("provider:sandbox", -690), ("sales:creator-1", 690)])
    assert counter.post(tap, "/payment").json()["refunded_minor"] == 300
    assert (till.state_of(tap), till.world.stock()) == (["captured"], (99, 0, 1))
    assert counter.read(tap).status_code == 200
    till.assert_in_order()


def test_parts_that_are_told_as_one_are_noted_together_and_the_last_one_brings_the_goods_back(
    till: Till, counter: OriginProcess
) -> None:
    tap = sell(till, counter)
    give_by_hand(till, tap, 300)
    give_by_hand(till, tap, 200)
    tell(counter, tap)
    assert balances(till) == [("provider:sandbox", -490), ("sales:creator-1", 490)]
    give_by_hand(till, tap, 490)
    tell(counter, tap, "msg-2")
    till.until_states(tap, "refunded")
    assert (balances(till), till.world.stock()) == ([], (100, 0, 0))
    till.assert_in_order()


def test_what_went_back_by_hand_is_not_given_back_again(
    till: Till, counter: OriginProcess, operator: dict[str, str]
) -> None:
    tap = sell(till, counter)
    give_by_hand(till, tap, 300)
    tell(counter, tap)
    assert take_back(counter, tap, "refund", operator, amount_minor=691).json()["code"] == "refund_too_large"
    assert take_back(counter, tap, "refund", operator).json()["refund_minor"] == 690
    till.until_states(tap, "refunded")
    assert till.sandbox.charges_of(tap)[0]["refunded_minor"] == 990
    assert balances(till) == []
    till.assert_in_order()


def test_more_that_goes_back_by_hand_after_a_refund_is_noted(
    till: Till, counter: OriginProcess, operator: dict[str, str]
) -> None:
    tap = sell(till, counter)
    take_back(counter, tap, "refund", operator, amount_minor=400)
    till.until_states(tap, "refunded")
    give_by_hand(till, tap, 250)
    tell(counter, tap)
    assert balances(till) == [("provider:sandbox", -340), ("sales:creator-1", 340)]
    give_by_hand(till, tap, 340)
    tell(counter, tap, "msg-2")
    assert (balances(till), till.state_of(tap)) == ([], ["refunded"])
    assert till.world.stock() == (100, 0, 0)  # the unit came back with the refund, once
    till.assert_in_order()


@pytest.mark.parametrize(
    ("by_hand", "kept"),
    [pytest.param(250, 590, id="less than is due"), pytest.param(600, 390, id="more than is due")],
)
def test_what_goes_back_by_hand_while_a_refund_is_on_its_way_counts_towards_it(
    till: Till, counter: OriginProcess, operator: dict[str, str], by_hand: int, kept: int
) -> None:
    tap = sell(till, counter)
    till.sandbox.fault(silent=True, hang="read")  # it has noted that a refund is due, and looks
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(take_back, counter, tap, "refund", operator, amount_minor=400)
        until(till.sandbox.stands_still)
        give_by_hand(till, tap, by_hand)
        till.sandbox.fault(silent=True)
        assert asked.result().status_code == 200
    till.until_states(tap, "refunded")
    assert 990 - till.sandbox.charges_of(tap)[0]["refunded_minor"] == kept
    assert balances(till) == [("provider:sandbox", -kept), ("sales:creator-1", kept)]
    till.assert_in_order()


@pytest.mark.parametrize("parts", [(100,), (33, 34), (989,)])
def test_creators_lose_their_part_of_what_goes_back(till: Till, counter: OriginProcess, parts: tuple[int, ...]) -> None:
    till.world.execute("INSERT INTO creators VALUES ('mika', 'Mika', NULL, 0, 0) ON CONFLICT DO NOTHING")
    till.world.execute("INSERT INTO drop_shares VALUES ('drop-1', 'mika', 3333)")
    tap = sell(till, counter)
    for number, part in enumerate(parts):
        give_by_hand(till, tap, part)
        tell(counter, tap, f"msg-{number}")
    kept = 990 - sum(parts)
    assert sum(amount for account, amount in balances(till) if account != "provider:sandbox") == kept
    till.assert_in_order()  # which computes the parts anew


def test_a_refund_that_came_back_is_reported_until_it_is_true_again(
    till: Till, counter: OriginProcess, operator: dict[str, str]
) -> None:
    tap = sell(till, counter)
    take_back(counter, tap, "refund", operator)
    till.until_states(tap, "refunded")
    before = balances(till)
    till.sandbox.fault(silent=True, lie="never_refunded")
    tell(counter, tap)
    assert find(till.world.conninfo) == [(f"{tap.claim.jti}.1", "provider_differs")]
    assert (balances(till), till.state_of(tap)) == (before, ["refunded"])
    till.sandbox.fault(silent=True)
    tell(counter, tap, "msg-2")
    till.assert_in_order()


def test_what_the_provider_says_and_cannot_be_true_is_reported(till: Till, counter: OriginProcess) -> None:
    tap = sell(till, counter)
    till.sandbox.fault(silent=True, lie="payment")
    tell(counter, tap)
    assert find(till.world.conninfo) == []
    assert find(till.world.conninfo, LATER_MS) == [(f"{tap.claim.jti}.1", "payment_unclear")]
    till.sandbox.fault(silent=True)
    till.pass_time()
    until(lambda: find(till.world.conninfo, LATER_MS) == [])


def test_what_is_over_is_compared_while_it_is_new_or_when_all_is_asked_for(till: Till, counter: OriginProcess) -> None:
    paid, told = sell(till, counter), sell(till, counter)
    till.world.execute("UPDATE payments SET captured_minor = 991, changed_ms = 1 WHERE claim_id = %s", paid.claim.jti)
    till.world.execute("UPDATE payments SET told_minor = 1, changed_ms = 1 WHERE claim_id = %s", told.claim.jti)
    always = (f"{told.claim.jti}.1", "provider_differs")
    assert find(till.world.conninfo, since_ms=2) == [always]
    assert sorted(find(till.world.conninfo)) == sorted([always, (f"{paid.claim.jti}.1", "ledger_differs")])
    till.world.execute("UPDATE payments SET changed_ms = 2, told_minor = NULL")
    assert find(till.world.conninfo, since_ms=2) == [(f"{paid.claim.jti}.1", "ledger_differs")]
