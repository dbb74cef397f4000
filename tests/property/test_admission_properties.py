"""Admission, however viewers tap and clocks step: a node never gives more than the published bound."""

from hypothesis import given
from hypothesis import strategies as st

from shared.catalogue.stock import FUTURE_LEEWAY_MS, LATE_MS, bound_over_issue, set_admission_rate
from shared.claims.admission import Admitted, Bucket, decide_admission
from tests.samples import HOUR_MS, NOW_MS, make_snapshot, make_terms

TERMS = make_terms(opens_at_ms=NOW_MS - HOUR_MS, closes_at_ms=NOW_MS + HOUR_MS, when_origin_away="close")
# Forward mostly; back sometimes, as a clock that is set right goes.
steps = st.lists(st.one_of(st.integers(0, 40), st.integers(0, 900), st.integers(-1500, 0)), max_size=120)


def tap_through(rate: int, remaining: int, schedule: list[int]) -> tuple[int, int]:
    """Tap at each step of a node's clock; return how many claims it gave, and for how long it went on giving."""
    snapshot = make_snapshot(remaining=remaining, total=10_000, admit_per_s=rate)
    bucket: Bucket | None = None
    now_ms = NOW_MS
    first_ms = latest_ms = NOW_MS + sum(schedule[:1])
    given_claims = 0
    for step in schedule:
        now_ms += step
        decision = decide_admission(TERMS, snapshot, bucket, 1, now_ms)
        bucket = decision.bucket
        if isinstance(decision, Admitted):
            given_claims += 1
            latest_ms = max(latest_ms, now_ms)
    return given_claims, latest_ms - first_ms


@given(st.integers(0, 60), steps)
def test_a_node_never_gives_more_than_its_bound(rate: int, schedule: list[int]) -> None:
    given_claims, age_ms = tap_through(rate, 50, schedule)
    # From whichever instant within the two clocks' difference it began: then the snapshot is too old to go by.
    assert age_ms <= LATE_MS + FUTURE_LEEWAY_MS
    assert given_claims <= bound_over_issue(rate, 1, age_ms)


@given(st.integers(1, 5000), st.lists(steps, min_size=1, max_size=4))
def test_all_nodes_together_never_give_more_than_the_published_bound(remaining: int, nodes: list[list[int]]) -> None:
    rate = set_admission_rate(remaining, len(nodes))
    assert rate is not None
    results = [tap_through(rate, remaining, schedule) for schedule in nodes]
    oldest_ms = max(age_ms for _, age_ms in results)
    assert sum(count for count, _ in results) <= bound_over_issue(rate, len(nodes), oldest_ms)


@given(st.integers(1, 60), st.integers(1, 50))
def test_who_waits_a_second_is_admitted(rate: int, taps: int) -> None:
    given_claims, _ = tap_through(rate, 50, [0] * taps + [1000])
    assert given_claims == min(rate, taps) + 1


@given(st.integers(0, 20_000), st.integers(0, 200))
def test_a_rate_gives_at_least_what_is_left_over_the_spread(remaining: int, nodes: int) -> None:
    rate = set_admission_rate(remaining, nodes)
    if rate is not None and remaining:
        assert rate * max(1, nodes) * 2 >= remaining
