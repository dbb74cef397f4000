"""`scripts/bench soak`: what is called flat, and the whole way of it once."""

import json
import subprocess
import sys

import pytest

from scripts.benchmarks.soak import MIB, Sample, judge_memory
from tests.emulator.program import ROOT


@pytest.mark.parametrize(
    ("grown_bytes", "flat"),
    [
        pytest.param(0, True, id="nothing"),
        pytest.param(20, True, id="a-little"),
        pytest.param(1000, False, id="a-kilobyte-a-request"),
    ],
)
def test_memory_is_flat_when_it_does_not_grow_after_warming_up(grown_bytes: int, *, flat: bool) -> None:
    warming = [Sample(number, (100 + number) * MIB) for number in range(100)]
    samples = warming + [
        Sample(number, 200 * MIB + grown_bytes * (number - 100)) for number in range(100, 100_000, 100)
    ]
    told = judge_memory(samples, warm_up=100)
    assert told["flat"] is flat
    assert told["growth_bytes_per_request"] == pytest.approx(grown_bytes * 0.8, rel=0.02)
    assert (told["at_start_mib"], told["samples"]) == (100.0, len(samples))


def test_a_node_is_driven_and_every_claim_that_was_answered_is_reported() -> None:
    command = [sys.executable, "scripts/bench", "soak", "--quick", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    soak = json.loads(done.stdout)["soak"]
    assert soak["requests"] >= 500
    assert soak["events"]["claims"] >= soak["claims"] > soak["events"]["delivered"] > 0
    assert soak["events"]["dropped"] == 0
    assert soak["memory"]["most_mib"] >= soak["memory"]["at_start_mib"] > 0
