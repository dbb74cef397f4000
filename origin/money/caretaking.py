"""The loop that looks after what is open: lapsed holds, payments that wait, what a crash left half-done."""

import asyncio
from typing import Final

import structlog

from origin.database import ClashError
from origin.money.cashier import BATCH, Cashier
from shared.errors import ServiceAwayError

INTERVAL_S: Final = 1.0

log = structlog.get_logger(__name__)


class Caretaker:
    """The one loop of a process; several processes share the work."""

    def __init__(self, cashier: Cashier, interval_s: float = INTERVAL_S) -> None:
        self._cashier = cashier
        self._interval_s = interval_s

    async def run(self) -> None:
        """Look after it until cancelled, whatever goes away and comes back."""
        while True:
            try:
                more = await self._cashier.look_after() == BATCH
            except (ServiceAwayError, ClashError) as error:
                log.warning("caretaking_waits", reason=str(error))
                more = False
            except Exception:
                log.exception("caretaking_failed")
                more = False
            await asyncio.sleep(0 if more else self._interval_s)
