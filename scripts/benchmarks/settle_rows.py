"""The contenders of `settle` that speak to the database themselves, and the claims that all of them settle.

* `batched`: the service's own batching writer, called directly with many claims in flight, on the service's own loop.
* `naive`: one transaction per claim that locks the stock row, over several connections: the usual pattern. It keeps
  one row a claim, with no receipt and no audit trail.
* `copy`: a bare COPY, in the binary format, of the very rows that `batched` has stored (settlements and audit trail)
  into tables with the same columns, keys and checks, no decision made: the ceiling.
"""

import asyncio
import resource
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

import psycopg

from origin.database import Database
from origin.settlement.receipts import SigningKeys
from origin.settlement.settling import Settler
from origin.settlement.writer import Writer
from shared.claims.tokens import Claim, Confirmation, Line, derive_claim_id
from shared.encoding import encode_base64url

PUBLIC_URL: Final = "https://till.example.com"
ISSUER: Final = "cliptill-edge"
IN_FLIGHT: Final = 4_000  # a batch on its way, and the next one
VALID_S: Final = 3_600
_NEW_DROP: Final = """
    INSERT INTO drops (drop, run, sku, total, free, opens_at_ms, closes_at_ms, per_viewer_cap, created_ms, updated_ms)
    SELECT %s, 'r1', 'shirt', 100000000, 100000000, 0, 9000000000000, 10, 0, 0 ON CONFLICT DO NOTHING
"""
_LOCK: Final = "SELECT free, next_number FROM drops WHERE drop = %s FOR UPDATE"
_TAKE: Final = """
    UPDATE drops SET free = free - 1, settled = settled + 1, next_number = next_number + 1,
      stock_version = stock_version + 1 WHERE drop = %s
"""
_STORE: Final = """
    INSERT INTO settlements (claim_id, drop, run, viewer, fingerprint, status, quantity, first_number, total_minor,
      currency, creator, clip, offer, arm, lines, receipt, kid, source, settled_at_ms, stock_total, stock_remaining,
      stock_version)
    VALUES (%s, %s, 'r1', %s, '', 'settled', 1, %s, 2400,
      'EUR', 'mika', 'c', 'o', '', '[]', '', 'k', 'request', 0, 1, 1, 1)
"""
_COPIED: Final = ("settlements", "trail_entries")
_WRONG: Final = """
    SELECT count(*) FROM drops LEFT JOIN (
      SELECT drop, sum(quantity) FILTER (WHERE status = 'settled') AS units FROM settlements GROUP BY drop
    ) AS given USING (drop)
    WHERE free + held + settled <> total OR settled > total OR settled <> coalesce(units, 0)
"""


class Run(NamedTuple):
    """Claims a second, and each claim's milliseconds to its acknowledgement."""

    claims_per_s: float
    latencies_ms: list[float]


class Rows:
    """Makes claims, and settles them.

    Args:
        conninfo: of a migrated database.
        database: open.
        keys: that receipts are signed with.
    """

    def __init__(self, conninfo: str, database: Database, keys: SigningKeys) -> None:
        self.conninfo = conninfo
        self.database = database
        self.keys = keys
        self._made = 0
        self._issued_s = int(time.time())

    async def add_drops(self, names: Iterable[str]) -> None:
        """Make drops that never sell out."""
        async with self.database.connection() as connection:
            await connection.cursor().executemany(_NEW_DROP, [(name,) for name in names])

    async def count_wrong(self) -> int:
        """Return how many drops have given more than there is, or another number than their rows say."""
        async with self.database.connection() as connection:
            found: Any = await (await connection.execute(_WRONG)).fetchone()
            return int(found[0])

    def claims(self, count: int, drops: Sequence[str]) -> list[Claim]:
        """Make claims of as many viewers, on drops in turn."""
        first, self._made = self._made, self._made + count
        viewers = (encode_base64url(number.to_bytes(32, "big")) for number in range(first, first + count))
        return [self.claim(viewer, drops[number % len(drops)]) for number, viewer in enumerate(viewers)]

    def claim(self, viewer: str, drop: str) -> Claim:
        """Make a claim as the edge would sign it now."""
        return Claim(
            iss=ISSUER,
            aud=PUBLIC_URL,
            cnf=Confirmation(jkt=viewer),
            jti=derive_claim_id(drop, viewer, "a tap"),
            iat=self._issued_s,
            nbf=self._issued_s,
            exp=self._issued_s + VALID_S,
            drop=drop,
            run="r1",
            lines=(Line(sku="shirt", quantity=1, unit_minor=2400),),
            currency="EUR",
            creator="mika",
            clip="c",
            offer="o",
        )

    async def batched(self, claims: Sequence[Claim]) -> Run:
        """Settle claims through the service's writer, many in flight."""
        writer = Writer(self.database, Settler(PUBLIC_URL, self.keys), lambda: time.time_ns() // 1_000_000)
        rest = iter(claims)
        latencies_ms: list[float] = []

        async def settle_some() -> None:
            for claim in rest:
                asked = time.perf_counter()
                await writer.settle(claim)
                latencies_ms.append((time.perf_counter() - asked) * 1000)

        began = time.perf_counter()
        await asyncio.gather(*(settle_some() for _ in range(IN_FLIGHT)))
        took = time.perf_counter() - began
        await writer.close()
        return Run(len(claims) / took, latencies_ms)

    async def naive(self, claims: Sequence[Claim], connections: int) -> Run:
        """Settle claims one by one, each in a transaction of its own."""
        return await settle_one_by_one(self.conninfo, claims, connections, _settle_naively)

    async def copy(self, drop: str, count: int) -> Run:
        """Copy the rows of a drop's last `count` settlements into empty tables of the same kind."""
        async with await psycopg.AsyncConnection.connect(self.conninfo, autocommit=True) as connection:
            stored = [await _export(connection, table, drop, count) for table in _COPIED]
            for table in _COPIED:
                await connection.execute(f"DROP TABLE IF EXISTS bare_{table}")
                await connection.execute(f"CREATE TABLE bare_{table} (LIKE {table} INCLUDING ALL)")
            began = time.perf_counter()
            async with connection.transaction():
                for table, blocks in zip(_COPIED, stored, strict=True):
                    statement = f"COPY bare_{table} FROM STDIN (FORMAT BINARY)".encode()
                    async with connection.cursor() as cursor, cursor.copy(statement) as copy:
                        for block in blocks:
                            await copy.write(block)
            return Run(count / (time.perf_counter() - began), [])


async def settle_one_by_one(
    conninfo: str,
    claims: Sequence[Claim],
    connections: int,
    settle: Callable[[psycopg.AsyncConnection[Any], Claim], Awaitable[None]],
) -> Run:
    """Settle claims over so many connections, each in a transaction of its own."""
    rest = iter(claims)
    latencies_ms: list[float] = []

    async def settle_some(connection: psycopg.AsyncConnection[Any]) -> None:
        for claim in rest:
            asked = time.perf_counter()
            async with connection.transaction():
                await settle(connection, claim)
            latencies_ms.append((time.perf_counter() - asked) * 1000)

    opened = [await psycopg.AsyncConnection.connect(conninfo, autocommit=True) for _ in range(connections)]
    began = time.perf_counter()
    await asyncio.gather(*(settle_some(connection) for connection in opened))
    took = time.perf_counter() - began
    for connection in opened:
        await connection.close()
    return Run(len(claims) / took, latencies_ms)


async def _settle_naively(connection: psycopg.AsyncConnection[Any], claim: Claim) -> None:
    row: Any = await (await connection.execute(_LOCK, (claim.drop,))).fetchone()
    await connection.execute(_STORE, (claim.jti, claim.drop, claim.cnf.jkt, row[1]))
    await connection.execute(_TAKE, (claim.drop,))


async def _export(connection: psycopg.AsyncConnection[Any], table: str, drop: str, count: int) -> list[bytes]:
    """Return rows as COPY takes them, in blocks."""
    order = {"settlements": "first_number", "trail_entries": "position"}[table]
    rows = f"SELECT * FROM {table} WHERE drop = '{drop}' ORDER BY {order} DESC LIMIT {count}"  # noqa: S608 - our own names
    async with connection.cursor() as cursor, cursor.copy(f"COPY ({rows}) TO STDOUT (FORMAT BINARY)".encode()) as copy:
        return [bytes(block) async for block in copy]


def peak_memory_mb() -> float:
    """Return the most memory that this process has had, in MB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
