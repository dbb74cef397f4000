"""Failures of payments that others shipped, each named by its row: a sandbox provider, processes killed at will."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.postgres.till import Till, bring, find, post_message, sell_free, take_back
from tests.postgres.world import OriginProcess, Tap, together, until


def test_a_payment_by_card_ends_in_goods_and_a_receipt(till: Till, counter: OriginProcess) -> None:
    tap = till.begin(counter)
    told = counter.post(tap, "/payment").json()
    assert (told["state"], told["provider"], told["amount_minor"]) == ("begun", "sandbox", 990)
    assert told["pay_at"].startswith(till.sandbox.url)
    till.sandbox.fault(silent=True)
    till.sandbox.pay(tap)
    assert counter.post(tap, "/payment").json()["state"] == "captured"
    settled = counter.read(tap)
    assert (settled.status_code, settled.json()["payment"]) == (200, "card")
    assert till.world.stock() == (99, 0, 1)
    till.assert_in_order()


@pytest.mark.parametrize("first", ["browser", "webhook", "both at once"])
@pytest.mark.parametrize("times", [1, 3])
def test_webhook_and_browser_both_complete_an_order(till: Till, counter: OriginProcess, first: str, times: int) -> None:
    """Failure table: webhook and browser both complete an order."""
    tap = till.begin(counter)
    till.sandbox.fault(silent=True)
    till.sandbox.pay(tap)
    name = f"{tap.claim.jti}.1"
    browser = [lambda: counter.post(tap, "/payment")] * times
    webhook = [lambda: post_message(counter, name)] * times
    calls = browser + webhook if first == "browser" else webhook + browser
    answers = together(lambda call: call(), calls, workers=8 if first == "both at once" else 1)
    assert {answer.status_code for answer in answers} <= {200, 204, 503}  # 503: they met in the middle; come again
    assert counter.post(tap, "/payment").json()["state"] == "captured"
    assert till.state_of(tap) == ["captured"]
    assert till.world.stock() == (99, 0, 1)
    assert [charge["captured_minor"] for charge in till.sandbox.charges_of(tap)] == [990]
    till.assert_in_order()


def test_webhook_before_the_order_exists(till: Till, counter: OriginProcess) -> None:
    """Failure table: webhook before the order exists."""
    tap = Tap()
    assert [post_message(counter, f"{tap.claim.jti}.1").status_code for _ in range(2)] == [204, 204]
    assert till.world.execute("SELECT applied_ms FROM payment_messages") == [(None,)]
    assert find(till.world.conninfo, later_ms=3 * 3_600_000) == [(f"{tap.claim.jti}.1", "payment_unknown")]
    assert counter.settle(tap).status_code == 202
    assert counter.post(tap, "/payment").json()["state"] == "begun"
    assert till.world.execute("SELECT count(applied_ms) FROM payment_messages") == [(1,)]
    till.assert_in_order()


def test_messages_late_doubled_and_last_one_first_come_to_one_settlement(till: Till, counter: OriginProcess) -> None:
    """Failure table: webhook and browser both complete an order."""
    tap = till.begin(counter)
    till.sandbox.fault(keep_messages=True, duplicates=2)
    till.sandbox.pay(tap)
    assert counter.post(tap, "/payment").json()["state"] == "captured"  # which makes another message
    assert till.sandbox.client.post("/sandbox/messages/flush").json() == {"sent": 2}
    until(lambda: till.sandbox.statuses_of(tap) == [204] * 6)
    assert till.state_of(tap) == ["captured"]
    assert till.world.stock() == (99, 0, 1)
    assert till.world.execute("SELECT count(*), count(applied_ms) FROM payment_messages") == [(2, 2)]
    till.assert_in_order()


def test_a_viewer_who_never_comes_back_has_what_they_paid_for(till: Till, counter: OriginProcess) -> None:
    """Failure table: paid, no goods."""
    tap = till.begin(counter)
    till.sandbox.pay(tap)  # the message alone completes it
    until(lambda: till.state_of(tap) == ["captured"])
    assert till.world.stock() == (99, 0, 1)
    till.assert_in_order()


def test_neither_webhook_nor_browser_is_needed_for_goods(till: Till, counter: OriginProcess) -> None:
    """Failure table: paid, no goods."""
    tap = till.begin(counter)
    till.sandbox.fault(silent=True)
    till.sandbox.pay(tap)
    till.until_states(tap, "captured")
    till.assert_in_order()


def test_a_late_payment_is_honoured_while_units_are_left(till: Till, counter: OriginProcess) -> None:
    """Failure table: payment arrives after the hold lapsed (policy: honour)."""
    tap = till.begin(counter)
    till.lapse()
    till.sandbox.pay(tap)
    till.until_states(tap, "captured")
    assert till.world.stock() == (99, 0, 1)
    till.assert_in_order()


def test_a_late_payment_goes_back_when_the_units_are_gone(till: Till, counter: OriginProcess) -> None:
    """Failure table: payment arrives after the hold lapsed (policy: honour)."""
    tap = till.begin(counter)
    till.lapse()
    till.world.execute("UPDATE drops SET free = 0, total = held, stock_version = stock_version + 1")
    others = Tap()
    assert counter.settle(others).status_code == 202  # takes the lapsed unit
    till.sandbox.pay(tap)
    till.until_states(tap, "refunded")
    assert counter.read(tap).json()["code"] == "sold_out"
    assert till.world.stock() == (0, 1, 0)
    (charge,) = till.sandbox.charges_of(tap)
    assert (charge["captured_minor"], charge["refunded_minor"]) == (990, 990)
    assert counter.post(tap, "/payment").json()["refunded_minor"] == 990
    assert find(till.world.conninfo) == []


@pytest.mark.parametrize("paid", [True, False], ids=["authorised before", "authorised never"])
def test_a_late_payment_is_let_go_where_the_drop_says_so(till: Till, counter: OriginProcess, *, paid: bool) -> None:
    """Failure table: payment arrives after the hold lapsed (policy: refund)."""
    till.world.execute("UPDATE drops SET late_payment = 'refund'")
    tap = till.begin(counter)
    till.lapse()
    till.sandbox.fault(silent=True)
    if paid:
        till.sandbox.pay(tap)
    till.until_states(tap, "voided")
    (charge,) = till.sandbox.charges_of(tap)
    assert (charge["state"], charge["captured_minor"]) == ("voided", 0)
    until(lambda: till.world.stock() == (100, 0, 0))
    till.assert_in_order()


def test_money_that_was_taken_before_the_hold_lapsed_goes_back_where_the_drop_says_so(
    till: Till, counter: OriginProcess
) -> None:
    """Failure table: payment arrives after the hold lapsed (policy: refund); the capture came first, goods too late."""
    till.world.execute("UPDATE drops SET late_payment = 'refund'")
    tap = till.begin(counter)
    till.sandbox.fault(silent=True, hang="capture", acted=True)
    till.sandbox.pay(tap)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(counter.post, tap, "/payment")
        until(till.sandbox.stands_still)
        till.lapse()
        till.sandbox.fault(silent=True)
        assert asked.result().json()["state"] in ("refunded", "refund_due")
    till.until_states(tap, "refunded")
    assert counter.read(tap).json()["code"] == "hold_lapsed"
    assert till.sandbox.charges_of(tap)[0]["refunded_minor"] == 990
    till.assert_in_order()


@pytest.mark.parametrize(
    ("hang", "acted"),
    [
        pytest.param("create", False, id="before the provider is asked"),
        pytest.param("create", True, id="after it was asked"),
        pytest.param("capture", False, id="before the capture"),
        pytest.param("capture", True, id="after the capture"),
    ],
)
def test_killed_at_any_call_to_the_provider_it_ends_in_goods(till: Till, hang: str, *, acted: bool) -> None:
    """Failure table: paid, no goods. A retry counted zero times, or twice."""
    dying, tap = till.world.start(), Tap()
    assert dying.settle(tap).status_code == 202
    if hang == "capture":
        dying.post(tap, "/payment")
        till.sandbox.fault(silent=True, hang=hang, acted=acted)
        till.sandbox.pay(tap)
    else:
        till.sandbox.fault(silent=True, hang=hang, acted=acted)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(dying.post, tap, "/payment")
        until(till.sandbox.stands_still)
        dying.kill()
        assert isinstance(asked.exception(), httpx.TransportError)
    till.sandbox.fault(silent=True)
    assert find(till.world.conninfo) == []
    after = till.world.start()
    if hang == "create":
        assert after.post(tap, "/payment").json()["state"] == "begun"
        till.sandbox.pay(tap)
    till.until_states(tap, "captured")
    assert [charge["captured_minor"] for charge in till.sandbox.charges_of(tap)] == [990]
    assert till.world.stock() == (99, 0, 1)
    assert after.read(tap).json()["run_numbers"] == [1]
    till.assert_in_order()


@pytest.mark.parametrize("acted", [False, True], ids=["before the refund", "after the refund"])
def test_killed_at_a_refund_it_gives_the_money_back_once(till: Till, *, acted: bool) -> None:
    """Failure table: paid, no goods."""
    dying = till.world.start()
    tap = till.begin(dying)
    till.sandbox.fault(silent=True, hang="refund", acted=acted)
    till.sandbox.pay(tap)
    till.lapse()
    till.world.execute("UPDATE drops SET run = 'run-2'")  # nothing is left of the run that was paid for
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(dying.post, tap, "/payment")
        until(till.sandbox.stands_still)
        dying.kill()
        assert isinstance(asked.exception(), httpx.TransportError)
    till.sandbox.fault(silent=True)
    assert till.state_of(tap) == ["refund_due"]
    assert find(till.world.conninfo) == []
    assert find(till.world.conninfo, later_ms=3 * 3_600_000) == [(f"{tap.claim.jti}.1", "refund_late")]
    till.world.start()
    till.until_states(tap, "refunded")
    assert till.sandbox.charges_of(tap)[0]["refunded_minor"] == 990
    till.assert_in_order()


def test_killed_between_the_money_and_the_goods_it_gives_the_goods(till: Till) -> None:
    """Failure table: paid, no goods. A retry counted zero times: the settlement waits for the drop, and is killed."""
    dying = till.world.start()
    tap = till.begin(dying)
    till.sandbox.fault(silent=True)
    till.sandbox.pay(tap)
    with till.world.hold(), ThreadPoolExecutor(1) as pool:
        asked = pool.submit(dying.post, tap, "/payment")
        until(lambda: bool(till.world.waiting_backends()))
        dying.kill()
        assert isinstance(asked.exception(), httpx.TransportError)
    until(lambda: not till.world.waiting_backends())
    assert (till.state_of(tap), till.world.count()) == (["begun"], 0)
    after = till.world.start()
    till.until_states(tap, "captured")
    assert after.read(tap).status_code == 200
    assert till.world.stock() == (99, 0, 1)
    till.assert_in_order()


@pytest.mark.parametrize("fault", ["fail_before", "fail_after"])
def test_a_provider_that_fails_is_asked_again_under_the_same_key(
    till: Till, counter: OriginProcess, fault: str
) -> None:
    """Failure table: a retry counted twice."""
    tap = till.begin(counter)
    till.sandbox.fault(silent=True)
    till.sandbox.pay(tap)
    till.sandbox.fault(silent=True, **{fault: 3})
    answer = counter.post(tap, "/payment")
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    till.until_states(tap, "captured")
    assert [charge["captured_minor"] for charge in till.sandbox.charges_of(tap)] == [990]
    till.assert_in_order()


def test_a_declined_card_may_be_followed_by_a_good_one(till: Till, counter: OriginProcess) -> None:
    tap = till.begin(counter)
    till.sandbox.pay(tap, "declined")
    until(lambda: till.state_of(tap) == ["failed"])
    assert till.world.stock() == (99, 1, 0)
    assert counter.post(tap, "/payment").json()["payment"].endswith(".2")
    till.sandbox.pay(tap)
    until(lambda: till.state_of(tap) == ["failed", "captured"])
    till.assert_in_order()


def test_of_many_viewers_who_pay_for_the_last_units_each_has_goods_or_money(till: Till, counter: OriginProcess) -> None:
    """Failure table: paid, no goods; last unit sold twice."""
    taps = [till.begin(counter) for _ in range(8)]
    till.lapse()
    until(lambda: till.world.stock() == (100, 0, 0))
    till.world.execute("UPDATE drops SET total = 3, free = 3")
    together(till.sandbox.pay, taps, workers=4)
    till.pass_time()
    until(lambda: not till.world.execute("SELECT 1 FROM payments WHERE state IN ('begun', 'refund_due')"))
    assert find(till.world.conninfo) == []
    assert till.world.stock() == (0, 0, 3)
    assert sorted(state for tap in taps for state in till.state_of(tap)) == ["captured"] * 3 + ["refunded"] * 5


def test_a_message_whose_effect_was_killed_still_settles_when_it_comes_again(till: Till) -> None:
    """Failure table: a retry counted zero times (dedup key stored before the effect)."""
    dying = till.world.start()
    tap = till.begin(dying)
    till.sandbox.fault(silent=True)
    till.sandbox.pay(tap)
    name = f"{tap.claim.jti}.1"
    till.sandbox.fault(silent=True, hang="capture")
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(post_message, dying, name)
        until(till.sandbox.stands_still)
        dying.kill()
        assert isinstance(asked.exception(), httpx.TransportError)
    till.sandbox.fault(silent=True)
    waiting = "SELECT count(*) FROM payment_messages WHERE applied_ms IS NULL"
    assert (till.state_of(tap), till.world.execute(waiting)) == (["begun"], [(1,)])
    after = till.world.start()
    assert [post_message(after, name).status_code for _ in range(3)] == [204] * 3
    assert till.state_of(tap) == ["captured"]
    assert till.world.execute(waiting) == [(0,)]
    assert till.world.stock() == (99, 0, 1)
    till.assert_in_order()


@pytest.mark.parametrize("stands", ["claimed", "held", "lapsed", "released", "settled", "paid", "refused", "returned"])
def test_a_cancel_in_each_state_restores_exactly_what_was_taken(
    till: Till, counter: OriginProcess, operator: dict[str, str], stands: str
) -> None:
    """Failure table: cancel frees nothing."""
    till.sandbox.fault(silent=True)
    others = [sell_free(counter) for _ in range(2)]
    tap = bring(till, counter, stands, operator)
    counter.post(tap, "/release")
    for way in ("cancel", "refund", "cancel", "refund"):
        take_back(counter, tap, way, operator)
    assert till.world.stock() == (98, 0, 2)  # what the others have, and nothing else
    assert [counter.read(other).status_code for other in others] == [200, 200]
    assert find(till.world.conninfo) == []


def test_of_two_processes_under_payments_one_is_killed_and_each_viewer_has_goods_or_money(till: Till) -> None:
    """Failure table: paid, no goods. Kill -9 at whatever point each of many payments has reached."""
    dying, living = till.world.start(), till.world.start()
    till.sandbox.tell(living)
    taps = [till.begin(living) for _ in range(24)]
    till.sandbox.fault(answer_ms=20, duplicates=1)

    def pay(place: int) -> None:
        till.sandbox.pay(taps[place])
        if place == 10:
            dying.kill()
        try:
            dying.post(taps[place], "/payment")
        except httpx.TransportError:
            return

    together(pay, range(len(taps)), workers=6)
    till.sandbox.fault()
    for tap in taps:
        till.until_states(tap, "captured")
    assert till.world.stock() == (76, 0, 24)
    assert till.world.numbers() == list(range(1, 25))
    taken = [charge["captured_minor"] for tap in taps for charge in till.sandbox.charges_of(tap)]
    assert taken == [990] * 24
    till.assert_in_order()
