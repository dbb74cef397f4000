"""Settlement: claims a second on one hot drop, three ways, on an embedded PostgreSQL of this run's own.

* `batched`: the service's own batching writer, called directly with many claims in flight.
* `naive`: one transaction per claim that locks the stock row, over several connections: the usual pattern.
* `copy`: a bare COPY of the same rows into a table of the same columns and key, no decision made: the ceiling.
"""

import asyncio
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg.types.json import Jsonb

from origin.database import Database
from origin.embedded import start_embedded
from origin.migrate import list_migrations, migrate
from origin.settlement.receipts import make_signing_key_set, parse_signing_keys
from origin.settlement.settling import Settler
from origin.settlement.writer import Writer
from scripts.benchmarks.figures import ratio, run_in_turn, say, summarise
from shared.claims.tokens import Claim, Confirmation, Line, derive_claim_id
from shared.encoding import encode_base64url

COMPARED: Final = {
    "batched": "the batching writer called directly, 2,000 claims in flight on one drop",
    "naive": "one transaction per claim with a lock on the stock row, 8 connections",
    "copy": "a bare COPY of the same rows into the same columns and key",
}
ROUNDS: Final = 3
BATCHED: Final = 20_000
IN_FLIGHT: Final = 2_000
NAIVE_CONNECTIONS: Final = 8
NAIVE_EACH: Final = 150
_ISSUED_S: Final = 1_790_000_000
_NEW_DROP: Final = """
    INSERT INTO drops (drop, run, sku, total, free, opens_at_ms, closes_at_ms, per_viewer_cap, created_ms, updated_ms)
    VALUES (%s, 'r1', 'shirt', 100000000, 100000000, 0, 9000000000000, 10, 0, 0)
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


class _Bench:
    def __init__(self, conninfo: str, database: Database) -> None:
        self.conninfo = conninfo
        self.database = database
        self.made = 0
        self.keys = parse_signing_keys(make_signing_key_set())

    def claims(self, count: int, drop: str) -> list[Claim]:
        """Make claims of as many viewers."""
        first, self.made = self.made, self.made + count
        return [_claim(number, drop) for number in range(first, first + count)]

    async def batched(self) -> float:
        claims = iter(self.claims(BATCHED, "batched"))
        writer = Writer(self.database, Settler("https://till.example.com", self.keys), lambda: _ISSUED_S * 1000)

        async def settle_some() -> None:
            for claim in claims:
                await writer.settle(claim)

        began = time.perf_counter()
        await asyncio.gather(*(settle_some() for _ in range(IN_FLIGHT)))
        took = time.perf_counter() - began
        await writer.close()
        return BATCHED / took

    async def naive(self) -> float:
        shares = [self.claims(NAIVE_EACH, "naive") for _ in range(NAIVE_CONNECTIONS)]
        began = time.perf_counter()
        await asyncio.gather(*(self._settle_one_by_one(share) for share in shares))
        return NAIVE_CONNECTIONS * NAIVE_EACH / (time.perf_counter() - began)

    async def _settle_one_by_one(self, claims: Sequence[Claim]) -> None:
        async with await psycopg.AsyncConnection.connect(self.conninfo) as connection:
            for claim in claims:
                async with connection.transaction():
                    row: Any = await (await connection.execute(_LOCK, ("naive",))).fetchone()
                    await connection.execute(_STORE, (claim.jti, "naive", claim.cnf.jkt, row[1]))
                    await connection.execute(_TAKE, ("naive",))

    async def copy(self) -> float:
        async with await psycopg.AsyncConnection.connect(self.conninfo, autocommit=True) as connection:
            await connection.execute("DROP TABLE IF EXISTS bare")
            await connection.execute("CREATE TABLE bare (LIKE settlements INCLUDING ALL)")
            rows = await (
                await connection.execute("SELECT * FROM settlements WHERE drop = 'batched' LIMIT %s", (BATCHED,))
            ).fetchall()
            kinds = [column.type_code for column in (await connection.execute("SELECT * FROM bare")).description or []]
            began = time.perf_counter()
            async with connection.cursor() as cursor, cursor.copy("COPY bare FROM STDIN") as copy:
                copy.set_types(kinds)
                for row in rows:
                    await copy.write_row([Jsonb(v) if isinstance(v, list) else v for v in row])
            return len(rows) / (time.perf_counter() - began)


def _claim(number: int, drop: str) -> Claim:
    viewer = encode_base64url(number.to_bytes(32, "big"))
    return Claim(
        iss="cliptill-edge",
        aud="https://till.example.com",
        cnf=Confirmation(jkt=viewer),
        jti=derive_claim_id(drop, viewer, str(number)),
        iat=_ISSUED_S,
        nbf=_ISSUED_S,
        exp=_ISSUED_S + 300,
        drop=drop,
        run="r1",
        lines=(Line(sku="shirt", quantity=1, unit_minor=2400),),
        currency="EUR",
        creator="mika",
        clip="c",
        offer="o",
    )


async def _measure(conninfo: str, rounds: int) -> dict[str, Any]:
    database = Database(conninfo)
    await database.open()
    try:
        async with database.connection() as connection:
            for drop in ("batched", "naive"):
                await connection.execute(_NEW_DROP, (drop,))
        bench = _Bench(conninfo, database)
        values = await run_in_turn({"batched": bench.batched, "naive": bench.naive, "copy": bench.copy}, rounds)
        async with database.connection() as connection:
            found = await connection.execute("SELECT count(*) FROM drops WHERE free + held + settled <> total")
            wrong: Any = await found.fetchone()
    finally:
        await database.close()
    return {
        "compared": COMPARED,
        "claims_per_s": {name: summarise("claims/s", rounds) for name, rounds in values.items()},
        "batched_vs_naive": ratio(values["batched"], values["naive"]),
        "batched_vs_copy": ratio(values["batched"], values["copy"]),
        "oversold": wrong[0],
    }


def measure(*, quick: bool = False) -> dict[str, Any]:
    """Run the comparison, and return its figures; `quick` for one round alone."""
    with tempfile.TemporaryDirectory(prefix="cliptill-bench-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # the server runs as a user of its own
        say("starting an embedded PostgreSQL")
        conninfo = start_embedded(Path(folder))
        migrate(conninfo, list_migrations(), 0)
        return asyncio.run(_measure(conninfo, 1 if quick else ROUNDS))
