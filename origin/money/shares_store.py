"""SQL of shares: who has which part of a drop's sales, and what creators are owed.

Rules:

1. Shares are written while the drop's row is locked, and stay once it has opened or sold (`shared.catalogue.drops`).
2. What is owed is the ledger's: accounts `owed:CREATOR:DROP`, summed by the database itself (`creator_dues`).
"""

from collections.abc import Sequence
from typing import Final

from psycopg.rows import class_row

from origin.database import Connection
from shared.money.splits import SHOP, Share, change_split
from shared.structs import AmountMinor, CurrencyCode, Identifier, Wire

_READ: Final = "SELECT creator, share_bp FROM drop_shares WHERE drop = %s"
_ADD: Final = "INSERT INTO drop_shares (drop, creator, share_bp) VALUES (%s, %s, %s)"
_DUES: Final = """
    SELECT creator, drop, currency, owed_minor FROM creator_dues
    WHERE (creator, drop, currency) > (%(after_creator)s, %(after_drop)s, %(after_currency)s)
      AND (%(creator)s::text IS NULL OR creator = %(creator)s) AND (%(drop)s::text IS NULL OR drop = %(drop)s)
      AND owed_minor <> 0
    ORDER BY creator, drop, currency LIMIT %(limit)s
"""


class Due(Wire, frozen=True, kw_only=True):
    """What a creator is owed of what a drop has sold, in one currency."""

    creator: Identifier
    drop: Identifier
    currency: CurrencyCode
    owed_minor: AmountMinor


async def write_shares(connection: Connection, drop: str, shares: Sequence[Share]) -> None:
    """Store the shares of a drop that is locked, in place of those that it had."""
    await connection.execute("DELETE FROM drop_shares WHERE drop = %s", [drop])
    await connection.cursor().executemany(_ADD, [(drop, share.creator, share.share_bp) for share in shares])


async def share_out(  # noqa: PLR0913, PLR0917 - which sale, of whom, and what is kept of it
    connection: Connection, drop: str, creator: str, claim_id: str, before_minor: int, after_minor: int
) -> dict[str, int]:
    """Return the ledger's entries for a change of what is kept of a sale, by account.

    Args:
        connection: in a transaction that holds the drop's lock.
        drop: that was sold from.
        creator: of the clip that sold; the shop's own part is told by it.
        claim_id: of the sale.
        before_minor: what was kept of it; 0 before it is paid.
        after_minor: what is; 0 once all of it has gone back.
    """
    found = await connection.cursor(row_factory=class_row(Share)).execute(_READ, [drop])
    changes = change_split(before_minor, after_minor, await found.fetchall(), claim_id)
    return {f"sales:{creator}" if part == SHOP else f"owed:{part}:{drop}": amount for part, amount in changes.items()}


async def list_dues(
    connection: Connection, creator: str | None, drop: str | None, after: tuple[str, str, str], limit: int
) -> list[Due]:
    """Return a page of what creators are owed, by creator, drop and currency; of one creator, or one drop, if asked."""
    scope = {"creator": creator, "drop": drop, "limit": limit}
    scope |= dict(zip(("after_creator", "after_drop", "after_currency"), after, strict=True))
    return await (await connection.cursor(row_factory=class_row(Due)).execute(_DUES, scope)).fetchall()
