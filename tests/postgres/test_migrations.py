"""Migrations: all or nothing, one at a time, and no other files than those that a database was made with."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from origin.migrate import Migration, Report, list_migrations, migrate
from shared.errors import ConfigurationError, ServiceAwayError
from tests.postgres.servers import Server
from tests.postgres.world import ROOT, together

NAMES = tuple(migration.name for migration in list_migrations())


@pytest.fixture
def empty(server: Server) -> Iterator[str]:
    with server.database("template0") as made:
        yield made


def tables(conninfo: str) -> int:
    with psycopg.connect(conninfo) as connection:
        row = connection.execute("SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'")
        return int((row.fetchone() or (0,))[0])


def command(conninfo: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "origin.migrate", *arguments],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": conninfo},
        capture_output=True,
        text=True,
        check=False,
    )


def test_command_run_twice_at_once_migrates_once(empty: str) -> None:
    done = together(lambda _: command(empty, "--json"), range(4))
    assert [one.returncode for one in done] == [0] * 4
    reports = [msgspec.json.decode(one.stdout, type=Report) for one in done]
    assert sorted(report.applied for report in reports) == [(), (), (), NAMES]
    assert {report.schema for report in reports} == {NAMES}


def test_command_says_what_it_did(empty: str) -> None:
    assert command(empty).stdout == f"applied: {', '.join(NAMES)}\n"
    assert command(empty).stdout == "applied: nothing, the schema is up to date\n"


def test_user_who_may_not_make_tables_is_refused(empty: str) -> None:
    with psycopg.connect(empty, autocommit=True) as connection:
        connection.execute("CREATE ROLE reader LOGIN")
    try:
        with pytest.raises(ConfigurationError, match="may not do this: permission denied for schema public"):
            migrate(make_conninfo(empty, user="reader"), list_migrations(), 0)
    finally:
        with psycopg.connect(empty, autocommit=True) as connection:
            connection.execute("DROP ROLE reader")


def test_address_that_is_none_is_refused_without_repeating_it(empty: str) -> None:
    done = command(f"hunter2 {empty}")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("cliptill: DATABASE_URL is no connection string of PostgreSQL: write it as")
    assert "hunter2" not in done.stderr


def test_migration_that_fails_leaves_nothing(empty: str) -> None:
    broken = Migration(name="9999_broken", sql=b"CREATE TABLE half (); SELECT 1 / 0", sha256="x")
    with pytest.raises(psycopg.errors.DivisionByZero):
        migrate(empty, (*list_migrations(), broken), 0)
    assert tables(empty) == 0
    assert migrate(empty, list_migrations(), 0).applied == NAMES


def test_killed_in_the_middle_leaves_nothing(empty: str) -> None:
    program = f"""
from origin.migrate import Migration, list_migrations, migrate
slow = Migration(name="9999_slow", sql=b"SELECT pg_sleep(30)", sha256="x")
migrate({empty!r}, (*list_migrations(), slow), 0)
"""
    process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT)
    with psycopg.connect(empty, autocommit=True) as connection:
        asleep = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
        while not (sleeping := connection.execute(asleep).fetchall()):
            assert process.poll() is None
        process.kill()
        process.wait()
        connection.execute("SELECT pg_terminate_backend(%s)", sleeping[0])  # the server would notice after its query
    assert migrate(empty, list_migrations(), 0).applied == NAMES


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("UPDATE schema_migrations SET sha256 = 'x'", "is not the file"),
        ("INSERT INTO schema_migrations VALUES ('9999_later', 'x', 0)", "newer than this version: 9999_later"),
    ],
    ids=["another file", "a newer schema"],
)
def test_database_of_another_history_is_refused(conninfo: str, change: str, complaint: str) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(change.encode())
    with pytest.raises(ConfigurationError, match=complaint):
        migrate(conninfo, list_migrations(), 0)
    done = command(conninfo)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("cliptill: ")


def test_database_that_is_away_is_told_in_one_line(tmp_path: Path) -> None:
    nowhere = f"host={tmp_path} dbname=nothing"
    with pytest.raises(ServiceAwayError):
        migrate(nowhere, list_migrations(), 0)
    done = command(nowhere)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("cliptill: the database is away: connection is bad: connection to server on socket")


def test_stock_that_does_not_add_up_is_refused_by_the_database(conninfo: str) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO drops (drop, run, sku, total, free, opens_at_ms, closes_at_ms, created_ms, updated_ms) "
            "VALUES ('d', 'r', 's', 5, 5, 0, 1, 0, 0)"
        )
        for change in (
            "UPDATE drops SET free = 4",
            "UPDATE drops SET settled = 1",
            "UPDATE drops SET free = -1, settled = 6",
            "UPDATE drops SET total = 6",
        ):
            with pytest.raises(psycopg.errors.CheckViolation):
                connection.execute(change.encode())
