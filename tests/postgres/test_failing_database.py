"""A database that cannot do its work: a clear answer, nothing stored in part, and it goes on when the cause is gone."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import httpx
import psycopg
import pytest
from psycopg import sql

from tests.postgres.world import PATIENCE_S, OriginProcess, Tap, World, until

RAISE = """
    CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION USING ERRCODE = '53100', MESSAGE = 'No space left on device'; END $$
"""


class Fault(NamedTuple):
    """What an operator finds in the log, and how the fault comes and goes."""

    told: str
    begin: Callable[[World], object]
    end: Callable[[World], object]


def fill(table: str, when: str) -> Fault:
    """A disk that is full as soon as a table is written."""

    def begin(world: World) -> None:
        world.execute(RAISE)
        world.execute(f"CREATE TRIGGER full_disk BEFORE {when} ON {table} FOR EACH ROW EXECUTE FUNCTION fail()")

    return Fault("the database's disk is full", begin, lambda world: world.execute("DROP FUNCTION fail CASCADE"))


def set_read_only(world: World, *, read_only: bool) -> None:
    """Switch as a failover to a standby does: connections end, the new ones cannot write."""
    with psycopg.connect(world.conninfo, autocommit=True) as connection:
        connection.execute("SET default_transaction_read_only = off")
        name = sql.Identifier(connection.info.dbname)
        setting = sql.SQL("on" if read_only else "off")
        connection.execute(sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = {}").format(name, setting))
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def rename(old: str, new: str) -> Callable[[World], object]:
    return lambda world: world.execute(f"ALTER TABLE {old} RENAME TO {new}")


FAULTS = [
    pytest.param(fill("settlements", "INSERT"), id="full at the decision"),
    pytest.param(fill("trail_entries", "INSERT"), id="full at the audit trail"),
    pytest.param(fill("drops", "UPDATE"), id="full at the stock"),
    pytest.param(
        Fault(
            "the database is read-only",
            lambda world: set_read_only(world, read_only=True),
            lambda world: set_read_only(world, read_only=False),
        ),
        id="read-only",
    ),
    pytest.param(
        Fault("schema is not this version's", rename("trail_entries", "gone"), rename("gone", "trail_entries")),
        id="a table is not there",
    ),
    pytest.param(
        Fault(
            "schema is not this version's",
            lambda world: world.execute("ALTER TABLE drops RENAME COLUMN held TO gone"),
            lambda world: world.execute("ALTER TABLE drops RENAME COLUMN gone TO held"),
        ),
        id="a column is not there",
    ),
]


def settle_until_settled(origin: OriginProcess, tap: Tap) -> httpx.Response:
    """Settle again until it is; a pool may have connections that are about to be found broken."""
    deadline = time.monotonic() + PATIENCE_S
    answer = origin.settle(tap)
    while answer.status_code != 200 and time.monotonic() < deadline:
        answer = origin.settle(tap)
    return answer


@pytest.mark.parametrize("fault", FAULTS)
def test_it_says_so_stores_nothing_in_part_and_goes_on_by_itself(own_world: World, fault: Fault) -> None:
    origin, before, tap = own_world.start(), Tap(), Tap()
    assert origin.settle(before).status_code == 200
    fault.begin(own_world)
    refused = origin.settle(tap)
    assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
    assert int(refused.headers["retry-after"]) >= 1
    assert "No space left" not in refused.text
    assert fault.told in own_world.logs()
    fault.end(own_world)
    assert (own_world.count(), own_world.stock(), own_world.numbers()) == (1, (99, 0, 1), [1])
    assert own_world.execute("SELECT count(*) FROM trail_entries") == [(1,)]
    settled = settle_until_settled(origin, tap)
    assert settled.json()["run_numbers"] == [2]
    assert origin.settle(tap).content == settled.content
    assert origin.settle(before).json()["run_numbers"] == [1]
    assert (own_world.count(), own_world.stock(), own_world.numbers()) == (2, (98, 0, 2), [1, 2])


def test_a_read_only_database_still_tells_what_was_decided_and_is_not_ready(own_world: World) -> None:
    origin, tap = own_world.start(), Tap()
    settled = origin.settle(tap)
    set_read_only(own_world, read_only=True)
    until(lambda: origin.read(tap).status_code == 200)
    assert origin.read(tap).content == settled.content
    assert origin.client.get("/ready").status_code == 503
    set_read_only(own_world, read_only=False)
    until(lambda: origin.client.get("/ready").status_code == 200)


def test_a_connection_that_is_cut_in_the_middle_of_a_batch_settles_once(world: World) -> None:
    origin, taps = world.start(), [Tap() for _ in range(8)]
    with world.hold() as hold, ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(origin.settle_patiently, tap) for tap in taps]
        until(lambda: bool(world.waiting_backends()))
        for backend in world.waiting_backends():
            world.execute("SELECT pg_terminate_backend(%s)", backend)
        hold.release()
        assert [future.result().status_code for future in asked] == [200] * 8
    assert world.numbers() == list(range(1, 9))
    assert (world.count(), world.stock()) == (8, (92, 0, 8))
