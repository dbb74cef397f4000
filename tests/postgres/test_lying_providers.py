"""What a payment provider that lies, or says one thing to one process and another to the next, can and cannot do."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.postgres.till import Till, post_message
from tests.postgres.world import OriginProcess, Tap, until


@pytest.mark.parametrize("lie", ["amount", "currency"])
def test_money_of_another_amount_or_currency_buys_nothing_and_is_let_go(
    till: Till, counter: OriginProcess, lie: str
) -> None:
    till.sandbox.fault(lie=lie, silent=True)
    tap = Tap()
    counter.settle(tap)
    assert counter.post(tap, "/payment").json()["state"] == "voided"
    till.sandbox.fault()
    assert till.world.stock() == (99, 1, 0)
    assert counter.post(tap, "/payment").json()["state"] == "begun"  # the viewer may try again
    till.sandbox.pay(tap)
    till.until_states(tap, "voided", "captured")
    till.assert_in_order()


@pytest.mark.parametrize("lie", ["payment", "took_nothing"])
def test_an_answer_that_contradicts_itself_is_no_answer(till: Till, counter: OriginProcess, lie: str) -> None:
    tap = till.begin(counter)
    till.sandbox.fault(silent=True)
    till.sandbox.pay(tap)
    if lie == "took_nothing":  # what was taken is told as nothing
        reference = till.sandbox.charges_of(tap)[0]["reference"]
        headers = {"Authorization": "Bearer sandbox-key", "Idempotency-Key": "somebody"}
        till.sandbox.client.post(f"/charges/{reference}/capture", headers=headers)
    till.sandbox.fault(silent=True, lie=lie)
    assert counter.post(tap, "/payment").json()["code"] == "unavailable"
    assert till.state_of(tap) == ["begun"]
    till.sandbox.fault(silent=True)
    till.until_states(tap, "captured")
    till.assert_in_order()


def capture_by_itself(till: Till, tap: Tap) -> None:
    """Have the provider take the money of a tap's last charge without being asked."""
    headers = {"Authorization": "Bearer sandbox-key", "Idempotency-Key": f"dashboard-{tap.claim.jti}"}
    reference = till.sandbox.charges_of(tap)[-1]["reference"]
    assert till.sandbox.client.post(f"/charges/{reference}/capture", headers=headers).json()["captured_minor"] == 990


def test_money_that_comes_after_the_provider_said_it_let_go_goes_back(till: Till, counter: OriginProcess) -> None:
    """Failure table: paid, no goods."""
    tap = till.begin(counter)
    till.sandbox.fault(silent=True)
    till.sandbox.pay(tap)
    till.sandbox.fault(silent=True, lie="let_go")
    assert counter.post(tap, "/payment").json()["state"] == "voided"
    till.sandbox.fault(silent=True)
    capture_by_itself(till, tap)
    assert post_message(counter, f"{tap.claim.jti}.1").status_code == 204
    till.until_states(tap, "refunded")
    assert till.sandbox.charges_of(tap)[0]["refunded_minor"] == 990
    assert till.world.stock() == (99, 1, 0)  # still held: the viewer may try again
    till.assert_in_order()


def test_goods_are_not_given_for_a_payment_that_is_called_off_meanwhile(till: Till, counter: OriginProcess) -> None:
    """Failure table: paid, no goods; and goods, not paid."""
    tap = till.begin(counter)
    till.sandbox.fault(silent=True)
    till.sandbox.pay(tap)
    with ThreadPoolExecutor(1) as pool:
        with till.world.hold():
            asked = pool.submit(counter.post, tap, "/payment")  # takes the money, and waits for the drop
            until(lambda: bool(till.world.waiting_backends()))
            till.sandbox.fault(silent=True, lie="let_go")
            assert post_message(counter, f"{tap.claim.jti}.1").status_code == 204
            assert till.state_of(tap) == ["voided"]
            till.sandbox.fault(silent=True)
        assert asked.result().json()["state"] in ("refund_due", "refunded")
    till.until_states(tap, "refunded")
    assert till.sandbox.charges_of(tap)[0]["refunded_minor"] == 990
    assert till.world.stock() == (99, 1, 0)
    till.assert_in_order()


@pytest.mark.parametrize("paid", ["before it is held again", "after"])
def test_money_for_another_price_than_the_claim_is_held_at_now_buys_nothing(
    till: Till, counter: OriginProcess, paid: str
) -> None:
    """The same tap, asked for again at the edge, may have another price; its receipt says what was really paid."""
    tap = till.begin(counter)
    dearer = Tap(tap.viewer, jti=tap.claim.jti, lines=[{"sku": "sku-1", "quantity": 1, "unit_minor": 1_500}])
    till.sandbox.fault(silent=True)
    if paid == "before it is held again":
        till.sandbox.pay(tap)
        capture_by_itself(till, tap)
    counter.post(tap, "/release")
    assert counter.settle(dearer).json()["total_minor"] == 1_500
    counter.post(dearer, "/payment")
    till.until_states(tap, "refunded" if paid == "before it is held again" else "voided")
    assert counter.post(dearer, "/payment").json()["amount_minor"] == 1_500
    till.sandbox.pay(tap)
    assert counter.post(dearer, "/payment").json()["state"] == "captured"
    assert counter.read(dearer).json()["total_minor"] == 1_500
    assert sum(charge["captured_minor"] - charge["refunded_minor"] for charge in till.sandbox.charges_of(tap)) == 1_500
    till.assert_in_order()


def test_a_message_that_lies_changes_nothing(till: Till, counter: OriginProcess) -> None:
    tap = till.begin(counter)
    assert post_message(counter, f"{tap.claim.jti}.1").status_code == 204  # of a payment that nobody has made
    assert till.state_of(tap) == ["begun"]
    assert till.world.stock() == (99, 1, 0)
    till.assert_in_order()
