"""The plans of what is looked up for each batch: made once for each connection, as good when the tables are full."""

import asyncio
from collections.abc import Sequence

import pytest

from origin import database as database_module
from origin.database import POOL_MAX, Connection, Database
from origin.settlement.settlements_store import read_decisions
from shared.errors import ServiceAwayError
from tests.postgres.test_writer import NOW_MS, SETTLER, make_claims, settled
from tests.postgres.world import World

LOOKED_UP = ("drops", "settlements", "holds", "offers", "trail_entries")
ROWS = 4_000
MANY = f"""
    INSERT INTO drops (drop, run, sku, total, free, opens_at_ms, closes_at_ms, created_ms, updated_ms)
    SELECT 'many-' || n, 'run-1', 'sku-1', 1, 1, 0, 1, 0, 0 FROM generate_series(1, {ROWS}) n;
    INSERT INTO settlements (claim_id, drop, run, viewer, fingerprint, status, code, quantity, total_minor, currency,
      creator, clip, offer, arm, lines, source, settled_at_ms)
    SELECT 'many-' || n, 'drop-1', 'run-1', 'v' || n, '', 'refused', 'sold_out', 0, 0, 'EUR', 'c', 'c', 'o', '', '[]',
      'request', 0 FROM generate_series(1, {ROWS}) n;
    INSERT INTO holds (claim_id, drop, run, viewer, fingerprint, quantity, state, until_ms, payment, claim, held_at_ms,
      changed_ms)
    SELECT 'many-' || n, 'drop-1', 'run-1', 'v' || n, '', 1, 'held', {NOW_MS} * 2, 'card', '', 0, 0
      FROM generate_series(1, {ROWS}) n;
    INSERT INTO trail_entries (drop, position, kind, claim_id, units, settled, at_ms, content, facts, hash)
    SELECT 'drop-1', 100 + n, 'settled', 'many-' || n, 1, n, 0, content, content, content
      FROM generate_series(1, {ROWS}) n, (SELECT decode(repeat('00', 32), 'hex') AS content);
    INSERT INTO offers (offer, drop, kind, names, descriptions, prices, payment, created_ms, updated_ms)
    SELECT 'many-' || n, 'drop-1', 'goods', '{{}}', '{{}}', '{{}}', 'card', 0, 0 FROM generate_series(1, {ROWS}) n
"""  # noqa: S608 - our own numbers


def test_plan_that_was_made_for_empty_tables_is_not_kept_for_full_ones(
    own_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "PLANNED_S", 0.2)
    read: dict[str, tuple[int, int]] = {}

    async def story() -> None:
        database = Database(own_world.conninfo)
        await database.open()
        try:
            for drops in (["drop-1"], ["drop-1", "drop-2"]):
                await settle(database, drops)
            own_world.execute(MANY)
            await asyncio.sleep(0.3)
            for drops in (["drop-1"], ["drop-1", "drop-2"]):
                read.update({f"{table} of {len(drops)}": rows for table, rows in await settle(database, drops)})
        finally:
            await database.close()

    own_world.add_drop("drop-2")
    own_world.execute("ANALYZE")  # few rows: to read all of them is the best plan
    asyncio.run(story())
    assert len(read) == 2 * len(LOOKED_UP)
    # Thirty claims, and what else is theirs: each row once or twice, none in passing.
    assert {what: rows for what, rows in read.items() if rows[0] or rows[1] > 100} == {}


def test_plan_is_kept_meanwhile(world: World) -> None:
    async def story() -> None:
        database = Database(world.conninfo)
        await database.open()
        try:
            async with database.connection() as connection:
                for _ in range(3):
                    async with connection.transaction():
                        await SETTLER.settle_in(connection, make_claims(2, "drop-1"), "request", NOW_MS)
                found = await connection.execute(
                    "SELECT DISTINCT generic_plans, custom_plans FROM pg_prepared_statements"
                )
                assert await found.fetchall() == [(3, 0)]
        finally:
            await database.close()

    asyncio.run(story())


def test_statement_that_was_kept_for_another_schema_is_made_anew(own_world: World) -> None:
    went: list[bool] = []

    async def story() -> None:
        database = Database(own_world.conninfo)
        await database.open()
        try:
            for number in range(3 * POOL_MAX):  # the pool lends its connections in turn
                if number == POOL_MAX:
                    own_world.execute("ALTER TABLE settlements ALTER COLUMN stock_total TYPE bigint")
                try:
                    async with database.connection() as connection:
                        await read_decisions(connection, ["unknown"])
                    went.append(True)
                except ServiceAwayError:
                    went.append(False)
        finally:
            await database.close()

    asyncio.run(story())
    assert went[:POOL_MAX] == [True] * POOL_MAX
    assert went[-POOL_MAX:] == [True] * POOL_MAX
    assert False in went


async def settle(database: Database, drops: Sequence[str]) -> list[tuple[str, tuple[int, int]]]:
    """Settle thirty claims, and return what was read of each table: rows in passing (scans), rows by an index."""
    claims = [claim for drop in drops for claim in make_claims(30 // len(drops), drop)]
    async with database.transaction() as connection:
        before = await count_read(connection)
        assert all(map(settled, await SETTLER.settle_in(connection, claims, "request", NOW_MS)))
        after = await count_read(connection)
    return [(table, (after[table][0] - before[table][0], after[table][1] - before[table][1])) for table in LOOKED_UP]


async def count_read(connection: Connection) -> dict[str, tuple[int, int]]:
    """Return how many rows this connection has read of each table, as far as the server has not noted them yet."""
    found = await connection.execute(
        "SELECT relname, seq_tup_read, coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables"
    )
    return {name: (passed, fetched) for name, passed, fetched in await found.fetchall()}
