"""Confirmations, counted against their budgets (`shared.claims.budgets`): in this process, and added up for all.

Work that has a deadline runs under `Confirmations.confirm`, which tells where its time went by what `spend` marks: the
database has what nothing else has taken. A database that is away keeps nothing back: what was counted meanwhile is
added when it is there again.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, TypeVar

from origin.database import ClashError, Database
from origin.settlement.budgets_store import add_counts
from shared.claims.budgets import BUDGETS, Fallback, Kind, Stage, blame_stage, find_slow_stage
from shared.errors import ServiceAwayError

STORE_EVERY_S: Final = 10.0

T = TypeVar("T")


class _Stopwatch:
    """Milliseconds that stages have taken, one at a time."""

    def __init__(self) -> None:
        self._spent_ms: dict[Stage, float] = {}
        self._began_s = time.monotonic()
        self._now: tuple[Stage, float] | None = None

    def begin(self, stage: Stage) -> None:
        self._now = (stage, time.monotonic())

    def end(self) -> None:
        self._spent_ms = self._read()
        self._now = None

    def read(self) -> dict[Stage, float]:
        """Return the time of each stage until now; what none has taken is the database's."""
        spent_ms = self._read()
        rest_ms = (time.monotonic() - self._began_s) * 1000 - sum(spent_ms.values())
        return {**spent_ms, Stage.DATABASE: spent_ms.get(Stage.DATABASE, 0.0) + rest_ms}

    def _read(self) -> dict[Stage, float]:
        if self._now is None:
            return self._spent_ms
        stage, since_s = self._now
        return {**self._spent_ms, stage: self._spent_ms.get(stage, 0.0) + (time.monotonic() - since_s) * 1000}


_WATCH: Final[ContextVar[_Stopwatch | None]] = ContextVar("stopwatch", default=None)


@contextmanager
def spend(stage: Stage) -> Iterator[None]:
    """Mark time as a stage's, where somebody keeps a watch on it."""
    watch = _WATCH.get()
    if watch is None:
        yield
        return
    watch.begin(stage)
    try:
        yield
    finally:
        watch.end()


class Confirmations:
    """The counts of one process."""

    def __init__(self) -> None:
        self._total: Counter[tuple[Kind, Stage | None]] = Counter()
        self._unstored: Counter[tuple[Kind, Stage | None]] = Counter()
        self._under_way: set[asyncio.Task[Any]] = set()

    async def confirm(self, kind: Kind, work: Coroutine[Any, Any, T]) -> T | None:
        """Do work by the deadline of its kind, and count it; return what it returns, or None when it takes too long.

        Late work goes on where the kind's fallback is `PENDING`. Where it is `RELEASE`, it has ended: what it had not
        committed is undone.
        """
        watch = _Stopwatch()
        before = _WATCH.set(watch)
        task = asyncio.create_task(work)
        _WATCH.reset(before)
        self._under_way.add(task)
        task.add_done_callback(self._end)
        await asyncio.wait({task}, timeout=deadline_s(kind))
        late = not task.done()
        self.note_outcome(kind, blame_stage(kind, watch.read()) if late else None)
        if late and BUDGETS[kind].fallback is Fallback.RELEASE:
            task.cancel()
            await asyncio.wait({task})
        return None if late else await task

    async def close(self) -> None:
        """Wait for late work."""
        if self._under_way:
            await asyncio.wait(self._under_way)

    def _end(self, task: asyncio.Task[Any]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # whoever was late was told; the loop that looks after payments does the rest

    def note(self, kind: Kind, spent_ms: Mapping[Stage, float]) -> None:
        """Count one confirmation; `spent_ms` is the time that each stage took."""
        self.note_outcome(kind, find_slow_stage(kind, spent_ms))

    def note_outcome(self, kind: Kind, slow: Stage | None, count: int = 1) -> None:
        """Count confirmations that were met, or missed for one slow stage."""
        self._total[kind, slow] += count
        self._unstored[kind, slow] += count

    def count(self, kind: Kind, slow: Stage | None) -> int:
        """Return how many there were since this process began."""
        return self._total[kind, slow]

    async def store(self, database: Database, now_ms: int) -> None:
        """Add what is not stored yet.

        Raises:
            ServiceAwayError, ClashError: it was not stored, and will be the next time.
        """
        if not self._unstored:
            return
        taken, self._unstored = self._unstored, Counter()
        try:
            async with database.transaction() as connection:
                await add_counts(connection, taken, now_ms)
        except BaseException:
            self._unstored.update(taken)
            raise


class CountKeeper:
    """Stores counts from time to time, and once more at the end."""

    def __init__(self, confirmations: Confirmations, database: Database, clock_ms: Callable[[], int]) -> None:
        self._confirmations = confirmations
        self._database = database
        self._clock_ms = clock_ms

    async def run(self) -> None:
        """Store, for as long as the process lives."""
        while True:
            await asyncio.sleep(STORE_EVERY_S)
            await self.store()

    async def store(self) -> None:
        """Store what is not stored yet, unless the database is away."""
        try:
            await self._confirmations.store(self._database, self._clock_ms())
        except (ServiceAwayError, ClashError):
            return


def deadline_s(kind: Kind) -> float:
    """Return the deadline of a kind, in seconds."""
    return BUDGETS[kind].deadline_ms / 1000
