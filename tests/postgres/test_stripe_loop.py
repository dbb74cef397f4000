"""Paying through Stripe's library, end to end: browser, webhook, refund, and Stripe failing in between."""

import json
import time
from collections.abc import Iterator

import pytest

from shared.money.signatures import sign_message
from tests.postgres.till import Till, find
from tests.postgres.world import OriginProcess, Tap
from tests.stripe_double import StripeDouble, serve_stripe

SECRET = "whsec_double"


@pytest.fixture
def double() -> Iterator[StripeDouble]:
    with serve_stripe() as started:
        yield started


@pytest.fixture
def shop(till: Till, double: StripeDouble) -> OriginProcess:
    return till.world.start(
        CLIPTILL_CARDS="stripe",
        CLIPTILL_CARDS_URL=double.url,
        CLIPTILL_CARDS_KEY="sk_test_double",
        CLIPTILL_CARDS_WEBHOOK_SECRET=SECRET,
    )


def post_event(shop: OriginProcess, payment: str) -> int:
    subject = {"id": "pi_1", "object": "payment_intent", "metadata": {"payment": payment}}
    body = json.dumps({"id": "evt_1", "object": "event", "data": {"object": subject}}).encode()
    headers = {"Stripe-Signature": sign_message(body, SECRET.encode(), int(time.time()))}
    return shop.client.post("/v1/payment-messages/stripe", content=body, headers=headers).status_code


def test_a_payment_through_stripe_ends_in_goods_and_is_refunded_once(
    till: Till, shop: OriginProcess, double: StripeDouble, operator: dict[str, str]
) -> None:
    tap = Tap()
    shop.settle(tap)
    begun = shop.post(tap, "/payment").json()
    assert (begun["state"], begun["client_secret"], begun["pay_at"]) == ("begun", "pi_1_secret_x", "")
    double.confirm(f"{tap.claim.jti}.1")
    double.fail, double.after = 2, True  # it captures, and does not say so
    assert post_event(shop, f"{tap.claim.jti}.1") == 204
    till.until_states(tap, "captured")
    assert till.world.stock() == (99, 0, 1)
    assert find(till.world.conninfo) == []
    answer = shop.client.post(f"/v1/settlements/{tap.claim.jti}/refund", json={"key": "k" * 22}, headers=operator)
    assert answer.json()["refund_minor"] == 990
    till.until_states(tap, "refunded")
    assert double.of(f"{tap.claim.jti}.1")["latest_charge"]["amount_refunded"] == 990
    till.assert_in_order()


@pytest.mark.parametrize("event", ["charge.refunded", "refund.created"])
def test_a_part_that_goes_back_in_the_dashboard_is_noted(
    till: Till, shop: OriginProcess, double: StripeDouble, event: str
) -> None:
    tap = till.begin(shop)
    name = f"{tap.claim.jti}.1"
    double.confirm(name)
    till.until_states(tap, "captured")
    intent = double.of(name)
    intent["latest_charge"]["amount_refunded"] = 300
    subject = {"payment_intent": intent["id"], "metadata": intent["metadata"] if event == "charge.refunded" else {}}
    foreign = [{"payment_intent": "pi_of_another_shop"}, {"metadata": {"payment": "Order #12"}}]
    for number, said in enumerate([*foreign, subject, subject]):
        body = json.dumps({"id": f"evt_{number}", "object": "event", "type": event, "data": {"object": said}}).encode()
        headers = {"Stripe-Signature": sign_message(body, SECRET.encode(), int(time.time()))}
        assert shop.client.post("/v1/payment-messages/stripe", content=body, headers=headers).status_code == 204
    assert till.world.execute("SELECT DISTINCT payment FROM payment_messages") == [(name,)]
    assert shop.post(tap, "/payment").json()["refunded_minor"] == 300
    assert till.state_of(tap) == ["captured"]
    till.assert_in_order()


def test_an_intent_that_nobody_confirms_is_called_off(till: Till, shop: OriginProcess, double: StripeDouble) -> None:
    till.world.execute("UPDATE drops SET late_payment = 'refund'")
    tap = till.begin(shop)
    till.lapse()
    till.until_states(tap, "voided")
    assert double.of(f"{tap.claim.jti}.1")["status"] == "canceled"
    till.assert_in_order()
