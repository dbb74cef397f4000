"""Say what a set-up is doing, and since how many seconds, in plain lines that suit a terminal and a log."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

HEARTBEAT_S = 10.0
GRACE_S = 5.0
GIB = 1024**3
LOG_LINE_CHARACTERS = 160
# npm says why in the first of its error lines that is a sentence; pip in the last.
NPM_ERROR = re.compile(r"npm error (?!(?:code|errno|syscall|path|type|signal|command)\b)(?P<why>.+)")
PIP_ERROR = re.compile(r"ERROR: (?P<why>.+)")


class SetupError(Exception):
    """The clone cannot be made ready; the message is one line that names the remedy."""


def tell(text: str) -> None:
    """Print what was asked for; whoever has read enough of it (`| head`) may hang up."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # Python flushes once more at its end, and would complain then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Progress:
    """Run the steps of one set-up, and report on them to standard error."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def say(self, text: str) -> None:
        """Print one line, with the seconds since the set-up began."""
        print(f"[{time.monotonic() - self._began:6.1f} s] {text}", file=sys.stderr, flush=True)

    def ask(self, command: Sequence[str]) -> str:
        """Return what a quick command prints, or an empty text when it does not work."""
        try:
            return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
        except (OSError, subprocess.SubprocessError):
            return ""

    def run(self, what: str, command: Sequence[str], folder: Path, environment: dict[str, str], log: Path) -> None:
        """Run one step to its end; its output goes to the log file, its progress to the user.

        Nothing is printed of a step that takes less than half a second.

        Raises:
            SetupError: the step failed; the message says why in one line, and where the log is.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        with log.open("wb") as output:
            # A group of its own: npm and pip start children, and all of them must end with the step.
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                process_group=0,
            )
            try:
                code = self._wait(what, process)
            except BaseException:
                _end_group(process)
                raise
        if code != 0:
            reason = last_words(log.read_text(errors="replace"))
            raise SetupError(
                f"{what} failed: {reason} - check the network, the package index settings and the disk, "
                f"then start again (whole log: {log})"
            )
        if (took := time.monotonic() - began) >= 0.5:  # noqa: PLR2004 - see above
            self.say(f"{what}: done in {took:.1f} s")

    def _wait(self, what: str, process: subprocess.Popen[bytes]) -> int:
        try:
            return process.wait(0.5)
        except subprocess.TimeoutExpired:
            self.say(f"{what} ...")
        while True:
            try:
                return process.wait(HEARTBEAT_S)
            except subprocess.TimeoutExpired:
                self.say(f"{what}: still at it")


def describe_missing_room(folder: Path, needed_bytes: int) -> str | None:
    """Return, in one line with its remedy, that the folder's disk has not this much room left; None when it has."""
    free = shutil.disk_usage(folder).free
    if free >= needed_bytes:
        return None
    return (
        f"{needed_bytes / GIB:g} GiB of free disk are needed, and there are {free / GIB:.1f} GiB in {folder}: "
        "make room, then start again"
    )


def last_words(log: str) -> str:
    """Return the line of a tool's output that most probably says why it failed."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    npm = [match["why"] for line in lines if (match := NPM_ERROR.fullmatch(line))]
    pip = [match["why"] for line in lines if (match := PIP_ERROR.fullmatch(line))]
    chosen = npm[0] if npm else (pip or lines or ["no output"])[-1]
    return chosen if len(chosen) <= LOG_LINE_CHARACTERS else chosen[: LOG_LINE_CHARACTERS - 1] + "…"


def _end_group(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(GRACE_S)
        os.killpg(process.pid, signal.SIGKILL)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    except ProcessLookupError:
        process.wait()
