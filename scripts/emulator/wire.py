"""What goes over the wire between the origin and the emulated provider: bodies, the envelope, refusals, limits.

What the provider's public API reference names (paths, fields, limits, codes 7003, 10000, 10009, 10013) is as it says.
It does not list the codes of the other refusals, so callers should go by the HTTP status there, as the origin does.
"""

import base64
import binascii
from typing import Annotated, Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from scripts.emulator.kv import Pair
from scripts.emulator.queues import ContentType, Delivery, Outgoing

PAIRS_MOST = 10_000
KEY_BYTES_MOST = 512
VALUE_BYTES_MOST = 25 * 1024**2
METADATA_BYTES_MOST = 1024
BULK_BYTES_MOST = 100 * 1024**2
MESSAGE_BYTES_MOST = 128 * 1024
QUEUE_BODY_BYTES_MOST = 1024**2
TTL_S_LEAST = 60
VISIBILITY_MS_MOST = 12 * 3600 * 1000
DELAY_S_MOST = 24 * 3600

Shape = TypeVar("Shape")


class Refused(Exception):  # noqa: N818 - an answer on its way out, not a failure
    """The request is refused with this status, and this one error in the envelope."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


class BulkPair(msgspec.Struct, frozen=True, kw_only=True):
    """One element of a bulk write."""

    key: Annotated[str, msgspec.Meta(min_length=1)]
    value: str
    base64: bool = False
    expiration: int | None = None
    expiration_ttl: Annotated[int, msgspec.Meta(ge=TTL_S_LEAST)] | None = None
    metadata: msgspec.Raw = msgspec.Raw(b"null")


class PullRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a pull."""

    batch_size: Annotated[int, msgspec.Meta(ge=1, le=100)] = 5
    visibility_timeout_ms: Annotated[int, msgspec.Meta(ge=1, le=VISIBILITY_MS_MOST)] = 30_000


class LeaseReference(msgspec.Struct, frozen=True, kw_only=True):
    """One lease in the body of an acknowledgement; the delay counts for retries only."""

    lease_id: str
    delay_seconds: Annotated[int, msgspec.Meta(ge=0, le=DELAY_S_MOST)] = 0


class AckRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The body of an acknowledgement."""

    acks: list[LeaseReference] = []
    retries: list[LeaseReference] = []


class Ingested(msgspec.Struct, frozen=True, kw_only=True):
    """A message that the emulated edge hands in, `bytes` in base64. An `id` makes a repeated one the same."""

    body: msgspec.Raw
    content_type: ContentType = "json"
    delay_seconds: Annotated[int, msgspec.Meta(ge=0, le=DELAY_S_MOST)] = 0
    id: str | None = None


async def read_body(request: Request, most_bytes: int) -> bytes:
    """Read a body, and stop as soon as it is too long.

    Raises:
        Refused: 413, it is longer than `most_bytes`.
    """
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > most_bytes:
            raise Refused(413, 10026, f"the request is longer than {most_bytes} bytes")
    return bytes(body)


def decode(body: bytes, shape: type[Shape]) -> Shape:
    """Decode a JSON body of the API.

    Raises:
        Refused: 400, it is not of this shape.
    """
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.DecodeError as problem:
        raise Refused(400, 10026, f"could not parse the request body: {problem}") from None


def decode_pairs(body: bytes, now_ms: int) -> list[Pair]:
    """Decode a bulk write, and hold it to the provider's limits.

    Raises:
        Refused: 400, one of the pairs is not acceptable; then none is stored.
    """
    pairs = decode(body, list[BulkPair])
    if len(pairs) > PAIRS_MOST:
        raise Refused(400, 10026, f"a bulk write has at most {PAIRS_MOST} pairs")
    return [_pair(pair, now_ms) for pair in pairs]


def _pair(pair: BulkPair, now_ms: int) -> Pair:
    if len(pair.key.encode()) > KEY_BYTES_MOST or pair.key in {".", ".."}:
        raise Refused(414, 10029, f"a key has at most {KEY_BYTES_MOST} bytes, and is not a dot or two")
    value = _from_base64(pair.value) if pair.base64 else pair.value.encode()
    metadata = bytes(pair.metadata)
    if len(value) > VALUE_BYTES_MOST or len(metadata) > METADATA_BYTES_MOST:
        raise Refused(413, 10027, f"a value has at most {VALUE_BYTES_MOST} bytes, metadata {METADATA_BYTES_MOST}")
    if pair.expiration_ttl is not None:  # where both are given, this one counts
        return Pair(key=pair.key, value=value, metadata=metadata, expires_ms=now_ms + 1000 * pair.expiration_ttl)
    if pair.expiration is not None and pair.expiration * 1000 < now_ms + 1000 * TTL_S_LEAST:
        raise Refused(400, 10026, f"an expiration lies at least {TTL_S_LEAST} seconds ahead")
    expires_ms = None if pair.expiration is None else 1000 * pair.expiration
    return Pair(key=pair.key, value=value, metadata=metadata, expires_ms=expires_ms)


def outgoing(message: Ingested, fresh_id: str) -> Outgoing:
    """Make a queued message of what the edge handed in.

    Raises:
        Refused: 400 or 413, the body is not of its content type, or too long.
    """
    body = bytes(message.body)
    if message.content_type != "json":
        text = decode(body, str)
        body = text.encode() if message.content_type == "text" else _from_base64(text)
    if len(body) > MESSAGE_BYTES_MOST:
        raise Refused(413, 10026, f"a message has at most {MESSAGE_BYTES_MOST} bytes")
    identity = message.id or fresh_id
    return Outgoing(id=identity, body=body, content_type=message.content_type, delay_s=message.delay_seconds)


def delivery_document(delivery: Delivery) -> dict[str, Any]:
    """Return a delivery as a pull answers it: JSON and binary bodies in base64, text as it is."""
    text = delivery.content_type == "text"
    return {
        "id": delivery.id,
        "body": delivery.body.decode() if text else base64.b64encode(delivery.body).decode(),
        "timestamp_ms": delivery.sent_ms,
        "attempts": delivery.attempts,
        "metadata": {"CF-sourceMessageSource": "binding", "CF-Content-Type": delivery.content_type},
        "lease_id": delivery.lease,
    }


def succeeded(result: object) -> Response:
    """Answer in the provider's envelope."""
    return _envelope(200, {"success": True, "errors": [], "messages": [], "result": result})


def failed(refused: Refused) -> Response:
    """Answer a refusal in the provider's envelope."""
    errors = [{"code": refused.code, "message": refused.message}]
    return _envelope(refused.status, {"success": False, "errors": errors, "messages": [], "result": None})


def _envelope(status: int, document: dict[str, Any]) -> Response:
    return Response(msgspec.json.encode(document), status, media_type="application/json")


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Refused(400, 10026, "a value that is said to be base64 is not") from None
