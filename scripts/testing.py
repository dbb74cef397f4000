"""All checks, then all tests. Behind `scripts/test`, which is also all that the continuous integration runs."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from scripts import checking
from scripts.progress import Progress, SetupError

ROOT = Path(__file__).resolve().parent.parent
LOGS = ROOT / ".cliptill" / "logs"
CHROMIUM_NAMES = ("chromium", "chromium-browser")


def ensure_chromium(progress: Progress) -> None:
    """Have a Chromium for the browser tests: install Debian's when this user may, otherwise say how.

    Raises:
        SetupError: there is none, and this user cannot install it.
    """
    if any(shutil.which(name) for name in CHROMIUM_NAMES):
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise SetupError("the browser tests need Chromium: as root, apt-get install chromium, then start again")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for what, arguments in (
        ("reading the lists of Debian packages", ["update"]),
        ("installing Chromium", ["install", "--yes", "--no-install-recommends", "chromium"]),
    ):
        progress.run(what, ["apt-get", *arguments], ROOT, environment, LOGS / f"setup-apt-{arguments[0]}.log")


def main(arguments: list[str]) -> int:
    """Check, then test; arguments go to pytest as they are. The exit code is 0 when all passed."""
    try:
        ensure_chromium(Progress())
    except SetupError as problem:
        print(f"cliptill: {problem}", file=sys.stderr)
        return 1
    failed = checking.run_checks()
    # The tests run although a check failed: one run should tell all that is wrong.
    tests = subprocess.run([sys.executable, "-m", "pytest", *arguments], cwd=ROOT, check=False)
    if failed:
        print(f"cliptill: failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else tests.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
