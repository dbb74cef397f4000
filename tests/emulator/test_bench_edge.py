"""`scripts/bench edge --quick`: the whole way of the measurement, with figures that nobody should quote."""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.emulator.program import ROOT

HEADLINE = {
    "overlay_rps_vs_js",
    "claim_rps_vs_js",
    "overlay_p99_ms",
    "overlay_p99_vs_js",
    "claim_p99_ms",
    "claim_p99_vs_js",
    "overlay_cpu_us",
    "claim_cpu_us",
    "cold_start_ms",
    "bundle_gzip_bytes",
}
FIGURE = {"unit", "median", "least", "most", "noisy"}


@pytest.fixture(scope="module")
def report() -> Any:
    command = [sys.executable, "scripts/bench", "edge", "--quick", "--json"]
    # It compares the answers of product and JavaScript, and fails when one byte differs.
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_figures_that_have_a_bar_come_first(report: Any) -> None:
    assert set(report) == {"machine", "edge", *HEADLINE}
    assert all(report[name] > 0 for name in HEADLINE)


def test_what_was_compared_is_told(report: Any) -> None:
    edge = report["edge"]
    apps = {"product", "javascript", "sdk_adapter"}
    for kind, expected in (("overlay", {*apps, "hello"}), ("claim", apps)):
        assert set(edge[kind]["requests_per_s"]) == expected
        assert expected < set(edge["compared"])
        assert all(set(figure) == FIGURE for figure in edge[kind]["requests_per_s"].values())
    assert edge["contexts"] == 10_000


def test_percentiles_are_told_at_half_of_what_was_sustained(report: Any) -> None:
    for kind in ("overlay", "claim"):
        measured = report["edge"][kind]
        assert measured["rate_per_s"] == pytest.approx(measured["requests_per_s"]["product"]["median"] / 2, abs=1)
        for percentiles in measured["latency"].values():
            assert percentiles["p50"]["median"] <= percentiles["p95"]["median"] <= percentiles["p99"]["median"]


def test_cold_and_warm_are_apart(report: Any) -> None:
    for started in report["edge"]["cold"].values():
        assert set(started) == {"process_start", "first_overlay", "both"}
        assert started["both"]["median"] > started["first_overlay"]["median"]
