"""The batching writer: every claim that browsers present to this process settles through it.

Rules:

1. Nothing waits for company. A claim on an idle drop settles at once; what arrives while a batch of its drop is on its
   way makes the next batch. So the batches grow with the load, and only with it.
2. One lane for each drop: batches of one drop follow each other (they would wait for the drop's lock anyway), and
   batches of different drops do not wait for each other. A batch is one transaction.
3. An answer is given after the commit. When it is not known whether a transaction was committed, the batch is done
   again: a decision is made once, so the second time finds it.
4. The number of claims that wait is bounded. Beyond it a claim is refused at the door, and nothing is stored.
5. Closing takes no more claims, and ends when all that were taken have their answer.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from origin.database import ClashError, Database
from origin.settlement.answers import Decision, HeldClaim
from origin.settlement.settling import Conflict, Settler
from shared.claims.tokens import Claim
from shared.errors import CliptillError, ServiceAwayError

MAX_BATCH: Final = 1_000
MAX_WAITING: Final = 4_000
RETRY_FOR_S: Final = 4.0
RETRY_PAUSE_S: Final = 0.1


class OverloadedError(CliptillError):
    """More claims wait than this process takes."""


class Timed(NamedTuple):
    """A decision, and where the time until it went, in milliseconds."""

    decision: Decision | HeldClaim | Conflict
    queue_ms: float
    database_ms: float


class _Waiting(NamedTuple):
    claim: Claim
    since_s: float
    answer: asyncio.Future[Timed]


class Writer:
    """The one writer of a process.

    Args:
        database: open, or about to be.
        settler: what decides and writes.
        clock_ms: the origin's clock.
    """

    def __init__(self, database: Database, settler: Settler, clock_ms: Callable[[], int]) -> None:
        self._database = database
        self._settler = settler
        self._clock_ms = clock_ms
        self._lanes: dict[str, deque[_Waiting]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting = 0
        self._closed = False

    async def settle(self, claim: Claim) -> Timed:
        """Settle one verified claim, and return its decision once it is committed.

        Raises:
            OverloadedError: too many wait, or the writer is closing. Nothing was stored.
            ServiceAwayError: the database is away. It may have been stored: present the claim again.
        """
        if self._closed or self._waiting >= MAX_WAITING:
            raise OverloadedError("too many claims wait")
        loop = asyncio.get_running_loop()
        waiting = _Waiting(claim, loop.time(), loop.create_future())
        self._waiting += 1
        lane = self._lanes.get(claim.drop)
        if lane is None:
            self._lanes[claim.drop] = deque((waiting,))
            task = asyncio.create_task(self._run_lane(claim.drop))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            lane.append(waiting)
        return await waiting.answer

    async def close(self) -> None:
        """Take no more claims, and wait until all that were taken are answered."""
        self._closed = True
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _run_lane(self, drop: str) -> None:
        """Settle batch after batch of one drop, until none waits."""
        lane = self._lanes[drop]
        while lane:
            batch = [lane.popleft() for _ in range(min(MAX_BATCH, len(lane)))]
            self._waiting -= len(batch)
            await self._settle_batch(batch)
        del self._lanes[drop]

    async def _settle_batch(self, batch: list[_Waiting]) -> None:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        try:
            decisions = await self._commit([waiting.claim for waiting in batch], began_s + RETRY_FOR_S)
        except Exception as error:  # noqa: BLE001 - every claim that was taken is answered, whatever happened
            for waiting in batch:
                if not waiting.answer.done():
                    waiting.answer.set_exception(error)
            return
        database_ms = (loop.time() - began_s) * 1000
        for waiting, decision in zip(batch, decisions, strict=True):
            if not waiting.answer.done():  # its client may have gone
                waiting.answer.set_result(Timed(decision, (began_s - waiting.since_s) * 1000, database_ms))

    async def _commit(self, claims: list[Claim], until_s: float) -> list[Decision | HeldClaim | Conflict]:
        """Settle in one transaction; do it again while that makes sense (rule 3)."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                async with self._database.transaction() as connection:
                    return await self._settler.settle_in(connection, claims, "request", self._clock_ms())
            except ClashError as error:
                if loop.time() > until_s:
                    raise ServiceAwayError("decisions keep getting in each other's way") from error
            except ServiceAwayError:
                if loop.time() > until_s:
                    raise
            await asyncio.sleep(RETRY_PAUSE_S)
