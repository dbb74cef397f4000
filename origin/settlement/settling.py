"""Settling a batch of claims inside a transaction: read, decide (`shared.claims.settlement`), write.

All share it, so that there is no second way to settle: the writer (claims that browsers present), the intake (claims
that edge events report, in the transaction that stores the events), and payments (held claims whose money has come, in
the transaction that notes the money).
"""

from collections.abc import Callable, Sequence

from origin.database import Connection
from origin.settlement.asking import present_all
from origin.settlement.batches import Batch, Told
from origin.settlement.holds_store import StoredHold, add_holds, move_holds
from origin.settlement.receipts import SigningKeys
from origin.settlement.settlements_store import (
    Known,
    lock_and_read,
    lock_drops,
    read_known,
    write_decisions,
    write_drops,
)
from origin.trail.appending import collect
from origin.trail.trail_store import add_heads, write_trail
from shared.claims.settlement import Source
from shared.claims.tokens import Claim


class Settler:
    """Settles in the name of one origin.

    Args:
        issuer: the origin's public address, which receipts state.
        keys: receipts will be signed with the newest, and heads of the audit trail are.
    """

    def __init__(self, issuer: str, keys: SigningKeys) -> None:
        self.issuer = issuer
        self.keys = keys

    async def settle_in(  # noqa: PLR0913, PLR0917 - the last two are the writer's alone
        self,
        connection: Connection,
        claims: Sequence[Claim],
        source: Source,
        now_ms: int,
        late: Callable[[], Sequence[Claim]] | None = None,
        sent: Callable[[], None] = lambda: None,
    ) -> list[Told]:
        """Settle verified claims within the caller's transaction, and return what was decided of each, in order.

        The drops' rows stay locked until the transaction ends. Claims of several drops may come together.

        Args:
            connection: in a transaction that holds no other drop's lock.
            claims: verified; a claim may come several times, and may have been decided before.
            source: how they were presented.
            now_ms: the instant of the decision.
            late: called when the drops are locked; returns more claims on them, which are decided behind the others.
            sent: called when the settlements are on their way, and this process has little left to do for the batch.

        Raises:
            ClashError: from the transaction, when a claim was decided elsewhere at the same moment. Do it all again.
        """
        if not claims:
            return []
        presented = await present_all(claims, source)
        names = list(dict.fromkeys(claim.drop for claim in claims))
        if late is None:
            known = await lock_and_read(connection, names, claims, now_ms)
        else:
            locked = await lock_drops(connection, names, now_ms)
            more = late()
            claims = [*claims, *more]
            presented += await present_all(more, source)
            known = await read_known(connection, locked, names, claims, now_ms)
        batch = self._open(known, source, now_ms)
        if len(names) == 1 and not batch.is_linked:
            batch.decide(names[0], list(zip(claims, presented, strict=True)))
            await _write(connection, batch, now_ms, sent)
            return list(batch.answers())
        places: dict[str, list[int]] = {}
        for place, claim in enumerate(claims):
            places.setdefault(claim.drop, []).append(place)
        if batch.is_linked:
            places = batch.link(places)
        for drop in sorted(places):
            batch.decide(drop, [(claims[at], presented[at]) for at in places[drop]])
        await _write(connection, batch, now_ms, sent)
        order = (place for drop in sorted(places) for place in places[drop])
        answers = dict(zip(order, batch.answers(), strict=True))
        return [answers[place] for place in range(len(claims))]

    async def release_in(self, connection: Connection, held: StoredHold, now_ms: int) -> None:
        """Give a hold back within the caller's transaction; one that is over stays as it is."""
        known = await lock_and_read(connection, [held.drop], [held.to_claim()], now_ms)
        batch = self._open(known, "request", now_ms)
        batch.release(held.drop, held.claim_id)
        await _write(connection, batch, now_ms)

    async def tidy_in(self, connection: Connection, drops: Sequence[str], now_ms: int) -> int:
        """Write down what has lapsed of these drops, and return how many holds that were.

        It decides nothing: whoever reads or takes stock compares the instants for themselves.
        """
        known = await lock_and_read(connection, drops, (), now_ms)
        batch = self._open(known, "request", now_ms)
        for drop in known.drops:
            batch.lapse(drop)
        await _write(connection, batch, now_ms)
        return len(batch.moved)

    def _open(self, known: Known, source: Source, now_ms: int) -> Batch:
        return Batch(self.issuer, self.keys, known, source, now_ms)


async def _write(connection: Connection, batch: Batch, now_ms: int, sent: Callable[[], None] = lambda: None) -> None:
    """Store all that is new; `sent` is called when all that takes long to make is on its way."""
    await write_decisions(connection, batch.make_rows())
    entries, heads = collect(batch.trails.values())
    sent()
    await write_trail(connection, entries)
    async with connection.pipeline():  # one round trip for all that are few
        await add_heads(connection, heads)
        await write_drops(connection, batch.changed_drops(), now_ms)
        await add_holds(connection, batch.new_holds(), now_ms)
        await move_holds(connection, batch.moved_holds(), now_ms)
