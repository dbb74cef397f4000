"""What a request asks for: its headers, its query, the wishes in them.

Browsers ask alike, so what was read out of a text is kept with it. Only texts of a usual length are: a client must not
fill the memory with its own.
"""

from functools import lru_cache
from typing import Final
from urllib.parse import parse_qsl

from starlette.datastructures import URL
from starlette.types import Scope

from shared.openapi import JSON
from shared.overlay.negotiation import choose_media_type

HTML: Final = "text/html"
MAX_CONTEXT_TEXT: Final = 256  # of a header or parameter that personalises; what is beyond is not looked at
_KEPT_TEXT: Final = 512
_KEPT: Final = 1024


def read_headers(scope: Scope) -> dict[bytes, bytes]:
    """Return the headers by name; the first of a name counts."""
    return dict(reversed(scope["headers"]))


def read_text(headers: dict[bytes, bytes], name: bytes) -> str:
    """Return a header as text; empty when there is none."""
    return headers.get(name, b"").decode("latin-1")


def choose_format(accept: str) -> str | None:
    """Return the media type of the overlay that suits an `Accept` header best; None when neither does."""
    return (_choose_format if len(accept) <= _KEPT_TEXT else _choose_format.__wrapped__)(accept)


@lru_cache(_KEPT)
def _choose_format(accept: str) -> str | None:
    return choose_media_type(accept, (JSON, HTML))


def read_wishes(query: bytes) -> tuple[str, str]:
    """Return the locale and the currency that a query asks for, each empty when it does not."""
    return (_read_wishes if len(query) <= _KEPT_TEXT else _read_wishes.__wrapped__)(query)


@lru_cache(_KEPT)
def _read_wishes(query: bytes) -> tuple[str, str]:
    asked = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    return asked.get("locale", "")[:MAX_CONTEXT_TEXT], asked.get("currency", "")[:MAX_CONTEXT_TEXT]


def base_url(scope: Scope, headers: dict[bytes, bytes]) -> str:
    """Return the address that the edge was asked at, without a path."""
    host = headers.get(b"host", b"")
    make = _base_url if len(host) <= _KEPT_TEXT else _base_url.__wrapped__
    return make(scope["scheme"], host, scope.get("server"))


@lru_cache(_KEPT)
def _base_url(scheme: str, host: bytes, server: tuple[str, int | None] | None) -> str:
    scope = {"scheme": scheme, "server": server, "path": "/", "query_string": b"", "headers": [(b"host", host)]}
    return str(URL(scope=scope)).rstrip("/")
