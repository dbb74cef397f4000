"""Lint, format, types: what must hold before any test is worth running. Behind `scripts/check`."""

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# The executables have no suffix to be found by.
EXECUTABLES = [
    str(file.relative_to(ROOT))
    for file in sorted((ROOT / "scripts").iterdir())
    if file.is_file() and not file.suffix and file.read_bytes().startswith(b"#!/usr/bin/env python3")
]
CHECKS = {
    "lint (ruff)": [sys.executable, "-m", "ruff", "check", ".", *EXECUTABLES],
    "format (ruff)": [sys.executable, "-m", "ruff", "format", "--check", ".", *EXECUTABLES],
    "types (mypy)": [sys.executable, "-m", "mypy"],
    "JavaScript (tsc, biome)": ["npm", "run", "--silent", "check"],
}


def run_checks() -> list[str]:
    """Run every check, also after one has failed, and return the names of those that did."""
    failed = []
    for name, command in CHECKS.items():
        began = time.monotonic()
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        verdict = "ok" if done.returncode == 0 else "FAILED"
        print(f"check: {name}: {verdict} ({time.monotonic() - began:.1f} s)", flush=True)
        if done.returncode != 0:
            print(done.stdout + done.stderr, flush=True)
            failed.append(name)
    return failed


def main() -> int:
    """Run every check; the exit code says whether all held."""
    failed = run_checks()
    if failed:
        print(f"cliptill: failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
