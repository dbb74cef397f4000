"""SQL of partners: where they are told, and the secrets that are shared with each."""

from collections.abc import Collection
from typing import Final

from psycopg.rows import class_row

from origin.database import Connection
from shared.fulfilment.handoffs import PartnerBody
from shared.structs import Wire

_ONE: Final = "SELECT partner, url, secrets FROM partners WHERE partner = %s"
_COUNTED: Final = """
    SELECT partner, url, secrets,
      (SELECT count(*) FROM handoffs WHERE handoffs.partner = partners.partner AND state = 'waiting') AS waiting,
      (SELECT count(*) FROM handoffs WHERE handoffs.partner = partners.partner AND state = 'dead') AS dead
    FROM partners
"""
_PUT: Final = """
    INSERT INTO partners (partner, url, secrets, created_ms, updated_ms) VALUES (%(partner)s, %(url)s, %(secrets)s,
      %(now)s, %(now)s)
    ON CONFLICT (partner) DO UPDATE SET url = excluded.url, updated_ms = excluded.updated_ms
    RETURNING secrets = %(secrets)s
"""
_RENEW: Final = """
    UPDATE partners SET secrets = ARRAY[%(secret)s] || secrets[1:1], updated_ms = %(now)s WHERE partner = %(partner)s
"""


class StoredPartner(Wire, frozen=True, kw_only=True):
    """A partner; `secrets` are newest first."""

    partner: str
    url: str
    secrets: list[str]


class CountedPartner(StoredPartner, frozen=True, kw_only=True):
    """A partner with the numbers of its messages that it has not taken."""

    waiting: int
    dead: int


async def put_partner(connection: Connection, body: PartnerBody, secret: str, now_ms: int) -> bool:
    """Store a partner, and return whether it is new: one that is there keeps its secrets."""
    scope = {"partner": body.partner, "url": body.url, "secrets": [secret], "now": now_ms}
    row = await (await connection.execute(_PUT, scope)).fetchone()
    return row is not None and bool(row[0])


async def renew_secret(connection: Connection, partner: str, secret: str, now_ms: int) -> bool:
    """Put a new secret before the newest; older ones are gone. Return whether there is such a partner."""
    scope = {"partner": partner, "secret": secret, "now": now_ms}
    return (await connection.execute(_RENEW, scope)).rowcount == 1


async def read_partner(connection: Connection, partner: str) -> StoredPartner | None:
    """Return a partner."""
    cursor = connection.cursor(row_factory=class_row(StoredPartner))
    return await (await cursor.execute(_ONE, [partner])).fetchone()


async def count_messages(connection: Connection, partner: str) -> CountedPartner | None:
    """Return a partner with how many messages it has not taken."""
    cursor = connection.cursor(row_factory=class_row(CountedPartner))
    return await (await cursor.execute(f"{_COUNTED} WHERE partner = %s", [partner])).fetchone()


async def list_partners(connection: Connection, after: str, limit: int) -> list[CountedPartner]:
    """Return a page of partners, by id."""
    cursor = connection.cursor(row_factory=class_row(CountedPartner))
    found = await cursor.execute(f"{_COUNTED} WHERE partner > %s ORDER BY partner LIMIT %s", (after, limit))
    return await found.fetchall()


async def find_partners(connection: Connection, names: Collection[str]) -> set[str]:
    """Return those of these partners that there are."""
    found = await connection.execute("SELECT partner FROM partners WHERE partner = ANY(%s)", [list(names)])
    return {partner for (partner,) in await found.fetchall()}
