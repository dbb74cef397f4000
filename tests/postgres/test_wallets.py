"""Credit on a real server: given once, spent once, never overdrawn, and every account together is zero, always."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psycopg
import pytest

from tests.postgres.till import Till, find
from tests.postgres.world import OriginProcess, Tap, Viewer, together, until

ACCOUNTS = "SELECT account, balance_minor FROM ledger_accounts WHERE balance_minor <> 0 ORDER BY account"
GIFT = "gift-key-0000000000000000"


@pytest.fixture
def shop(till: Till) -> Till:
    """A till whose offer is paid from the wallet."""
    till.world.execute("UPDATE offers SET payment = 'wallet'")
    return till


def give(origin: OriginProcess, viewer: Viewer, operator: dict[str, str], **changes: Any) -> httpx.Response:
    order = {"key": GIFT, "amount_minor": 2000, "currency": "EUR", **changes}
    return origin.client.post(f"/v1/wallets/{viewer.thumbprint}/credits", json=order, headers=operator)


def balance(origin: OriginProcess, tap: Tap) -> int:
    balances = origin.read(tap, "/wallet").json()["balances"]
    return sum(each["amount_minor"] for each in balances if each["currency"] == "EUR")


def test_a_claim_is_paid_with_credit_at_once(shop: Till, counter: OriginProcess, operator: dict[str, str]) -> None:
    tap = Tap()
    assert give(counter, tap.viewer, operator).json()["balances"] == [{"currency": "EUR", "amount_minor": 2000}]
    assert counter.settle(tap).status_code == 202
    assert [counter.post(tap, "/payment").json()["state"] for _ in range(3)] == ["captured"] * 3
    assert counter.read(tap).json()["payment"] == "wallet"
    assert balance(counter, tap) == 1010
    assert shop.world.execute(ACCOUNTS) == [
        ("credit_given", -2000), ("sales:creator-1", 990), (f"wallet:{tap.viewer.thumbprint}", 1010),
    ]  # fmt: skip
    shop.assert_in_order()


def test_the_same_gift_many_times_at_once_is_given_once_and_each_is_told_so(
    shop: Till, counter: OriginProcess, operator: dict[str, str]
) -> None:
    viewer = Viewer()
    with psycopg.connect(shop.world.conninfo) as other, ThreadPoolExecutor(4) as pool:
        other.execute("LOCK TABLE wallets IN EXCLUSIVE MODE")  # all of them have seen that there is no such gift
        asked = [pool.submit(give, counter, viewer, operator) for _ in range(4)]
        until(lambda: len(shop.world.waiting_backends()) == len(asked))
        other.rollback()
        answers = [each.result() for each in asked]
    assert {(answer.status_code, answer.content) for answer in answers} == {(200, answers[0].content)}
    assert answers[0].json()["balances"] == [{"currency": "EUR", "amount_minor": 2000}]
    shop.assert_in_order()


def test_too_little_credit_leaves_the_units_held_and_no_trace(
    shop: Till, counter: OriginProcess, operator: dict[str, str]
) -> None:
    tap = Tap()
    give(counter, tap.viewer, operator, amount_minor=989)
    give(counter, tap.viewer, operator, amount_minor=99_999, currency="USD", key=GIFT + "1")  # other money is no help
    assert counter.settle(tap).status_code == 202
    answer = counter.post(tap, "/payment")
    assert (answer.status_code, answer.json()["code"]) == (402, "credit_too_low")
    assert (shop.state_of(tap), shop.world.stock(), balance(counter, tap)) == ([], (99, 1, 0), 989)
    give(counter, tap.viewer, operator, amount_minor=1, key=GIFT + "2")
    assert counter.post(tap, "/payment").json()["state"] == "captured"
    assert balance(counter, tap) == 0
    shop.assert_in_order()


def test_of_many_taps_at_once_only_those_that_the_credit_covers_are_paid(
    shop: Till, counter: OriginProcess, operator: dict[str, str]
) -> None:
    shop.world.execute("UPDATE drops SET per_viewer_cap = 10")
    viewer = Viewer()
    give(counter, viewer, operator)
    taps = [Tap(viewer) for _ in range(6)]
    assert [counter.settle(tap).status_code for tap in taps] == [202] * 6
    answers = together(lambda tap: counter.post(tap, "/payment"), taps, workers=6)
    assert sorted(answer.status_code for answer in answers) == [200] * 2 + [402] * 4
    assert balance(counter, taps[0]) == 20
    assert shop.world.stock() == (94, 4, 2)
    shop.assert_in_order()


def test_one_claim_is_paid_once_however_often_it_is_asked_at_once(
    shop: Till, counter: OriginProcess, operator: dict[str, str]
) -> None:
    """Failure table: a retry counted twice."""
    tap = Tap()
    give(counter, tap.viewer, operator)
    counter.settle(tap)
    answers = together(lambda _: counter.post(tap, "/payment"), range(8), workers=8)
    assert {answer.status_code for answer in answers} <= {200, 503}
    assert balance(counter, tap) == 1010
    shop.assert_in_order()


def test_a_refund_is_credit_again(shop: Till, counter: OriginProcess, operator: dict[str, str]) -> None:
    tap = Tap()
    give(counter, tap.viewer, operator)
    counter.settle(tap)
    counter.post(tap, "/payment")
    refund = {"key": "k" * 22}
    answer = counter.client.post(f"/v1/settlements/{tap.claim.jti}/refund", json=refund, headers=operator)
    assert (answer.status_code, answer.json()["refund_minor"]) == (200, 990)
    assert (balance(counter, tap), shop.state_of(tap), shop.world.stock()) == (2000, ["refunded"], (100, 0, 0))
    assert counter.post(tap, "/payment").json()["state"] == "refunded"
    shop.assert_in_order()


def test_credit_is_given_once_for_each_key(shop: Till, counter: OriginProcess, operator: dict[str, str]) -> None:
    viewer = Viewer()
    answers = together(lambda _: give(counter, viewer, operator), range(6), workers=6)
    assert {answer.status_code for answer in answers} <= {200, 503}
    assert give(counter, viewer, operator).json()["balances"] == [{"currency": "EUR", "amount_minor": 2000}]
    for changes in ({"amount_minor": 2001}, {"currency": "USD"}):
        assert give(counter, viewer, operator, **changes).json()["code"] == "idempotency_conflict"
    assert give(counter, Viewer(), operator).json()["code"] == "idempotency_conflict"
    shop.assert_in_order()


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"amount_minor": 0}, id="nothing"),
        pytest.param({"amount_minor": -1}, id="less than nothing"),
        pytest.param({"amount_minor": 10**12 + 1}, id="too much"),
        pytest.param({"amount_minor": 10**30}, id="more than any number"),
        pytest.param({"currency": "euro"}, id="no currency"),
        pytest.param({"key": "short"}, id="no key"),
    ],
)
def test_wrong_credit_is_refused(
    shop: Till, counter: OriginProcess, operator: dict[str, str], changes: dict[str, Any]
) -> None:
    assert give(counter, Viewer(), operator, **changes).json()["code"] == "invalid_field"
    assert shop.world.execute("SELECT count(*) FROM ledger_entries") == [(0,)]


def test_a_wallet_does_not_overflow(shop: Till, counter: OriginProcess, operator: dict[str, str]) -> None:
    viewer = Viewer()
    assert give(counter, viewer, operator, amount_minor=10**12).status_code == 200
    assert give(counter, viewer, operator, amount_minor=1, key=GIFT + "1").json()["code"] == "invalid_field"
    assert give(counter, viewer, {}).json()["code"] == "key_missing"
    shop.assert_in_order()
    path = "/v1/wallets/no-thumbprint"
    assert counter.client.get(path, headers=operator).json()["code"] == "invalid_field"


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("INSERT INTO ledger_entries VALUES ('p', 'a', 'EUR', 1, 0)", id="one side only"),
        pytest.param(
            "INSERT INTO ledger_entries VALUES ('p', 'a', 'EUR', 1, 0), ('p', 'b', 'USD', -1, 0)", id="two currencies"
        ),
        pytest.param(
            "INSERT INTO ledger_entries VALUES ('p', 'wallet:v', 'EUR', -1, 0), ('p', 'b', 'EUR', 1, 0)", id="overdrawn"
        ),
        pytest.param("UPDATE ledger_entries SET amount_minor = 5", id="an entry changed"),
        pytest.param("DELETE FROM ledger_entries", id="an entry removed"),
        pytest.param("UPDATE wallets SET balance_minor = 5", id="a wallet changed by itself"),
        pytest.param("INSERT INTO wallets VALUES ('v', 'EUR', 5)", id="a wallet from nowhere"),
    ],
)
def test_the_database_itself_keeps_the_ledger_at_zero(
    shop: Till, counter: OriginProcess, operator: dict[str, str], statement: str
) -> None:
    give(counter, Viewer(), operator)
    with pytest.raises(psycopg.errors.CheckViolation):
        shop.world.execute(statement)
    assert shop.world.execute("SELECT sum(amount_minor), count(*) FROM ledger_entries") == [(0, 2)]


def test_the_audit_finds_money_that_the_rows_do_not_account_for(
    shop: Till, counter: OriginProcess, operator: dict[str, str]
) -> None:
    tap = Tap()
    give(counter, tap.viewer, operator)
    counter.settle(tap)
    counter.post(tap, "/payment")
    assert find(shop.world.conninfo) == []
    shop.world.execute("UPDATE payments SET captured_minor = 991")
    assert find(shop.world.conninfo) == [(f"{tap.claim.jti}.1", "ledger_differs")]
    shop.world.execute("UPDATE settlements SET status = 'cancelled'")
    assert (f"{tap.claim.jti}.1", "paid_no_goods") in find(shop.world.conninfo)
    shop.world.execute("UPDATE settlements SET status = 'settled'")
    shop.world.execute("DELETE FROM payments")
    assert find(shop.world.conninfo) == [(tap.claim.jti, "goods_not_paid")]
