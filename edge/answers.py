"""The edge's answers. Their lasting headers are written once, when this is imported, and not for each answer."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from shared.openapi import JSON
from shared.problems import MEDIA_TYPE, Problem, encode_problem

RawHeaders = tuple[tuple[bytes, bytes], ...]

PUBLIC: Final = {
    "access-control-allow-origin": "*",
    "access-control-expose-headers": "date, retry-after, server-timing",
    "timing-allow-origin": "*",
    "x-content-type-options": "nosniff",
}
NOT_KEPT: Final = {**PUBLIC, "cache-control": "no-store"}
PREFLIGHT: Final = {
    **PUBLIC,
    "access-control-allow-methods": "GET, HEAD, POST, OPTIONS",
    "access-control-allow-headers": "content-type",
    "access-control-max-age": "86400",
}
_ENCODER: Final = msgspec.json.Encoder()
_KEPT_POLICIES: Final = 16
_FRAME_POLICY: Final = (
    "default-src 'none'; script-src {edge}; style-src {edge}; img-src https: data: {edge}; "
    "media-src https: {edge}; connect-src {edge} {origin}; base-uri 'none'; form-action 'none'"
)


def _raw(headers: Mapping[str, str]) -> RawHeaders:
    return tuple((name.encode(), value.encode()) for name, value in headers.items())


class Lasting:
    """The headers that all answers of a kind have.

    Attributes:
        raw: as ASGI has them.
        json: the beginning of a JSON object that has them, to be followed by further members.
    """

    def __init__(self, headers: Mapping[str, str]) -> None:
        self.raw = _raw(headers)
        self.json = _ENCODER.encode(headers).decode()[:-1]


_VARIES: Final = {**NOT_KEPT, "vary": "accept, accept-language"}
_JSON_HEADERS: Final = Lasting({**NOT_KEPT, "content-type": JSON})
_OVERLAY_JSON: Final = Lasting({**_VARIES, "content-type": JSON})
_OVERLAY_HTML: Final = Lasting({**_VARIES, "content-type": "text/html; charset=utf-8"})
PROBLEM_HEADERS: Final = _raw({**NOT_KEPT, "content-type": MEDIA_TYPE})


class Prepared(Response):
    """An answer whose lasting headers were written when this was imported, its type among them.

    Attributes:
        lasting: those headers.
        took_ms: how long it took, for `Server-Timing`.
        policy: a content security policy, or nothing.
    """

    def __init__(self, body: bytes, status: int, lasting: Lasting, took_ms: int, policy: str = "") -> None:
        self.status_code = status
        self.background = None
        self.body: bytes = body
        self.lasting, self.took_ms, self.policy = lasting, took_ms, policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, as ASGI has it."""
        changing = [(b"server-timing", b"edge;dur=%d" % self.took_ms), (b"content-length", b"%d" % len(self.body))]
        if self.policy:
            changing.append((b"content-security-policy", self.policy.encode("latin-1", "replace")))
        self.raw_headers = [*self.lasting.raw, *changing]
        await super().__call__(scope, receive, send)

    def as_init(self) -> str:
        """Return status and headers as the JSON of a `ResponseInit` (Fetch standard), but the body's length."""
        policy = f',"content-security-policy":{_quoted(self.policy)}' if self.policy else ""
        timing = f',"server-timing":"edge;dur={self.took_ms}"'
        return f'{{"status":{self.status_code},"headers":{self.lasting.json}{timing}{policy}}}}}'


@lru_cache(_KEPT_POLICIES)
def _quoted(policy: str) -> str:
    return _ENCODER.encode(policy.encode("latin-1", "replace").decode("latin-1")).decode()


def answer_problem(problem: Problem) -> Response:
    """Return a problem as an answer (RFC 9457)."""
    headers = dict(NOT_KEPT)
    if problem.retry_after_s is not None:
        headers["retry-after"] = str(problem.retry_after_s)
    return Response(encode_problem(problem), problem.status, headers, MEDIA_TYPE)


def answer_json(body: bytes, status: int, took_ms: int) -> Response:
    """Return JSON that is for this request alone."""
    return Prepared(body, status, _JSON_HEADERS, took_ms)


def answer_overlay(body: bytes, took_ms: int) -> Response:
    """Return an overlay as JSON."""
    return Prepared(body, 200, _OVERLAY_JSON, took_ms)


def answer_document(body: bytes, took_ms: int, edge_url: str, origin_url: str) -> Response:
    """Return an overlay as a document, with the policy that lets it load what it needs and nothing else."""
    return Prepared(body, 200, _OVERLAY_HTML, took_ms, _frame_policy(edge_url, origin_url))


@lru_cache(_KEPT_POLICIES)
def _frame_policy(edge_url: str, origin_url: str) -> str:
    return _FRAME_POLICY.format(edge=edge_url, origin=origin_url)
