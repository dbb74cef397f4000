"""The README's commands for operators, run as they stand there against a running stack."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.real_stack import RealStack

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = re.findall(r"<!-- run -->\n```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


@pytest.fixture(scope="module")
def stack() -> Iterator[RealStack]:
    running = RealStack().start()
    yield running
    running.stop()


def test_the_operator_s_commands_sell_something_and_reconcile_it(stack: RealStack) -> None:
    assert len(BLOCKS) == 5
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**stack.stack.environment, "ORIGIN": stack.origin_url, "PATH": path, "no_proxy": "*"}
    for block in BLOCKS:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
    stack.until_seen("workshop")
    overlay = httpx.get(f"{stack.edge_url}/v1/clips/workshop/overlay", trust_env=False).json()
    assert overlay["offers"][0]["price"]["text"] == "€49.00"
