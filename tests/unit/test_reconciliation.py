"""Reconciliation: where claims stand, what is a finding, and for how long."""

from typing import Any

import msgspec
import pytest

from shared.catalogue.stock import LATE_MS, bound_over_issue, set_admission_rate
from shared.insight.reconciliation import (
    GAP_GRACE_MS,
    SHOWN_GAPS,
    DisputeFact,
    DropFact,
    Facts,
    GapFact,
    IntakeFact,
    RejectionFact,
    Report,
    hash_state,
    reconcile,
)
from shared.insight.standings import (
    ALARM_MS,
    MINUTE_MS,
    SHOWN_MINUTES,
    ClaimFact,
    ClaimFold,
    Standing,
    UnsortedError,
    place_claim,
    sort_key,
)
from tests.samples import NOW_MS


def make_fact(**changes: Any) -> ClaimFact:
    document = {
        "claim_id": "a",
        "drop": "drop-1",
        "units": 1,
        "free": False,
        "trusted": True,
        "issued_at_ms": NOW_MS - 1_000,
        "expires_at_ms": NOW_MS + 1_000,
        **changes,
    }
    return msgspec.convert(document, ClaimFact)


def make_drop(**changes: Any) -> DropFact:
    document = {"drop": "drop-1", "total": 10, "free": 8, "held": 0, "settled": 2, "settled_units": 2, **changes}
    return msgspec.convert(document, DropFact)


def make_gap(**changes: Any) -> GapFact:
    document = {"node": "n", "colo": "FRA", "first": 2, "last": 3, "known_since_ms": NOW_MS - 1, **changes}
    return msgspec.convert(document, GapFact)


def make_report(claims: tuple[ClaimFact, ...] = (), now_ms: int = NOW_MS, **changes: Any) -> Report:
    facts = Facts(
        drops=changes.get("drops", (make_drop(),)),
        gaps=changes.get("gaps", ()),
        intake=changes.get("intake", IntakeFact()),
        rejections=changes.get("rejections", ()),
        disputes=changes.get("disputes", ()),
    )
    fold = ClaimFold({drop.drop: drop.sold_out_at_ms for drop in facts.drops}, now_ms)
    fold.feed(sorted(claims, key=sort_key))
    return reconcile(facts, fold.finish(), now_ms, fold.worst)


def codes(report: Report) -> list[tuple[str, str, int]]:
    return [(finding.code, finding.subject, finding.count) for finding in report.findings]


@pytest.mark.parametrize(
    ("changes", "standing"),
    [
        pytest.param({"decision": "settled"}, "settled", id="decided"),
        pytest.param({"decision": "refused", "expires_at_ms": 0}, "refused", id="decided-and-expired"),
        pytest.param({}, "outstanding", id="priced-and-valid"),
        pytest.param({"expires_at_ms": NOW_MS + 1}, "outstanding", id="the-last-millisecond"),
        pytest.param({"expires_at_ms": NOW_MS}, "lapsed", id="the-instant-of-expiry"),
        pytest.param({"free": True}, "due", id="free"),
        pytest.param({"free": True, "expires_at_ms": 0}, "due", id="free-and-expired"),
        pytest.param({"trusted": False}, "unverified", id="key-not-known"),
        pytest.param({"held_until_ms": NOW_MS + 1, "expires_at_ms": 0}, "held", id="held"),
        pytest.param({"held_until_ms": NOW_MS}, "outstanding", id="hold-over-and-valid"),
        pytest.param({"held_until_ms": 0, "expires_at_ms": 0}, "lapsed", id="hold-released-and-expired"),
        pytest.param({"held_until_ms": NOW_MS + 1, "decision": "settled"}, "settled", id="held-and-decided"),
    ],
)
def test_a_claim_stands_where_the_instants_say(changes: dict[str, Any], standing: Standing) -> None:
    assert place_claim(make_fact(**changes), NOW_MS) == standing


def test_claims_are_counted_by_the_minute_and_the_node_that_gave_them() -> None:
    minute_ms = NOW_MS // MINUTE_MS * MINUTE_MS
    fold = ClaimFold({}, NOW_MS)
    claims = [
        make_fact(claim_id="a", node="n1", issued_at_ms=minute_ms, decision="settled", paid=True),
        make_fact(claim_id="b", node="n1", issued_at_ms=minute_ms + MINUTE_MS - 1, held_until_ms=NOW_MS + 1),
        make_fact(claim_id="c", node="n2", issued_at_ms=minute_ms, decision="refused"),
        make_fact(claim_id="d", node="n1", issued_at_ms=minute_ms + MINUTE_MS, free=True),
    ]
    fold.feed(sorted(claims, key=sort_key))
    counts = fold.finish()["drop-1"]
    told = [(m.minute_ms - minute_ms, m.node, m.issued, m.presented, m.held, m.settled, m.paid) for m in fold.minutes]
    assert told == [(0, "n1", 2, 2, 1, 1, 1), (0, "n2", 1, 1, 0, 0, 0), (MINUTE_MS, "n1", 1, 0, 0, 0, 0)]
    assert (counts.presented, counts.paid, counts.standings["due"]) == (3, 1, 1)
    assert [(minute.minute_ms - minute_ms, minute.due) for minute in fold.worst] == [(MINUTE_MS, 1)]


def test_the_worst_minutes_are_shown_and_no_more_than_can_be_looked_at() -> None:
    fold = ClaimFold({}, NOW_MS)
    for number in range(SHOWN_MINUTES + 5):
        claims = [
            make_fact(claim_id=f"{count:03}", issued_at_ms=number * MINUTE_MS, free=True) for count in range(number)
        ]
        fold.feed(claims)
    fold.finish()
    assert [minute.due for minute in fold.worst] == list(range(SHOWN_MINUTES + 4, 4, -1))


def test_the_hash_of_a_state_is_that_of_its_counts_and_not_of_when_they_came() -> None:
    state = hash_state(make_report((make_fact(),)))
    assert hash_state(make_report((make_fact(issued_at_ms=NOW_MS - 500_000),))) == state
    assert hash_state(make_report((make_fact(),), intake=IntakeFact(slowest_ms=5))) == state
    others = [
        make_report((make_fact(decision="settled"),)),
        make_report((make_fact(), make_fact(claim_id="b"))),
        make_report((make_fact(),), drops=(make_drop(free=7, held=1),)),
        make_report((make_fact(),), intake=IntakeFact(events=1)),
        make_report((make_fact(),), rejections=(RejectionFact(reason="not_json", count=1, recent=0),)),
        make_report((make_fact(),), gaps=(make_gap(),)),
    ]
    assert len({state, *map(hash_state, others)}) == 1 + len(others)


def test_all_in_order_is_a_report_without_findings() -> None:
    claims = (make_fact(claim_id="a", decision="settled"), make_fact(claim_id="b", decision="settled"))
    report = make_report(claims)
    assert report.findings == ()
    assert (report.drops[0].issued, report.drops[0].settled, report.drops[0].adds_up) == (2, 2, True)


def test_issued_is_the_sum_of_where_claims_stand() -> None:
    each: list[dict[str, Any]] = [
        {"decision": "settled", "repaired": True},
        {"decision": "refused"},
        {},
        {"expires_at_ms": 1},
        {"free": True},
        {"trusted": False},
    ]
    claims = tuple(make_fact(claim_id=str(number), **changes) for number, changes in enumerate(each))
    drop = make_report(claims).drops[0]
    standing = (drop.settled, drop.refused, drop.outstanding, drop.lapsed, drop.due, drop.unverified)
    assert standing == (1, 1, 1, 1, 1, 1)
    assert (drop.issued, drop.repaired) == (6, 1)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"free": 7}, id="a-unit-is-missing"),
        pytest.param({"settled_units": 3}, id="a-settlement-took-nothing"),
    ],
)
def test_stock_that_does_not_add_up_is_a_finding(changes: dict[str, Any]) -> None:
    report = make_report(drops=(make_drop(**changes),))
    assert [code for code, _, _ in codes(report)] == ["stock_does_not_add_up"]
    assert not report.drops[0].adds_up


def sold_out(**changes: Any) -> DropFact:
    return make_drop(free=0, settled=10, settled_units=10, units_before=10, sold_out_at_ms=NOW_MS - 60_000, **changes)


def issue_after(drop: DropFact, count: int, after_ms: int) -> tuple[ClaimFact, ...]:
    at_ms = (drop.sold_out_at_ms or 0) + after_ms
    return tuple(make_fact(claim_id=f"{number:05}", issued_at_ms=at_ms) for number in range(count))


def test_over_issue_within_the_published_bound_is_in_order() -> None:
    drop = sold_out(nodes=2)
    bound = bound_over_issue(set_admission_rate(10, 2) or 0, 2, LATE_MS)
    report = make_report(issue_after(drop, bound, LATE_MS), drops=(drop,))
    assert (report.drops[0].over_issued, report.drops[0].over_issue_bound, report.findings) == (bound, bound, ())


def test_over_issue_beyond_the_bound_is_a_finding_for_a_day() -> None:
    drop = sold_out()
    bound = bound_over_issue(set_admission_rate(10, 1) or 0, 1, LATE_MS)
    claims = issue_after(drop, bound + 2, 1)
    assert codes(make_report(claims, drops=(drop,))) == [("over_issue", "drop-1", 2)]
    assert codes(make_report(claims, drops=(drop,), now_ms=NOW_MS + ALARM_MS)) == []


@pytest.mark.parametrize(
    ("after_ms", "over_issued", "blind"),
    [
        pytest.param(0, 0, 0, id="with-the-last-unit"),
        pytest.param(1, 1, 0, id="right-after"),
        pytest.param(LATE_MS, 1, 0, id="on-the-oldest-snapshot"),
        pytest.param(LATE_MS + 1, 0, 1, id="without-a-snapshot"),
    ],
)
def test_claims_after_the_last_unit_are_told_apart(after_ms: int, over_issued: int, blind: int) -> None:
    drop = sold_out()
    told = make_report(issue_after(drop, 1, after_ms), drops=(drop,)).drops[0]
    assert (told.over_issued, told.blind) == (over_issued, blind)


def test_where_no_rate_was_set_no_bound_is_claimed() -> None:
    drop = make_drop(
        total=20_000, free=0, settled=20_000, settled_units=20_000, units_before=20_000, sold_out_at_ms=NOW_MS - 1
    )
    report = make_report(issue_after(drop, 500, 1), drops=(drop,))
    assert report.drops[0].over_issue_bound is None
    assert report.findings == ()


def test_a_gap_waits_then_counts_as_lost_and_stops_alarming_after_a_day() -> None:
    gap = make_gap(known_since_ms=NOW_MS)
    young = make_report(gaps=(gap,), now_ms=NOW_MS + GAP_GRACE_MS)
    assert (young.missing_batches, young.lost_batches, young.findings) == (2, 0, ())
    lost = make_report(gaps=(gap,), now_ms=NOW_MS + GAP_GRACE_MS + 1)
    assert (lost.lost_batches, codes(lost)) == (2, [("events_lost", "batches", 2)])
    old = make_report(gaps=(gap,), now_ms=NOW_MS + ALARM_MS + 1)
    assert (old.lost_batches, codes(old)) == (2, [])


def test_a_gap_of_unknown_age_is_lost_and_no_news() -> None:
    report = make_report(gaps=(make_gap(known_since_ms=None),))
    assert (report.lost_batches, report.findings) == (2, ())


def test_only_the_largest_gaps_are_shown_and_all_are_counted() -> None:
    gaps = tuple(make_gap(node=f"n{number:03}", first=1, last=1 + number) for number in range(SHOWN_GAPS + 5))
    report = make_report(gaps=gaps)
    assert len(report.gaps) == SHOWN_GAPS
    assert report.gaps[0].last == SHOWN_GAPS + 5
    assert report.missing_batches == sum(range(1, SHOWN_GAPS + 6))


def test_rejections_are_findings_while_they_are_news() -> None:
    report = make_report(
        rejections=(
            RejectionFact(reason="not_json", count=5, recent=0),
            RejectionFact(reason="claim_forged", count=3, recent=2),
            RejectionFact(reason="not_a_batch", count=1, recent=1),
        )
    )
    assert codes(report) == [("claims_forged", "claim_forged", 2), ("messages_rejected", "not_a_batch", 1)]
    assert [rejection.count for rejection in report.rejections] == [3, 1, 5]


def test_what_was_handed_out_twice_is_a_finding_while_it_is_news() -> None:
    disputes = (DisputeFact(place="harbour", count=4, recent=0), DisputeFact(place="kiln", count=3, recent=2))
    report = make_report(disputes=disputes)
    assert codes(report) == [("pickups_disputed", "kiln", 2)]
    assert report.disputes == disputes


def test_claims_of_an_unknown_key_are_findings_while_they_are_news() -> None:
    claim = make_fact(trusted=False, issued_at_ms=NOW_MS)
    assert codes(make_report((claim,))) == [("claims_not_verified", "drop-1", 1)]
    later = make_report((claim,), now_ms=NOW_MS + ALARM_MS + 1)
    assert (codes(later), later.drops[0].unverified) == ([], 1)


def test_a_free_claim_that_is_not_settled_is_always_a_finding() -> None:
    report = make_report((make_fact(free=True),), now_ms=NOW_MS + 10 * ALARM_MS)
    assert codes(report) == [("free_claims_not_settled", "drop-1", 1)]


def test_settlements_that_no_event_reports_are_findings_while_they_are_news() -> None:
    assert codes(make_report(drops=(make_drop(unreported=4, recent_unreported=1),))) == [
        ("settled_but_not_reported", "drop-1", 1)
    ]


def test_a_clock_that_is_ahead_is_a_finding() -> None:
    assert codes(make_report(intake=IntakeFact(ahead_ms=5_001, ahead_node="n"))) == [("clock_ahead", "n", 5_001)]
    assert codes(make_report(intake=IntakeFact(ahead_ms=5_000))) == []


def test_claims_of_a_drop_that_is_not_stored_are_shown() -> None:
    report = make_report((make_fact(drop="gone", decision="refused"),))
    assert [(drop.drop, drop.issued, drop.adds_up) for drop in report.drops] == [("drop-1", 0, True), ("gone", 1, True)]


def test_claims_that_come_unsorted_are_a_bug_of_the_caller() -> None:
    fold = ClaimFold({}, NOW_MS)
    with pytest.raises(UnsortedError):
        fold.feed([make_fact(claim_id="b"), make_fact(claim_id="a")])
