"""SQL of picking up: scanners, the passes of a place, what was scanned."""

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

import msgspec
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from origin.database import Connection
from shared.claims.scans import Outcome
from shared.insight.reconciliation import DisputeFact
from shared.insight.standings import ALARM_MS
from shared.structs import Strict, Wire

_ADD: Final = """
    INSERT INTO scanners (scanner, place, code_hash, code_until_ms, created_ms) VALUES (%s, %s, %s, %s, %s)
    ON CONFLICT (scanner) DO NOTHING
"""
# The code is used up by the statement that finds it: of two devices that have it, one is enrolled.
_ENROL: Final = """
    UPDATE scanners SET code_hash = NULL, public_key = %s, enrolled_ms = %s
    WHERE code_hash = %s AND code_until_ms > %s RETURNING scanner, place
"""
_LIST: Final = """
    SELECT scanner, place, scanners.created_ms, enrolled_ms, seen_ms, revoked_ms
    FROM scanners LEFT JOIN api_keys ON api_keys.name = 'scanner:' || scanner
    ORDER BY scanner
"""
_PICKED_UP_AT: Final = """
    SELECT settlements.claim_id, receipt, kid,
      CASE WHEN revoked_ms IS NOT NULL OR status <> 'settled' THEN 'revoked'
        WHEN picked_up_ms IS NOT NULL THEN 'used' ELSE 'good' END AS state
    FROM settlements JOIN drops USING (drop)
      LEFT JOIN pickups USING (claim_id) LEFT JOIN returns USING (claim_id) LEFT JOIN pass_revocations USING (claim_id)
    WHERE pickup_place = %(place)s AND status <> 'refused'
"""
_PAGE: Final = f"""
    {_PICKED_UP_AT} AND pickup_until_ms > %(over)s AND settlements.claim_id > %(after)s
      AND greatest(settled_at_ms, picked_up_ms, returned_ms, revoked_ms) >= %(since)s
    ORDER BY settlements.claim_id LIMIT %(limit)s
"""
_SOME: Final = f"{_PICKED_UP_AT} AND settlements.claim_id = ANY(%(ids)s)"
# As settling does it, and in the same order: whoever moves a claim has its drop's row.
_LOCK: Final = """
    SELECT 1 FROM drops WHERE drop IN (SELECT drop FROM settlements WHERE claim_id = ANY(%s)) ORDER BY drop FOR UPDATE
"""
_KNOWN: Final = "SELECT digest, outcome FROM scans WHERE scanner = %s AND digest = ANY(%s)"
_KEEP: Final = """
    INSERT INTO scans (scanner, digest, seq, claim_id, verdict, outcome, at_ms, received_ms, scan)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
_REVOKE: Final = """
    INSERT INTO pass_revocations (claim_id, revoked_ms) VALUES (%s, %s) ON CONFLICT DO NOTHING
"""
# Of each claim that somebody must look at: all scans that took it for good.
_DISPUTED: Final = """
    SELECT claim_id, scanner, scanners.place, public_key, at_ms, received_ms, outcome, scan
    FROM scans JOIN scanners USING (scanner)
    WHERE outcome <> 'noted' AND claim_id IN (
      SELECT claim_id FROM scans WHERE outcome NOT IN ('noted', 'picked_up') AND claim_id > %s
      GROUP BY claim_id ORDER BY claim_id LIMIT %s
    )
    ORDER BY claim_id, received_ms, scanner, seq
"""


_DISPUTES: Final = """
    SELECT place, count(DISTINCT claim_id)::int AS count,
      (count(DISTINCT claim_id) FILTER (WHERE received_ms > %s))::int AS recent
    FROM scans JOIN scanners USING (scanner) WHERE outcome NOT IN ('noted', 'picked_up') GROUP BY place ORDER BY place
"""


class ScannerEntry(Wire, frozen=True, kw_only=True):
    """A scanner as it is listed; enrolled once a device has used its code."""

    scanner: str
    place: str
    created_ms: int
    enrolled_ms: int | None
    seen_ms: int | None
    revoked_ms: int | None


class StoredPass(NamedTuple):
    """What the pass of a settled claim follows from, and where it stands: `good`, `used` or `revoked`."""

    claim_id: str
    receipt: bytes
    kid: str
    state: Literal["good", "used", "revoked"]


class NewScan(NamedTuple):
    """A scan to be kept, and what came of it."""

    scanner: str
    digest: bytes
    seq: int
    claim_id: str | None
    verdict: str
    outcome: Outcome
    at_ms: int
    received_ms: int
    scan: str


class DisputedScan(NamedTuple):
    """A scan of a claim that somebody must look at, with the key that it is signed with."""

    claim_id: str
    scanner: str
    place: str
    public_key: dict[str, str]
    at_ms: int
    received_ms: int
    outcome: Outcome
    scan: str


async def add_scanner(  # noqa: PLR0913 - a row
    connection: Connection, scanner: str, place: str, code_hash: str, *, until_ms: int, now_ms: int
) -> bool:
    """Store a scanner that may be enrolled until an instant; False when the name is taken."""
    return (await connection.execute(_ADD, (scanner, place, code_hash, until_ms, now_ms))).rowcount == 1


async def enrol_scanner(
    connection: Connection, code_hash: str, public_key: Strict, now_ms: int
) -> tuple[str, str] | None:
    """Use a code up, and return the scanner and its place; None when there is no such code, or it is too old."""
    values = (Jsonb(msgspec.to_builtins(public_key)), now_ms, code_hash, now_ms)
    row = await (await connection.execute(_ENROL, values)).fetchone()
    return None if row is None else (row[0], row[1])


async def withdraw_code(connection: Connection, scanner: str) -> None:
    """Take back the code of a scanner that nobody has enrolled as."""
    await connection.execute("UPDATE scanners SET code_hash = NULL WHERE scanner = %s", (scanner,))


async def list_scanners(connection: Connection) -> list[ScannerEntry]:
    """Return all scanners, by name."""
    return await (await connection.cursor(row_factory=class_row(ScannerEntry)).execute(_LIST)).fetchall()


async def meet_scanner(connection: Connection, scanner: str, now_ms: int) -> tuple[str, dict[str, str]]:
    """Note that an enrolled scanner was heard of, and return its place and its public key."""
    found = await connection.execute(
        "UPDATE scanners SET seen_ms = %s WHERE scanner = %s RETURNING place, public_key", (now_ms, scanner)
    )
    row = await found.fetchone()
    if row is None:
        raise AssertionError(f"scanner {scanner} has a key and is not there")
    return row[0], row[1]


async def list_passes(  # noqa: PLR0913 - a page of what, since when
    connection: Connection, place: str, after: str, *, since_ms: int, over_ms: int, limit: int
) -> list[StoredPass]:
    """Return a page of what is picked up at a place, by claim: changed since an instant, in windows not over by one."""
    wanted = {"place": place, "after": after, "since": since_ms, "over": over_ms, "limit": limit}
    return [StoredPass(*row) for row in await (await connection.execute(_PAGE, wanted)).fetchall()]


async def read_passes(connection: Connection, place: str, claim_ids: Sequence[str]) -> dict[str, StoredPass]:
    """Return those of the claims that are picked up at a place."""
    found = await connection.execute(_SOME, {"place": place, "ids": list(claim_ids)})
    return {row[0]: StoredPass(*row) for row in await found.fetchall()}


async def lock_drops_of(connection: Connection, claim_ids: Sequence[str]) -> None:
    """Keep others from moving these claims until the transaction ends."""
    await connection.execute(_LOCK, (list(claim_ids),))


async def read_outcomes(connection: Connection, scanner: str, digests: Sequence[bytes]) -> dict[bytes, Outcome]:
    """Return what came of those of the scans that were heard of before."""
    found = await connection.execute(_KNOWN, (scanner, list(digests)))
    return {bytes(digest): outcome for digest, outcome in await found.fetchall()}


async def keep_scans(connection: Connection, scans: Sequence[NewScan]) -> None:
    """Store scans."""
    async with connection.cursor() as cursor:
        await cursor.executemany(_KEEP, scans)


async def revoke_pass(connection: Connection, claim_id: str, now_ms: int) -> None:
    """Revoke the pass of a settled claim; again changes nothing."""
    await connection.execute(_REVOKE, (claim_id, now_ms))


async def list_disputed(connection: Connection, after: str, limit: int) -> list[DisputedScan]:
    """Return a page of claims that somebody must look at, by claim, each with all scans that took it for good."""
    return [DisputedScan(*row) for row in await (await connection.execute(_DISPUTED, (after, limit))).fetchall()]


async def read_disputes(connection: Connection, now_ms: int) -> tuple[DisputeFact, ...]:
    """Return how many claims somebody must look at, by place."""
    found = await connection.execute(_DISPUTES, (now_ms - ALARM_MS,))
    return tuple(
        DisputeFact(place=place, count=count, recent=recent) for place, count, recent in await found.fetchall()
    )
