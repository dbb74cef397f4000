"""Become a program module without a traceback when Ctrl-C arrives while it is still being imported.

    python -m scripts.launch MODULE [ARGUMENT...]

Until the program takes care of signals itself, an interrupt simply ends the process: nothing has been started yet.
"""

import runpy
import signal
import sys

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
