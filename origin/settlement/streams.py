"""Waiting for decisions that are made elsewhere: by another process, or by the intake from an edge event.

Rules:

1. One query in each interval, for all that wait in this process together; none while nobody waits. A notification of
   each commit (LISTEN and NOTIFY) would make all commits of the database wait for each other.
2. The number of those who wait is bounded.
3. The database may come and go meanwhile.
"""

import asyncio
from typing import Final

from origin.database import ClashError, Database
from origin.settlement.answers import Decision
from origin.settlement.settlements_store import read_decisions
from shared.errors import ServiceAwayError

INTERVAL_S: Final = 0.2
MAX_WAITING: Final = 2_000


class Watcher:
    """The one watcher of a process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: dict[str, set[asyncio.Future[Decision]]] = {}
        self._count = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """How many wait."""
        return self._count

    @property
    def is_full(self) -> bool:
        """Whether as many wait as may."""
        return self._count >= MAX_WAITING

    async def wait(self, claim_id: str) -> Decision:
        """Return the decision on a claim, when there is one. Look at `is_full` before."""
        future: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(claim_id, set()).add(future)
        self._count += 1
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._watch())
        try:
            return await future
        finally:
            self._count -= 1
            others = self._waiting[claim_id]
            others.discard(future)
            if not others:
                del self._waiting[claim_id]

    async def close(self) -> None:
        """Stop watching."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _watch(self) -> None:
        while self._waiting:
            try:
                async with self._database.connection() as connection:
                    found = await read_decisions(connection, list(self._waiting))
            except (ServiceAwayError, ClashError):
                found = {}
            for claim_id, decision in found.items():
                for future in self._waiting.get(claim_id, ()):
                    if not future.done():
                        future.set_result(decision)
            await asyncio.sleep(INTERVAL_S)
