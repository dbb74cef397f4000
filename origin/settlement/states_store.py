"""SQL of where decided claims stand: settled, fetched, returned. What is fetched is noted under the drop's lock."""

from collections.abc import Sequence
from typing import Final

from origin.database import Connection
from shared.claims.states import State

_READ: Final = """
    SELECT claim_id, CASE WHEN status = 'settled' AND picked_up_ms IS NOT NULL THEN 'picked_up' ELSE status END
    FROM settlements LEFT JOIN pickups USING (claim_id) WHERE claim_id = ANY(%s)
"""
_NOTE: Final = """
    INSERT INTO pickups (claim_id, picked_up_ms) SELECT claim_id, %s FROM unnest(%s::text[]) AS fetched (claim_id)
"""


async def read_states(connection: Connection, claim_ids: Sequence[str]) -> dict[str, State]:
    """Return where those of the claims stand that were decided."""
    found = await connection.execute(_READ, (list(claim_ids),))
    return {claim_id: State(state) for claim_id, state in await found.fetchall()}


async def note_pickups(connection: Connection, claim_ids: Sequence[str], now_ms: int) -> None:
    """Note that settled claims were fetched; the caller has asked `shared.claims.states.may_move`."""
    if claim_ids:
        await connection.execute(_NOTE, (now_ms, list(claim_ids)))
