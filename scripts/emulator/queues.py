"""The emulated provider's queues: what is waiting, who has leased it, until when.

Rules (those of the provider's pull consumers):
1. A message is delivered at least once: pulling leases it for the visibility timeout, and it comes back after that.
2. Only an unexpired lease of the latest delivery acknowledges or retries; anything else is ignored, with a warning.
   (https://developers.cloudflare.com/queues/configuration/pull-consumers/ says that a lease is void after its timeout,
   and also that a late acknowledgement is taken all the same: a consumer for the stricter one is good for both.)
3. Each delivery counts as an attempt. After 1 + `max_retries` attempts, what would come back goes to the dead letter
   queue instead, which is a queue like any other.
4. Nothing leaves a queue but by acknowledgement or to its dead letter queue.

The rows live in SQLite, so that a restart loses no queued message. The clock and the message ids are arguments.
"""

import hashlib
import sqlite3
from collections.abc import Sequence
from typing import Literal

import msgspec

ContentType = Literal["json", "text", "bytes"]

SCHEMA = """
CREATE TABLE IF NOT EXISTS message (
    position     INTEGER PRIMARY KEY AUTOINCREMENT,
    id           TEXT NOT NULL UNIQUE,
    queue        TEXT NOT NULL,
    body         BLOB NOT NULL,
    content_type TEXT NOT NULL,
    sent_ms      INTEGER NOT NULL,
    attempts     INTEGER NOT NULL DEFAULT 0,
    visible_ms   INTEGER NOT NULL,
    lease        TEXT UNIQUE
);
CREATE INDEX IF NOT EXISTS message_by_queue ON message (queue, position);
"""


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """One configured queue; `dead_letter` names the queue that takes what was attempted too often."""

    name: str
    max_retries: int = 3
    dead_letter: str | None = None


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """A message on its way into a queue; `delay_s` keeps it invisible for as long."""

    id: str
    body: bytes
    content_type: ContentType = "json"
    delay_s: int = 0


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One delivery of one message, under a lease."""

    id: str
    body: bytes
    content_type: ContentType
    sent_ms: int
    attempts: int
    lease: str


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """The wish to have a leased message again after `delay_s` seconds."""

    lease: str
    delay_s: int = 0


class Acknowledged(msgspec.Struct, frozen=True, kw_only=True):
    """How many leases were acknowledged and retried, and a warning for each that counted for nothing."""

    acknowledged: int
    retried: int
    warnings: tuple[str, ...]


class QueueView(msgspec.Struct, frozen=True, kw_only=True):
    """How much is in a queue: messages that wait, that are leased, and when the oldest of them was sent."""

    name: str
    waiting: int
    leased: int
    oldest_ms: int | None
    is_dead_letter: bool


class QueueStore:
    """All queues of the emulated account, in one SQLite database."""

    def __init__(self, database: sqlite3.Connection, queues: Sequence[Queue]) -> None:
        self._database = database
        self._queues = {queue.name: queue for queue in queues}
        dead = {queue.dead_letter for queue in queues if queue.dead_letter is not None}
        self._queues.update({name: Queue(name=name) for name in dead if name not in self._queues})
        database.executescript(SCHEMA)

    def __contains__(self, queue: str) -> bool:
        return queue in self._queues

    def send(self, queue: str, messages: Sequence[Outgoing], now_ms: int) -> None:
        """Put messages into a queue, all of them or none. An id that is already there is the same message: once."""
        rows = [(m.id, queue, m.body, m.content_type, now_ms, now_ms + m.delay_s * 1000) for m in messages]
        with self._database:
            self._database.executemany(
                "INSERT INTO message (id, queue, body, content_type, sent_ms, visible_ms) VALUES (?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (id) DO NOTHING",
                rows,
            )

    def pull(self, queue: str, batch_size: int, visibility_timeout_ms: int, now_ms: int) -> list[Delivery]:
        """Lease up to `batch_size` visible messages, oldest first, until `now_ms + visibility_timeout_ms`."""
        with self._database:
            self._bury(queue, now_ms)
            rows = self._database.execute(
                "SELECT position, id, body, content_type, sent_ms, attempts + 1 FROM message "
                "WHERE queue = ? AND visible_ms <= ? ORDER BY position LIMIT ?",
                (queue, now_ms, batch_size),
            ).fetchall()
            until_ms = now_ms + visibility_timeout_ms
            leases = [_lease(queue, row[1], row[5], now_ms) for row in rows]
            self._database.executemany(
                "UPDATE message SET attempts = ?, lease = ?, visible_ms = ? WHERE position = ?",
                [(row[5], lease, until_ms, row[0]) for row, lease in zip(rows, leases, strict=True)],
            )
        return [
            Delivery(id=row[1], body=row[2], content_type=row[3], sent_ms=row[4], attempts=row[5], lease=lease)
            for row, lease in zip(rows, leases, strict=True)
        ]

    def acknowledge(self, queue: str, leases: Sequence[str], retries: Sequence[Retry], now_ms: int) -> Acknowledged:
        """Remove what was acknowledged, and release what shall be retried; see rule 2 for leases that do not count."""
        acknowledged, retried, warnings = 0, 0, []
        with self._database:
            for lease in leases:
                done = self._database.execute(
                    "DELETE FROM message WHERE queue = ? AND lease = ? AND visible_ms > ?", (queue, lease, now_ms)
                ).rowcount
                acknowledged += done
                warnings += [] if done else [f"lease {lease} is unknown or has expired"]
            for retry in retries:
                done = self._database.execute(
                    "UPDATE message SET lease = NULL, visible_ms = ? WHERE queue = ? AND lease = ? AND visible_ms > ?",
                    (now_ms + retry.delay_s * 1000, queue, retry.lease, now_ms),
                ).rowcount
                retried += done
                warnings += [] if done else [f"lease {retry.lease} is unknown or has expired"]
            self._bury(queue, now_ms)
        return Acknowledged(acknowledged=acknowledged, retried=retried, warnings=tuple(warnings))

    def backlog(self, queue: str) -> int:
        """Count the messages that nobody has acknowledged, leased ones among them."""
        count: int = self._database.execute("SELECT count(*) FROM message WHERE queue = ?", (queue,)).fetchone()[0]
        return count

    def views(self, now_ms: int) -> list[QueueView]:
        """Return how much is in each queue."""
        dead = {queue.dead_letter for queue in self._queues.values()}
        views = []
        for name in self._queues:
            waiting, leased, oldest_ms = self._database.execute(
                "SELECT count(*) FILTER (WHERE NOT (lease IS NOT NULL AND visible_ms > ?)), "
                "count(*) FILTER (WHERE lease IS NOT NULL AND visible_ms > ?), min(sent_ms) "
                "FROM message WHERE queue = ?",
                (now_ms, now_ms, name),
            ).fetchone()
            view = QueueView(
                name=name, waiting=waiting, leased=leased, oldest_ms=oldest_ms, is_dead_letter=name in dead
            )
            views.append(view)
        return views

    def _bury(self, queue: str, now_ms: int) -> None:
        """Move what came back once too often to the dead letter queue; without one, it is gone (as at the provider)."""
        settings = self._queues[queue]
        spent = "queue = ? AND visible_ms <= ? AND attempts > ?"
        facts = (queue, now_ms, settings.max_retries)
        if settings.dead_letter is None:
            self._database.execute(f"DELETE FROM message WHERE {spent}", facts)  # noqa: S608 - constant text
        else:
            self._database.execute(
                f"UPDATE message SET queue = ?, attempts = 0, lease = NULL WHERE {spent}",  # noqa: S608 - constant text
                (settings.dead_letter, *facts),
            )


def _lease(queue: str, message: str, attempt: int, now_ms: int) -> str:
    """Name one delivery: another for each attempt, and for each queue that a message passes through."""
    return hashlib.sha256(f"{queue}/{message}/{attempt}/{now_ms}".encode()).hexdigest()
