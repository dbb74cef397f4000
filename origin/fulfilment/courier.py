"""The courier: tells partners what was sold, until they take it (`shared.fulfilment.handoffs` decides when).

Rules:

1. What is to be told is read from the audit trails, by a cursor: settling does nothing for it.
2. Every process has one; each message is one process's for as long as a try may last (`handoffs_store`). Each partner
   is served by itself, so one that is slow keeps nobody else waiting.
3. Only the answer's head is read, within `TIMEOUT_S` for all of it. No redirect is followed, no proxy is asked, no
   certificate goes unchecked, and the address is checked anew before each try.
4. It leaves the database's connections to those who settle: of all that it asks, `TURNS` are at once.
5. The answer is noted after the try. Whoever is killed in between has told it, and it is told again, under the same id.
"""

import asyncio
import random
from collections.abc import Callable
from typing import Final, NamedTuple

import httpx
import structlog

from origin.database import ClashError, Database
from origin.fulfilment import handoffs_store as store
from origin.fulfilment.handoffs_store import DueMessage
from origin.fulfilment.partners_store import StoredPartner, read_partner
from origin.responses import read_number
from shared.errors import ServiceAwayError
from shared.fulfilment.handoffs import decide_delivery, is_partner_address, name_message, write_message
from shared.fulfilment.webhooks import sign_webhook
from shared.openapi import JSON

INTERVAL_S: Final = 1.0
TIMEOUT_S: Final = 10.0
CONNECT_S: Final = 5.0
AT_ONCE: Final = 16  # messages of one partner
TURNS: Final = 2
_HEADERS: Final = {"content-type": JSON, "user-agent": "cliptill"}

log = structlog.get_logger(__name__)


class Answer(NamedTuple):
    """What a try came to: an HTTP status, or why there was none."""

    status: int | None
    text: str
    retry_after_s: int = 0


class Courier:
    """The one courier of a process.

    Args:
        database: open, or about to be.
        clock_ms: the origin's clock.
        loopback: whether partners may be at plain http on this machine.
        interval_s: pause between two looks.
    """

    def __init__(
        self, database: Database, clock_ms: Callable[[], int], *, loopback: bool, interval_s: float = INTERVAL_S
    ) -> None:
        self._database = database
        self._clock_ms = clock_ms
        self._loopback = loopback
        self._interval_s = interval_s
        self._serving: dict[str, asyncio.Task[None]] = {}
        self._turns = asyncio.Semaphore(TURNS)
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(TIMEOUT_S, connect=CONNECT_S), follow_redirects=False, trust_env=False
        )

    async def run(self) -> None:
        """Tell until cancelled, whatever goes away and comes back."""
        try:
            while True:
                more = await self._look()
                await asyncio.sleep(0 if more else self._interval_s)
        finally:
            serving = list(self._serving.values())
            for task in serving:
                task.cancel()
            await asyncio.gather(*serving, return_exceptions=True)
            await self._client.aclose()

    async def _look(self) -> bool:
        """Read the trails on, and begin to serve who is not served; return whether there is more to be read."""
        try:
            async with self._turns, self._database.transaction() as connection:
                made = await store.read_trails(connection, self._clock_ms())
            async with self._turns, self._database.connection() as connection:
                partners = await store.list_due_partners(connection, self._clock_ms())
        except (ServiceAwayError, ClashError) as error:
            log.warning("handing_on_waits", reason=str(error))
            return False
        except Exception:
            log.exception("handing_on_failed")
            return False
        for partner in partners:
            if partner not in self._serving:
                self._serving[partner] = asyncio.create_task(self._serve(partner))
        return made >= store.ENTRIES

    async def _serve(self, name: str) -> None:
        """Deliver what a partner is due, as long as it takes everything."""
        try:
            while await self._serve_some(name):
                pass
        except (ServiceAwayError, ClashError) as error:
            log.warning("handing_on_waits", partner=name, reason=str(error))
        except Exception:
            log.exception("handing_on_failed", partner=name)
        finally:
            del self._serving[name]

    async def _serve_some(self, name: str) -> bool:
        async with self._turns, self._database.transaction() as connection:
            partner = await read_partner(connection, name)
            taken = await store.take_messages(connection, name, self._clock_ms(), AT_ONCE)
        if partner is None or not taken:
            return False
        tries = (self._deliver(partner, message) for message in taken)
        delivered = await asyncio.gather(*tries, return_exceptions=True)
        for outcome in delivered:
            if isinstance(outcome, BaseException):
                raise outcome
        return all(delivered)

    async def _deliver(self, partner: StoredPartner, message: DueMessage) -> bool:
        answer = await self._post(partner, message)
        now_ms = self._clock_ms()
        outcome = decide_delivery(
            answer.status, tries=message.tries, since_ms=message.since_ms, now_ms=now_ms,
            chance=random.random(), retry_after_s=answer.retry_after_s,  # noqa: S311 - no secret
        )  # fmt: skip
        async with self._turns, self._database.connection() as connection:
            await store.note_try(connection, message, outcome, answer.text, now_ms)
        if outcome.standing == "dead":
            log.warning("handoff_dead", claim=message.claim_id, partner=partner.partner, answer=answer.text)
        return outcome.standing == "delivered"

    async def _post(self, partner: StoredPartner, message: DueMessage) -> Answer:
        if not is_partner_address(partner.url, loopback=self._loopback):
            return Answer(None, "address_refused")
        body = write_message(message.kind, message.document, message.at_ms)
        name = name_message(message.claim_id, message.kind)
        signed = sign_webhook(name, body, partner.secrets, self._clock_ms() // 1000)
        try:
            async with (
                asyncio.timeout(TIMEOUT_S),
                self._client.stream("POST", partner.url, content=body, headers={**_HEADERS, **signed}) as answer,
            ):
                wait_s = read_number(answer.headers.get("retry-after", "")) or 0
                return Answer(answer.status_code, str(answer.status_code), wait_s)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError):
            return Answer(None, "no_answer")
