"""Hold the data folder's embedded PostgreSQL server: `python -m scripts.database FOLDER`, until told to stop.

Prints one JSON line, `{"ready": true, "url": ...}`. The caller sees to it that nobody else holds this data folder.
"""

import json
import signal
import sys
import threading
from pathlib import Path

from origin.embedded import hold_embedded
from shared.errors import CliptillError


def main(arguments: list[str]) -> int:
    """Start the server, say where it is, wait for SIGTERM, stop it."""
    told = threading.Event()
    # Only noted: a signal in the middle of initdb or of a start must leave neither ruins nor a lost server.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: told.set())
    try:
        with hold_embedded(Path(arguments[0])) as url:
            print(json.dumps({"ready": True, "url": url}), flush=True)
            told.wait()
    except CliptillError as error:
        sys.stderr.write(f"cliptill: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
