"""Messages of payment providers that are wrong in some way: a clear code, and nothing stored."""

import json
import subprocess
import sys
import time
from typing import Any

import pytest

from shared.money.signatures import TOLERANCE_S, sign_message
from tests.postgres.till import SECRET, Till, post_message
from tests.postgres.world import ROOT, OriginProcess, Tap

PATH = "/v1/payment-messages/sandbox"


def stored(till: Till) -> Any:
    return till.world.execute("SELECT count(*) FROM payment_messages")[0][0]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        pytest.param({"secret": "another"}, "message_forged", id="wrong signature"),
        pytest.param({"late_s": TOLERANCE_S + 60}, "message_stale", id="old timestamp"),
        pytest.param({"late_s": -TOLERANCE_S - 60}, "message_stale", id="from the future"),
    ],
)
def test_a_message_that_is_not_the_providers_is_refused(
    till: Till, counter: OriginProcess, changes: dict[str, Any], code: str
) -> None:
    tap = till.begin(counter)
    answer = post_message(counter, f"{tap.claim.jti}.1", **changes)
    assert (answer.status_code, answer.json()["code"]) == (401, code)
    assert stored(till) == 0


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        pytest.param(b"{", 400, "malformed_json", id="no JSON"),
        pytest.param(b'{"message": 1, "payment": "p"}', 400, "malformed_json", id="wrong type"),
        pytest.param(b'{"message": "\\u0000", "payment": "p"}', 400, "malformed_json", id="what no text column holds"),
        pytest.param(b'{"message": "' + b"m" * 300_000 + b'"}', 413, "body_too_large", id="too large"),
    ],
)
def test_a_signed_message_that_cannot_be_read_is_refused(
    till: Till, counter: OriginProcess, body: bytes, status: int, code: str
) -> None:
    headers = {"Sandbox-Signature": sign_message(body, SECRET.encode(), int(time.time()))}
    answer = counter.client.post(PATH, content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert stored(till) == 0


def test_a_message_without_a_signature_or_to_a_stranger_is_refused(till: Till, counter: OriginProcess) -> None:
    body = json.dumps({"message": "m", "payment": "p"})
    assert counter.client.post(PATH, content=body).json()["code"] == "message_forged"
    answer = counter.client.post(PATH.replace("sandbox", "stripe"), content=body)
    assert (answer.status_code, answer.json()["code"]) == (404, "provider_unknown")
    assert stored(till) == 0


def test_a_message_about_nothing_of_ours_is_taken_and_not_kept(till: Till, counter: OriginProcess) -> None:
    assert post_message(counter, "").status_code == 204
    assert stored(till) == 0


def test_the_same_message_is_kept_once(till: Till, counter: OriginProcess) -> None:
    assert [post_message(counter, "later.1").status_code for _ in range(3)] == [204] * 3
    assert stored(till) == 1


def test_where_nobody_takes_cards_a_card_cannot_be_charged(till: Till) -> None:
    origin, tap = till.world.start(CLIPTILL_CARDS=""), Tap()
    assert origin.post(tap, "/payment").json()["code"] == "not_held"
    assert origin.settle(tap).status_code == 202
    answer = origin.post(tap, "/payment")
    assert (answer.status_code, answer.json()["code"]) == (503, "payment_unavailable")
    assert till.state_of(tap) == []


def test_a_lapsed_and_a_released_hold_begin_no_payment(till: Till, counter: OriginProcess) -> None:
    lapsed, released = Tap(), Tap()
    assert [counter.settle(tap).status_code for tap in (lapsed, released)] == [202, 202]
    counter.post(released, "/release")
    till.lapse()
    answers = [counter.post(tap, "/payment") for tap in (lapsed, released)]
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [
        (410, "hold_lapsed"),
        (410, "hold_released"),
    ]
    assert till.world.execute("SELECT count(*) FROM payments") == [(0,)]


def test_reconciliation_finishes_what_a_killed_origin_left_and_names_what_nobody_knows(till: Till) -> None:
    dying = till.world.start()
    tap = till.begin(dying)
    dying.kill()
    till.world.close_all()
    till.sandbox.fault(silent=True)
    till.sandbox.pay(tap)
    till.pass_time()
    till.world.execute("INSERT INTO payment_messages VALUES ('sandbox', 'msg-1', 'stranger.1', 0, NULL)")
    done = subprocess.run(
        [sys.executable, "-m", "origin.reconcile", "--json"],
        cwd=ROOT, env=till.world.environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    run = json.loads(done.stdout)
    assert (run["payments"], till.state_of(tap)) == (1, ["captured"])
    money = [(found["code"], found["subject"]) for found in run["report"]["findings"] if "payment" in found["code"]]
    assert money == [("payment_unknown", "stranger.1")]
    assert [orphan["subject"] for orphan in run["report"]["orphans"]] == ["stranger.1"]
