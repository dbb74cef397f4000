"""Writing a drop's trail to a file that anyone can check (`shared.audit.exports` says what is in it)."""

from collections.abc import AsyncIterator

from origin.database import Connection
from origin.trail.trail_store import CHUNK, read_heads, read_slice, read_stock_row, read_tail
from shared.audit.exports import Ending, EntryLine, HeadLine, Opening, Stock, write_line
from shared.audit.trail import show_hash


async def export_lines(connection: Connection, drop: str, issuer: str, now_ms: int) -> AsyncIterator[bytes]:
    """Give the lines of a drop's file, in chunks. Within a transaction that sees one state of the database."""
    yield write_line(Opening(drop=drop, issuer=issuer, written_ms=now_ms))
    for _, head in await read_heads(connection, drop):
        yield write_line(HeadLine(head=head))
    last, count = (await read_tail(connection, drop)).position, 0
    for first in range(1, last + 1, CHUNK):
        entries = await read_slice(connection, drop, first, min(last, first + CHUNK - 1))
        count += len(entries)
        yield b"".join(write_line(EntryLine(entry=entry, hash=show_hash(chained))) for entry, chained in entries)
    row = await read_stock_row(connection, drop)
    stock = None if row is None else Stock(total=row.total, free=row.free, held=row.held, settled=row.settled)
    yield write_line(Ending(entries=count, stock=stock))
