"""SQL of reconciliation's runs: the lock that lets one do the work, and the reports that are kept.

Rules:

1. One run at a time in a database: a lock of the session, which the server frees however the process ends.
2. Reports without findings are kept for `QUIET_MS`, those with findings for as long as what they are about.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import msgspec
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from origin.database import Connection, Database
from shared.structs import Wire

QUIET_MS: Final = 7 * 86_400_000
_LOCK: Final = "hashtextextended('cliptill reconciliation', 0)"
_LIST: Final = """
    SELECT run_id AS run, started_ms, finished_ms, jsonb_array_length(report #> '{report,findings}') AS findings,
      report ->> 'away' AS away
    FROM reconciliation_runs WHERE finished_ms IS NOT NULL AND run_id < %s ORDER BY run_id DESC LIMIT %s
"""
_ONE: Final = """
    SELECT report::text FROM reconciliation_runs
    WHERE finished_ms IS NOT NULL AND (%(run)s::bigint IS NULL OR run_id = %(run)s) ORDER BY run_id DESC LIMIT 1
"""
_EXPIRE: Final = """
    DELETE FROM reconciliation_runs WHERE started_ms < %(before)s
      OR started_ms < %(quiet)s AND (report IS NULL OR report #> '{report,findings}' = '[]')
"""


class RunSummary(Wire, frozen=True, kw_only=True):
    """A run that has ended: when, how many findings it had, and what was away."""

    run: int
    started_ms: int
    finished_ms: int
    findings: int
    away: str


@asynccontextmanager
async def hold_run_lock(database: Database) -> AsyncIterator[bool]:
    """Try to become the one run of this database; gives whether it succeeded. The lock ends with the block."""
    async with database.connection() as connection:
        row = await (await connection.execute(f"SELECT pg_try_advisory_lock({_LOCK})")).fetchone()
        held = row == (True,)
        try:
            yield held
        finally:
            if held and not connection.broken:
                await connection.execute(f"SELECT pg_advisory_unlock({_LOCK})")


async def begin_run(connection: Connection, now_ms: int) -> int:
    """Note that a run begins, and return its number."""
    found = await connection.execute(
        "INSERT INTO reconciliation_runs (started_ms) VALUES (%s) RETURNING run_id", [now_ms]
    )
    row = await found.fetchone()
    if row is None:
        raise AssertionError("INSERT ... RETURNING returned nothing")
    number: int = row[0]
    return number


async def end_run(connection: Connection, run: int, report: object, now_ms: int) -> None:
    """Keep a run's report."""
    await connection.execute(
        "UPDATE reconciliation_runs SET finished_ms = %s, report = %s WHERE run_id = %s",
        (now_ms, Jsonb(msgspec.to_builtins(report)), run),
    )


async def list_runs(connection: Connection, before: int, limit: int) -> list[RunSummary]:
    """Return runs that have ended, the newest first, from before a number on."""
    cursor = connection.cursor(row_factory=class_row(RunSummary))
    return await (await cursor.execute(_LIST, (before, limit))).fetchall()


async def read_run(connection: Connection, run: int | None) -> bytes | None:
    """Return the report of a run that has ended, as JSON; of the last one for None."""
    row = await (await connection.execute(_ONE, {"run": run})).fetchone()
    return None if row is None else row[0].encode()


async def read_last_start(connection: Connection) -> int | None:
    """Return when the newest run began that has ended."""
    row = await (
        await connection.execute("SELECT max(started_ms) FROM reconciliation_runs WHERE finished_ms IS NOT NULL")
    ).fetchone()
    return None if row is None else row[0]


async def drop_old_runs(connection: Connection, now_ms: int, before_ms: int) -> None:
    """Drop reports that are older than they are kept."""
    await connection.execute(_EXPIRE, {"before": before_ms, "quiet": now_ms - QUIET_MS})
