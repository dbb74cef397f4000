"""Signing heads of trails when somebody needs one: for a proof, for an export, and at each reconciliation.

No lock is needed: entries never change, so a head says the same whenever it is signed. A position has one head.
"""

from typing import NamedTuple

from origin.database import Connection
from origin.settlement.receipts import SigningKeys
from origin.trail.appending import sign_head
from origin.trail.trail_store import add_heads, read_head_after, read_tail, read_unsigned_tails


class Signer(NamedTuple):
    """In whose name heads are signed: the origin's public address, and its keys."""

    issuer: str
    keys: SigningKeys


async def sign_open_ends(connection: Connection, signer: Signer, now_ms: int) -> int:
    """Sign where each trail ends, unless a head says so already; return how many were signed."""
    tails = await read_unsigned_tails(connection)
    await add_heads(connection, [sign_head(drop, tail, *signer, now_ms) for drop, tail in tails.items()])
    return len(tails)


async def sign_open_end(connection: Connection, drop: str, signer: Signer, now_ms: int) -> int:
    """Sign where one trail ends, unless a head says so already; return the position of its end."""
    tail = await read_tail(connection, drop)
    if tail.position and await read_head_after(connection, drop, tail.position) is None:
        await add_heads(connection, [sign_head(drop, tail, *signer, now_ms)])
    return tail.position


async def cover(
    connection: Connection, drop: str, position: int, signer: Signer, now_ms: int
) -> tuple[int, str] | None:
    """Return the position and the text of the first head that covers an entry; None when there is no such entry."""
    found = await read_head_after(connection, drop, position)
    if found is not None:
        return found
    end = await sign_open_end(connection, drop, signer, now_ms)
    return await read_head_after(connection, drop, position) if 0 < position <= end else None
