"""SQL of returns. All of it within the transaction that holds the lock of the drop's row."""

from typing import Final, NamedTuple

from psycopg.rows import class_row

from origin.database import Connection
from shared.claims.states import State
from shared.structs import Wire

_FIND_DROP: Final = "SELECT drop FROM settlements WHERE claim_id = %s"
_SOLD: Final = """
    SELECT claim_id, drop, viewer, creator, status AS state, quantity, currency, receipt
    FROM settlements WHERE claim_id = %s
"""
_KEPT: Final = "SELECT key, request, document, payment FROM returns WHERE claim_id = %s"
_MARK: Final = "UPDATE settlements SET status = %s WHERE claim_id = %s AND status = 'settled'"
_ADD: Final = """
    INSERT INTO returns (claim_id, key, request, payment, document, returned_ms) VALUES (%s, %s, %s, %s, %s, %s)
"""


class SoldRow(Wire, frozen=True, kw_only=True):
    """A settlement, as far as its return needs it; no receipt where it was refused."""

    claim_id: str
    drop: str
    viewer: str
    creator: str
    state: State
    quantity: int
    currency: str
    receipt: bytes | None


class KeptReturn(NamedTuple):
    """A return that was made: `document` is its answer."""

    key: str
    request: str
    document: bytes
    payment: str | None


async def find_drop(connection: Connection, claim_id: str) -> str | None:
    """Return the drop of a decided claim: it never changes, so it may be read before the lock."""
    row = await (await connection.execute(_FIND_DROP, [claim_id])).fetchone()
    return None if row is None else str(row[0])


async def read_sold(connection: Connection, claim_id: str) -> SoldRow:
    """Return a decided claim."""
    row = await (await connection.cursor(row_factory=class_row(SoldRow)).execute(_SOLD, [claim_id])).fetchone()
    if row is None:
        raise AssertionError(f"claim {claim_id} is not decided")
    return row


async def read_return(connection: Connection, claim_id: str) -> KeptReturn | None:
    """Return the return of a claim, if there is one."""
    row = await (await connection.execute(_KEPT, [claim_id])).fetchone()
    return None if row is None else KeptReturn(*row)


async def keep_return(connection: Connection, claim_id: str, state: State, kept: KeptReturn, now_ms: int) -> None:
    """Store a return, and mark its settlement.

    Raises:
        AssertionError: the claim is not settled any more, which the drop's lock makes impossible.
    """
    marked = await connection.execute(_MARK, (state.value, claim_id))
    if marked.rowcount != 1:
        raise AssertionError(f"claim {claim_id} is not settled")
    await connection.execute(_ADD, (claim_id, kept.key, kept.request, kept.payment, kept.document, now_ms))
