"""The contender of `settle` that writes one claim at a time, and stores all that the batching writer stores.

`naive` keeps one short row a claim, and looks nothing up. This one is the same pattern with the same result as
`batched`: the claim's id is looked up, the row has its receipt, the chain of the audit trail goes on, and heads are
signed where the writer signs them.
"""

import time
from collections.abc import Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec
import psycopg

from origin.trail.appending import Trail
from origin.trail.facts import list_facts
from scripts.benchmarks.figures import BenchError
from scripts.benchmarks.settle_rows import PUBLIC_URL, Rows, Run, settle_one_by_one
from shared.audit.trail import Tail
from shared.claims.receipts import encode_receipt, write_receipt
from shared.claims.tokens import Claim, fingerprint_claim

_LOCK: Final = "SELECT total, free, next_number, stock_version FROM drops WHERE drop = %s FOR UPDATE"
_KNOWN: Final = "SELECT FROM settlements WHERE claim_id = %s"
_TAIL: Final = "SELECT position, hash, settled FROM trail_entries WHERE drop = %s ORDER BY position DESC LIMIT 1"
_STORE: Final = """
    INSERT INTO settlements (claim_id, drop, run, viewer, fingerprint, status, quantity, first_number, total_minor,
      currency, creator, clip, offer, arm, lines, receipt, kid, source, settled_at_ms, stock_total, stock_remaining,
      stock_version)
    VALUES (%s, %s, %s, %s, %s, 'settled', 1, %s, %s, %s, %s, %s, %s, %s, %s::jsonb, %s, %s, 'request', %s, %s, %s, %s)
"""
_APPEND: Final = """
    INSERT INTO trail_entries (drop, position, kind, claim_id, units, settled, at_ms, content, facts, hash)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
_SIGN: Final = "INSERT INTO trail_heads VALUES (%s, %s, %s, %s)"
_TAKE: Final = """
    UPDATE drops SET free = free - 1, settled = settled + 1, next_number = next_number + 1,
      stock_version = stock_version + 1 WHERE drop = %s
"""


class _Stock(NamedTuple):
    total: int
    free: int
    next_number: int
    version: int


async def settle_same_rows(rows: Rows, claims: Sequence[Claim], connections: int) -> Run:
    """Settle claims one by one, each in a transaction of its own that stores the rows that the writer stores.

    Raises:
        BenchError: when one of them was settled before.
    """
    return await settle_one_by_one(rows.conninfo, claims, connections, partial(_settle, rows))


async def _settle(rows: Rows, connection: psycopg.AsyncConnection[Any], claim: Claim) -> None:
    locked: Any = await (await connection.execute(_LOCK, (claim.drop,))).fetchone()
    stock = _Stock(*locked)
    if await (await connection.execute(_KNOWN, (claim.jti,))).fetchone() is not None:
        raise BenchError("a claim was settled before")
    end = await (await connection.execute(_TAIL, (claim.drop,))).fetchone()
    trail = Trail(claim.drop, Tail() if end is None else Tail(*end), PUBLIC_URL, rows.keys)
    now_ms = time.time_ns() // 1_000_000
    await connection.execute(_STORE, _append(rows, trail, claim, stock, now_ms))
    for entry in trail.entries:
        await connection.execute(_APPEND, entry)
    for head in trail.heads:
        await connection.execute(_SIGN, head)
    await connection.execute(_TAKE, (claim.drop,))


def _append(rows: Rows, trail: Trail, claim: Claim, stock: _Stock, now_ms: int) -> tuple[object, ...]:
    """Append a claim's settlement to its trail, and return its row."""
    said = write_receipt(claim, PUBLIC_URL, stock.next_number, now_ms, place=trail.place)
    receipt, fingerprint, kid = encode_receipt(said), fingerprint_claim(claim), rows.keys.newest.kid
    left = (stock.total, stock.free - 1, stock.version + 1)
    facts = list_facts(
        viewer=claim.cnf.jkt, fingerprint=fingerprint, arm=claim.arm, kid=kid, source="request",
        stock_total=left[0], stock_remaining=left[1], stock_version=left[2],
    )  # fmt: skip
    trail.append("settled", claim.jti, 1, receipt, facts, now_ms)
    return (
        claim.jti, claim.drop, claim.run, claim.cnf.jkt, fingerprint, stock.next_number, claim.total_minor,
        claim.currency, claim.creator, claim.clip, claim.offer, claim.arm, msgspec.json.encode(claim.lines).decode(),
        receipt, kid, now_ms, *left,
    )  # fmt: skip
