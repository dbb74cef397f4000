"""SQL of the audit trail.

Whoever appends holds the lock of the drop's row; readers need none, because entries never change. Entries go in by
COPY, as settlements do (`origin.settlement.settlements_store`).
"""

import hashlib
from collections.abc import AsyncIterator, Iterable, Sequence
from struct import Struct
from typing import Any, Final, NamedTuple

from origin.copying import SIZES, copy_rows, open_row
from origin.database import Connection
from origin.trail.appending import NewEntry, NewHead
from shared.audit.trail import Entry, Tail

CHUNK: Final = 2_000
ENTRY_WIDTH: Final = 10  # columns of an entry
ASK_TAILS: Final = """
    SELECT asked.drop, last.position, last.hash, last.settled
    FROM unnest(%s::text[]) AS asked (drop) CROSS JOIN LATERAL (
      SELECT position, hash, settled FROM trail_entries
      WHERE trail_entries.drop = asked.drop COLLATE "C" ORDER BY position DESC LIMIT 1
    ) AS last
"""
_ADD: Final = """
    COPY trail_entries (drop, position, kind, claim_id, units, settled, at_ms, content, facts, hash) FROM STDIN
      (FORMAT BINARY) WHERE random() >= 0
"""
_OPEN: Final = open_row(ENTRY_WIDTH)
_PLACE: Final = Struct("!iq").pack
_COUNTS: Final = Struct("!iiiqiq").pack
_DIGEST: Final = SIZES[hashlib.sha256().digest_size]
_ADD_HEAD: Final = "INSERT INTO trail_heads VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING"
_HEAD_AFTER: Final = """
    SELECT position, head FROM trail_heads WHERE drop = %s AND position >= %s ORDER BY position LIMIT 1
"""
_ENTRY_COLUMNS: Final = """
    drop, position, kind, claim_id, units, settled, at_ms, encode(content, 'hex') AS content,
    encode(facts, 'hex') AS facts, hash
"""
_SLICE: Final = f"""
    SELECT {_ENTRY_COLUMNS} FROM trail_entries WHERE drop = %s AND position BETWEEN %s AND %s ORDER BY position
"""  # noqa: S608 - our own column list
_UNSIGNED: Final = """
    SELECT drops.drop, last.position, last.hash, last.settled
    FROM drops CROSS JOIN LATERAL (
      SELECT position, hash, settled FROM trail_entries
      WHERE trail_entries.drop = drops.drop ORDER BY position DESC LIMIT 1
    ) AS last
    WHERE NOT EXISTS (SELECT FROM trail_heads AS made WHERE made.drop = drops.drop AND made.position = last.position)
    ORDER BY drops.drop
"""
_HEADS_AFTER: Final = "SELECT head FROM trail_heads WHERE drop = %s AND position > %s ORDER BY position LIMIT %s"
_NEWEST_HEAD: Final = "SELECT head FROM trail_heads WHERE drop = %s ORDER BY position DESC LIMIT 1"
_HEADS: Final = "SELECT position, head FROM trail_heads WHERE drop = %s ORDER BY position"
# What is left of either side alone is what was removed or inserted.
# `undone`: of a settlement, whether the trail says further on that it was returned.
_PAIRS: Final = f"""
    SELECT entry.*, undone.claim_id IS NOT NULL AS undone, back.document, back.key, back.request, back.returned_ms,
      made.claim_id AS made_claim_id, made.status, made.receipt, made.viewer, made.run, made.fingerprint, made.quantity,
      made.first_number, made.total_minor, made.currency, made.creator, made.clip, made.offer, made.arm,
      made.lines::text AS lines, made.kid, made.source, made.settled_at_ms, made.stock_total, made.stock_remaining,
      made.stock_version
    FROM (SELECT {_ENTRY_COLUMNS} FROM trail_entries WHERE drop = %(drop)s) AS entry
    FULL JOIN (SELECT * FROM settlements WHERE drop = %(drop)s AND status <> 'refused') AS made
      ON made.claim_id = entry.claim_id AND entry.kind = 'settled'
    LEFT JOIN returns AS back ON back.claim_id = entry.claim_id
    LEFT JOIN (SELECT claim_id FROM trail_entries WHERE drop = %(drop)s AND kind = 'returned') AS undone
      ON undone.claim_id = entry.claim_id AND entry.kind = 'settled'
    ORDER BY entry.position NULLS LAST, made.claim_id
"""  # noqa: S608 - our own column list
_TIED: Final = "SELECT claim_id, drop, status, receipt FROM settlements WHERE claim_id = ANY(%s)"
_STOCK: Final = """
    SELECT total, free, held, settled, run, next_number, (
      SELECT coalesce(sum(quantity), 0)::bigint FROM holds WHERE holds.drop = drops.drop AND state = 'held'
    ) AS holds
    FROM drops WHERE drop = %s
"""


class Stored(NamedTuple):
    """An entry, and the hash that is stored with it."""

    entry: Entry
    hash: bytes


class Made(NamedTuple):
    """A settlement as it is stored, as far as its entry covers it."""

    claim_id: str
    status: str
    receipt: bytes
    viewer: str
    run: str
    fingerprint: str
    quantity: int
    first_number: int
    total_minor: int
    currency: str
    creator: str
    clip: str
    offer: str
    arm: str
    lines: str
    kid: str
    source: str
    settled_at_ms: int
    stock_total: int
    stock_remaining: int
    stock_version: int


class StockRow(NamedTuple):
    """A drop's row as far as it can be computed from others; `holds` is what its holds add up to."""

    total: int
    free: int
    held: int
    settled: int
    run: str
    next_number: int
    holds: int


class Back(NamedTuple):
    """A return as it is stored."""

    document: bytes
    key: str
    request: str
    returned_ms: int


class Tied(NamedTuple):
    """A settlement of another drop that one stands and falls with; no receipt where it was refused."""

    claim_id: str
    drop: str
    status: str
    receipt: bytes | None


class Pair(NamedTuple):
    """An entry and its settlement, either of which may be missing; or the entry of a return.

    Attributes:
        returned: the stored return of the entry's claim.
        undone: whether another entry says that the settlement was returned.
    """

    stored: Stored | None
    made: Made | None
    returned: Back | None = None
    undone: bool = False


def read_tails(rows: Iterable[tuple[Any, ...]]) -> dict[str, Tail]:
    """Return where trails end, by drop, from the rows of `ASK_TAILS`; those without entries are not there."""
    return {drop: Tail(position, chained, settled) for drop, position, chained, settled in rows}


async def write_trail(connection: Connection, entries: Iterable[NewEntry]) -> None:
    """Store what was appended, within the transaction that decided; see `copy_rows`."""
    await copy_rows(connection, _ADD, map(_encode_entry, entries))


async def add_heads(connection: Connection, heads: Sequence[NewHead]) -> None:
    """Store heads; one that is there for its position stays."""
    if heads:
        await connection.cursor().executemany(_ADD_HEAD, heads)


async def read_unsigned_tails(connection: Connection) -> dict[str, Tail]:
    """Return where trails end whose end no head covers."""
    found = await connection.execute(_UNSIGNED)
    return read_tails(await found.fetchall())


async def read_head_after(connection: Connection, drop: str, position: int) -> tuple[int, str] | None:
    """Return the first head that covers a position, with its own position."""
    row = await (await connection.execute(_HEAD_AFTER, (drop, position))).fetchone()
    return None if row is None else (row[0], row[1])


async def read_slice(connection: Connection, drop: str, first: int, last: int) -> list[Stored]:
    """Return the entries from `first` to `last`."""
    found = await connection.execute(_SLICE, (drop, first, last))
    return [_stored(row) for row in await found.fetchall()]


async def stream_pairs(connection: Connection, drop: str) -> AsyncIterator[list[Pair]]:
    """Give a drop's entries in order, each with its settlement, then settlements without an entry. In a transaction."""
    async with connection.cursor("trail_pairs") as cursor:
        await cursor.execute(_PAIRS, {"drop": drop})
        while chunk := await cursor.fetchmany(CHUNK):
            yield [_pair(row) for row in chunk]


async def read_tied(connection: Connection, claim_ids: Sequence[str]) -> dict[str, Tied]:
    """Return those of the claims that were decided, of whatever drop."""
    if not claim_ids:
        return {}
    found = await connection.execute(_TIED, (list(claim_ids),))
    return {row[0]: Tied(*row) for row in await found.fetchall()}


async def read_heads(connection: Connection, drop: str) -> list[tuple[int, str]]:
    """Return all heads of a drop."""
    return [(position, head) for position, head in await (await connection.execute(_HEADS, (drop,))).fetchall()]


async def read_stock_row(connection: Connection, drop: str) -> StockRow | None:
    """Return the stock of a drop."""
    row = await (await connection.execute(_STOCK, (drop,))).fetchone()
    return None if row is None else StockRow(*row)


async def read_tail(connection: Connection, drop: str) -> Tail:
    """Return where a drop's trail ends."""
    found = await connection.execute(ASK_TAILS, ([drop],), prepare=True)
    return read_tails(await found.fetchall()).get(drop, Tail())


async def read_heads_after(connection: Connection, drop: str, position: int, limit: int) -> list[str]:
    """Return the heads after a position, in order."""
    return [head for (head,) in await (await connection.execute(_HEADS_AFTER, (drop, position, limit))).fetchall()]


async def read_newest_head(connection: Connection, drop: str) -> str | None:
    """Return the newest head of a drop."""
    row = await (await connection.execute(_NEWEST_HEAD, (drop,))).fetchone()
    return None if row is None else row[0]


async def has_drop(connection: Connection, drop: str) -> bool:
    """Return whether there is a drop of this id."""
    return await (await connection.execute("SELECT FROM drops WHERE drop = %s", (drop,))).fetchone() is not None


def _stored(row: tuple[Any, ...]) -> Stored:
    drop, position, kind, claim_id, units, settled, at_ms, content, facts, chained = row
    entry = Entry(
        drop=drop,
        position=position,
        kind=kind,
        claim_id=claim_id,
        units=units,
        settled=settled,
        at_ms=at_ms,
        content=content,
        facts=facts,
    )
    return Stored(entry, chained)


def _pair(row: tuple[Any, ...]) -> Pair:
    stored = None if row[1] is None else _stored(row[:ENTRY_WIDTH])
    undone, *rest = row[ENTRY_WIDTH:]
    back, made = rest[: len(Back._fields)], rest[len(Back._fields) :]
    returned = None if back[0] is None else Back(*back)
    return Pair(stored, None if made[0] is None else Made(*made), returned, undone)


def _encode_entry(new: NewEntry) -> bytes:
    """Return the row of an entry."""
    drop, position, kind, claim_id, units, settled, at_ms, content, facts, chained = new
    of_drop, of_kind, of_claim = drop.encode(), kind.encode(), claim_id.encode()
    return b"".join((
        _OPEN, SIZES[len(of_drop)], of_drop, _PLACE(8, position), SIZES[len(of_kind)], of_kind,
        SIZES[len(of_claim)], of_claim, _COUNTS(4, units, 8, settled, 8, at_ms),
        _DIGEST, content, _DIGEST, facts, _DIGEST, chained,
    ))  # fmt: skip
