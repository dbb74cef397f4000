"""The benchmark of settlement runs to its end, and what it measured has settled rightly."""

import json
import subprocess
import sys

from tests.postgres.world import ROOT


def test_the_benchmark_compares_all_ways_and_oversells_nothing() -> None:
    command = (sys.executable, "-m", "scripts.benching", "settle", "--quick", "--json")
    told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout)
    assert told["oversold"] == 0
    assert min(told[f"{ours}_vs_naive"] for ours in ("batched", "http")) > 0
    assert told["batched_vs_copy"] > 0
    settle = told["settle"]
    assert set(settle["claims_per_s"]) == set(settle["compared"]) == {"batched", "http", "naive", "naive_at_64", "copy"}
    assert all(known["p50"] <= known["p99"] for known in settle["to_acknowledgement_ms"].values())
    assert set(settle["growth"]) == {"claims", "first_claims_per_s", "last_claims_per_s", "last_vs_first"}
    assert set(settle["claims_per_s_by_drops"]) == {"1", "100"}
