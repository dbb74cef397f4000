"""A program on a lifeline ends when whoever started it is gone."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULE = "import sys, time\nprint('up', *sys.argv[1:], flush=True)\ntime.sleep(60)\n"


def hold(arguments: list[str], folder: Path) -> subprocess.Popen[str]:
    (folder / "sleeper.py").write_text(MODULE)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(folder)])}
    command = [sys.executable, "-m", "scripts.lifeline", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True, process_group=0)


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


PROGRAM = ["program", sys.executable, "-m", "sleeper", "a"]


@pytest.mark.parametrize("arguments", [["python", "sleeper", "a"], PROGRAM], ids=["module", "program"])
def test_it_ends_when_the_other_end_of_its_input_closes(tmp_path: Path, arguments: list[str]) -> None:
    with hold(arguments, tmp_path) as process:
        assert first_line(process) == "up a"
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(10) != 0
        assert process.stdout is not None
        # Closed by everyone: nobody of the group is left to write into it.
        assert process.stdout.read() == ""


def test_a_signal_reaches_the_program(tmp_path: Path) -> None:
    with hold(PROGRAM, tmp_path) as process:
        assert first_line(process) == "up a"
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) != 0
