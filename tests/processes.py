"""Looking at processes that a test has started, and at what those have started."""

import time
from pathlib import Path

PATIENCE_S = 10.0


def runs(pid: int) -> bool:
    """Return whether a process runs; one that only waits to be reaped does not."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until_gone(pid: int) -> None:
    """Wait until a process has ended; a signal takes a moment to do its work."""
    until = time.monotonic() + PATIENCE_S
    while runs(pid):
        assert time.monotonic() < until, f"process {pid} still runs"
        time.sleep(0.01)


def find_processes(argument: str) -> list[int]:
    """Return the processes that have a text in their command line."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if argument.encode() in command:
            found.append(int(folder.name))
    return found
