"""Run a program so that it ends when whoever started it ends, however that happens.

    python -m scripts.lifeline python MODULE [ARGUMENT...]     a Python module, in this very process
    python -m scripts.lifeline program NAME [ARGUMENT...]      anything else, as a child in this process group

Standard input is the lifeline: the parent holds the other end of that pipe, and the kernel closes it even when the
parent is killed. At its end the program is told to stop (SIGTERM), and killed when it does not.
"""

import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from types import FrameType
from typing import NoReturn

GRACE_S = 10.0


def main(arguments: list[str]) -> int:
    """Hold the lifeline, and become the program."""
    kind, name, *rest = arguments
    threading.Thread(target=_end_with_parent, daemon=True, name="lifeline").start()
    if kind == "program":
        return _run_program([name, *rest])
    sys.argv = [name, *rest]
    runpy.run_module(name, run_name="__main__", alter_sys=True)
    return 0


def _run_program(command: list[str]) -> int:
    """Run the program to its end, and hand it the signals that are meant to end it."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def hand_on(number: int, _frame: FrameType | None) -> None:
        child.send_signal(number)

    signal.signal(signal.SIGTERM, hand_on)
    signal.signal(signal.SIGINT, hand_on)
    return child.wait()


def _end_with_parent() -> NoReturn:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_S)
    # This process leads a group of its own (see `scripts.children`): its children go with it.
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
