"""SQL of holds. Every change of one is made under the lock on its drop's row (`settlements_store.lock_and_read`)."""

from collections.abc import Iterable, Sequence
from typing import Final, Literal

import msgspec
from psycopg import AsyncCursor
from psycopg.rows import class_row

from origin.database import Connection
from origin.settlement.answers import HeldClaim
from shared.claims.settlement import Hold
from shared.claims.states import State, state_at
from shared.claims.tokens import Claim
from shared.structs import Wire

PaidBy = Literal["card", "wallet"]

_COLUMNS: Final = """
    claim_id, drop, run, viewer, fingerprint, quantity, state, until_ms, payment, claim, held_at_ms, bundle
"""
# Of viewers: one search for each (`OFFSET 0` keeps it apart). While the planner knows little of a table that grows, it
# would rather read all that a drop holds, or all there is. There is nothing to find while nothing is held of the drops.
_CONCERNED: Final = f"""
    SELECT {_COLUMNS} FROM holds WHERE drop = ANY(%(drops)s
      || ARRAY(SELECT drop FROM drops WHERE allotment_of = ANY(%(drops)s) AND release_at_ms <= %(now)s))
      AND state = 'held' AND until_ms <= %(now)s
    UNION SELECT {_COLUMNS} FROM unnest(string_to_array(%(viewers)s, ',')) AS asked (asked) CROSS JOIN LATERAL (
      SELECT * FROM holds WHERE viewer = asked COLLATE "C" OFFSET 0
    ) AS theirs
    WHERE drop = ANY(%(drops)s) AND state = 'held'
      AND EXISTS (SELECT FROM drops WHERE drop = ANY(%(drops)s) AND held > 0)
    UNION SELECT {_COLUMNS} FROM holds WHERE claim_id = ANY((SELECT string_to_array(%(ids)s, ','))::text[])
"""  # noqa: S608 - our own column list
_ONE: Final = f"SELECT {_COLUMNS} FROM holds WHERE claim_id = %s"  # noqa: S608 - as above
_ADD: Final = """
    INSERT INTO holds (claim_id, drop, run, viewer, fingerprint, quantity, state, until_ms, payment, claim, held_at_ms,
      changed_ms, bundle)
    SELECT claim_id, drop, run, viewer, fingerprint, quantity, state, until_ms, payment, claim, %(now)s, %(now)s, bundle
    FROM unnest(%(claim_ids)s::text[], %(drops)s::text[], %(runs)s::text[], %(viewers)s::text[],
      %(fingerprints)s::text[], %(quantities)s::int[], %(states)s::text[], %(untils)s::bigint[], %(payments)s::text[],
      %(claims)s::bytea[], %(bundles)s::text[])
      AS new (claim_id, drop, run, viewer, fingerprint, quantity, state, until_ms, payment, claim, bundle)
    ON CONFLICT (claim_id) DO UPDATE SET state = excluded.state, until_ms = excluded.until_ms,
      payment = excluded.payment, claim = excluded.claim, held_at_ms = excluded.held_at_ms,
      changed_ms = excluded.changed_ms
"""
_MOVE: Final = """
    UPDATE holds SET state = new.state, changed_ms = %s
    FROM unnest(%s::text[], %s::text[]) AS new (claim_id, state) WHERE holds.claim_id = new.claim_id
"""
_OVERDUE: Final = """
    SELECT drop FROM holds WHERE state = 'held' AND until_ms <= %(now)s
    UNION SELECT drop FROM drops WHERE release_at_ms <= %(now)s AND free > 0
    ORDER BY drop LIMIT %(limit)s
"""

_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(Claim)


class StoredHold(Wire, frozen=True, kw_only=True):
    """A row. `state` is as written last; `claim` is the verified claim, as JSON; `bundle` is whose part it is."""

    claim_id: str
    drop: str
    run: str
    viewer: str
    fingerprint: str
    quantity: int
    state: State
    until_ms: int
    payment: PaidBy
    claim: bytes
    held_at_ms: int
    bundle: str | None = None

    def to_core(self) -> Hold:
        """Return it as the core takes it."""
        return Hold(
            claim_id=self.claim_id,
            run=self.run,
            viewer=self.viewer,
            fingerprint=self.fingerprint,
            quantity=self.quantity,
            state=State(self.state),
            until_ms=self.until_ms,
            bundle=self.bundle,
        )

    def state_at(self, now_ms: int) -> State:
        """Return where it stands: a held one may have lapsed since."""
        return state_at(State(self.state), self.until_ms, now_ms)

    def to_claim(self) -> Claim:
        """Return the claim that it is for."""
        return _DECODER.decode(self.claim)

    def describe(self, issuer: str) -> HeldClaim:
        """Return what is told of it while it is live."""
        return describe_hold(self.to_claim(), issuer, self.payment, held_at_ms=self.held_at_ms, until_ms=self.until_ms)


class NewHold(Wire, frozen=True, kw_only=True):
    """A hold to be written, for a claim that was not held, or not any more."""

    claim: Claim
    hold: Hold
    payment: PaidBy


def describe_hold(claim: Claim, issuer: str, payment: PaidBy, *, held_at_ms: int, until_ms: int) -> HeldClaim:
    """Return what is told of a claim that is held."""
    return HeldClaim(
        claim_id=claim.jti,
        held_at_ms=held_at_ms,
        held_until_ms=until_ms,
        drop=claim.drop,
        run=claim.run,
        lines=claim.lines,
        total_minor=claim.total_minor,
        currency=claim.currency,
        payment=payment,
        pay_url=f"{issuer}/v1/settlements/{claim.jti}/payment",
    )


def join_ids(ids: Iterable[str]) -> str:
    """Return ids as one text, for `string_to_array(..., ',')`: base64url has no comma.

    In order, as the server wants them for its look-up: what is sorted already, it sorts in no time, in each statement.
    """
    return ",".join(sorted(ids))


async def ask_concerned(
    connection: Connection, drops: Sequence[str], ids: str, viewers: str, now_ms: int
) -> AsyncCursor[StoredHold]:
    """Ask for the holds that a batch must know: live ones of its viewers, its claims' own, overdue ones.

    Overdue ones are those of its drops, and of the allotments that are theirs by now.

    `ids` and `viewers` are as of `join_ids`.
    """
    wanted = {"drops": list(drops), "ids": ids, "viewers": viewers, "now": now_ms}
    return await connection.cursor(row_factory=class_row(StoredHold)).execute(_CONCERNED, wanted, prepare=True)


async def read_hold(connection: Connection, claim_id: str) -> StoredHold | None:
    """Return the hold of a claim."""
    cursor = connection.cursor(row_factory=class_row(StoredHold))
    return await (await cursor.execute(_ONE, [claim_id])).fetchone()


async def list_overdue_drops(connection: Connection, now_ms: int, limit: int) -> list[str]:
    """Return drops with lapsed holds, or released units, that are not written as such."""
    found = await connection.execute(_OVERDUE, {"now": now_ms, "limit": limit})
    return [drop for (drop,) in await found.fetchall()]


async def add_holds(connection: Connection, holds: Sequence[NewHold], now_ms: int) -> None:
    """Write new holds; a claim's earlier one that is over is taken up again."""
    values: dict[str, list[object]] = {
        "claim_ids": [new.hold.claim_id for new in holds],
        "drops": [new.claim.drop for new in holds],
        "runs": [new.hold.run for new in holds],
        "viewers": [new.hold.viewer for new in holds],
        "fingerprints": [new.hold.fingerprint for new in holds],
        "quantities": [new.hold.quantity for new in holds],
        "states": [new.hold.state.value for new in holds],
        "untils": [new.hold.until_ms for new in holds],
        "payments": [new.payment for new in holds],
        "claims": [_ENCODER.encode(new.claim) for new in holds],
        "bundles": [new.hold.bundle for new in holds],
    }
    if holds:
        await connection.execute(_ADD, {**values, "now": now_ms})


async def move_holds(connection: Connection, holds: Sequence[Hold], now_ms: int) -> None:
    """Write the states of holds that are stored."""
    if holds:
        states = [hold.state.value for hold in holds]
        await connection.execute(_MOVE, (now_ms, [hold.claim_id for hold in holds], states))
