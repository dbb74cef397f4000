"""SQL of settlements: the drop's lock, earlier decisions, new ones, the drop's new row.

Rules:

1. The order is: lock the drops (in the order of their ids, so that no two transactions wait for each other), then read
   what was decided, then write. Each statement sees all that was committed before it began, so after the lock nothing
   that concerns these drops can be missed.
2. Statements are set-based: their number does not depend on the number of claims. New rows go in by COPY, which was
   measured at four times the rows a second of `INSERT ... SELECT FROM unnest(...)`, and in its binary format, which
   the server reads in half the time of text. The server would keep up to 1,000 rows of it before it stores the first;
   with a condition that it cannot know beforehand it stores each as it comes, while this process makes the next.
3. Lists of ids go as one text (`join_ids`): no id has a comma, and the driver's own arrays took longer to write than
   the server took to look all of them up.
4. What is looked up for each batch keeps its plan (`prepare=True`; `origin.database`, rule 4): planning took longer
   than the looking up.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from psycopg import AsyncCursor
from psycopg.rows import TupleRow, class_row

from origin.copying import copy_rows
from origin.database import Connection
from origin.settlement.answers import Decision
from origin.settlement.holds_store import PaidBy, StoredHold, ask_concerned, join_ids
from origin.settlement.rows import COLUMNS
from origin.trail.trail_store import ASK_TAILS, read_tails
from shared.audit.trail import Tail
from shared.claims.bundles import list_parts
from shared.claims.settlement import DropStock, PartUnits
from shared.claims.tokens import Claim
from shared.problems import Code

_DROP_COLUMNS: Final = """
    drop, run, sku, total, free, held, settled, next_number, stock_version AS version, per_viewer_cap, max_quantity,
    late_payment, hold_s, pickup_place, pickup_from_ms, pickup_until_ms, allotment_of, release_at_ms, received,
    released, parts
"""
# With the drops: what bundles draw on, the pools that their own units go to, and the allotments that are theirs by now.
_LOCK: Final = f"""
    WITH asked AS MATERIALIZED (
      SELECT %(drops)s::text[] || ARRAY(
        SELECT unnest(CASE
          WHEN parts IS NULL THEN ARRAY[allotment_of] ELSE ARRAY(SELECT jsonb_array_elements(parts) ->> 'drop')
        END)
        FROM drops WHERE drop = ANY(%(drops)s) AND (release_at_ms <= %(now)s OR parts IS NOT NULL)
      ) AS drops
    )
    SELECT {_DROP_COLUMNS} FROM drops WHERE drop = ANY((SELECT drops FROM asked)
      || ARRAY(
        SELECT drop FROM drops WHERE allotment_of = ANY((SELECT drops FROM asked)::text[]) AND release_at_ms <= %(now)s
      ))
    ORDER BY drop FOR UPDATE
"""  # noqa: S608 - our own column list
_DECISION_COLUMNS: Final = """
    claim_id, drop, fingerprint,
    CASE status WHEN 'cancelled' THEN 'claim_cancelled' WHEN 'refunded' THEN 'claim_refunded' ELSE code END AS code,
    CASE status WHEN 'settled' THEN receipt END AS receipt, CASE status WHEN 'settled' THEN kid END AS kid,
    source, settled_at_ms AS decided_at_ms, stock_total, stock_remaining, stock_version
"""
_DECIDED: Final = (
    f"SELECT {_DECISION_COLUMNS} FROM settlements WHERE claim_id = ANY((SELECT string_to_array(%s, ','))::text[])"  # noqa: S608 - as above
)
_TAKEN: Final = """
    SELECT drop, run, viewer, sum(quantity)::int FROM settlements
    WHERE drop = ANY(%s) AND viewer = ANY((SELECT string_to_array(%s, ','))::text[]) AND status = 'settled'
    GROUP BY drop, run, viewer
"""
# One search of the index for each claim; above, one for each drop with each viewer.
_TAKEN_OF_SEVERAL: Final = """
    SELECT asked.drop, mine.run, asked.viewer, mine.units
    FROM unnest(%s::text[], %s::text[]) AS asked (drop, viewer) CROSS JOIN LATERAL (
      SELECT run, sum(quantity)::int AS units FROM settlements
      WHERE settlements.drop = asked.drop COLLATE "C" AND settlements.viewer = asked.viewer COLLATE "C"
        AND status = 'settled'
      GROUP BY run
    ) AS mine
"""
_PAID_OFFERS: Final = "SELECT offer, payment FROM offers WHERE offer = ANY(%s) AND payment IN ('card', 'wallet')"
_WRITE: Final = f"COPY settlements ({', '.join(COLUMNS)}) FROM STDIN (FORMAT BINARY) WHERE random() >= 0"
_UPDATE: Final = """
    UPDATE drops SET total = new.total, free = new.free, held = new.held, settled = new.settled,
      next_number = new.next_number, stock_version = new.version, received = new.received, released = new.released,
      updated_ms = %s
    FROM unnest(%s::text[], %s::int[], %s::int[], %s::int[], %s::int[], %s::int[], %s::bigint[], %s::int[], %s::int[])
      AS new (drop, total, free, held, settled, next_number, version, received, released)
    WHERE drops.drop = new.drop COLLATE "C"
"""
_CHANGING: Final = ("drop", "total", "free", "held", "settled", "next_number", "version", "received", "released")


class Known(NamedTuple):
    """What the database knows of the claims of a batch, read under the drops' locks.

    Attributes:
        drops: rows by id; those that do not exist are not there. With them, the pools and allotments that are
            concerned.
        decided: earlier decisions by claim id.
        taken: settled units by (drop, run, viewer).
        tails: where the drops' audit trails end; those without entries are not there.
        holds: by claim id: those of the claims, live ones of their viewers, and overdue ones of the drops.
        paid_by: how the offers of the claims are paid, of those that are paid before they settle.
    """

    drops: Mapping[str, DropStock]
    decided: Mapping[str, Decision]
    taken: Mapping[tuple[str, str, str], int]
    tails: Mapping[str, Tail]
    holds: Mapping[str, StoredHold]
    paid_by: Mapping[str, PaidBy]


class _Asked(NamedTuple):
    """Cursors of what is on its way, in a pipeline."""

    decided: AsyncCursor[Decision]
    taken: AsyncCursor[TupleRow]
    tails: AsyncCursor[TupleRow]
    paid_by: AsyncCursor[TupleRow]
    holds: AsyncCursor[StoredHold]


async def lock_and_read(connection: Connection, drops: Sequence[str], claims: Sequence[Claim], now_ms: int) -> Known:
    """Lock `drops`, those of `claims` among them, and return what is known. In a transaction.

    One round trip; where there are bundles, another one for their parts.
    """
    async with connection.pipeline():
        locked = await _lock(connection, drops, now_ms)
        asked = await _ask(connection, drops, claims, now_ms)
        known = await _fetch(asked, await _fetch_drops(locked))
    return await _with_parts(connection, known, claims, now_ms)


async def lock_drops(connection: Connection, drops: Sequence[str], now_ms: int) -> dict[str, DropStock]:
    """Lock drops until the transaction ends, and return their rows, and those of all that they are tied to, by id."""
    return await _fetch_drops(await _lock(connection, drops, now_ms))


async def read_known(
    connection: Connection, locked: Mapping[str, DropStock], drops: Sequence[str], claims: Sequence[Claim], now_ms: int
) -> Known:
    """Return what is known of `claims` on `drops`, which `lock_drops` has locked; in all as `lock_and_read`."""
    async with connection.pipeline():
        known = await _fetch(await _ask(connection, drops, claims, now_ms), locked)
    return await _with_parts(connection, known, claims, now_ms)


async def _lock(connection: Connection, drops: Sequence[str], now_ms: int) -> AsyncCursor[DropStock]:
    cursor = connection.cursor(row_factory=class_row(DropStock))
    return await cursor.execute(_LOCK, {"drops": sorted(drops), "now": now_ms}, prepare=True)


async def _fetch_drops(locked: AsyncCursor[DropStock]) -> dict[str, DropStock]:
    return {row.drop: row for row in await locked.fetchall()}


async def _ask(connection: Connection, drops: Sequence[str], claims: Sequence[Claim], now_ms: int) -> _Asked:
    names = sorted(drops)
    ids = join_ids({claim.jti for claim in claims})
    viewers = join_ids({claim.cnf.jkt for claim in claims})
    offers = list({claim.offer for claim in claims})
    decided = await connection.cursor(row_factory=class_row(Decision)).execute(_DECIDED, (ids,), prepare=True)
    if len(names) == 1:
        taken = await connection.execute(_TAKEN, (names, viewers), prepare=True)
    else:
        asked = {(claim.drop, claim.cnf.jkt) for claim in claims}
        columns = [drop for drop, _ in asked], [viewer for _, viewer in asked]
        taken = await connection.execute(_TAKEN_OF_SEVERAL, columns, prepare=True)
    return _Asked(
        decided=decided,
        taken=taken,
        tails=await connection.execute(ASK_TAILS, (names,), prepare=True),
        paid_by=await connection.execute(_PAID_OFFERS, (offers,), prepare=True),
        holds=await ask_concerned(connection, names, ids, viewers, now_ms),
    )


async def _fetch(asked: _Asked, drops: Mapping[str, DropStock]) -> Known:
    return Known(
        drops=drops,
        decided={row.claim_id: _typed(row) for row in await asked.decided.fetchall()},
        taken=_by_viewer(await asked.taken.fetchall()),
        tails=read_tails(await asked.tails.fetchall()),
        holds=_by_claim(await asked.holds.fetchall()),
        paid_by=dict(await asked.paid_by.fetchall()),
    )


async def write_decisions(connection: Connection, rows: Iterable[bytes]) -> None:
    """Store new decisions, each encoded by `origin.settlement.rows`; see `copy_rows`.

    Raises:
        ClashError: through the transaction, when one of the claims was decided elsewhere meanwhile.
    """
    await copy_rows(connection, _WRITE, rows)


async def write_drops(connection: Connection, drops: Sequence[DropStock], now_ms: int) -> None:
    """Store the new stock of drops."""
    if drops:
        columns = [[getattr(drop, name) for drop in drops] for name in _CHANGING]
        await connection.execute(_UPDATE, (now_ms, *columns), prepare=True)


async def read_decisions(connection: Connection, claim_ids: Sequence[str]) -> dict[str, Decision]:
    """Return what was decided of those claims, by id."""
    cursor = connection.cursor(row_factory=class_row(Decision))
    await cursor.execute(_DECIDED, (join_ids(claim_ids),), prepare=True)
    return {row.claim_id: _typed(row) for row in await cursor.fetchall()}


def _typed(row: Decision) -> Decision:
    """Give the code of a row its type: the driver hands texts."""
    return row if row.code is None else msgspec.structs.replace(row, code=Code(row.code))


async def _with_parts(connection: Connection, known: Known, claims: Sequence[Claim], now_ms: int) -> Known:
    """Return what is known with what the parts of bundles need, where there are any; their drops are locked."""
    if not any(row.parts for row in known.drops.values()):
        return known
    drops = {name: _typed_parts(row) if row.parts else row for name, row in known.drops.items()}
    names = sorted({part.drop for row in drops.values() for part in row.parts or ()})
    on_bundles = [claim for claim in claims if claim.drop in drops and drops[claim.drop].parts]
    ids = join_ids({part.jti for claim in on_bundles for part in list_parts(claim, drops)})
    viewers = join_ids({claim.cnf.jkt for claim in on_bundles})
    async with connection.pipeline():
        taken = await connection.execute(_TAKEN, (names, viewers), prepare=True)
        tails = await connection.execute(ASK_TAILS, (names,), prepare=True)
        holds = await ask_concerned(connection, names, ids, viewers, now_ms)
        return known._replace(
            drops=drops,
            taken={**known.taken, **_by_viewer(await taken.fetchall())},
            tails={**known.tails, **read_tails(await tails.fetchall())},
            holds={**known.holds, **_by_claim(await holds.fetchall())},
        )


def _typed_parts(row: DropStock) -> DropStock:
    return msgspec.structs.replace(row, parts=msgspec.convert(row.parts, tuple[PartUnits, ...]))


def _by_viewer(rows: Iterable[tuple[Any, ...]]) -> dict[tuple[str, str, str], int]:
    return {(drop, run, viewer): units for drop, run, viewer, units in rows}


def _by_claim(rows: Iterable[StoredHold]) -> dict[str, StoredHold]:
    return {row.claim_id: row for row in rows}
