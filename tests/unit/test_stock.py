"""Stock as the edge sees it: bands, ages, admission rates and the published bound."""

import pytest

from shared.catalogue.stock import (
    ALWAYS_ADMIT_PER_S,
    FUTURE_LEEWAY_MS,
    LATE_MS,
    PLENTY,
    SPREAD_S,
    band_stock,
    bound_over_issue,
    is_believable,
    is_stale,
    report_stock,
    set_admission_rate,
)
from tests.samples import NOW_MS, make_snapshot


@pytest.mark.parametrize(
    ("remaining", "total", "state"),
    [
        (-1, 100, "sold_out"),
        (0, 100, "sold_out"),
        (0, 0, "sold_out"),
        (1, 100, "last"),
        (1, 1, "last"),
        (2, 2, "low"),
        (5, 5, "low"),
        (6, 6, "available"),
        (20, 100, "low"),
        (21, 100, "available"),
        (200_000_000, 10**9, "low"),
        (200_000_001, 10**9, "available"),
    ],
)
def test_what_remains_is_in_a_band(remaining: int, total: int, state: str) -> None:
    assert band_stock(remaining, total) == state


@pytest.mark.parametrize(("ahead_ms", "believed"), [(FUTURE_LEEWAY_MS, True), (FUTURE_LEEWAY_MS + 1, False)])
def test_a_snapshot_from_too_far_ahead_is_not_believed(ahead_ms: int, *, believed: bool) -> None:
    assert is_believable(make_snapshot(as_of_ms=NOW_MS + ahead_ms), NOW_MS) is believed


@pytest.mark.parametrize(("age_ms", "stale"), [(0, False), (LATE_MS, False), (LATE_MS + 1, True), (-LATE_MS, False)])
def test_a_snapshot_that_is_too_old_is_stale(age_ms: int, *, stale: bool) -> None:
    assert is_stale(make_snapshot(as_of_ms=NOW_MS - age_ms), NOW_MS) is stale


def test_a_report_tells_the_snapshots_own_number_with_version_and_age() -> None:
    report = report_stock("drop-1", make_snapshot(as_of_ms=NOW_MS - 1200, version=7, remaining=3), NOW_MS)
    assert (report.state, report.remaining, report.version) == ("low", 3, 7)
    assert (report.as_of_ms, report.age_ms, report.stale) == (NOW_MS - 1200, 1200, False)


def test_an_age_is_never_negative() -> None:
    assert report_stock("drop-1", make_snapshot(as_of_ms=NOW_MS + 900), NOW_MS).age_ms == 0


def test_without_a_snapshot_nothing_is_claimed_to_be_known() -> None:
    report = report_stock("drop-1", None, NOW_MS)
    assert (report.drop, report.state, report.remaining, report.stale) == ("drop-1", "unknown", None, True)


@pytest.mark.parametrize(
    ("remaining", "nodes", "rate"),
    [
        pytest.param(0, 10, 0, id="nothing left"),
        pytest.param(-1, 10, 0, id="less than nothing"),
        pytest.param(PLENTY, 10, None, id="plenty"),
        pytest.param(PLENTY - 1, 1, (PLENTY - 1 + 1) // SPREAD_S, id="scarce"),
        pytest.param(1000, 10, 50, id="shared among nodes"),
        pytest.param(1001, 10, 51, id="rounded up"),
        pytest.param(1, 100, ALWAYS_ADMIT_PER_S, id="never less than a few"),
        pytest.param(1000, 0, 500, id="no node known"),
    ],
)
def test_the_rate_is_a_share_of_what_is_left(remaining: int, nodes: int, rate: int | None) -> None:
    assert set_admission_rate(remaining, nodes) == rate


@pytest.mark.parametrize(
    ("rate", "nodes", "age_ms", "bound"),
    [
        pytest.param(5, 1, 0, 5, id="one second's burst"),
        pytest.param(5, 1, 1000, 10, id="and the rate while it ages"),
        pytest.param(5, 1, 1, 6, id="rounded up"),
        pytest.param(5, 3, 1000, 30, id="each node by itself"),
        pytest.param(0, 3, 5000, 0, id="nothing admitted"),
    ],
)
def test_the_bound_counts_burst_and_age_of_each_node(rate: int, nodes: int, age_ms: int, bound: int) -> None:
    assert bound_over_issue(rate, nodes, age_ms) == bound
