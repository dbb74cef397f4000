"""Cancels and refunds on a real server: units and money come back once, also when the process is killed in between."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psycopg
import pytest

from origin.trail.auditing import audit_drop
from tests.postgres.till import Till, free_tap, post_message, sell, sell_free, take_back
from tests.postgres.world import OriginProcess, Viewer, together, until


def audit_faults(till: Till) -> Any:
    async def look() -> Any:
        async with await psycopg.AsyncConnection.connect(till.world.conninfo) as connection:
            found = await audit_drop(connection, "drop-1", lambda *_: True)
            assert found is not None
            return [(fault.code, fault.detail) for fault in found.faults]

    return asyncio.run(look())


def test_a_cancelled_claim_gives_its_unit_back_once(
    till: Till, counter: OriginProcess, operator: dict[str, str]
) -> None:
    """Failure table: cancel frees nothing."""
    tap = sell_free(counter)
    assert till.world.stock() == (99, 0, 1)
    answer = take_back(counter, tap, "cancel", operator, key="k" * 22, reason="the oven broke")
    assert (answer.status_code, answer.json()["state"], answer.json()["units"]) == (200, "cancelled", 1)
    assert take_back(counter, tap, "cancel", operator, key="k" * 22, reason="the oven broke").content == answer.content
    for way in ("cancel", "refund"):
        assert take_back(counter, tap, way, operator).json()["code"] == "already_returned"
    assert (
        take_back(counter, tap, "cancel", operator, key="k" * 22, reason="another").json()["code"] == "already_returned"
    )
    assert till.world.stock() == (100, 0, 0)


def test_what_comes_back_broken_leaves_the_run_and_once_it_is_mended_is_sold_again(
    till: Till, counter: OriginProcess, operator: dict[str, str]
) -> None:
    told = take_back(counter, sell_free(counter), "cancel", operator, restock=False).json()
    assert (told["units"], told["restocked"]) == (1, False)
    assert till.world.stock() == (99, 0, 0)
    assert audit_faults(till) == []
    till.world.execute("UPDATE drops SET total = total + 1, free = free + 1 WHERE drop = 'drop-1'")  # as a PUT does
    sell_free(counter)
    assert (till.world.stock(), till.world.numbers()) == ((99, 0, 1), [2])


def test_who_asks_again_is_told_that_the_receipt_does_not_count(
    till: Till, counter: OriginProcess, operator: dict[str, str]
) -> None:
    tap = sell_free(counter)
    take_back(counter, tap, "cancel", operator)
    for answer in (counter.read(tap), counter.settle(tap)):
        assert (answer.status_code, answer.json()["code"]) == (410, "claim_cancelled")
        assert "receipt" not in answer.json()
    assert counter.read(tap, "/standing").json()["state"] == "cancelled"
    assert till.world.stock() == (100, 0, 0)  # asking settles nothing


def test_a_refund_sends_the_money_and_the_unit_back_once(
    till: Till, counter: OriginProcess, operator: dict[str, str]
) -> None:
    """Failure table: cancel frees nothing."""
    tap = sell(till, counter)
    assert take_back(counter, tap, "cancel", operator).json()["code"] == "refund_needed"
    answers = together(lambda _: take_back(counter, tap, "refund", operator), range(8))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 7
    assert till.world.stock() == (100, 0, 0)
    till.until_states(tap, "refunded")
    assert till.sandbox.charges_of(tap)[0]["refunded_minor"] == 990
    assert counter.read(tap).json()["code"] == "claim_refunded"
    assert counter.read(tap, "/standing").json()["state"] == "refunded"
    assert counter.post(tap, "/payment").json()["refunded_minor"] == 990
    till.assert_in_order()


@pytest.mark.parametrize(
    ("order", "code"),
    [
        pytest.param({"amount_minor": 991}, "refund_too_large", id="more than was paid"),
        pytest.param({"amount_minor": 10**12}, "refund_too_large", id="as much as there may be"),
        pytest.param({"amount_minor": 10**30}, "invalid_field", id="more than any number"),
        pytest.param({"amount_minor": -1}, "invalid_field", id="less than nothing"),
        pytest.param({"amount_minor": 0}, "nothing_to_refund", id="of nothing"),
        pytest.param({"currency": "USD"}, "currency_differs", id="another currency"),
        pytest.param({"to": "me"}, "unknown_field", id="unknown field"),
        pytest.param({"key": "short"}, "invalid_field", id="no key"),
    ],
)
def test_a_wrong_refund_is_refused_and_changes_nothing(
    till: Till, counter: OriginProcess, operator: dict[str, str], order: dict[str, Any], code: str
) -> None:
    tap = sell(till, counter)
    assert take_back(counter, tap, "refund", operator, **order).json()["code"] == code
    assert (till.state_of(tap), till.world.stock()) == (["captured"], (99, 0, 1))
    assert counter.read(tap).status_code == 200
    till.assert_in_order()


def test_what_is_not_there_not_settled_or_not_paid_is_not_refunded(
    till: Till, counter: OriginProcess, operator: dict[str, str]
) -> None:
    free, held = sell_free(counter), till.begin(counter)
    assert take_back(counter, free, "refund", operator).json()["code"] == "nothing_paid"
    assert take_back(counter, held, "refund", operator).json()["code"] == "settlement_unknown"
    till.world.execute("UPDATE drops SET total = 2, free = 0")
    refused = free_tap()
    assert counter.settle(refused).json()["code"] == "sold_out"
    assert take_back(counter, refused, "cancel", operator).json()["code"] == "not_settled"
    assert take_back(counter, free, "cancel", {}).json()["code"] == "key_missing"


def test_a_part_of_the_money_may_be_kept(till: Till, counter: OriginProcess, operator: dict[str, str]) -> None:
    tap = sell(till, counter)
    assert take_back(counter, tap, "refund", operator, amount_minor=400).json()["refund_minor"] == 400
    till.until_states(tap, "refunded")
    assert till.sandbox.charges_of(tap)[0]["refunded_minor"] == 400
    sales = "SELECT account, balance_minor FROM ledger_accounts WHERE balance_minor <> 0 ORDER BY account"
    assert till.world.execute(sales) == [("provider:sandbox", -590), ("sales:creator-1", 590)]
    till.assert_in_order()


def test_a_returned_unit_is_sold_again_under_a_new_number(
    till: Till, counter: OriginProcess, operator: dict[str, str]
) -> None:
    till.world.execute("UPDATE drops SET total = 1, free = 1")
    viewer = Viewer()
    tap = free_tap(viewer=viewer)
    assert counter.settle(tap).json()["run_numbers"] == [1]
    take_back(counter, tap, "cancel", operator)
    again = free_tap(viewer=viewer)  # the cap counts what one has
    assert counter.settle(again).json()["run_numbers"] == [2]
    assert till.world.stock() == (0, 0, 1)


def test_the_trail_says_that_it_was_returned_and_the_audit_finds_a_changed_return(
    till: Till, counter: OriginProcess, operator: dict[str, str]
) -> None:
    kept, tap = sell_free(counter), sell(till, counter)
    position = take_back(counter, tap, "refund", operator).json()["position"]
    entries = "SELECT position, kind, claim_id, units, settled FROM trail_entries ORDER BY position"
    assert till.world.execute(entries) == [
        (1, "settled", kept.claim.jti, 1, 1),
        (2, "settled", tap.claim.jti, 1, 2),
        (position, "returned", tap.claim.jti, -1, 1),
    ]
    assert audit_faults(till) == []
    till.world.execute("UPDATE returns SET document = replace(convert_from(document, 'UTF8'), '990', '1')::bytea")
    assert audit_faults(till) == [("settlement_changed", "its return")]
    till.world.patiently("TRUNCATE returns")
    assert audit_faults(till) == [("settlement_removed", "its return")]


@pytest.mark.parametrize(
    ("statement", "faults"),
    [
        pytest.param("UPDATE returns SET key = 'another'", ["its return"], id="the key of the return"),
        pytest.param("UPDATE returns SET request = 'another'", ["its return"], id="what was asked"),
        pytest.param("UPDATE returns SET returned_ms = 1", ["its return"], id="when it was returned"),
        pytest.param(
            "UPDATE settlements SET status = 'settled' WHERE status = 'refunded'", ["status"], id="made settled"
        ),
        pytest.param(
            "UPDATE settlements SET status = 'cancelled' WHERE status = 'refunded'", ["status"], id="made cancelled"
        ),
        pytest.param(
            "UPDATE settlements SET status = 'refunded' WHERE status = 'settled'", ["status"], id="made refunded"
        ),
        pytest.param(
            "INSERT INTO returns SELECT claim_id, 'key', 'request', NULL, '{}', 1 FROM settlements "
            "WHERE status = 'settled'",
            ["a return that is not in the trail"],
            id="a return made up",
        ),
    ],
)
def test_a_claim_that_is_made_returned_or_not_returned_in_the_rows_is_named(
    till: Till, counter: OriginProcess, operator: dict[str, str], statement: str, faults: list[str]
) -> None:
    sell_free(counter)
    take_back(counter, sell(till, counter), "refund", operator)
    assert audit_faults(till) == []
    till.world.execute(statement)
    assert [detail for _, detail in audit_faults(till)] == faults


def test_killed_after_the_refund_is_noted_the_money_still_goes_back(till: Till, operator: dict[str, str]) -> None:
    """Failure table: paid, no goods (nor refund)."""
    dying = till.world.start()
    tap = sell(till, dying)
    till.sandbox.fault(silent=True, hang="refund")
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(take_back, dying, tap, "refund", operator, "k" * 22)
        until(till.sandbox.stands_still)
        dying.kill()
        assert isinstance(asked.exception(), httpx.TransportError)
    till.sandbox.fault(silent=True)
    after = till.world.start()
    assert take_back(after, tap, "refund", operator, "k" * 22).json()["state"] == "refunded"
    till.until_states(tap, "refunded")
    assert till.sandbox.charges_of(tap)[0]["refunded_minor"] == 990
    assert till.world.stock() == (100, 0, 0)
    till.assert_in_order()


def test_a_payment_that_comes_after_its_claim_was_returned_goes_back(
    till: Till, counter: OriginProcess, operator: dict[str, str]
) -> None:
    """Failure table: paid, no goods."""
    tap = sell(till, counter)
    second = f"{tap.claim.jti}.2"
    headers = {"Authorization": "Bearer sandbox-key", "Idempotency-Key": second}
    wish = {"payment": second, "amount_minor": 990, "currency": "EUR"}
    reference = till.sandbox.client.post("/charges", json=wish, headers=headers).json()["reference"]
    till.world.execute(
        "INSERT INTO payments (payment, claim_id, provider, reference, amount_minor, currency, state, created_ms, "
        "changed_ms, next_look_ms) VALUES (%s, %s, 'sandbox', %s, 990, 'EUR', 'begun', 0, 0, 9999999999999)",
        second, tap.claim.jti, reference,
    )  # fmt: skip
    till.sandbox.pay(tap)
    till.sandbox.client.post(f"/charges/{reference}/capture", headers={**headers, "Idempotency-Key": "theirs"})
    assert take_back(counter, tap, "refund", operator).status_code == 200
    till.until_states(tap, "refunded", "refunded")
    assert till.world.stock() == (100, 0, 0)
    till.assert_in_order()


def test_money_that_the_provider_gives_back_by_itself_brings_the_goods_back(till: Till, counter: OriginProcess) -> None:
    tap = sell(till, counter)
    reference = till.sandbox.charges_of(tap)[0]["reference"]
    headers = {"Authorization": "Bearer sandbox-key", "Idempotency-Key": f"dashboard-{reference}"}
    till.sandbox.client.post(f"/charges/{reference}/refund", json={"amount_minor": 990}, headers=headers)
    assert post_message(counter, f"{tap.claim.jti}.1").status_code == 204
    till.until_states(tap, "refunded")
    assert till.world.stock() == (100, 0, 0)
    assert counter.read(tap).json()["code"] == "claim_refunded"
    till.assert_in_order()
