"""The edge provider's REST API: writing and reading the key-value store, pulling and acknowledging a queue.

Rules:

1. One error family: whatever goes wrong outside is a `ProviderAwayError`, with the cause chained, never with a token.
2. What may pass (429, 5xx, a broken connection) is tried again, with full jitter, no sooner than `Retry-After` says
   and never beyond `RETRY_BUDGET_S`. Every call here may be repeated: writes are whole values, a pulled message that
   is not acknowledged comes again, an acknowledgement twice is one.
3. Answers are read up to a limit, then refused.
4. An answer may grow: unknown fields pass.

The emulator answers the same paths: in development, only the base address differs.
"""

import asyncio
import base64
import binascii
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, Final, Self, TypeVar
from urllib.parse import quote

import httpx
import msgspec
from msgspec import Meta

from shared.errors import ServiceAwayError
from shared.structs import Wire

TIMEOUT_S: Final = 10.0
ATTEMPTS: Final = 4
BACKOFF_S: Final = 0.2
RETRY_BUDGET_S: Final = 20.0
MAX_ANSWER_BYTES: Final = 32 * 1024**2  # a hundred messages of 128 KB, in base64, with room
MAX_BULK_PAIRS: Final = 10_000  # the provider's limit for one bulk write
MAX_BULK_BYTES: Final = 50 * 1024**2  # half of the provider's limit

_RETRIABLE: Final = frozenset({429, 500, 502, 503, 504})
_NOT_FOUND: Final = 404
_OK: Final = range(200, 300)

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]


class ProviderAwayError(ServiceAwayError):
    """The provider did not answer, refused, or answered what is not an answer."""


class KeyValue(Wire, frozen=True, kw_only=True):
    """One entry of a bulk write."""

    key: Annotated[str, Meta(max_length=512)]
    value: str


class QueueMessage(Wire, frozen=True, kw_only=True):
    """One leased message.

    Attributes:
        id: the provider's name of it, the same at each delivery.
        attempts: deliveries, this one included.
        lease_id: what acknowledges this delivery.
    """

    body: msgspec.Raw = msgspec.Raw(b"null")
    id: str
    timestamp_ms: float = 0
    attempts: int = 1
    metadata: dict[str, Any] = {}
    lease_id: str


class Pulled(Wire, frozen=True, kw_only=True):
    """What one pull gave; `message_backlog_count` is what the queue still holds, roughly."""

    messages: tuple[QueueMessage, ...] = ()
    message_backlog_count: int = 0


class _Acknowledged(Wire, frozen=True, kw_only=True):
    ackCount: int = 0  # noqa: N815, the provider's name


class _BulkWritten(Wire, frozen=True, kw_only=True):
    unsuccessful_keys: tuple[str, ...] = ()


class ProviderConfig(Wire, frozen=True, kw_only=True):
    """Where the provider is, and what is ours there.

    Attributes:
        url: base address, without a last slash.
        token: bearer token of the account.
    """

    url: str
    account: str
    token: str
    kv_namespace: str
    queue: str


class Provider:
    """A client. Close it, or use it as an asynchronous context manager."""

    def __init__(
        self, config: ProviderConfig, *, transport: httpx.AsyncBaseTransport | None = None, sleep: Sleep = asyncio.sleep
    ) -> None:
        """Make a client; nothing is sent yet.

        Args:
            config: where, and with which token.
            transport: what carries requests; for tests.
            sleep: how it waits between attempts; for tests.
        """
        account = f"{config.url.rstrip('/')}/accounts/{quote(config.account, safe='')}"
        self._kv = f"{account}/storage/kv/namespaces/{quote(config.kv_namespace, safe='')}"
        self._queue = f"{account}/queues/{quote(config.queue, safe='')}/messages"
        self._sleep = sleep
        self._client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {config.token}"},
            timeout=TIMEOUT_S,
            transport=transport,
            follow_redirects=False,  # the token goes nowhere else
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def write_values(self, entries: Sequence[KeyValue]) -> None:
        """Write whole values, in as few requests as the provider's limits allow.

        Raises:
            ProviderAwayError: when not all of them are written; writing them again is safe.
        """
        for group in _group_entries(entries):
            written = await self._call("PUT", f"{self._kv}/bulk", _BulkWritten, group)
            if written.unsuccessful_keys:
                raise ProviderAwayError(f"{len(written.unsuccessful_keys)} values were not written")

    async def read_value(self, key: str) -> bytes | None:
        """Return the value of `key`, or None when the store has none."""
        answer = await self._send("GET", f"{self._kv}/values/{quote(key, safe='')}", None)
        if answer.status_code == _NOT_FOUND:
            return None
        return _expect_success(answer).content

    async def pull(self, *, batch_size: int, visibility_timeout_ms: int) -> Pulled:
        """Lease up to `batch_size` messages for a time, after which those not acknowledged come again."""
        order = {"batch_size": batch_size, "visibility_timeout_ms": visibility_timeout_ms}
        return await self._call("POST", f"{self._queue}/pull", Pulled, order)

    async def acknowledge(self, lease_ids: Sequence[str]) -> None:
        """Say that these deliveries are done with: their messages never come again."""
        order = {"acks": [{"lease_id": lease_id} for lease_id in lease_ids], "retries": []}
        await self._call("POST", f"{self._queue}/ack", _Acknowledged, order)

    async def _call(self, method: str, url: str, kind: type[T], body: object) -> T:
        """Send a request, and return the `result` of the provider's envelope."""
        answer = _expect_success(await self._send(method, url, msgspec.json.encode(body)))
        try:
            envelope = msgspec.json.decode(answer.content, type=_Envelope)
            if not envelope.success:
                raise ProviderAwayError(f"the provider refused {method} {_path(url)}")
            # Some answers have nothing to tell: `"result": null`.
            return msgspec.json.decode(envelope.result if bytes(envelope.result) != b"null" else b"{}", type=kind)
        except msgspec.DecodeError as error:
            raise ProviderAwayError(f"the provider's answer to {method} {_path(url)} cannot be read") from error

    async def _send(self, method: str, url: str, content: bytes | None) -> httpx.Response:
        """Send a request until it is answered with what will not pass by itself."""
        waited_s = 0.0
        for attempt in range(1, ATTEMPTS + 1):
            try:
                answer = await self._send_once(method, url, content)
                if answer.status_code not in _RETRIABLE:
                    return answer
                cause: Exception | None = None
                reason, least_s = f"answered {answer.status_code}", _retry_after_s(answer)
            except httpx.HTTPError as error:
                cause, reason, least_s = error, "cannot be reached", 0.0
            # Full jitter: many processes that failed together do not come back together.
            wait_s = max(least_s, random.uniform(0, BACKOFF_S * 2**attempt))  # noqa: S311, no secret
            if attempt == ATTEMPTS or waited_s + wait_s > RETRY_BUDGET_S:
                raise ProviderAwayError(f"the provider {reason}: {method} {_path(url)}") from cause
            waited_s += wait_s
            await self._sleep(wait_s)
        raise AssertionError("the last attempt returns or raises")

    async def _send_once(self, method: str, url: str, content: bytes | None) -> httpx.Response:
        headers = {} if content is None else {"Content-Type": "application/json"}
        async with self._client.stream(method, url, content=content, headers=headers) as answer:
            raw = bytearray()
            async for chunk in answer.aiter_bytes():
                raw += chunk
                if len(raw) > MAX_ANSWER_BYTES:
                    raise ProviderAwayError(f"the provider's answer to {method} {_path(url)} is too large")
            kept = {name: answer.headers[name] for name in ("retry-after",) if name in answer.headers}
            return httpx.Response(answer.status_code, headers=kept, content=bytes(raw))


def message_bytes(message: QueueMessage) -> bytes | None:
    """Return a message's body as the producer sent it, or None when that cannot be told.

    The provider gives `json` and `bytes` bodies as base64 text, `text` bodies as they are; `CF-Content-Type` in the
    metadata says which. Some emulations give JSON as JSON: that is taken too.
    """
    raw = bytes(message.body)
    if not raw.startswith(b'"'):
        return raw
    text: str = msgspec.json.decode(raw, type=str)
    if message.metadata.get("CF-Content-Type") == "text" or text.lstrip().startswith(("{", "[")):
        return text.encode("utf-8", "surrogatepass")  # neither brace nor bracket is in base64's alphabet
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


class _Envelope(Wire, frozen=True, kw_only=True):
    success: bool
    result: msgspec.Raw = msgspec.Raw(b"{}")


def _group_entries(entries: Sequence[KeyValue]) -> list[list[KeyValue]]:
    groups: list[list[KeyValue]] = []
    size = 0
    for entry in entries:
        length = len(entry.key) + len(entry.value.encode())
        if not groups or len(groups[-1]) == MAX_BULK_PAIRS or size + length > MAX_BULK_BYTES:
            groups.append([])
            size = 0
        groups[-1].append(entry)
        size += length
    return groups


def _expect_success(answer: httpx.Response) -> httpx.Response:
    if answer.status_code not in _OK:
        raise ProviderAwayError(f"the provider answered {answer.status_code}")
    return answer


def _retry_after_s(answer: httpx.Response) -> float:
    """Return the seconds form of `Retry-After`; its date form counts as absent, and jitter stands in for it."""
    value = answer.headers.get("retry-after", "")
    return float(value) if value.isascii() and value.isdigit() else 0.0


def _path(url: str) -> str:
    """Return what of an address goes into a message."""
    return httpx.URL(url).path
