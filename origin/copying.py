"""Rows for PostgreSQL's COPY in its binary format, and sending them (documentation of COPY, "Binary Format").

The driver formats a row value by value, and waits for the connection after each. A batch's rows are alike in most of
their values, so whoever makes them can write those once, and fill in the others.
"""

from collections.abc import Iterable
from struct import Struct
from typing import Final

from origin.database import Connection

BLOCK_BYTES: Final = 16_384  # the server stores the rows of one while those of the next are made
NULL: Final = b"\xff\xff\xff\xff"
_SIGNATURE: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)  # no flags, no extension of the header
_TRAILER: Final = b"\xff\xff"
_INT4: Final = Struct("!ii").pack
_INT8: Final = Struct("!iq").pack
_JSONB_VERSION: Final = b"\x01"
# The first four bytes of nearly all values.
SIZES: Final = tuple(size.to_bytes(4, "big") for size in range(256))


def open_row(columns: int) -> bytes:
    """Return how a row of so many values begins."""
    return columns.to_bytes(2, "big")


def text(value: str | None) -> bytes:
    """Return a value of type text."""
    return NULL if value is None else data(value.encode())


def data(value: bytes | None) -> bytes:
    """Return a value of type bytea."""
    if value is None:
        return NULL
    size = len(value)
    return (SIZES[size] if size < len(SIZES) else size.to_bytes(4, "big")) + value


def jsonb(document: bytes) -> bytes:
    """Return a value of type jsonb."""
    return data(_JSONB_VERSION + document)


def int4(value: int | None) -> bytes:
    """Return a value of type integer."""
    return NULL if value is None else _INT4(4, value)


def int8(value: int | None) -> bytes:
    """Return a value of type bigint."""
    return NULL if value is None else _INT8(8, value)


async def copy_rows(connection: Connection, statement: str, rows: Iterable[bytes]) -> None:
    """Store rows; each is asked for when those before it are on their way. Without rows, nothing is sent.

    Args:
        connection: in a transaction.
        statement: `COPY ... FROM STDIN (FORMAT BINARY)`.
        rows: each with `open_row` and all its values.
    """
    rest = iter(rows)
    first = next(rest, None)
    if first is None:
        return
    async with connection.cursor() as cursor, cursor.copy(statement.encode()) as copy:
        block = bytearray(_SIGNATURE + first)
        for row in rest:
            block += row
            if len(block) >= BLOCK_BYTES:
                await copy.write(block)
                block = bytearray()
        await copy.write(block + _TRAILER)
