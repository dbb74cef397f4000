"""Intake: from the edge's queue into the database, each event once, together with its effect.

Rules:

1. What is delivered, what it says, and what follows from it is one transaction; only after its commit are messages
   acknowledged. Whatever fails, nothing is acknowledged: the lease runs out and the messages come again. A transaction
   takes some messages (`MOST_BYTES`): viewers who settle on the same drop wait for it.
2. One bad message never stops the others. What cannot be read is stored as rejected, with a closed reason, and
   acknowledged. What can be read and yet cannot be stored is found by storing each message alone.
3. A forged claim never settles; it is stored as rejected.
4. Nothing is pulled while the database is away: a delivery that comes to nothing uses up one of the queue's attempts.
5. After a batch it pulls again at once while there is a backlog, else after the interval. When a service is away it
   waits longer each time, up to a limit.
"""

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final, NamedTuple

import structlog

from origin.catalogue.publishing import read_clock_ms
from origin.database import ClashError, Connection, Database
from origin.insight.event_store import (
    Delivery,
    Issue,
    add_events,
    add_issued,
    add_rejections,
    day_of,
    make_partitions,
    sort_batches,
)
from origin.provider import Provider, message_bytes
from origin.settlement.confirming import Confirmations
from origin.settlement.presenting import Trust
from origin.settlement.settling import Settler
from shared.claims.budgets import Kind, Stage, split_report
from shared.errors import CliptillError
from shared.insight.deliveries import WHOLE, ReadBatch, Rejection, judge_issue, read_batch, settles_by_event
from shared.insight.events import ClaimIssued
from shared.structs import Wire

BATCH_SIZE: Final = 100  # the provider's limit for one pull
VISIBILITY_MS: Final = 30_000  # longer than a batch takes to store, shorter than a person waits
MOST_BYTES: Final = 512 * 1024  # of messages in one transaction: some hundred claims, as many as an edge posts at once
SLOWEST_S: Final = 10.0

log = structlog.get_logger(__name__)


class Taken(Wire, frozen=True, kw_only=True):
    """What came of some deliveries.

    Attributes:
        batches: new messages that were stored.
        events: events in them.
        repeated: messages that had come before.
        rejected: messages and events that do not count, forged claims among them.
        presented: claims that their event presented, whatever was decided.
    """

    batches: int = 0
    events: int = 0
    repeated: int = 0
    rejected: int = 0
    presented: int = 0

    def plus(self, other: "Taken") -> "Taken":
        """Return both together."""
        return Taken(**{name: getattr(self, name) + getattr(other, name) for name in self.__struct_fields__})


class Stored(NamedTuple):
    """What came of deliveries that are stored in a transaction, and where the time of each presented claim went."""

    taken: Taken
    spent_ms: tuple[dict[Stage, float], ...]


class Intake:
    """Stores deliveries with their effects, for one origin."""

    def __init__(
        self,
        database: Database,
        settler: Settler,
        trust: Trust,
        clock_ms: Callable[[], int] = read_clock_ms,
        confirmations: Confirmations | None = None,
    ) -> None:
        self._database = database
        self._settler = settler
        self._trust = trust
        self._clock_ms = clock_ms
        self.confirmations = confirmations or Confirmations()

    def count(self, stored: Stored) -> Taken:
        """Count what was confirmed, once it is committed."""
        for spent_ms in stored.spent_ms:
            self.confirmations.note(Kind.BULK, spent_ms)
        return stored.taken

    async def take(self, deliveries: Sequence[Delivery]) -> tuple[Taken, tuple[Delivery, ...]]:
        """Store deliveries, some at a time or, when that does not succeed, each by itself.

        Returns:
            What came of them, and those that are stored: they may be acknowledged.

        Raises:
            ServiceAwayError: the database is away; nothing may be acknowledged.
        """
        taken, stored = Taken(), tuple[Delivery, ...]()
        for group in _grouped(deliveries):
            of_group, stored_of_group = await self._take_group(group)
            taken, stored = taken.plus(of_group), stored + stored_of_group
        return taken, stored

    async def _take_group(self, deliveries: Sequence[Delivery]) -> tuple[Taken, tuple[Delivery, ...]]:
        try:
            return await self._take_together(deliveries), tuple(deliveries)
        except ClashError:
            log.info("intake_clash", deliveries=len(deliveries))
        except CliptillError:
            raise
        except Exception:
            log.exception("intake_batch_failed", deliveries=len(deliveries))
        return await self._take_one_by_one(deliveries)

    async def store_batches(self, connection: Connection, deliveries: Sequence[Delivery]) -> Stored:
        """Store deliveries and settle what they present, within the caller's transaction; then `count` it.

        For any way in which reports come: the queue, or an edge that posts them to the origin itself.
        """
        now_ms = self._clock_ms()
        read = [(delivery, read_batch(delivery.raw)) for delivery in deliveries]
        batches = [(delivery, batch) for delivery, batch in read if isinstance(batch, ReadBatch)]
        unread = [(delivery, batch) for delivery, batch in read if isinstance(batch, Rejection)]
        told = await sort_batches(connection, [batch for _, batch in batches], now_ms)
        fresh = [batches[place] for place in told.fresh]
        issues, forged = self._judge([batch for _, batch in fresh])
        for delivery, rejection in unread:
            await add_rejections(connection, delivery, None, [rejection], now_ms)
        for place in told.reused:
            reused = Rejection(index=WHOLE, reason="sequence_reused")
            await add_rejections(connection, *batches[place], [reused], now_ms)
        rejected = len(unread) + len(told.reused)
        for (delivery, batch), bad in zip(fresh, forged, strict=True):
            rejections = (*batch.rejections, *bad)
            rejected += len(rejections)
            await add_rejections(connection, delivery, batch, rejections, now_ms)
        events = await add_events(connection, [batch for _, batch in fresh], now_ms)
        spent_ms = await self._settle(connection, issues, now_ms)
        await add_issued(connection, issues, now_ms)
        taken = Taken(
            batches=len(fresh),
            events=events,
            repeated=len(told.repeated),
            rejected=rejected,
            presented=len(spent_ms),
        )
        return Stored(taken, spent_ms)

    def _judge(self, batches: Sequence[ReadBatch]) -> tuple[list[Issue], list[list[Rejection]]]:
        """Return the claims that the batches report, and for each batch what is forged in it."""
        issues: list[Issue] = []
        forged: list[list[Rejection]] = []
        for batch in batches:
            bad = []
            for item in batch.events:
                if not isinstance(item.event, ClaimIssued):
                    continue
                issued = judge_issue(
                    item.event, self._trust.keys, issuer=self._trust.issuer, audience=self._trust.audience
                )
                if issued is None:
                    bad.append(Rejection(index=item.index, reason="claim_forged"))
                    continue
                issues.append(
                    Issue(
                        issued=issued,
                        clip=item.event.clip,
                        offer=item.event.offer,
                        colo=batch.colo,
                        node=batch.node,
                        at_ms=batch.at_ms,
                    )
                )
            forged.append(bad)
        return issues, forged

    async def _settle(
        self, connection: Connection, issues: Sequence[Issue], now_ms: int
    ) -> tuple[dict[Stage, float], ...]:
        """Settle what settles by its event; return where the time of each such claim went."""
        free = [
            (issue.issued.claim, issue.at_ms)
            for issue in issues
            if issue.issued.claim is not None and settles_by_event(issue.issued)
        ]
        if not free:
            return ()
        await self._settler.settle_in(connection, [claim for claim, _ in free], "event", now_ms)
        database_ms = float(self._clock_ms() - now_ms)
        return tuple({**split_report(claim.iat, at_ms, now_ms), Stage.DATABASE: database_ms} for claim, at_ms in free)

    async def _take_together(self, deliveries: Sequence[Delivery]) -> Taken:
        async with self._database.transaction() as connection:
            stored = await self.store_batches(connection, deliveries)
        return self.count(stored)

    async def _take_one_by_one(self, deliveries: Sequence[Delivery]) -> tuple[Taken, tuple[Delivery, ...]]:
        """Store each delivery alone. What fails alone stays in the queue, which gives it up after its attempts."""
        taken = Taken()
        stored: list[Delivery] = []
        for delivery in deliveries:
            try:
                alone = await self._database.repeat(partial(self.store_batches, deliveries=[delivery]))
                taken = taken.plus(self.count(alone))
                stored.append(delivery)
            except ClashError:
                log.warning("intake_clash", deliveries=1)
            except CliptillError:
                raise
            except Exception:
                log.exception("intake_message_failed", message=delivery.name)
        return taken, tuple(stored)


def _grouped(deliveries: Sequence[Delivery]) -> Iterator[list[Delivery]]:
    """Give deliveries in their order, as many at a time as one transaction takes, and at least one."""
    group, size = list[Delivery](), 0
    for delivery in deliveries:
        length = len(delivery.raw or b"")
        if group and size + length > MOST_BYTES:
            yield group
            group, size = [], 0
        group.append(delivery)
        size += length
    if group:
        yield group


class QueueReader:
    """Pulls the edge's queue into an intake."""

    def __init__(
        self,
        database: Database,
        provider: Provider,
        intake: Intake,
        interval_ms: int,
        clock_ms: Callable[[], int] = read_clock_ms,
    ) -> None:
        self._database = database
        self._provider = provider
        self._intake = intake
        self._interval_s = interval_ms / 1000
        self._clock_ms = clock_ms
        self._days_made: object = None

    async def pull_once(self) -> tuple[Taken, bool]:
        """Pull one batch, store it, acknowledge it.

        Returns:
            What came of it, and whether it makes sense to pull again at once.

        Raises:
            ServiceAwayError: the database or the provider is away.
        """
        await self._make_partitions()
        pulled = await self._provider.pull(batch_size=BATCH_SIZE, visibility_timeout_ms=VISIBILITY_MS)
        if not pulled.messages:
            return Taken(), False
        leases = {message.id: message.lease_id for message in pulled.messages}
        deliveries = [Delivery(name=message.id, raw=message_bytes(message)) for message in pulled.messages]
        taken, stored = await self._intake.take(deliveries)
        if stored:
            await self._provider.acknowledge([leases[delivery.name] for delivery in stored])
        more = pulled.message_backlog_count > len(pulled.messages) or len(pulled.messages) == BATCH_SIZE
        return taken, more and bool(stored)

    async def run(self) -> None:
        """Pull until cancelled. Cancelling between commit and acknowledgement is safe: redelivery is."""
        failures = 0
        while True:
            try:
                taken, more = await self.pull_once()
                failures = 0
                if taken != Taken():
                    log.info("intake", **{name: getattr(taken, name) for name in taken.__struct_fields__})
            except CliptillError as error:
                failures += 1
                more = False
                log.warning("intake_waits", reason=str(error), failures=failures)
            except Exception:
                failures += 1
                more = False
                log.exception("intake_failed", failures=failures)
            await asyncio.sleep(0 if more else self._pause_s(failures))

    def _pause_s(self, failures: int) -> float:
        if not failures:
            return self._interval_s
        slower = max(self._interval_s, 0.25) * float(2 ** min(failures, 16))
        return random.uniform(0.5, 1.0) * min(SLOWEST_S, slower)  # noqa: S311, no secret

    async def _make_partitions(self) -> None:
        """See that today's partition is there; it also shows that the database is (rule 4)."""
        now_ms = self._clock_ms()
        if self._days_made == day_of(now_ms):
            async with self._database.connection() as connection:
                await connection.execute("SELECT 1")
            return
        async with self._database.transaction() as connection:
            await make_partitions(connection, now_ms)
        self._days_made = day_of(now_ms)
