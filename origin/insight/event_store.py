"""Storage of what the edge reports: each event once, by UTC day, for as long as it is kept.

Rules:

1. A batch's identity is (node, seq). `edge_nodes.seen` holds all that have come, so a redelivery is known on whatever
   day it comes, and what is missing is the complement. The node's row is the lock under which that is decided.
2. Rows are locked in one order everywhere: nodes by name, then drops, then issued claims.
3. An event lies in the partition of its batch's own day. Partitions are made ahead (`make_partitions`), because making
   one locks the table for a moment; what no partition is made for goes to the default one, and is kept as long.
4. What is older than the retention is dropped, a partition at a time (`drop_expired`). What says that it is from the
   future is dropped by when it came.
"""

import datetime as dt
import hashlib
from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import UnsetType

from origin.database import Connection
from shared.insight.deliveries import WHOLE, IssuedClaim, Positioned, ReadBatch, Rejection, clean_text
from shared.insight.events import ClaimIssued, ClaimRefused, Viewed
from shared.structs import Wire

DAYS_AHEAD: Final = 3
KEPT_BODY_BYTES: Final = 2048  # of what was rejected: enough to see what it is
_DAY_MS: Final = 86_400_000
_EPOCH: Final = dt.date(1970, 1, 1)
_PARTITION: Final = "edge_events_"

_MEET_NODES: Final = """
    INSERT INTO edge_nodes (node, colo, highest_seq, batches, first_received_ms, last_received_ms)
    SELECT node, colo, 0, 0, %(now)s, %(now)s FROM unnest(%(nodes)s::text[], %(colos)s::text[]) AS met (node, colo)
    ORDER BY node COLLATE "C" ON CONFLICT DO NOTHING
"""
_LOCK_NODES: Final = "SELECT node FROM edge_nodes WHERE node = ANY(%s) ORDER BY node FOR UPDATE"
_ASK_SEEN: Final = """
    SELECT nodes.seen @> asked.seq
    FROM unnest(%s::text[], %s::bigint[]) WITH ORDINALITY AS asked (node, seq, place)
    JOIN edge_nodes AS nodes ON nodes.node = asked.node COLLATE "C" ORDER BY asked.place
"""
_NOTE_SEEN: Final = """
    UPDATE edge_nodes AS nodes SET
      seen = nodes.seen + news.seqs, batches = nodes.batches + news.batches, events = nodes.events + news.events,
      highest_seq = greatest(nodes.highest_seq, news.highest), last_received_ms = %(now)s,
      ahead_ms = greatest(nodes.ahead_ms, -news.least_ms), slowest_ms = greatest(nodes.slowest_ms, news.most_ms)
    FROM (
      SELECT node, range_agg(int8range(seq, seq, '[]')) AS seqs, count(*) AS batches, sum(events) AS events,
        max(seq) AS highest, min(%(now)s - at_ms) AS least_ms, max(%(now)s - at_ms) AS most_ms
      FROM unnest(%(nodes)s::text[], %(seqs)s::bigint[], %(counts)s::bigint[], %(ats)s::bigint[])
        AS arrived (node, seq, events, at_ms) GROUP BY node
    ) AS news WHERE nodes.node = news.node COLLATE "C"
"""
_ASK_DIGESTS: Final = """
    SELECT asked.place, min(events.batch_digest)
    FROM unnest(%s::text[], %s::bigint[]) WITH ORDINALITY AS asked (node, seq, place)
    JOIN edge_events AS events ON events.node = asked.node COLLATE "C" AND events.seq = asked.seq GROUP BY asked.place
"""
_COLUMNS: Final = (
    ("day", "date"), ("node", "text"), ("seq", "bigint"), ("position", "smallint"), ("type", "text"),
    ("at_ms", "bigint"), ("received_ms", "bigint"), ("colo", "text"), ("country", "text"), ("clip", "text"),
    ("offer", "text"), ("drop", "text"), ("claim_id", "text"), ("expires_at_ms", "bigint"), ("code", "text"),
    ("name", "text"), ("duration_ms", "double precision"), ("detail", "text"), ("batch_digest", "bigint"),
)  # fmt: skip
_ADD_EVENTS: Final = "INSERT INTO edge_events ({}) SELECT * FROM unnest({}) ON CONFLICT DO NOTHING".format(  # noqa: S608, constants
    ", ".join(name for name, _ in _COLUMNS), ", ".join(f"%s::{kind}[]" for _, kind in _COLUMNS)
)
_ADD_REJECTIONS: Final = """
    INSERT INTO event_rejections
      (delivery, reason, node, seq, position, size_bytes, body_sha256, body_start, received_ms)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
# The facts about one claim are joined as `shared.insight.standings.merge_claims` joins them.
_ADD_ISSUED: Final = """
    INSERT INTO issued_claims AS stored
      (drop, claim_id, clip, offer, colo, node, units, free, trusted, issued_at_ms, expires_at_ms, received_ms, token)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (drop, claim_id) DO UPDATE SET
      units = CASE WHEN excluded.trusted THEN excluded.units ELSE stored.units END,
      free = CASE WHEN excluded.trusted THEN excluded.free ELSE stored.free END,
      trusted = stored.trusted OR excluded.trusted,
      node = CASE WHEN (excluded.issued_at_ms, excluded.node) < (stored.issued_at_ms, stored.node)
        THEN excluded.node ELSE stored.node END,
      issued_at_ms = least(stored.issued_at_ms, excluded.issued_at_ms),
      expires_at_ms = greatest(stored.expires_at_ms, excluded.expires_at_ms),
      token = CASE WHEN stored.trusted OR excluded.trusted THEN NULL ELSE stored.token END
"""
_EXPIRE: Final = (
    "DELETE FROM edge_events_other WHERE day < %(day)s OR received_ms < %(before)s",
    "DELETE FROM edge_nodes WHERE last_received_ms < %(before)s",
    "DELETE FROM event_rejections WHERE received_ms < %(before)s",
    "DELETE FROM issued_claims WHERE expires_at_ms < %(before)s OR received_ms < %(before)s AND NOT trusted",
    "DELETE FROM claim_minutes WHERE minute_ms < %(before)s",
)


class Delivery(Wire, frozen=True, kw_only=True):
    """One message as it came.

    Attributes:
        name: the queue's id of it, the same at each delivery.
        raw: its body; None when its encoding could not be undone.
    """

    name: str
    raw: bytes | None


class Issue(Wire, frozen=True, kw_only=True):
    """A claim to be noted as issued, with the event and the batch that report it."""

    issued: IssuedClaim
    clip: str
    offer: str
    colo: str
    node: str
    at_ms: int


class Sorted(Wire, frozen=True, kw_only=True):
    """Batches, told apart: new ones, redelivered ones, and others that use a number again (by their places)."""

    fresh: tuple[int, ...]
    repeated: tuple[int, ...]
    reused: tuple[int, ...]


class Expired(Wire, frozen=True, kw_only=True):
    """What was dropped because of its age."""

    partitions: tuple[str, ...]
    rows: int


async def make_partitions(connection: Connection, now_ms: int, days_back: int = 1) -> None:
    """Make the partitions of today, of the days ahead, and of yesterday. Call it in a transaction of its own."""
    today = day_of(now_ms)
    for offset in range(-days_back, DAYS_AHEAD + 1):
        await connection.execute("SELECT make_edge_events_partition(%s)", [today + dt.timedelta(days=offset)])


async def drop_expired(connection: Connection, now_ms: int, retention_days: int) -> Expired:
    """Drop what is older than `retention_days`. Call it in a transaction of its own."""
    first_kept = day_of(now_ms) - dt.timedelta(days=retention_days)
    found = await connection.execute(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'edge_events'::regclass ORDER BY 1"
    )
    names = [name for (name,) in await found.fetchall()]
    old = [name for name in names if name < _PARTITION + first_kept.strftime("%Y%m%d")]
    for name in old:
        await connection.execute(f"DROP TABLE {name}")  # the catalogue's own name, quoted by regclass
    scope = {"day": first_kept, "before": now_ms - retention_days * _DAY_MS}
    rows = 0
    for statement in _EXPIRE:
        rows += (await connection.execute(statement, scope)).rowcount
    return Expired(partitions=tuple(old), rows=rows)


async def sort_batches(connection: Connection, batches: Sequence[ReadBatch], now_ms: int) -> Sorted:
    """Tell new batches from those that came before, and note the new ones as seen. Within the caller's transaction."""
    if not batches:
        return Sorted(fresh=(), repeated=(), reused=())
    met = {batch.node: batch.colo for batch in batches}
    await connection.execute(_MEET_NODES, {"nodes": list(met), "colos": list(met.values()), "now": now_ms})
    await connection.execute(_LOCK_NODES, [list(met)])
    asked = await connection.execute(_ASK_SEEN, [[b.node for b in batches], [b.seq for b in batches]])
    known = [seen for (seen,) in await asked.fetchall()]
    firsts: dict[tuple[str, int], int] = {}
    fresh, again, reused = [], [], []
    for place, batch in enumerate(batches):
        first = firsts.setdefault((batch.node, batch.seq), place)
        if known[place]:
            again.append(place)
        elif first == place:
            fresh.append(place)
        elif digest_batch(batch) != digest_batch(batches[first]):
            reused.append(place)
    await _note_seen(connection, [batches[place] for place in fresh], now_ms)
    reused += await _find_reused(connection, batches, again)
    others = set(range(len(batches))) - set(fresh) - set(reused)
    return Sorted(fresh=tuple(fresh), repeated=tuple(sorted(others)), reused=tuple(sorted(reused)))


async def add_events(connection: Connection, batches: Sequence[ReadBatch], now_ms: int) -> int:
    """Store the events of new batches, and return how many."""
    rows = [row for batch in batches for row in _event_rows(batch, now_ms)]
    if rows:
        await connection.execute(_ADD_EVENTS, [list(column) for column in zip(*rows, strict=True)])
    return len(rows)


async def add_rejections(
    connection: Connection, delivery: Delivery, batch: ReadBatch | None, rejections: Sequence[Rejection], now_ms: int
) -> None:
    """Store why a delivery, or events of it, do not count; the same again is stored once."""
    raw = delivery.raw or b""
    digest = hashlib.sha256(raw).digest()
    rows = []
    node, seq = (batch.node, batch.seq) if batch else (None, None)
    for rejection in rejections:
        # What cannot be read, or uses another's number, has no number of its own.
        name = f"{node}/{seq}" if batch and rejection.index != WHOLE else f"message {delivery.name}"
        identity = f"{name}/{rejection.index}"
        kept = (len(raw), digest, raw[:KEPT_BODY_BYTES], now_ms)
        rows.append((identity, rejection.reason, node, seq, rejection.index, *kept))
    if rows:
        await connection.cursor().executemany(_ADD_REJECTIONS, rows)


async def add_issued(connection: Connection, issues: Sequence[Issue], now_ms: int) -> None:
    """Note claims as issued. Those that cannot be verified yet keep their token, until a run can."""
    rows = []
    for issue in sorted(issues, key=lambda issue: (issue.issued.drop, issue.issued.claim_id)):
        issued, claim = issue.issued, issue.issued.claim
        units, free = (claim.quantity, claim.total_minor == 0) if claim else (0, False)
        named = (issued.drop, issued.claim_id, issue.clip, issue.offer, issue.colo, issue.node)
        told = (units, free, claim is not None, issue.at_ms, issued.expires_at_ms)
        rows.append((*named, *told, now_ms, None if claim else issued.token))
    if rows:
        await connection.cursor().executemany(_ADD_ISSUED, rows)


def day_of(at_ms: int) -> dt.date:
    """Return the UTC day of an instant."""
    return _EPOCH + dt.timedelta(days=at_ms // _DAY_MS)


def digest_batch(batch: ReadBatch) -> int:
    """Return 64 bits of a hash of what a batch says, however its JSON was written."""
    return int.from_bytes(hashlib.sha256(msgspec.json.encode(batch)).digest()[:8], "big", signed=True)


async def _note_seen(connection: Connection, fresh: Sequence[ReadBatch], now_ms: int) -> None:
    if fresh:
        columns = {
            "nodes": [batch.node for batch in fresh],
            "seqs": [batch.seq for batch in fresh],
            "counts": [len(batch.events) for batch in fresh],
            "ats": [batch.at_ms for batch in fresh],
        }
        await connection.execute(_NOTE_SEEN, {**columns, "now": now_ms})


async def _find_reused(connection: Connection, batches: Sequence[ReadBatch], again: Sequence[int]) -> list[int]:
    """Return the places of those batches whose number was used before for something else.

    A batch of which no event was stored has nothing to be compared with, and passes for a redelivery.
    """
    if not again:
        return []
    asked = [batches[place] for place in again]
    found = await connection.execute(_ASK_DIGESTS, [[b.node for b in asked], [b.seq for b in asked]])
    return [again[nth - 1] for nth, digest in await found.fetchall() if digest != digest_batch(asked[nth - 1])]


def _event_rows(batch: ReadBatch, now_ms: int) -> list[tuple[object, ...]]:
    day, digest = day_of(batch.at_ms), digest_batch(batch)
    rows: list[tuple[object, ...]] = []
    for item in batch.events:
        kind = str(item.event.__struct_config__.tag)
        at_ms = item.event.at_ms if isinstance(item.event, Viewed) else batch.at_ms
        country = batch.country if isinstance(item.event.country, UnsetType) else clean_text(item.event.country)
        where = (day, batch.node, batch.seq, item.index, kind, at_ms, now_ms, batch.colo, country)
        rows.append((*where, *_event_details(item), digest))
    return rows


def _event_details(item: Positioned) -> tuple[object, ...]:
    """Return clip, offer, drop, claim id, expiry, code, name, duration and detail of an event.

    The detail of a refusal is the number of further ones that the node only counted.
    """
    event = item.event
    if isinstance(event, ClaimIssued):
        return (event.clip, event.offer, event.drop, event.claim_id, event.expires_at_ms, None, None, None, "")
    if isinstance(event, ClaimRefused):
        counted = str(event.suppressed) if event.suppressed else ""
        return (event.clip, event.offer, event.drop, None, None, str(event.code), None, None, counted)
    measured = (event.name, event.duration_ms, clean_text(event.detail))
    return (event.clip, event.offer, None, None, None, None, *measured)
