"""The edge's answers. Their lasting headers are written once, when this is imported, and not for each answer."""

from collections.abc import Mapping
from typing import Final

from starlette.responses import Response

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
_FRAME_POLICY: Final = (
    "default-src 'none'; script-src {edge}; style-src {edge}; img-src https: data: {edge}; "
    "media-src https: {edge}; connect-src {edge} {origin}; base-uri 'none'; form-action 'none'"
)


def _raw(headers: Mapping[str, str]) -> RawHeaders:
    return tuple((name.encode(), value.encode()) for name, value in headers.items())


_JSON_HEADERS: Final = _raw({**NOT_KEPT, "content-type": JSON})
_OVERLAY_JSON: Final = _raw({**NOT_KEPT, "vary": "accept, accept-language", "content-type": JSON})
_OVERLAY_HTML: Final = _raw({**NOT_KEPT, "vary": "accept, accept-language", "content-type": "text/html; charset=utf-8"})


PROBLEM_HEADERS: Final = _raw({**NOT_KEPT, "content-type": MEDIA_TYPE})


class Prepared(Response):
    """An answer whose lasting headers are bytes already, its type among them."""

    def __init__(self, body: bytes, status: int, lasting: RawHeaders, changing: RawHeaders = ()) -> None:
        self.status_code = status
        self.background = None
        self.body = body
        self.raw_headers = [*lasting, *changing, (b"content-length", b"%d" % len(body))]


def answer_problem(problem: Problem) -> Response:
    """Return a problem as an answer (RFC 9457)."""
    headers = dict(NOT_KEPT)
    if problem.retry_after_s is not None:
        headers["retry-after"] = str(problem.retry_after_s)
    return Response(encode_problem(problem), problem.status, headers, MEDIA_TYPE)


def answer_json(body: bytes, status: int, took_ms: int) -> Response:
    """Return JSON that is for this request alone."""
    return Prepared(body, status, _JSON_HEADERS, (_timing(took_ms),))


def answer_overlay(body: bytes, took_ms: int) -> Response:
    """Return an overlay as JSON."""
    return Prepared(body, 200, _OVERLAY_JSON, (_timing(took_ms),))


def answer_document(body: bytes, took_ms: int, edge_url: str, origin_url: str) -> Response:
    """Return an overlay as a document, with the policy that lets it load what it needs and nothing else."""
    policy = _FRAME_POLICY.format(edge=edge_url, origin=origin_url).encode("latin-1", "replace")
    return Prepared(body, 200, _OVERLAY_HTML, (_timing(took_ms), (b"content-security-policy", policy)))


def _timing(took_ms: int) -> tuple[bytes, bytes]:
    return b"server-timing", b"edge;dur=%d" % took_ms
