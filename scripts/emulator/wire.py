"""What goes over the wire between the origin and the emulated provider: bodies, the envelope, refusals, limits.

What the provider's public API reference names (paths, fields, limits, codes 7003, 10000, 10009, 10013), and its list of
the queues' error codes (https://developers.cloudflare.com/queues/reference/error-codes/), is as they say. The codes of
the key-value store's other refusals are not listed anywhere, so callers should go by the HTTP status there, as the
origin does.
"""

import base64
import binascii
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from scripts.emulator.kv import Pair
from scripts.emulator.queues import ContentType, Delivery, Outgoing

PAIRS_MOST = 10_000
KEYS_READ_MOST = 100
KEYS_LISTED = range(10, 1001)
KEY_BYTES_MOST = 512
VALUE_BYTES_MOST = 25 * 1024**2
METADATA_BYTES_MOST = 1024
BULK_BYTES_MOST = 100 * 1024**2
KEYS_BODY_BYTES_MOST = 8 * 1024**2
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


class BulkRead(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a bulk read; `json` values are told as what they are, and not as texts."""

    keys: list[str]
    type: Literal["text", "json"] = "text"
    with_metadata: bool = msgspec.field(name="withMetadata", default=False)


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Which keys are listed: at most `limit` of those that begin with `prefix` and come after `after`."""

    limit: int
    prefix: str
    after: str


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


def decode_order(body: bytes, shape: type[Shape]) -> Shape:
    """Decode a JSON body of the queues' API.

    Raises:
        Refused: 400, it is not JSON, or not of this shape.
    """
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.ValidationError as problem:
        raise Refused(400, 10207, f"JSON request body does not match expected schema: {problem}") from None
    except msgspec.DecodeError:
        raise Refused(400, 10208, "Request body is not valid JSON") from None


def decode_keys(body: bytes, most: int) -> list[str]:
    """Decode a list of keys.

    Raises:
        Refused: 400, it is no such list, or has too many.
    """
    keys = decode(body, list[str])
    if len(keys) > most:
        raise Refused(400, 10026, f"at most {most} keys")
    return keys


def decode_keys_to_read(body: bytes) -> BulkRead:
    """Decode the body of a bulk read.

    Raises:
        Refused: 400, it is none, or names more keys than may be read at once.
    """
    wanted = decode(body, BulkRead)
    if not 0 < len(wanted.keys) <= KEYS_READ_MOST:
        raise Refused(400, 10026, f"a bulk read has 1 to {KEYS_READ_MOST} keys")
    return wanted


def value_document(pair: Pair | None, wanted: BulkRead) -> Any:  # noqa: ANN401 - JSON
    """Return a pair as a bulk read tells it.

    Raises:
        Refused: 400, its value is no text, or not JSON although that is wanted.
    """
    if pair is None:
        return None
    try:
        value = msgspec.json.decode(pair.value) if wanted.type == "json" else pair.value.decode()
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Refused(400, 10026, f"the value of {pair.key} is not {wanted.type}") from None
    if not wanted.with_metadata:
        return value
    return {"value": value, "metadata": metadata_of(pair), **_expiration(pair)}


def metadata_of(pair: Pair) -> Any:  # noqa: ANN401 - JSON
    """Return what was stored beside a value."""
    return msgspec.json.decode(pair.metadata or b"null")


def read_page(request: Request) -> Page:
    """Read which keys are wanted.

    Raises:
        Refused: 400, the limit is out of bounds, or the cursor is none that was given.
    """
    limit = request.query_params.get("limit", str(KEYS_LISTED[-1]))
    if not limit.isdecimal() or int(limit) not in KEYS_LISTED:
        raise Refused(400, 10026, f"limit must be {KEYS_LISTED[0]} to {KEYS_LISTED[-1]}")
    try:
        after = base64.urlsafe_b64decode(request.query_params.get("cursor", "")).decode()
    except ValueError:
        raise Refused(400, 10026, "the cursor is none that was given") from None
    return Page(limit=int(limit), prefix=request.query_params.get("prefix", ""), after=after)


def keys_listed(pairs: list[Pair], limit: int) -> Response:
    """Answer a page of keys; one pair more than `limit` says that there is a further page."""
    told = pairs[:limit]
    cursor = base64.urlsafe_b64encode(told[-1].key.encode()).decode() if len(pairs) > limit else ""
    keys = [
        {"name": pair.key, **_expiration(pair), **({} if _is_bare(pair) else {"metadata": metadata_of(pair)})}
        for pair in told
    ]
    facts = {"success": True, "errors": [], "messages": [], "result": keys}
    return _envelope(200, {**facts, "result_info": {"count": len(keys), "cursor": cursor}})


def _expiration(pair: Pair) -> dict[str, int]:
    return {} if pair.expires_ms is None else {"expiration": pair.expires_ms // 1000}


def _is_bare(pair: Pair) -> bool:
    return metadata_of(pair) is None


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
