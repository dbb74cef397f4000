"""Migrations: plain SQL files in `origin/migrations`, applied in the order of their names. `python -m origin.migrate`.

Rules:

1. All that is pending, and the note that it is applied, is one transaction: a process that is killed half-way leaves
   nothing behind, and the next one does all of it.
2. One at a time: a lock of that same transaction, which the server frees however the process ends.
3. A file never changes once it is applied; its hash is kept, and compared.
4. The service runs on exactly the schema that it was written for (`check_schema`): it refuses an older one, and one
   that a newer version has changed.

Migration packages were tried first. yoyo notes a migration in a second transaction and locks with a row that outlives a
killed process: neither 1 nor 2 would hold. Alembic keeps both (one transaction for all, our lock taken first), but it
notes only the newest revision: a file that was changed after it was applied passes unseen, and one that is added with a
lower number than the newest is never applied, and called up to date. To keep 3 and 4, this table and these comparisons
would stay beside it, and it would bring 32 MB of packages to the origin.
"""

import argparse
import hashlib
import os
import sys
import time
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import psycopg

from origin.database import CONNECT_S, Connection, locate_database
from shared.errors import CliptillError, ConfigurationError, ServiceAwayError

FOLDER: Final = Path(__file__).parent / "migrations"
_LOCK: Final = "SELECT pg_advisory_xact_lock(hashtextextended('cliptill migrations', 0))"
_TABLE: Final = """
    CREATE TABLE IF NOT EXISTS schema_migrations (
      name text COLLATE "C" PRIMARY KEY, sha256 text NOT NULL, applied_ms bigint NOT NULL
    )
"""
_APPLIED: Final = "SELECT name, sha256 FROM schema_migrations"


class Migration(NamedTuple):
    """One file."""

    name: str
    sql: bytes
    sha256: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a run did: the names that it applied, and all that are applied now."""

    applied: tuple[str, ...]
    schema: tuple[str, ...]


def list_migrations(folder: Path = FOLDER) -> tuple[Migration, ...]:
    """Return the files of `folder`, in order."""
    files = sorted(folder.glob("*.sql"))
    raw = [(file.stem, file.read_bytes()) for file in files]
    return tuple(Migration(name=name, sql=sql, sha256=hashlib.sha256(sql).hexdigest()) for name, sql in raw)


def migrate(conninfo: str, migrations: tuple[Migration, ...], now_ms: int) -> Report:
    """Apply what is pending.

    Raises:
        ConfigurationError: the database was changed by other files than these, or this user may not change it.
        ServiceAwayError: the database is away; the message says what the driver says, for whoever started this.
    """
    try:
        with (
            psycopg.connect(conninfo, autocommit=True, connect_timeout=CONNECT_S) as connection,
            connection.transaction(),
        ):
            connection.execute(_LOCK)
            connection.execute(_TABLE)
            done: dict[str, str] = dict(connection.execute(_APPLIED).fetchall())
            _refuse_others(done, migrations)
            pending = [migration for migration in migrations if migration.name not in done]
            for migration in pending:
                connection.execute(migration.sql)
                connection.execute(
                    "INSERT INTO schema_migrations VALUES (%s, %s, %s)", (migration.name, migration.sha256, now_ms)
                )
    except psycopg.OperationalError as error:
        raise ServiceAwayError(f"the database is away: {' '.join(str(error).split())}") from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise ConfigurationError(f"the database's user may not do this: {error.diag.message_primary}") from error
    names = tuple(migration.name for migration in migrations)
    return Report(applied=tuple(migration.name for migration in pending), schema=names)


async def check_schema(connection: Connection, migrations: tuple[Migration, ...]) -> None:
    """Refuse any schema but that of `migrations`.

    Raises:
        ConfigurationError: it is older, newer, or another.
    """
    found = await (await connection.execute("SELECT to_regclass('schema_migrations') IS NOT NULL")).fetchone()
    done: dict[str, str] = dict(await (await connection.execute(_APPLIED)).fetchall()) if found == (True,) else {}
    _refuse_others(done, migrations)
    if len(done) < len(migrations):
        raise ConfigurationError("the database's schema is older than this version: run `python -m origin.migrate`")


def _refuse_others(done: dict[str, str], migrations: tuple[Migration, ...]) -> None:
    known = {migration.name: migration.sha256 for migration in migrations}
    if newer := sorted(done.keys() - known.keys()):
        raise ConfigurationError(f"the database's schema is newer than this version: {newer[-1]} is not known here")
    if changed := sorted(name for name, sha256 in done.items() if known[name] != sha256):
        raise ConfigurationError(f"migration {changed[0]} is not the file that the database was made with")


def main(arguments: list[str]) -> int:
    """Migrate the database that the environment names; 0 when its schema is this version's."""
    parser = argparse.ArgumentParser(prog="python -m origin.migrate", description="Bring the database up to date.")
    parser.add_argument("--json", action="store_true", help="say what was done as JSON")
    options = parser.parse_args(arguments)
    try:
        report = migrate(locate_database(os.environ), list_migrations(), time.time_ns() // 1_000_000)
    except CliptillError as error:
        sys.stderr.write(f"cliptill: {error}\n")
        return 1
    if options.json:
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    else:
        sys.stdout.write(f"applied: {', '.join(report.applied) or 'nothing, the schema is up to date'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
