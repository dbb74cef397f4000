"""The steps of one reconciliation, each a transaction of its own, in an order in which none undoes another.

What is compared and found is decided by `shared.insight.reconciliation`; here is what must be read and done for it.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import structlog

from origin.catalogue.publishing import Publisher
from origin.catalogue.stock_store import read_stock
from origin.config import Config
from origin.database import Connection, Database
from origin.insight import minutes_store, runs_store
from origin.insight import reconciliation_store as store
from origin.insight.event_store import Expired, drop_expired, make_partitions
from origin.insight.intake import Intake, QueueReader, Taken
from origin.money.cashier import BATCH, Cashier
from origin.money.orphans_store import find_orphans
from origin.pickup.scanner_store import read_disputes
from origin.provider import Provider, ProviderAwayError
from origin.settlement.budgets_store import read_budgets
from origin.settlement.confirming import Confirmations
from origin.settlement.presenting import Trust
from origin.settlement.settling import Settler
from origin.trail.heads import Signer, sign_open_ends
from shared.claims.tokens import Claim
from shared.insight.deliveries import judge_issue
from shared.insight.events import ClaimIssued
from shared.insight.reconciliation import BUDGETS_MS, Facts, Report, hash_state, reconcile
from shared.insight.standings import ClaimCounts, ClaimFold
from shared.structs import Wire

MOST_PULLS: Final = 200
REPAIR_BATCH: Final = 500
COMPARED_MS: Final = 7 * 86_400_000  # a drop that closed longer ago is compared when claims of it come, or on demand
_DAY_MS: Final = 86_400_000

log = structlog.get_logger(__name__)


class Run(Wire, frozen=True, kw_only=True):
    """One reconciliation: what it did, and what it found.

    Attributes:
        away: `provider` when the provider could not be asked for all that it should; empty otherwise.
        taken: what it took from the queue.
        repaired: claims that it settled now.
        payments: open payments that it looked at.
        state: `shared.insight.reconciliation.hash_state` of the report.
        published: clips whose manifest it wrote to the edge's store.
        expired: what it dropped because of its age.
    """

    run: int
    started_ms: int
    finished_ms: int
    away: str
    taken: Taken
    repaired: int
    published: tuple[str, ...]
    payments: int = 0
    state: str = ""
    expired: Expired
    report: Report


class Reconciler:
    """Reconciles one database with one provider."""

    def __init__(
        self, database: Database, provider: Provider, publisher: Publisher, cashier: Cashier, config: Config
    ) -> None:
        self._database = database
        self._publisher = publisher
        self._cashier = cashier
        self._trust = Trust(keys=config.claim_keys, issuer=config.issuer, audience=config.public_url)
        self._settler = Settler(config.public_url, config.signing_keys)
        self._signer = Signer(config.public_url, config.signing_keys)
        self._confirmations = Confirmations()
        intake = Intake(database, self._settler, self._trust, confirmations=self._confirmations)
        self._queue = QueueReader(database, provider, intake, config.intake_interval_ms)
        self._retention_days = config.event_retention_days

    async def run(self, clock_ms: Callable[[], int], *, whole: bool = False) -> Run:
        """Do all steps, and keep the report.

        Args:
            clock_ms: the origin's clock.
            whole: whether to compare all that is kept, and not only what can have changed.

        Raises:
            ServiceAwayError: the database went away; what was done until then stays done.
        """
        started_ms = clock_ms()
        async with self._database.transaction() as connection:
            last_ms = await runs_store.read_last_start(connection)
            number = await runs_store.begin_run(connection, started_ms)
            await runs_store.drop_old_runs(connection, started_ms, started_ms - self._retention_days * _DAY_MS)
        async with self._database.transaction() as connection:
            await make_partitions(connection, started_ms)
        async with store.patient_transaction(self._database) as connection:
            expired = await drop_expired(connection, started_ms, self._retention_days)
        taken, queue_answered = await self._drain_queue()
        repaired, verified_ms = await self._repair(clock_ms)
        payments = await self._look_after_payments()
        await self._sign_trails(clock_ms())
        await self._confirmations.store(self._database, clock_ms())
        report = await self._compare(clock_ms(), None if whole else last_ms, verified_ms)
        published, store_answered = await self._restore_manifests()
        run = Run(
            run=number,
            started_ms=started_ms,
            finished_ms=clock_ms(),
            away="" if queue_answered and store_answered else "provider",
            taken=taken,
            repaired=repaired,
            payments=payments,
            state=hash_state(report),
            published=published,
            expired=expired,
            report=report,
        )
        async with self._database.transaction() as connection:
            await runs_store.end_run(connection, number, run, run.finished_ms)
        return run

    async def _drain_queue(self) -> tuple[Taken, bool]:
        """Take in what the queue holds, up to a bound; the service takes the rest. Also: whether the queue answered."""
        taken = Taken()
        for _ in range(MOST_PULLS):
            try:
                batch, more = await self._queue.pull_once()
            except ProviderAwayError as error:
                log.warning("reconcile_queue_away", reason=str(error))
                return taken, False
            taken = taken.plus(batch)
            if not more:
                break
        return taken, True

    async def _look_after_payments(self) -> int:
        """Write down what has lapsed, and take the payments on that are due."""
        looked_at = 0
        for _ in range(MOST_PULLS):
            batch = await self._cashier.look_after()
            looked_at += batch
            if batch < BATCH:
                break
        return looked_at

    async def _restore_manifests(self) -> tuple[tuple[str, ...], bool]:
        try:
            return await self._publisher.restore(), True
        except ProviderAwayError as error:
            log.warning("reconcile_store_away", reason=str(error))
            return (), False

    async def _repair(self, clock_ms: Callable[[], int]) -> tuple[int, int | None]:
        """Verify the claims whose key was not known when they were reported, and settle the free ones.

        Returns:
            How many it settled, and when the oldest one was issued that was verified.
        """
        repaired, oldest_ms = 0, None
        after = ("", "")
        while True:
            page, good, forged = await self._database.repeat(partial(self._repair_page, after, clock_ms))
            repaired += sum(claim.total_minor == 0 for _, claim in good)
            judged = [oldest_ms] if oldest_ms is not None else []
            judged += [waiting.issued_at_ms for waiting in (*forged, *(waiting for waiting, _ in good))]
            oldest_ms = min(judged, default=None)
            if len(page) < REPAIR_BATCH:
                return repaired, oldest_ms
            after = (page[-1].drop, page[-1].claim_id)

    async def _repair_page(
        self, after: tuple[str, str], clock_ms: Callable[[], int], connection: Connection
    ) -> tuple[list[store.Unverified], list[tuple[store.Unverified, Claim]], list[store.Unverified]]:
        """Verify one page; return it, and which of it are good, and which forged."""
        page = await store.read_unverified(connection, after, REPAIR_BATCH)
        good, forged = self._verify(page)
        now_ms = clock_ms()
        free = [claim for _, claim in good if claim.total_minor == 0]
        await self._settler.settle_in(connection, free, "event", now_ms)
        await store.note_forged(connection, forged, now_ms)
        await store.note_verified(connection, good, now_ms)
        return page, good, forged

    def _verify(
        self, page: Sequence[store.Unverified]
    ) -> tuple[list[tuple[store.Unverified, Claim]], list[store.Unverified]]:
        """Return those that are good now, and those that are forged; the others still wait."""
        good: list[tuple[store.Unverified, Claim]] = []
        forged: list[store.Unverified] = []
        for waiting in page:
            event = ClaimIssued(
                claim_id=waiting.claim_id,
                drop=waiting.drop,
                clip=waiting.clip,
                offer=waiting.offer,
                token=waiting.token,
                expires_at_ms=waiting.expires_at_ms,
            )
            issued = judge_issue(event, self._trust.keys, issuer=self._trust.issuer, audience=self._trust.audience)
            if issued is None:
                forged.append(waiting)
            elif issued.claim is not None:
                good.append((waiting, issued.claim))
        return good, forged

    async def _sign_trails(self, now_ms: int) -> None:
        """Sign where the audit trails end: whoever reads a head now can show later what was changed before it."""
        async with self._database.transaction() as connection:
            await sign_open_ends(connection, self._signer, now_ms)

    async def _compare(self, now_ms: int, last_ms: int | None, verified_ms: int | None) -> Report:
        """Compare what can have changed since the run that began at `last_ms`; all that is kept for None."""
        kept_since_ms = now_ms - self._retention_days * _DAY_MS
        closed_after_ms = kept_since_ms if last_ms is None else max(kept_since_ms, now_ms - COMPARED_MS)
        async with store.read_only_snapshot(self._database) as connection:
            since_ms = await minutes_store.find_start(connection, now_ms, last_ms, verified_ms)
            names = await store.list_compared(connection, closed_after_ms, since_ms)
            drops = await store.read_drop_facts(connection, names, now_ms, kept_since_ms)
            published = await read_stock(connection, names, now_ms)
            before = await minutes_store.sum_minutes(connection, names, since_ms)
            fold = ClaimFold({drop.drop: drop.sold_out_at_ms for drop in drops}, now_ms, before)
            counts = await self._count(connection, fold, since_ms)
            facts = Facts(
                drops=drops,
                published=published,
                gaps=await store.read_gap_facts(connection),
                intake=await store.read_intake_fact(connection, now_ms),
                rejections=await store.read_rejection_facts(connection, now_ms),
                orphans=tuple(await find_orphans(connection, now_ms, 0 if last_ms is None else now_ms - COMPARED_MS)),
                disputes=await read_disputes(connection, now_ms),
                budgets=await read_budgets(connection, now_ms - BUDGETS_MS),
            )
        return reconcile(facts, counts, now_ms, fold.worst)

    async def _count(self, snapshot: Connection, fold: ClaimFold, since_ms: int) -> dict[str, ClaimCounts]:
        """Count the claims since an instant, and keep the minutes as they end: memory stays flat."""
        async with minutes_store.replace_minutes(self._database, since_ms) as connection:
            async for chunk in store.stream_claim_facts(snapshot, since_ms):
                fold.feed(chunk)
                await minutes_store.write_minutes(connection, fold.minutes)
                fold.minutes.clear()
            counts = fold.finish()
            await minutes_store.write_minutes(connection, fold.minutes)
        return counts
