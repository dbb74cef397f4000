"""Auditing a drop: its chain, its totals and its stock, computed again from the rows, and compared with them.

Rules:

1. All is read in one snapshot; what is committed meanwhile is in all of it or in none.
2. Rows are streamed in the order of the trail: memory does not grow with their number.
3. What is wrong with an entry is named once: a settlement is compared with a sound entry only.
4. A bundle is compared with its parts in other drops, and a part with its bundle.
"""

from collections.abc import Mapping, Sequence

from origin.database import Connection
from origin.trail.comparing import Numbers, compare_pair
from origin.trail.trail_store import Pair, StockRow, Tied, read_heads, read_stock_row, read_tied, stream_pairs
from origin.trail.tying import compare_tied, list_tied
from shared.audit.checking import Fault, TrailCheck
from shared.audit.exports import FaultList, Stock, check_stock
from shared.audit.heads import Verify, read_good_head
from shared.audit.trail import Head, show_hash
from shared.structs import Wire


class Audit(Wire, frozen=True, kw_only=True):
    """What auditing a drop came to.

    Attributes:
        entries, settled, hash: position, total and hash after the last entry.
        settlements: how many of them are stored.
        signed_until: position of the last signed head that fits; what is after it rests on the chain alone.
        stock: as it is stored; None when the drop's row is gone.
        faults: the first of them; `fault_count` counts all.
    """

    drop: str
    entries: int
    settled: int
    hash: str
    settlements: int
    heads: int
    signed_until: int
    stock: Stock | None
    fault_count: int
    faults: tuple[Fault, ...]


async def audit_drop(
    connection: Connection, drop: str, verify: Verify, published: tuple[str, ...] = ()
) -> Audit | None:
    """Audit a drop within the caller's snapshot; None when nothing is known of it.

    Args:
        connection: in a transaction that sees one state of the database.
        drop: its id.
        verify: whether a signature is one of the origin's.
        published: heads of it that are known from elsewhere: they show what the database alone cannot.
    """
    stock = await read_stock_row(connection, drop)
    kept = await read_heads(connection, drop)
    found = _Audit(drop, verify, [token for _, token in kept], published)
    async for pairs in stream_pairs(connection, drop):
        tied = await read_tied(connection, [claim for pair in pairs if pair.made for claim in list_tied(pair.made)])
        for pair in pairs:
            found.take(pair, tied)
    return None if stock is None and not kept and found.is_empty else found.finish(stock)


class _Audit:
    """An audit on its way."""

    def __init__(self, drop: str, verify: Verify, kept: list[str], published: tuple[str, ...]) -> None:
        self._faults = FaultList()
        stored = self._read(kept, verify, "stored")
        given = self._read(published, verify, "given")
        heads = [*stored, *(head for head in given if head.drop == drop)]  # those given may be of several drops
        self._drop = drop
        self._check = TrailCheck(drop, heads)
        self._heads = len(heads)
        self._numbers = Numbers()
        self._settlements = 0

    def _read(self, tokens: Sequence[str], verify: Verify, where: str) -> list[Head]:
        told = [read_good_head(token, verify) for token in tokens]
        forged = [place for place, head in enumerate(told, 1) if head is None]
        self._faults.add(Fault(code="head_forged", detail=f"{where} head {place}") for place in forged)
        return [head for head in told if head is not None]

    @property
    def is_empty(self) -> bool:
        """Whether there were no rows at all."""
        return not self._check.position and not self._settlements

    def take(self, pair: Pair, tied: Mapping[str, Tied]) -> None:
        """Check one more entry with its settlement, and with what that is tied to."""
        faults = [] if pair.stored is None else self._check.feed(*pair.stored)
        self._settlements += pair.made is not None
        if not any(fault.code == "entry_changed" for fault in faults):
            faults += compare_pair(pair)
        if faults:
            self._numbers.pass_over()
        elif pair.stored is not None and pair.made is not None:
            faults = self._numbers.take(pair.stored.entry, pair.made)
            faults += compare_tied(pair.made, pair.stored.entry.position, tied)
        self._faults.add(faults)

    def finish(self, row: StockRow | None) -> Audit:
        """Compare what is summed up, and return all that was found."""
        stock = None if row is None else Stock(total=row.total, free=row.free, held=row.held, settled=row.settled)
        self._faults.add(self._check.finish())
        self._faults.add(check_stock(stock, self._check.settled))
        if row is not None:
            self._faults.add(_check_row(row, self._numbers.next_of(row.run)))
        return Audit(
            drop=self._drop,
            entries=self._check.position,
            settled=self._check.settled,
            hash=show_hash(self._check.hash),
            settlements=self._settlements,
            heads=self._heads,
            signed_until=self._check.signed_until,
            stock=stock,
            fault_count=self._faults.count,
            faults=tuple(self._faults.listed),
        )


def _check_row(row: StockRow, next_number: int | None) -> list[Fault]:
    wrong = []
    if row.held != row.holds:
        wrong.append(f"{row.held} held, the holds say {row.holds}")
    if next_number is not None and row.next_number != next_number:
        wrong.append(f"the next number is {row.next_number} instead of {next_number}")
    return [Fault(code="stock_disagrees", detail=detail) for detail in wrong]
