"""Messages to partners: what they say, when they are tried again, and where they may be sent."""

import json

import msgspec
import pytest

from shared.claims.receipts import Pickup, encode_receipt, write_receipt
from shared.claims.returns import Returned
from shared.claims.tokens import Claim
from shared.fulfilment.handoffs import (
    FIRST_PAUSE_MS,
    GIVE_UP_MS,
    SLOWEST_MS,
    Next,
    ProgressReport,
    decide_delivery,
    is_news,
    is_partner_address,
    name_message,
    progress_of,
    write_message,
)
from tests.samples import NOW_MS, claim_document

CLAIM = msgspec.convert(claim_document(), Claim)


def test_a_sale_is_told_with_all_that_is_sent_and_nothing_of_the_viewer() -> None:
    pickup = Pickup(place="kiln", from_ms=1, until_ms=2)
    receipt = write_receipt(CLAIM, "https://origin.example", 7, NOW_MS, "card", place=(3, "x"), pickup=pickup)
    told = json.loads(write_message("settled", encode_receipt(receipt), NOW_MS))
    assert (told["type"], told["at_ms"]) == ("claim.settled", NOW_MS)
    assert told["data"] == {
        "claim_id": CLAIM.jti, "drop": CLAIM.drop, "run": CLAIM.run,
        "run_numbers": list(range(7, 7 + CLAIM.quantity)), "offer": CLAIM.offer,
        "lines": list(msgspec.to_builtins(CLAIM.lines)), "payment": "card", "total_minor": CLAIM.total_minor,
        "currency": CLAIM.currency, "pickup": {"place": "kiln", "from_ms": 1, "until_ms": 2},
    }  # fmt: skip
    assert CLAIM.cnf.jkt not in json.dumps(told)


@pytest.mark.parametrize("state", ["cancelled", "refunded"])
def test_a_return_is_told_with_what_comes_back(state: str) -> None:
    document = {
        "claim_id": CLAIM.jti, "state": state, "drop": "drop-1", "units": 2, "restocked": False, "refund_minor": 5,
        "currency": "EUR", "returned_ms": NOW_MS, "position": 9, "by": "operator", "reason": "private",
    }  # fmt: skip
    raw = msgspec.json.encode(msgspec.convert(document, Returned))
    told = json.loads(write_message("returned", raw, NOW_MS))
    assert told["type"] == f"claim.{state}"
    assert told["data"] == {"claim_id": CLAIM.jti, "drop": "drop-1", "units": 2, "restocked": False}


def test_a_message_has_one_id_however_often_it_is_sent() -> None:
    assert name_message(CLAIM.jti, "settled") == f"{CLAIM.jti}-settled"
    assert name_message(CLAIM.jti, "returned") == f"{CLAIM.jti}-returned"


@pytest.mark.parametrize(
    ("status", "since_ms", "standing"),
    [
        pytest.param(200, NOW_MS, "delivered", id="taken"),
        pytest.param(204, 0, "delivered", id="taken at last"),
        pytest.param(302, NOW_MS, "waiting", id="elsewhere"),
        pytest.param(400, NOW_MS, "waiting", id="not understood"),
        pytest.param(410, NOW_MS, "dead", id="gone"),
        pytest.param(503, NOW_MS, "waiting", id="away"),
        pytest.param(None, NOW_MS, "waiting", id="no answer"),
        pytest.param(500, NOW_MS - GIVE_UP_MS, "dead", id="broken for too long"),
        pytest.param(None, NOW_MS - GIVE_UP_MS + 1, "waiting", id="away, and just in time"),
    ],
)
def test_only_an_answer_of_2xx_takes_a_message_and_time_ends_it(
    status: int | None, since_ms: int, standing: str
) -> None:
    outcome = decide_delivery(status, tries=1, since_ms=since_ms, now_ms=NOW_MS, chance=0.5)
    assert (outcome.standing, outcome.next_try_ms is None) == (standing, standing != "waiting")


@pytest.mark.parametrize(
    ("tries", "chance", "retry_after_s", "pause_ms"),
    [
        pytest.param(1, 0.0, 0, FIRST_PAUSE_MS // 2, id="the first, soonest"),
        pytest.param(1, 1.0, 0, FIRST_PAUSE_MS, id="the first, latest"),
        pytest.param(3, 1.0, 0, 4 * FIRST_PAUSE_MS, id="the third"),
        pytest.param(2, 0.0, 60, 60_000, id="no sooner than asked"),
        pytest.param(99, 1.0, 0, SLOWEST_MS, id="no later than the slowest"),
        pytest.param(1, 1.0, 10**9, SLOWEST_MS, id="asked for far too long"),
    ],
)
def test_it_is_tried_again_later_and_later(tries: int, chance: float, retry_after_s: int, pause_ms: int) -> None:
    outcome = decide_delivery(
        503, tries=tries, since_ms=NOW_MS, now_ms=NOW_MS, chance=chance, retry_after_s=retry_after_s
    )
    assert outcome == Next(standing="waiting", next_try_ms=NOW_MS + pause_ms)


@pytest.mark.parametrize(
    ("url", "loopback", "good"),
    [
        pytest.param("https://partner.example/hooks?from=us", False, True, id="https"),
        pytest.param("https://partner.example:8443", False, True, id="a port"),
        pytest.param("http://partner.example/hooks", True, False, id="plain http"),
        pytest.param("http://127.0.0.1:9000/hooks", False, False, id="this machine, not allowed"),
        pytest.param("http://127.0.0.1:9000/hooks", True, True, id="this machine, allowed"),
        pytest.param("http://[::1]:9000", True, True, id="this machine, version 6"),
        pytest.param("http://127.0.0.1.evil.example/", True, False, id="only looks like this machine"),
        pytest.param("http://localhost@evil.example/", True, False, id="this machine as a user"),
        pytest.param("https://user:secret@partner.example/", False, False, id="a user"),
        pytest.param("https://partner.example/#part", False, False, id="a fragment"),
        pytest.param("https://partner.example/a b", False, False, id="a blank"),
        pytest.param("https://partner.example/\r\nHost: evil", False, False, id="a line break"),
        pytest.param("file:///etc/passwd", True, False, id="a file"),
        pytest.param("", True, False, id="nothing"),
    ],
)
def test_messages_go_to_https_and_nowhere_else(url: str, *, loopback: bool, good: bool) -> None:
    assert is_partner_address(url, loopback=loopback) is good


@pytest.mark.parametrize(
    ("before_ms", "news"), [(None, True), (NOW_MS - 1, True), (NOW_MS, False), (NOW_MS + 1, False)]
)
def test_the_latest_report_counts_in_whatever_order_they_come(before_ms: int | None, *, news: bool) -> None:
    report = ProgressReport(type="claim.handed_over", claim_id=CLAIM.jti, at_ms=NOW_MS)
    assert is_news(before_ms, report) is news
    assert progress_of(report) == "handed_over"
