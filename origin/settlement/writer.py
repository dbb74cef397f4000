"""The batching writer: every claim that browsers present to this process settles through it.

Rules:

1. Nothing waits for company. A claim on an idle drop settles at once; what arrives while a batch of its drop is on its
   way makes the next batch. So the batches grow with the load, and only with it.
2. Batches of one drop follow each other: they would wait for the drop's lock anyway. A batch is one transaction.
3. Few transactions at once, however many drops: more would fight over connections and processors. While there are
   fewer drops than transactions, each drop has its own, and none waits for another; beyond that, they share.
4. An answer is given after the commit. When it is not known whether a transaction was committed, the batch is done
   again: a decision is made once, so the second time finds it.
5. The number of claims that wait is bounded. Beyond it a claim is refused at the door, and nothing is stored.
6. What is not decided by its deadline (`shared.claims.budgets`) is told to be pending, and settled all the same. Each
   confirmation is counted once, when it is made or fails, against the stage that was slow.
7. Closing takes no more claims, and ends when all that were taken have their answer.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from origin.database import ClashError, Database
from origin.settlement.answers import Decision, HeldClaim
from origin.settlement.confirming import Confirmations, deadline_s
from origin.settlement.settling import Conflict, Settler
from shared.claims.budgets import Kind, Stage
from shared.claims.tokens import Claim
from shared.errors import CliptillError, ServiceAwayError

MAX_BATCH: Final = 1_000
MAX_WAITING: Final = 4_000
MAX_TRANSACTIONS: Final = 4  # half of the connections of a process: the others read
RETRY_FOR_S: Final = 1.5  # with a last wait for a connection, less than the shortest deadline: away is not pending
RETRY_PAUSE_S: Final = 0.1


class OverloadedError(CliptillError):
    """More claims wait than this process takes."""


class LateError(CliptillError):
    """The deadline has passed. The claim is on its way: present it again, or wait for its decision."""


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
        confirmations: where they are counted; its own when none are given.
    """

    def __init__(
        self,
        database: Database,
        settler: Settler,
        clock_ms: Callable[[], int],
        confirmations: Confirmations | None = None,
    ) -> None:
        self.confirmations = confirmations or Confirmations()
        self.waiting = 0
        self.running = 0
        self._database = database
        self._settler = settler
        self._clock_ms = clock_ms
        self._lanes: dict[str, deque[_Waiting]] = {}  # of drops with claims that wait
        self._busy: set[str] = set()  # drops with a batch on its way
        self._ready: dict[str, None] = {}  # drops whose claims wait for a transaction only, first come first
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    async def settle(self, claim: Claim) -> Timed:
        """Settle one verified claim, and return its decision once it is committed.

        Raises:
            OverloadedError: too many wait, or the writer is closing. Nothing was stored.
            LateError: it was not decided in time, and will be.
            ServiceAwayError: the database is away. It may have been stored: present the claim again.
        """
        if self._closed or self.waiting >= MAX_WAITING:
            self.confirmations.note_outcome(Kind.TAP, Stage.BATCH)
            raise OverloadedError("too many claims wait")
        loop = asyncio.get_running_loop()
        waiting = _Waiting(claim, loop.time(), loop.create_future())
        self.waiting += 1
        lane = self._lanes.get(claim.drop)
        if lane is not None:
            lane.append(waiting)
        else:
            self._lanes[claim.drop] = deque((waiting,))
            if claim.drop not in self._busy:
                self._ready[claim.drop] = None
                self._begin()
        late = loop.call_later(deadline_s(Kind.TAP), _tell_late, waiting.answer)
        try:
            return await waiting.answer
        finally:
            late.cancel()

    async def close(self) -> None:
        """Take no more claims, and wait until all that were taken are answered."""
        self._closed = True
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _begin(self) -> None:
        """Begin as many transactions as may run, and share the ready drops out among them (rule 3)."""
        while self._ready and self.running < MAX_TRANSACTIONS:
            share = -(-len(self._ready) // (MAX_TRANSACTIONS - self.running))
            batch: list[_Waiting] = []
            drops: list[str] = []
            while self._ready and len(drops) < share and len(batch) < MAX_BATCH:
                drop = next(iter(self._ready))
                del self._ready[drop]
                drops.append(drop)
                batch += self._take(drop, MAX_BATCH - len(batch))
            self._busy.update(drops)
            self.waiting -= len(batch)
            self.running += 1
            task = asyncio.create_task(self._run(drops, batch))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _take(self, drop: str, most: int) -> list[_Waiting]:
        lane = self._lanes[drop]
        if len(lane) <= most:
            return list(self._lanes.pop(drop))
        return [lane.popleft() for _ in range(most)]

    async def _run(self, drops: list[str], batch: list[_Waiting]) -> None:
        """Settle one batch, then let the next ones begin."""
        await self._settle_batch(batch)
        self._busy.difference_update(drops)
        self._ready.update(dict.fromkeys(drop for drop in drops if drop in self._lanes))
        self.running -= 1
        self._begin()

    async def _settle_batch(self, batch: list[_Waiting]) -> None:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        try:
            decisions = await self._commit([waiting.claim for waiting in batch], began_s + RETRY_FOR_S)
        except Exception as error:  # noqa: BLE001 - every claim that was taken is answered, whatever happened
            self.confirmations.note_outcome(Kind.TAP, Stage.DATABASE, len(batch))
            for waiting in batch:
                if not waiting.answer.done():
                    waiting.answer.set_exception(error)
            return
        database_ms = (loop.time() - began_s) * 1000
        for waiting, decision in zip(batch, decisions, strict=True):
            queue_ms = (began_s - waiting.since_s) * 1000
            self.confirmations.note(_kind_of(decision), {Stage.BATCH: queue_ms, Stage.DATABASE: database_ms})
            if not waiting.answer.done():  # its client may have gone
                waiting.answer.set_result(Timed(decision, queue_ms, database_ms))

    async def _commit(self, claims: list[Claim], until_s: float) -> list[Decision | HeldClaim | Conflict]:
        """Settle in one transaction; do it again while that makes sense (rule 4)."""
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


def _kind_of(decision: Decision | HeldClaim | Conflict) -> Kind:
    return Kind(decision.payment) if isinstance(decision, HeldClaim) else Kind.TAP


def _tell_late(answer: asyncio.Future[Timed]) -> None:
    if not answer.done():
        answer.set_exception(LateError("not decided in time"))
