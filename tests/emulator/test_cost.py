"""`scripts/cost` as a program: what it measures is what the bundle does."""

import json
import subprocess
import sys

from scripts.costs.planning import KINDS
from tests.emulator.program import ROOT


def test_a_drop_is_planned_from_what_was_measured() -> None:
    command = [sys.executable, "-m", "scripts.costing", "--quick", "--viewers", "10000", "--claims", "500", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    usage = {kind: told["measured"][kind]["usage"] for kind in KINDS}
    assert {kind: used["requests"] for kind, used in usage.items()} == dict.fromkeys(KINDS, 100)
    # A claim and a browser's report are one message each; what is looked at needs none.
    operations = {kind: used["queue_operations"] for kind, used in usage.items()}
    assert operations == {"overlay": 0, "claim": 300, "stock": 0, "beacon": 300}
    # A warm isolate reads a manifest every five seconds, however many ask.
    assert all(used["kv_reads"] <= 5 for used in usage.values())
    assert sum(used["cpu_us"] for used in usage.values()) > 0
    drop = told["drop"]
    assert drop["asked"]["claim"] == 500
    assert drop["lines"]["requests"]["quantity"] == sum(drop["asked"].values())
    assert drop["nano_usd"] == sum(line["nano_usd"] for line in drop["lines"].values())
