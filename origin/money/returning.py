"""Returning settled claims: stock, money, audit trail and answer in one transaction; then the money goes back.

Rules:

1. The drop's row is locked first, then the payment's, as by whoever settles.
2. What the provider is asked comes after the commit, from what is stored: a process that is killed in between leaves
   a refund that is due, and the loop that looks after payments makes it.
3. Credit goes back in the same transaction, and so does what creators are owed of the sale.
4. A bundle comes back with all its parts, each into its own drop; no part comes back alone.
"""

from typing import Final

import msgspec
from msgspec.structs import replace

from origin.database import Connection
from origin.money import ledger_store as ledger
from origin.money import payments_store as store
from origin.money.payments_store import FIRST_LOOK_MS, StoredPayment
from origin.money.shares_store import share_out
from origin.money.wallet import WALLET, has_bought
from origin.settlement import returns_store as returns
from origin.settlement.answers import read_receipt
from origin.settlement.returns_store import KeptReturn, SoldRow
from origin.settlement.settlements_store import Known, lock_and_read, write_drops
from origin.settlement.settling import Settler
from origin.trail.appending import Trail, collect
from origin.trail.trail_store import add_heads, write_trail
from shared.audit.trail import Tail
from shared.claims.bundles import count_parts, derive_part_id
from shared.claims.returns import Outcome, Returned, ReturnOrder, Sold, decide_return, digest_order, put_back
from shared.claims.states import Actor, State
from shared.problems import Code

_ENCODE: Final = msgspec.json.Encoder().encode
_OUTCOMES: Final[dict[State, Outcome]] = {State.CANCELLED: "cancelled", State.REFUNDED: "refunded"}


async def return_claim(  # noqa: PLR0913, PLR0917 - who returns what, how, when
    connection: Connection,
    settler: Settler,
    claim_id: str,
    wanted: State,
    order: ReturnOrder,
    actor: Actor,
    now_ms: int,
) -> KeptReturn | Code:
    """Return a settled claim within the caller's transaction, once.

    Returns:
        The return, also when the same was asked before; or why there is none, and nothing is stored.
    """
    drop_id = await returns.find_drop(connection, claim_id)
    if drop_id is None:
        return Code.SETTLEMENT_UNKNOWN
    known = await lock_and_read(connection, [drop_id], (), now_ms)
    request = digest_order(wanted, order)
    before = await returns.read_return(connection, claim_id)
    if before is not None:
        return before if (before.key, before.request) == (order.key, request) else Code.ALREADY_RETURNED
    row = await returns.read_sold(connection, claim_id)
    payments = await store.list_payments(connection, claim_id)
    paid = next(filter(has_bought, payments), None)
    refund_minor = decide_return(_sold(row, paid), wanted, order, actor)
    if isinstance(refund_minor, Code) or drop_id not in known.drops:
        return refund_minor if isinstance(refund_minor, Code) else Code.NOT_SETTLED
    undoing = _Undoing(settler, known, wanted, order, actor, now_ms)
    kept = undoing.undo(row, paid, refund_minor)
    for part in count_parts(known.drops[drop_id].parts or ()):
        undoing.undo(await returns.read_sold(connection, derive_part_id(claim_id, part)), None, 0)
    await undoing.write(connection)
    if paid is not None:
        await _give_back(connection, row, paid, refund_minor, now_ms)
    return kept


class _Undoing:
    """Settlements of one return on their way back: that of a claim, and those of its parts."""

    def __init__(  # noqa: PLR0913, PLR0917 - who returns what, how, when
        self, settler: Settler, known: Known, wanted: State, order: ReturnOrder, actor: Actor, now_ms: int
    ) -> None:
        self._settler = settler
        self._known = known
        self._wanted = wanted
        self._order = order
        self._actor = actor
        self._now_ms = now_ms
        self._rows: list[SoldRow] = []
        self._trails: list[Trail] = []
        self._kept: dict[str, KeptReturn] = {}

    def undo(self, row: SoldRow, paid: StoredPayment | None, refund_minor: int) -> KeptReturn:
        """Take the units of one settlement back; each drop has one."""
        order, now_ms, request = self._order, self._now_ms, digest_order(self._wanted, self._order)
        tail = self._known.tails.get(row.drop, Tail())
        trail = Trail(row.drop, tail, self._settler.issuer, self._settler.keys)
        said = _describe(row, self._wanted, refund_minor, paid, order, self._actor, trail.place[0], now_ms)
        document = _ENCODE(said)
        trail.append("returned", row.claim_id, -row.quantity, document, (request, order.key), now_ms)
        self._trails.append(trail)
        self._rows.append(row)
        kept = KeptReturn(order.key, request, document, None if paid is None else paid.payment)
        self._kept[row.claim_id] = kept
        return kept

    async def write(self, connection: Connection) -> None:
        """Store all of it."""
        known, restock = self._known.drops, self._order.restock
        drops = [put_back(known[row.drop], row.quantity, restock=restock) for row in self._rows]
        await write_drops(connection, drops, self._now_ms)
        entries, heads = collect(self._trails)
        await write_trail(connection, entries)
        await add_heads(connection, heads)
        for claim_id, kept in self._kept.items():
            await returns.keep_return(connection, claim_id, self._wanted, kept, self._now_ms)


async def _give_back(connection: Connection, row: SoldRow, paid: StoredPayment, refund_minor: int, now_ms: int) -> None:
    """Note that money goes back; credit is back at once."""
    locked = await store.read_payment(connection, paid.payment, lock=True)
    if locked is None or not has_bought(locked):
        raise AssertionError(f"payment {paid.payment} changed under the drop's lock")
    at_once = paid.provider == WALLET
    back = locked.refund_minor + refund_minor
    moved = replace(
        locked, state="refunded" if at_once else "refund_due", refund_minor=back,
        refunded_minor=back if at_once else locked.refunded_minor, told_minor=None, changed_ms=now_ms,
        next_look_ms=None if at_once else now_ms + FIRST_LOOK_MS,
    )  # fmt: skip
    await store.move_payment(connection, moved)
    target = ledger.wallet_of(row.viewer) if at_once else "refunds_due"
    posting = f"{paid.payment}:{'refunded' if at_once else 'returned'}"
    kept = locked.captured_minor - locked.refund_minor
    shares = await share_out(connection, row.drop, row.creator, row.claim_id, kept, kept - refund_minor)
    amounts = {**shares, target: refund_minor}
    await ledger.post(connection, posting, locked.captured_currency or row.currency, amounts, now_ms)


def _sold(row: SoldRow, paid: StoredPayment | None) -> Sold:
    return Sold(
        claim_id=row.claim_id,
        is_part=row.receipt is not None and read_receipt(row.receipt).bundle is not msgspec.UNSET,
        drop=row.drop,
        state=State(row.state),
        units=row.quantity,
        paid_minor=0 if paid is None else paid.captured_minor - paid.refunded_minor,
        paid_currency=row.currency if paid is None else paid.captured_currency or row.currency,
    )


def _describe(  # noqa: PLR0913, PLR0917 - all that it states
    row: SoldRow,
    wanted: State,
    refund_minor: int,
    paid: StoredPayment | None,
    order: ReturnOrder,
    actor: Actor,
    position: int,
    now_ms: int,
) -> Returned:
    return Returned(
        claim_id=row.claim_id,
        state=_OUTCOMES[wanted],
        drop=row.drop,
        units=row.quantity,
        restocked=order.restock,
        refund_minor=refund_minor,
        currency=row.currency if paid is None else paid.captured_currency or row.currency,
        returned_ms=now_ms,
        position=position,
        by="operator" if actor is Actor.OPERATOR else "provider",
        reason=order.reason or "",
    )
