"""Reconciliation by the service itself, every so often.

Rules:

1. All processes of an origin, and cron, take turns by one lock: whoever does not get it leaves the work to the other.
2. What another has done within the interval is not done again: several processes reconcile as often as one.
3. Nothing that goes wrong ends the loop; the next turn does what is left.
"""

import asyncio
import random
from collections.abc import Callable
from typing import Final

import structlog

from origin.database import Database
from origin.insight.reconciliation import Reconciler, Run
from origin.insight.runs_store import hold_run_lock, read_last_start
from shared.errors import CliptillError

_EARLY: Final = 0.9  # of the interval, after which a turn is due again: the pauses of processes differ a little

log = structlog.get_logger(__name__)


class ReconcileLoop:
    """Reconciles every `interval_s` seconds; never when that is 0."""

    def __init__(
        self, database: Database, reconciler: Reconciler, interval_s: int, clock_ms: Callable[[], int]
    ) -> None:
        self._database = database
        self._reconciler = reconciler
        self._interval_s = interval_s
        self._clock_ms = clock_ms

    async def run(self) -> None:
        """Take turns until cancelled. Cancelling is safe at any point: each step of a run is a transaction."""
        while self._interval_s:
            await asyncio.sleep(self._interval_s * random.uniform(0.95, 1.05))  # noqa: S311, no secret
            try:
                run = await self.take_turn()
            except CliptillError as error:
                log.warning("reconcile_waits", reason=str(error))
            except Exception:
                log.exception("reconcile_failed")
            else:
                if run is not None:
                    log.info("reconciled", run=run.run, findings=len(run.report.findings), away=run.away)

    async def take_turn(self) -> Run | None:
        """Reconcile, or return None when another does, or has done within the interval.

        Raises:
            ServiceAwayError: the database went away; what was done until then stays done.
        """
        async with hold_run_lock(self._database) as held:
            if not held:
                return None
            async with self._database.connection() as connection:
                last_ms = await read_last_start(connection)
            if last_ms is not None and self._clock_ms() - last_ms < self._interval_s * _EARLY * 1000:
                return None
            return await self._reconciler.run(self._clock_ms)
