"""Who is let in with an API key: `Authorization: Bearer ct_...`, looked at before anything else of a request.

A key opens one kind of door (`origin.apikeys`): an operator's key does not report for the edge, and an edge's key does
not touch the catalogue. Whose key it was, a handler reads from `holder_of`.
"""

import base64
import binascii
import re
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from origin.apikeys import KeyKind, find_holder
from origin.database import Database
from origin.responses import Handler, refuse
from shared.problems import Code, Problem

SECURITY_SCHEMES: Final[dict[str, dict[str, str]]] = {
    "operator": {"type": "http", "scheme": "bearer", "description": "An API key: `python -m origin.keys create NAME`."},
    "operator_page": {
        "type": "http",
        "scheme": "basic",
        "description": "For pages in a browser: any name, and an operator's API key as the password.",
    },
    "register": {
        "type": "http",
        "scheme": "bearer",
        "description": "A register's API key: `python -m origin.keys create NAME --for register`.",
    },
    "edge": {
        "type": "http",
        "scheme": "bearer",
        "description": "An edge's API key: `python -m origin.keys create NAME --for edge`.",
    },
    "scanner": {"type": "http", "scheme": "bearer", "description": "A scanner's key: `POST /v1/enrolments`."},
}
PAGE_SCHEME: Final = "operator_page"
PAGE_CODES: Final = (Code.KEY_MISSING, Code.UNAVAILABLE)
KEY_CODES: Final = (Code.KEY_MISSING, Code.KEY_REFUSED, Code.UNAVAILABLE)
_BASIC: Final = re.compile(r"[Bb]asic +([A-Za-z0-9+/=]{1,400})")
_PAGE_CHALLENGE: Final = {"WWW-Authenticate": 'Basic realm="Cliptill: any name, and an API key", charset="UTF-8"'}
_BEARER: Final = re.compile(r"[Bb]earer +(\S+)")
_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="cliptill"'}


class Guard:
    """Lets the holders of one kind of key in."""

    def __init__(self, database: Database, kind: KeyKind) -> None:
        self._database = database
        self._kind: KeyKind = kind

    def __call__(self, handler: Handler) -> Handler:
        """Return the handler, behind the guard; `holder_of` tells it the key's name."""

        async def guarded(request: Request) -> Response:
            given = _BEARER.fullmatch(request.headers.get("authorization", ""))
            if given is None:
                return refuse(Problem(code=Code.KEY_MISSING), _CHALLENGE)
            async with self._database.connection() as connection:
                name = await find_holder(connection, given.group(1), self._kind)
            if name is None:
                return refuse(Problem(code=Code.KEY_REFUSED))
            request.state.holder = name
            return await handler(request)

        return guarded


class PageGuard:
    """Lets operators in with a browser, which asks them for a key by itself (Basic, RFC 7617).

    For pages that are read and change nothing: a browser sends what it was told with every later request, also with
    those that another site makes it send.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def __call__(self, handler: Handler) -> Handler:
        """Return the handler, behind the guard."""

        async def guarded(request: Request) -> Response:
            key = _read_password(request.headers.get("authorization", ""))
            if key is None:
                return refuse(Problem(code=Code.KEY_MISSING), _PAGE_CHALLENGE)
            async with self._database.connection() as connection:
                name = await find_holder(connection, key, "operator")
            if name is None:  # asked again, a person may mend it
                return refuse(Problem(code=Code.KEY_MISSING), _PAGE_CHALLENGE)
            request.state.holder = name
            return await handler(request)

        return guarded


def _read_password(header: str) -> str | None:
    given = _BASIC.fullmatch(header)
    try:
        told = None if given is None else base64.b64decode(given.group(1), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    return None if told is None else told.partition(":")[2]


def holder_of(request: Request) -> str:
    """Return the name of the key that a guarded request came with."""
    name: str = request.state.holder
    return name
