"""Answers over HTTP, and bodies read from it: the few lines that every handler shares.

One function turns a problem into a response; nothing else in the origin's own handlers writes an error.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from shared.openapi import JSON
from shared.problems import MEDIA_TYPE, Code, Problem, encode_problem
from shared.wire import decode_body

BODY_CODES: Final = (
    Code.BODY_TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE, Code.MALFORMED_JSON, Code.DUPLICATE_KEY, Code.UNKNOWN_FIELD,
    Code.INVALID_FIELD,
)  # fmt: skip
NOT_KEPT: Final = {"Cache-Control": "no-store"}
MOST_DIGITS: Final = 15  # of a number in a path or a query
_DIGITS: Final = 9  # of a Content-Length that is worth reading

Handler = Callable[[Request], Awaitable[Response]]
RawHeaders = tuple[tuple[bytes, bytes], ...]
T = TypeVar("T")

_ENCODER: Final = msgspec.json.Encoder()


class Prepared(Response):
    """An answer whose lasting headers are bytes already, its type among them."""

    def __init__(self, body: bytes, status: int, lasting: RawHeaders, changing: Mapping[str, str]) -> None:
        self.status_code = status
        self.background = None
        self.body = body
        self.raw_headers = [*lasting, *write_headers(changing), (b"content-length", b"%d" % len(body))]


def write_headers(headers: Mapping[str, str]) -> RawHeaders:
    """Return headers as they are sent."""
    return tuple((name.lower().encode(), value.encode()) for name, value in headers.items())


def read_number(text: str) -> int | None:
    """Return the number that a path or a query says, or None when it says none, or one that is too long."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS else None


def tell(document: object, headers: Mapping[str, str] = NOT_KEPT, status: int = 200) -> Response:
    """Return `document` as JSON."""
    return Response(_ENCODER.encode(document), status, headers, JSON)


def refuse(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """Return `problem` as `application/problem+json`."""
    wait = {} if problem.retry_after_s is None else {"Retry-After": str(problem.retry_after_s)}
    return Response(encode_problem(problem), problem.status, {**NOT_KEPT, **wait, **(headers or {})}, MEDIA_TYPE)


def read_header(request: Request, name: bytes) -> list[bytes]:
    """Return the values of a header (`name` in lower case), as received; Starlette decodes all headers to find one."""
    return [value for known, value in request.scope["headers"] if known == name]


async def read_body(request: Request, max_bytes: int) -> bytes | Problem:
    """Return the body, or a problem when it is larger: no more is read than one chunk beyond `max_bytes`."""
    length = (read_header(request, b"content-length") or [b"0"])[0]
    if length == b"0" and not read_header(request, b"transfer-encoding"):
        return b""  # RFC 9112, section 6.3
    too_large = Problem(code=Code.BODY_TOO_LARGE, detail=f"At most {max_bytes} bytes are read.")
    if not length.isdigit() or len(length) > _DIGITS or int(length) > max_bytes:
        return too_large
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            return too_large
    return bytes(body)


async def read_json(
    request: Request, decoder: "msgspec.json.Decoder[T]", max_bytes: int, empty: T | None = None
) -> T | Problem:
    """Return the decoded body, or why there is none; `empty`, where a request may be without one, when it is."""
    raw = await read_body(request, max_bytes)
    if isinstance(raw, Problem):
        return raw
    if not raw and empty is not None:
        return empty
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != JSON:
        return Problem(code=Code.UNSUPPORTED_MEDIA_TYPE, detail="Send application/json.")
    return decode_body(raw, decoder, max_bytes)
