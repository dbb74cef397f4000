"""Admission: one tap, decided from terms, snapshot, bucket and clock alone."""

from typing import Any

import pytest

from shared.catalogue.stock import FUTURE_LEEWAY_MS, LATE_MS
from shared.claims.admission import Admitted, Bucket, NotAdmitted, decide_admission
from shared.problems import Code
from tests.samples import HOUR_MS, NOW_MS, make_snapshot, make_terms

OPENS, CLOSES = NOW_MS - HOUR_MS, NOW_MS + HOUR_MS
STALE = {"as_of_ms": NOW_MS - LATE_MS - 1}
FUTURE = {"as_of_ms": NOW_MS + FUTURE_LEEWAY_MS + 1}
CLOSE = {"when_origin_away": "close"}
TWO = {"max_quantity": 2}


def bucket(milli: int, age_ms: int = 0) -> Bucket:
    return Bucket(milli=milli, at_ms=NOW_MS - age_ms)


def decide(
    *,
    terms: dict[str, Any] | None = None,
    snapshot: dict[str, Any] | None = None,
    bucket: Bucket | None = None,
    quantity: int = 1,
    now_ms: int = NOW_MS,
) -> Admitted | NotAdmitted:
    known = None if snapshot is None else make_snapshot(**snapshot)
    return decide_admission(make_terms(**(terms or {})), known, bucket, quantity, now_ms)


def code_of(decision: Admitted | NotAdmitted) -> Code | None:
    return decision.problem.code if isinstance(decision, NotAdmitted) else None


@pytest.mark.parametrize(
    ("now_ms", "code", "retry_after_s"),
    [
        pytest.param(OPENS - 1, Code.DROP_NOT_OPEN, 1, id="a millisecond before"),
        pytest.param(OPENS - 1001, Code.DROP_NOT_OPEN, 2, id="waiting is rounded up"),
        pytest.param(OPENS - HOUR_MS, Code.DROP_NOT_OPEN, 60, id="never told to wait longer than a minute"),
        pytest.param(OPENS, None, None, id="the opening instant"),
        pytest.param(CLOSES - 1, None, None, id="the last millisecond"),
        pytest.param(CLOSES, Code.DROP_CLOSED, None, id="the closing instant"),
    ],
)
def test_the_window_has_its_opening_and_not_its_closing_instant(
    now_ms: int, code: Code | None, retry_after_s: int | None
) -> None:
    decision = decide(snapshot={"as_of_ms": now_ms}, now_ms=now_ms)
    assert code_of(decision) == code
    assert isinstance(decision, Admitted) or decision.problem.retry_after_s == retry_after_s


@pytest.mark.parametrize(
    ("case", "code"),
    [
        pytest.param({"snapshot": {}}, None, id="stock without a rate"),
        pytest.param({"snapshot": {"remaining": 0}}, Code.SOLD_OUT, id="sold out"),
        pytest.param(
            {"snapshot": {"remaining": 1}, "quantity": 2, "terms": TWO}, Code.SOLD_OUT, id="fewer left than asked for"
        ),
        pytest.param({"snapshot": {"remaining": 2}, "quantity": 2, "terms": TWO}, None, id="just enough"),
        pytest.param({"snapshot": {}, "quantity": 2}, Code.QUANTITY_NOT_OFFERED, id="more than one claim may have"),
        pytest.param(
            {"snapshot": {"remaining": 0}, "quantity": 2}, Code.QUANTITY_NOT_OFFERED, id="quantity before stock"
        ),
        pytest.param({}, None, id="nothing known: taken"),
        pytest.param({"terms": CLOSE}, Code.STOCK_UNKNOWN, id="nothing known: closed"),
        pytest.param({"snapshot": STALE}, None, id="stale: taken"),
        pytest.param({"snapshot": STALE, "terms": CLOSE}, Code.STOCK_UNKNOWN, id="stale: closed"),
        pytest.param({"snapshot": FUTURE, "terms": CLOSE}, Code.STOCK_UNKNOWN, id="from the future: closed"),
        pytest.param({"snapshot": {**STALE, "remaining": 0}}, Code.SOLD_OUT, id="stale, but seen sold out"),
        pytest.param(
            {"snapshot": {**STALE, "remaining": 0}, "terms": CLOSE},
            Code.SOLD_OUT,
            id="stale, closed, but seen sold out",
        ),
        pytest.param(
            {"snapshot": {"as_of_ms": NOW_MS - LATE_MS, "remaining": 0}}, Code.SOLD_OUT, id="as late as may be"
        ),
        pytest.param({"snapshot": {"admit_per_s": 1}}, None, id="first of a bucket"),
        pytest.param(
            {"snapshot": {"admit_per_s": 1}, "bucket": bucket(999)},
            Code.NOT_ADMITTED_YET,
            id="not a whole one in the bucket",
        ),
        pytest.param({"snapshot": {"admit_per_s": 1}, "bucket": bucket(1000)}, None, id="exactly one in the bucket"),
        pytest.param(
            {"snapshot": {"admit_per_s": 1}, "bucket": bucket(0, age_ms=999)},
            Code.NOT_ADMITTED_YET,
            id="not refilled yet",
        ),
        pytest.param({"snapshot": {"admit_per_s": 1}, "bucket": bucket(0, age_ms=1000)}, None, id="refilled"),
        pytest.param({"snapshot": {"admit_per_s": 0}}, Code.NOT_ADMITTED_YET, id="a rate of nothing"),
        pytest.param(
            {"snapshot": {"admit_per_s": 0}, "bucket": Bucket(milli=5000, at_ms=0)},
            Code.NOT_ADMITTED_YET,
            id="a rate of nothing, and a full bucket",
        ),
        pytest.param({"snapshot": {"admit_per_s": None}, "bucket": bucket(0)}, None, id="no rate any more"),
    ],
)
def test_a_tap_is_decided(case: dict[str, Any], code: Code | None) -> None:
    assert code_of(decide(**case)) == code


def test_a_bucket_holds_one_seconds_worth_at_most() -> None:
    bucket = Bucket(milli=0, at_ms=0)
    decision = decide(snapshot={"admit_per_s": 3}, bucket=bucket)
    assert decision.bucket == Bucket(milli=2000, at_ms=NOW_MS)


def test_a_lower_rate_empties_what_was_gathered_at_a_higher_one() -> None:
    decision = decide(snapshot={"admit_per_s": 2}, bucket=Bucket(milli=100_000, at_ms=NOW_MS))
    assert decision.bucket == Bucket(milli=1000, at_ms=NOW_MS)


def test_a_clock_that_is_put_back_refills_nothing() -> None:
    later = Bucket(milli=0, at_ms=NOW_MS + 2000)
    decision = decide(snapshot={"admit_per_s": 5}, bucket=later)
    assert code_of(decision) == Code.NOT_ADMITTED_YET
    assert decision.bucket == later


def test_a_refusal_for_another_reason_keeps_the_bucket() -> None:
    bucket = Bucket(milli=5, at_ms=NOW_MS - 100)
    for case in ({"snapshot": {"remaining": 0}}, {"now_ms": CLOSES}, {"quantity": 2, "snapshot": {}}):
        assert decide(bucket=bucket, **case).bucket == bucket


@pytest.mark.parametrize(("snapshot", "version"), [({"version": 9}, 9), ({**STALE, "version": 8}, 8), (None, 0)])
def test_what_it_was_decided_on_is_told(snapshot: dict[str, Any] | None, version: int) -> None:
    decision = decide(snapshot=snapshot)
    assert isinstance(decision, Admitted)
    assert decision.stock_version == version
