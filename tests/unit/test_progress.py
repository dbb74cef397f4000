"""What the scripts print: read to its end, or not."""

import os
import subprocess
import sys

TELLS = "from scripts.progress import tell\nfor _ in range(3): tell('x' * 100_000)"


def test_who_has_read_enough_may_hang_up() -> None:
    """As `scripts/run --once --json | head -1` does."""
    reads, writes = os.pipe()
    with subprocess.Popen([sys.executable, "-c", TELLS], stdout=writes, stderr=subprocess.PIPE, text=True) as process:
        os.close(writes)
        assert os.read(reads, 1) == b"x"
        os.close(reads)
        said = process.communicate(timeout=30)[1]
    assert (process.returncode, said) == (0, "")
