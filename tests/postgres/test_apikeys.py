"""Operators' keys: shown once, kept as a hash, worthless once revoked; the command's exit codes."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from origin.apikeys import KINDS, KeyKind, add_key, find_holder, hash_key, make_key, revoke_key
from origin.database import Connection, Database
from tests.postgres.edge_side import ROOT, query

T = TypeVar("T")


def on_connection(conninfo: str, story: Callable[[Connection], Awaitable[T]]) -> T:
    async def main() -> T:
        database = Database(conninfo)
        await database.open()
        try:
            async with database.connection() as connection:
                return await story(connection)
        finally:
            await database.close()

    return asyncio.run(main())


def run_keys(conninfo: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DATABASE_URL": conninfo}
    command = [sys.executable, "-m", "origin.keys", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_keys_are_long_and_never_the_same() -> None:
    keys = {make_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(re.fullmatch(r"ct_[A-Za-z0-9_-]{43}", key) for key in keys)


def test_a_key_is_known_until_it_is_revoked(conninfo: str) -> None:
    key = make_key()

    async def story(connection: Connection) -> list[str | None]:
        assert await add_key(connection, "shop", key, 1)
        before = await find_holder(connection, key, "operator")
        assert await revoke_key(connection, "shop", 2)
        assert await revoke_key(connection, "shop", 3)
        return [before, await find_holder(connection, key, "operator")]

    assert on_connection(conninfo, story) == ["shop", None]
    assert query(conninfo, "SELECT key_hash, revoked_ms FROM api_keys") == [(hash_key(key), 2)]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda _: make_key(), id="another"),
        pytest.param(lambda key: key[:-1] + ("A" if key[-1] != "A" else "B"), id="one-letter"),
        pytest.param(lambda key: key + "A", id="longer"),
        pytest.param(lambda key: key[:-1], id="shorter"),
        pytest.param(lambda key: key.replace("ct_", "CT_"), id="another-prefix"),
        pytest.param(lambda _: "", id="nothing"),
        pytest.param(lambda _: "ct_" + "ä" * 43, id="no-ascii"),
    ],
)
def test_what_is_not_the_key_is_nobody(conninfo: str, change: Callable[[str], str]) -> None:
    key = make_key()

    async def story(connection: Connection) -> str | None:
        await add_key(connection, "shop", key, 1)
        return await find_holder(connection, change(key), "operator")

    assert on_connection(conninfo, story) is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_opens_one_kind_of_door(conninfo: str, kind: KeyKind) -> None:
    made = run_keys(conninfo, "create", "somebody", "--for", kind).stdout.strip()

    async def story(connection: Connection) -> list[str | None]:
        return [await find_holder(connection, made, door) for door in KINDS]

    assert on_connection(conninfo, story) == ["somebody" if door == kind else None for door in KINDS]
    assert f" {kind} " in run_keys(conninfo, "list").stdout


def test_the_command_makes_lists_and_revokes_keys_and_keeps_none(conninfo: str) -> None:
    made = run_keys(conninfo, "create", "shop")
    key = made.stdout.strip()
    assert (made.returncode, len(key)) == (0, 46)
    assert on_connection(conninfo, lambda connection: find_holder(connection, key, "operator")) == "shop"
    again = run_keys(conninfo, "create", "shop")
    assert (again.returncode, again.stdout) == (1, "")
    listed = run_keys(conninfo, "list")
    assert (listed.returncode, "shop" in listed.stdout, "active" in listed.stdout) == (0, True, True)
    assert key not in listed.stdout + listed.stderr + made.stderr
    assert [run_keys(conninfo, "revoke", name).returncode for name in ("shop", "nobody")] == [0, 1]
    assert "revoked" in run_keys(conninfo, "list").stdout
    stored = query(conninfo, "SELECT * FROM api_keys")
    assert key[3:].encode() not in repr(stored).encode()


def test_wrong_use_and_an_absent_database_have_codes_of_their_own(conninfo: str) -> None:
    assert run_keys(conninfo).returncode == 2
    assert run_keys(conninfo, "create", "../../x").returncode == 2
    assert run_keys(conninfo, "create", "x", "--for", "anybody").returncode == 2
    away = run_keys("host=127.0.0.1 port=1 dbname=none", "list")
    assert (away.returncode, away.stderr) == (3, "cliptill: the database is away\n")
