"""Gate in front of every script: a Python that is new enough, a set-up clone, then the program itself.

This file must parse, and speak plainly, on any Python from 3.6 on: so no newer syntax here, and nothing but the
standard library. What it imports once the gate is passed (`scripts.installation`) may use all of Python 3.11.
"""

import os
import shutil
import subprocess
import sys

MINIMUM = (3, 11)
NEWEST_TRIED = 14


def start(level: str, module: str, arguments: "list[str]") -> int:  # noqa: RET503 - execve does not return
    """Set the clone up for `level`, then become the program `module` with these arguments.

    Returns:
        An exit code, and only when the set-up failed: otherwise the process is replaced.
    """
    if sys.version_info < MINIMUM:
        return _find_newer_python()
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120 - as plain as the rest
    from scripts import installation  # noqa: PLC0415 - it does not parse on the Pythons refused above

    environment = installation.set_up(root, level)
    if environment is None:
        return 1
    os.chdir(root)
    python = installation.venv_python(root)
    os.execve(python, [python, "-m", "scripts.launch", module, *arguments], environment)  # noqa: S606 - no shell is wanted


def _find_newer_python() -> int:
    """Start over under a newer Python of this machine, or say in one line that there is none."""
    for minor in range(NEWEST_TRIED, MINIMUM[1] - 1, -1):
        found = shutil.which(f"python3.{minor}")
        # It must also work: version managers put stand-ins on the PATH for what is not installed.
        if found and subprocess.call([found, "-c", ""], stderr=subprocess.DEVNULL) == 0:
            os.execv(found, [found, *sys.argv])  # noqa: S606 - as above
    have = ".".join(str(part) for part in sys.version_info[:3])
    sys.stderr.write(
        f"cliptill: Python 3.{MINIMUM[1]} or newer is needed, and `python3` is {have}: "
        "install a newer Python (on Debian or Ubuntu: apt-get install python3 python3-venv), then start again\n"
    )
    return 1
