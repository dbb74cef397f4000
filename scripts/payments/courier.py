"""The sandbox's messages: signed, sent until they are taken; late, twice and in the wrong order when told to."""

import asyncio
import secrets
import time
from typing import Final

import httpx
import msgspec

from shared.money.signatures import sign_message

HEADER: Final = "Sandbox-Signature"
TRIES: Final = 12
FIRST_PAUSE_S: Final = 0.1
SLOWEST_S: Final = 10.0
TIMEOUT_S: Final = 10.0


class Sent(msgspec.Struct, kw_only=True):
    """A message, and the statuses that it was answered with; 0 for no answer."""

    message: str
    payment: str
    statuses: list[int]


class Courier:
    """Sends messages to one address."""

    def __init__(self, url: str, secret: str) -> None:
        self.url = url
        self._secret = secret.encode()
        self._client = httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False)
        self._tasks: set[asyncio.Task[None]] = set()
        self._kept: list[Sent] = []
        self.log: list[Sent] = []

    def send(self, payment: str, *, copies: int = 1, late_ms: int = 0, keep: bool = False, message: str = "") -> None:
        """Send a message, or keep it until `flush`."""
        sent = Sent(message=message or f"msg_{secrets.token_hex(12)}", payment=payment, statuses=[])
        self.log.append(sent)
        if keep:
            self._kept.append(sent)
            return
        for _ in range(copies):
            self._start(sent, late_ms)

    def flush(self, copies: int) -> int:
        """Send what was kept, the last one first; return how many that were."""
        kept, self._kept = self._kept, []
        for sent in reversed(kept):
            for _ in range(copies):
                self._start(sent, 0)
        return len(kept)

    async def close(self) -> None:
        """Send nothing more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.aclose()

    def _start(self, sent: Sent, late_ms: int) -> None:
        task = asyncio.create_task(self._deliver(sent, late_ms))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, sent: Sent, late_ms: int) -> None:
        await asyncio.sleep(late_ms / 1000)
        pause_s = FIRST_PAUSE_S
        for _ in range(TRIES):
            status = await self._post(sent)
            sent.statuses.append(status)
            if 200 <= status < 300:  # noqa: PLR2004 - what counts as taken
                return
            await asyncio.sleep(pause_s)
            pause_s = min(SLOWEST_S, pause_s * 2)

    async def _post(self, sent: Sent) -> int:
        body = msgspec.json.encode({"message": sent.message, "payment": sent.payment})
        headers = {HEADER: sign_message(body, self._secret, int(time.time())), "Content-Type": "application/json"}
        try:
            return (await self._client.post(self.url, content=body, headers=headers)).status_code
        except httpx.HTTPError:
            return 0
