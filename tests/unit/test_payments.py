"""What is to be done next with a payment, which answers count, and whose messages do."""

from typing import Any

import pytest
import stripe

from shared.money.payments import Charge, Wanted, decide_step, is_sound
from shared.money.signatures import TOLERANCE_S, check_message, sign_message
from shared.problems import Code
from tests.samples import NOW_S

SECRET = b"whsec_of_nobody"
BODY = b'{"message":"m-1","payment":"p.1"}'


def charge(state: Any = "pending", **changes: Any) -> Charge:
    taken = {"captured_minor": 990} if state == "captured" else {}
    said = {"reference": "ch_1", "payment": "p.1", "amount_minor": 990, "currency": "EUR", **taken, **changes}
    return Charge(state=state, **said)


def wanted(state: Any = "begun", refund_minor: int = 0, **changes: Any) -> Wanted:
    taken = {"captured_minor": 990} if state in ("captured", "refund_due", "refunded") else {}
    back = {"refunded_minor": refund_minor} if state == "refunded" else {}
    said = {"amount_minor": 990, "currency": "EUR", "refund_minor": refund_minor, **taken, **back, **changes}
    return Wanted(payment="p.1", state=state, **said)


@pytest.mark.parametrize(
    ("noted", "said", "takes_money", "step"),
    [
        pytest.param(wanted(), charge(), True, "wait", id="the viewer has not paid"),
        pytest.param(wanted(), charge(), False, "void", id="nobody waits for the money any more"),
        pytest.param(wanted(), charge("authorised"), True, "capture", id="authorised"),
        pytest.param(wanted(), charge("authorised"), False, "void", id="authorised too late"),
        pytest.param(wanted(), charge("authorised", amount_minor=991), True, "void", id="authorised for more"),
        pytest.param(wanted(), charge("authorised", currency="USD"), True, "void", id="in another currency"),
        pytest.param(wanted(), charge("pending", amount_minor=1), True, "void", id="asked for less"),
        pytest.param(wanted(), charge("captured"), True, "settle", id="taken"),
        pytest.param(wanted(), charge("captured"), False, "settle", id="taken late: settlement decides"),
        pytest.param(wanted(), charge("captured", currency="USD"), True, "give_back", id="taken in another currency"),
        pytest.param(wanted(), charge("captured", captured_minor=989), True, "give_back", id="too little taken"),
        pytest.param(wanted(), charge("captured", captured_minor=991), True, "give_back", id="too much taken"),
        pytest.param(wanted(), charge("captured", refunded_minor=990), True, "give_back", id="given back elsewhere"),
        pytest.param(wanted(), charge("voided"), True, "close", id="voided"),
        pytest.param(wanted(), charge("failed"), True, "close", id="failed"),
        pytest.param(wanted("refund_due", 990), charge("captured"), True, "refund", id="to be given back"),
        pytest.param(
            wanted("refund_due", 990), charge("captured", refunded_minor=400), True, "refund", id="partly given back"
        ),
        pytest.param(
            wanted("refund_due", 990), charge("captured", refunded_minor=990), True, "note_refund", id="given back"
        ),
        pytest.param(
            wanted("refund_due", 400), charge("captured", refunded_minor=400), True, "note_refund", id="a part is due"
        ),
        pytest.param(wanted("captured"), charge("captured"), True, "nothing", id="over: goods"),
        pytest.param(
            wanted("captured"), charge("captured", refunded_minor=1), True, "note_refund", id="a part went back"
        ),
        pytest.param(
            wanted("captured", 1, refunded_minor=1),
            charge("captured", refunded_minor=1),
            True,
            "nothing",
            id="a part that is noted",
        ),
        pytest.param(
            wanted("captured", 2, refunded_minor=2),
            charge("captured", refunded_minor=1),
            True,
            "note_difference",
            id="a part came back",
        ),
        pytest.param(
            wanted("captured", 2, refunded_minor=2, told_minor=989),
            charge("captured", refunded_minor=1),
            True,
            "nothing",
            id="a part came back, as is noted",
        ),
        pytest.param(
            wanted("captured", 2, refunded_minor=2, told_minor=989),
            charge("captured", refunded_minor=2),
            True,
            "note_difference",
            id="a part came back, and went again",
        ),
        pytest.param(wanted("captured"), charge("voided"), True, "note_difference", id="taken, and not taken any more"),
        pytest.param(wanted("captured"), charge("captured", refunded_minor=990), True, "take_back", id="all went back"),
        pytest.param(
            wanted("refunded", 990), charge("captured", refunded_minor=990), True, "nothing", id="over: refund"
        ),
        pytest.param(wanted("refunded", 990), charge("captured"), True, "note_difference", id="the refund came back"),
        pytest.param(
            wanted("refunded", 400),
            charge("captured", refunded_minor=990),
            True,
            "note_refund",
            id="the rest went back",
        ),
        pytest.param(wanted("voided"), charge("voided"), True, "nothing", id="over: no money"),
        pytest.param(wanted("voided"), charge("captured"), True, "give_back", id="taken after it was let go"),
        pytest.param(wanted("failed"), charge("captured"), True, "give_back", id="taken after it failed"),
        pytest.param(
            wanted("voided"),
            charge("captured", refunded_minor=990),
            True,
            "nothing",
            id="taken, and given back by itself",
        ),
    ],
)
def test_the_next_step(noted: Wanted, said: Charge, step: str, *, takes_money: bool) -> None:
    assert decide_step(noted, said, takes_money=takes_money) == step


@pytest.mark.parametrize(
    ("said", "sound"),
    [
        pytest.param(charge(), True, id="pending"),
        pytest.param(charge("captured"), True, id="captured"),
        pytest.param(charge("captured", captured_minor=0), False, id="captured, and nothing taken"),
        pytest.param(charge("authorised", captured_minor=990), False, id="taken, and not captured"),
        pytest.param(charge("captured", refunded_minor=991), False, id="more given back than taken"),
        pytest.param(charge(payment="p.2"), False, id="another payment"),
    ],
)
def test_an_answer_that_contradicts_itself_is_no_answer(said: Charge, *, sound: bool) -> None:
    assert is_sound(said, "p.1") is sound


def test_a_message_is_signed_as_stripes_library_signs_it() -> None:
    ours = sign_message(BODY, SECRET, NOW_S)
    assert stripe.WebhookSignature.verify_header(BODY.decode(), ours, SECRET.decode(), None)


@pytest.mark.parametrize(
    ("header", "code"),
    [
        pytest.param(sign_message(BODY, SECRET, NOW_S), None, id="good"),
        pytest.param(sign_message(BODY, SECRET, NOW_S - TOLERANCE_S), None, id="as old as may be"),
        pytest.param(sign_message(BODY, SECRET, NOW_S + TOLERANCE_S), None, id="as early as may be"),
        pytest.param(f"t={NOW_S},v1={'0' * 64},{sign_message(BODY, SECRET, NOW_S)[13:]}", None, id="second of two"),
        pytest.param(sign_message(BODY, SECRET, NOW_S - TOLERANCE_S - 1), Code.MESSAGE_STALE, id="too old"),
        pytest.param(sign_message(BODY, SECRET, NOW_S + TOLERANCE_S + 1), Code.MESSAGE_STALE, id="from the future"),
        pytest.param(sign_message(BODY, b"other", NOW_S), Code.MESSAGE_FORGED, id="another secret"),
        pytest.param(sign_message(BODY + b" ", SECRET, NOW_S), Code.MESSAGE_FORGED, id="another body"),
        pytest.param(
            sign_message(BODY, SECRET, NOW_S).replace(str(NOW_S), str(NOW_S + 1)), Code.MESSAGE_FORGED, id="other time"
        ),
        pytest.param(sign_message(BODY, b"x", 0), Code.MESSAGE_FORGED, id="old and forged is forged"),
        pytest.param(sign_message(BODY, SECRET, NOW_S).replace("v1", "v0"), Code.MESSAGE_FORGED, id="test scheme"),
        pytest.param("", Code.MESSAGE_FORGED, id="none"),
        pytest.param("t=,v1=", Code.MESSAGE_FORGED, id="empty"),
        pytest.param("t=9" * 9_999, Code.MESSAGE_FORGED, id="endless"),
    ],
)
def test_a_message_counts_when_its_signature_and_time_are_good(header: str, code: Code | None) -> None:
    assert check_message(BODY, header, SECRET, NOW_S) is code
