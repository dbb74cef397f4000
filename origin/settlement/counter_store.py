"""SQL of sales over a counter: in whose name they are made, and what they draw on."""

from collections.abc import Collection
from typing import Final

from psycopg.rows import class_row

from origin.database import Connection
from shared.claims.counter import CounterOffer

_CREATOR: Final = "SELECT creator FROM clips WHERE clip = %s"
_OFFERS: Final = """
    SELECT offers.offer, offers.drop, drops.run, drops.sku,
      ARRAY(SELECT price ->> 'currency' FROM jsonb_array_elements(offers.prices) AS price) AS currencies
    FROM clips JOIN offers ON offers.offer = ANY(clips.offers) JOIN drops USING (drop)
    WHERE clips.clip = %s AND offers.offer = ANY(%s)
"""


async def read_creator(connection: Connection, clip: str) -> str | None:
    """Return whose a clip is; None when it is not known."""
    row = await (await connection.execute(_CREATOR, (clip,))).fetchone()
    return None if row is None else str(row[0])


async def read_offers(connection: Connection, clip: str, offers: Collection[str]) -> dict[str, CounterOffer]:
    """Return those of the offers that a clip has, by id."""
    cursor = connection.cursor(row_factory=class_row(CounterOffer))
    await cursor.execute(_OFFERS, (clip, list(offers)))
    return {offer.offer: offer for offer in await cursor.fetchall()}
