"""The database: which one, a pool of connections to it, and what its errors mean to the rest of the origin.

Rules:

1. All that goes wrong between here and the server is a `ServiceAwayError`: it is away, full, read-only, or has another
   schema all at once (the log tells which). It goes on by itself when the cause is gone. Two transactions that got in
   each other's way are a `ClashError`. Both mean that nothing was stored, or that it is not known whether: try again.
2. A connection that broke is thrown away, and the pool makes new ones by itself once the server is back.
3. A transaction never waits without end, for a lock or for a client that stopped: others may need what it holds.
4. A statement is planned each time, or, where it says so (`prepare=True`), kept with its plan for `PLANNED_S`. A plan
   that was kept from when a table was nearly empty reads all of it once it is full (measured: 20 times slower, and no
   setting of the planner prevents it), so the plans of a connection are made anew before tables can have grown much.
   A connection whose statements are of another schema by now is thrown away.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow
from psycopg.types.string import BytesBinaryDumper
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from origin.datafolder import locate_data_folder
from origin.embedded import start_embedded
from shared.errors import CliptillError, ConfigurationError, ServiceAwayError

VARIABLE: Final = "DATABASE_URL"
POOL_MIN: Final = 1
POOL_MAX: Final = 8  # one hot row is settled fastest by few connections
POOL_WAIT_S: Final = 2.0
RECONNECT_S: Final = 5.0  # how long a pool tries to reconnect before it waits for the next request
CONNECT_S: Final = 3
PLANNED_S: Final = 0.25
SESSION: Final = """
    SET statement_timeout = '15s'; SET lock_timeout = '5s'; SET idle_in_transaction_session_timeout = '10s';
    SET plan_cache_mode = force_generic_plan
"""

CLASHES: Final = 5  # in a row, until a transaction gives up
CLASH_PAUSE_S: Final = 0.05

Connection = psycopg.AsyncConnection[TupleRow]

_OTHER_SCHEMA: Final = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedFunction,
    psycopg.errors.FeatureNotSupported,  # what a kept statement returned had other types
)
# A full disk is an `OperationalError` too.
_AWAY: Final = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.ReadOnlySqlTransaction,
    *_OTHER_SCHEMA,
    PoolTimeout,
    PoolClosed,
    TooManyRequests,
)
T = TypeVar("T")


class ClashError(CliptillError):
    """Two transactions got in each other's way, and this one was rolled back."""


def locate_database(environment: Mapping[str, str]) -> str:
    """Return the connection string of the database: `DATABASE_URL`, or the embedded server's, which is started.

    Blocking: call it before the event loop runs.

    Raises:
        ConfigurationError: `DATABASE_URL` is no connection string, or the data folder cannot be used.
        ServiceAwayError: the embedded server does not start.
    """
    given = environment.get(VARIABLE)
    if not given:
        return start_embedded(locate_data_folder(environment))
    try:
        conninfo_to_dict(given)
    except psycopg.ProgrammingError as error:  # its text may quote a password: it stays here
        raise ConfigurationError(
            f"{VARIABLE} is no connection string of PostgreSQL: write it as postgresql://user:password@host/database"
        ) from error
    return given


class Database:
    """The connections of one process to its database."""

    def __init__(self, conninfo: str) -> None:
        self._pool = AsyncConnectionPool(
            conninfo,
            min_size=POOL_MIN,
            max_size=POOL_MAX,
            timeout=POOL_WAIT_S,
            reconnect_timeout=RECONNECT_S,
            kwargs={
                "autocommit": True,
                "connect_timeout": CONNECT_S,
                "application_name": "cliptill-origin",
                # None would forbid what the fourth rule allows.
                "prepare_threshold": sys.maxsize,
            },
            configure=_configure,
            open=False,
        )
        self._planned_s = WeakKeyDictionary[Connection, float]()  # since when a connection keeps its plans

    async def open(self) -> None:
        """Begin to connect. It does not wait: a server that is away is waited for by whoever asks for a connection."""
        await self._pool.open()

    async def close(self) -> None:
        """Close all connections, after the transactions that run."""
        await self._pool.close()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection in autocommit: each statement is its own transaction.

        Raises:
            ServiceAwayError, ClashError: as above.
        """
        try:
            async with self._pool.connection() as connection:
                await self._plan_anew(connection)
                try:
                    yield connection
                except _OTHER_SCHEMA:
                    await connection.close()
                    raise
        except (psycopg.errors.UniqueViolation, psycopg.errors.DeadlockDetected) as error:
            raise ClashError("another transaction was first") from error
        except _AWAY as error:
            raise ServiceAwayError(_tell_cause(error)) from error

    async def _plan_anew(self, connection: Connection) -> None:
        now_s = time.monotonic()
        if now_s - self._planned_s.setdefault(connection, now_s) > PLANNED_S:
            await connection.execute("DISCARD PLANS")
            self._planned_s[connection] = now_s

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Lend a connection within one transaction: committed at the end, rolled back when anything is raised."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def repeat(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Do `work` in one transaction, all of it again when another transaction got in its way.

        Raises:
            ClashError: it did so several times in a row. Nothing is stored.
            ServiceAwayError: as above.
        """
        for attempt in range(1, CLASHES):
            try:
                async with self.transaction() as connection:
                    return await work(connection)
            except ClashError:
                await asyncio.sleep(CLASH_PAUSE_S * attempt)
        async with self.transaction() as connection:
            return await work(connection)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Connection]:
        """Lend a connection within one transaction that sees one state of the database, and cannot change it."""
        async with self.transaction() as connection:
            await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            yield connection

    async def is_ready(self) -> bool:
        """Return whether the database answers, and takes what is written."""
        try:
            async with self.connection() as connection:
                found = await (await connection.execute("SHOW transaction_read_only")).fetchone()
        except CliptillError:
            return False
        return found == ("off",)


def _tell_cause(error: Exception) -> str:
    """Return what an operator needs to know of a database that cannot do its work."""
    if isinstance(error, psycopg.errors.DiskFull):
        return "the database's disk is full"
    if isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
        return "the database is read-only"
    if isinstance(error, _OTHER_SCHEMA):
        return "the database's schema is not this version's: run `python -m origin.migrate`"
    return "the database is away"


async def _configure(connection: psycopg.AsyncConnection[Any]) -> None:
    # In binary COPY the driver would take its oldest adapter of bytea, which is not compiled.
    connection.adapters.register_dumper(bytes, BytesBinaryDumper)
    await connection.execute(SESSION)
