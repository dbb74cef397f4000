"""Rows that were encoded here, as the database reads them."""

import asyncio
from collections.abc import Iterator

from origin import copying
from origin.database import Connection, Database
from tests.postgres.world import World

VALUES = [
    ("", b"", 0, 0, "{}"),
    ("a text, \t \\ and \U0001f6cd", bytes(range(256)), 2**31 - 1, 2**63 - 1, '{"a": [1, "ü"]}'),
    ("x" * 255, b"y" * 255, -(2**31), -(2**63), "[]"),
    ("x" * 256, b"y" * 256, -1, -1, "null"),
    ("ü" * 200, b"y" * 70_000, 1, 1, '"' + "z" * 300 + '"'),
    (None, None, None, None, "1"),
]


def encode_all() -> Iterator[bytes]:
    for written, raw, small, large, document in VALUES:
        parts = (copying.text(written), copying.data(raw), copying.int4(small), copying.int8(large))
        yield copying.open_row(5) + b"".join(parts) + copying.jsonb((document or "").encode())


async def copy_and_read(connection: Connection, rows: Iterator[bytes]) -> list[tuple[object, ...]]:
    await connection.execute("CREATE TEMPORARY TABLE kept (a text, b bytea, c integer, d bigint, e jsonb)")
    await copying.copy_rows(connection, "COPY kept FROM STDIN (FORMAT BINARY)", rows)
    return await (await connection.execute("SELECT a, b, c, d, e::text FROM kept ORDER BY ctid")).fetchall()


def read_back(world: World, rows: Iterator[bytes]) -> list[tuple[object, ...]]:
    async def run() -> list[tuple[object, ...]]:
        database = Database(world.conninfo)
        await database.open()
        try:
            async with database.transaction() as connection:
                return await copy_and_read(connection, rows)
        finally:
            await database.close()

    return asyncio.run(run())


def test_every_value_is_read_as_it_was(world: World) -> None:
    assert read_back(world, encode_all()) == VALUES


def test_no_rows_are_no_statement(world: World) -> None:
    assert read_back(world, iter(())) == []


def test_many_blocks_hold_every_row(world: World) -> None:
    one = copying.open_row(5) + copying.text("x" * 900) + copying.NULL * 4
    assert len(read_back(world, iter([one] * 500))) == 500
