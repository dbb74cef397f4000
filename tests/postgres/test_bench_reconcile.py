"""The benchmark of reconciliation runs to its end, and every run of it told of all claims and found nothing."""

import json
import subprocess
import sys

from tests.postgres.world import ROOT


def test_the_benchmark_measures_time_and_memory_of_each_size() -> None:
    command = (sys.executable, "-m", "scripts.benching", "reconcile", "--quick", "--json")
    told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout)
    assert told["reconcile_seconds"] > 0
    assert told["reconcile_memory_growth"] > 0
    runs = told["reconcile"]["runs"]
    assert {name: run["claims"] for name, run in runs.items()} == {
        f"{size}_{name}": size + (size // 1000 if name == "late" else 0)
        for size in (1_000, 2_000, 5_000)
        for name in told["reconcile"]["compared"]
    }
