"""The batching writer: every claim that browsers present to this process settles through it.

Rules:

1. Nothing waits for company. A claim on an idle drop settles at once; what arrives until the drop's lock is granted
   goes with it, and what arrives after that makes the next batch. So the batches grow with the load, and only with it.
   (A batch that was full before the lock was granted settled a third fewer claims a second over HTTP, with another
   origin process on the same drop: half of the claims were always answered while the others waited.)
2. A batch is one transaction. Batches of one drop follow each other, by the drop's lock: the next one asks for it when
   the settlements of the one before are on their way, and their trail is about to follow. So this process prepares it
   while the server stores that trail, and gives the answers of the one before while the server looks things up for it:
   neither waits for the other.
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
from itertools import chain
from typing import Final

import msgspec

from origin.database import ClashError, Database
from origin.settlement.answers import HeldClaim
from origin.settlement.batches import Told
from origin.settlement.confirming import Confirmations, deadline_s
from origin.settlement.settling import Settler
from shared.claims.budgets import Kind, Stage, find_slow_stage
from shared.claims.tokens import Claim
from shared.errors import CliptillError, ServiceAwayError

MAX_BATCH: Final = 2_000  # 10 % more claims a second than 1,000, at twice the wait when there is that much to do
MAX_WAITING: Final = 4_000
MAX_TRANSACTIONS: Final = 4  # half of the connections of a process: the others read
RETRY_FOR_S: Final = 1.5  # with a last wait for a connection, less than the shortest deadline: away is not pending
RETRY_PAUSE_S: Final = 0.1


class OverloadedError(CliptillError):
    """More claims wait than this process takes."""


class LateError(CliptillError):
    """The deadline has passed. The claim is on its way: present it again, or wait for its decision."""


class Timed(msgspec.Struct, frozen=True):
    """A decision, and where the time until it went, in milliseconds.

    Attributes:
        decision: what is told.
        queue_ms: until its batch began.
        database_ms: of the batch's transaction, from when it began or the claim came to it.
    """

    decision: Told
    queue_ms: float
    database_ms: float


class _Waiting(msgspec.Struct, frozen=True):
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
        self._tasks: dict[asyncio.Task[None], list[_Waiting]] = {}
        self._watch: asyncio.TimerHandle | None = None  # until the first deadline of all that wait
        self._loop: asyncio.AbstractEventLoop | None = None  # asking for it is a system call, in Python before 3.12
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
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
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
        if self._watch is None:
            self._watch = loop.call_later(deadline_s(Kind.TAP), self._tell_late)
        return await waiting.answer

    async def close(self) -> None:
        """Take no more claims, and wait until all that were taken are answered."""
        self._closed = True
        while self._tasks:
            await asyncio.wait(self._tasks)
        if self._watch is not None:
            self._watch.cancel()

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
                self._take(drop, batch)
            self._busy.update(drops)
            self.running += 1
            task = asyncio.create_task(self._run(batch, drops))
            self._tasks[task] = batch
            task.add_done_callback(self._tasks.pop)

    def _take(self, drop: str, batch: list[_Waiting]) -> None:
        """Move the claims of a drop from its lane to a batch, as many as that takes."""
        lane, most = self._lanes[drop], MAX_BATCH - len(batch)
        if len(lane) <= most:
            del self._lanes[drop]
            taken = list(lane)
        else:
            taken = [lane.popleft() for _ in range(most)]
        batch += taken
        self.waiting -= len(taken)

    def _take_late(self, drops: list[str], batch: list[_Waiting]) -> list[Claim]:
        """Take to a batch what has come for its drops since it began, and return it."""
        before = len(batch)
        for drop in drops:
            if drop in self._lanes:
                self._take(drop, batch)
        return [waiting.claim for waiting in batch[before:]]

    async def _run(self, batch: list[_Waiting], drops: list[str]) -> None:
        """Settle one batch; let the next ones begin before it is answered."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        try:
            decisions = await self._commit(batch, drops, began_s + RETRY_FOR_S)
        except Exception as error:  # noqa: BLE001 - every claim that was taken is answered, whatever happened
            self.confirmations.note_outcome(Kind.TAP, Stage.DATABASE, len(batch))
            for waiting in batch:
                if not waiting.answer.done():
                    waiting.answer.set_exception(error)
            return
        finally:
            self.running -= 1
            self._leave(drops)
        database_ms = (loop.time() - began_s) * 1000
        answers: list[Timed] = []
        for waiting, decision in zip(batch, decisions, strict=True):
            queue_ms = (began_s - waiting.since_s) * 1000
            if queue_ms >= 0:
                answer = Timed(decision, queue_ms, database_ms)
            else:
                answer = Timed(decision, 0.0, database_ms + queue_ms)
            answers.append(answer)
            if not waiting.answer.done():  # its client may have gone
                waiting.answer.set_result(answer)
        self._count(answers)

    def _count(self, answers: list[Timed]) -> None:
        """Count a batch's confirmations: by the kind when its slowest is in time, otherwise one by one."""
        kinds = [Kind(of.payment) if isinstance(of := one.decision, HeldClaim) else Kind.TAP for one in answers]
        slowest = {
            Stage.BATCH: max([one.queue_ms for one in answers]),
            Stage.DATABASE: max([one.database_ms for one in answers]),
        }
        for kind in set(kinds):
            if find_slow_stage(kind, slowest) is None:
                self.confirmations.note_outcome(kind, None, kinds.count(kind))
                continue
            for one in (one for one, of in zip(answers, kinds, strict=True) if of is kind):
                self.confirmations.note(kind, {Stage.BATCH: one.queue_ms, Stage.DATABASE: one.database_ms})

    def _tell_late(self) -> None:
        """Answer what is beyond its deadline, and look again at the next one: one timer, however many wait."""
        loop = asyncio.get_running_loop()
        self._watch = None
        began_s = loop.time() - deadline_s(Kind.TAP)
        waits = [one for one in chain(*self._lanes.values(), *self._tasks.values()) if not one.answer.done()]
        for late in (one for one in waits if one.since_s <= began_s):
            late.answer.set_exception(LateError("not decided in time"))
        soonest = min((one.since_s for one in waits if one.since_s > began_s), default=None)
        if soonest is not None:
            self._watch = loop.call_at(soonest + deadline_s(Kind.TAP), self._tell_late)

    def _leave(self, drops: list[str]) -> None:
        """Let the next batches of these drops begin, once."""
        self._busy.difference_update(drops)
        self._ready.update(dict.fromkeys(drop for drop in drops if drop in self._lanes))
        drops.clear()
        self._begin()

    async def _commit(self, batch: list[_Waiting], drops: list[str], until_s: float) -> list[Told]:
        """Settle in one transaction; do it again while that makes sense (rule 4)."""
        loop = asyncio.get_running_loop()
        while True:
            claims = [waiting.claim for waiting in batch]
            try:
                async with self._database.transaction() as connection:
                    return await self._settler.settle_in(
                        connection,
                        claims,
                        "request",
                        self._clock_ms(),
                        # A full one has one round trip less.
                        late=None if len(batch) == MAX_BATCH else lambda: self._take_late(drops, batch),
                        sent=lambda: self._leave(drops),
                    )
            except ClashError as error:
                if loop.time() > until_s:
                    raise ServiceAwayError("decisions keep getting in each other's way") from error
            except ServiceAwayError:
                if loop.time() > until_s:
                    raise
            await asyncio.sleep(RETRY_PAUSE_S)
