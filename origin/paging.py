"""Lists in pages, and what a query asks for: the few lines that every list of the origin shares."""

from collections.abc import Sequence
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta
from starlette.requests import Request

from shared.openapi import Parameter
from shared.problems import Code, Problem
from shared.structs import Identifier, Wire

PAGE_MOST: Final = 200
PAGE_DEFAULT: Final = 100

Limit = Annotated[int, Meta(ge=1, le=PAGE_MOST)]
T = TypeVar("T")

LIMIT: Final = Parameter(name="limit", where="query", type=Limit, description=f"default {PAGE_DEFAULT}")


class PageOfIds(Wire, frozen=True, kw_only=True):
    """Which page of a list by id is asked for: what comes behind an id, and how much of it."""

    after: Identifier | None = None
    limit: Limit = PAGE_DEFAULT


PAGE_OF_IDS: Final = (
    Parameter(name="after", where="query", type=Identifier, description="the last id of the page before"),
    LIMIT,
)


def read_query(request: Request, kind: type[T], detail: str) -> T | Problem:
    """Return what a query asks for, or `invalid_field`; of a repeated name the last counts, and others pass.

    Args:
        request: with the query.
        kind: a Struct with a field for each name.
        detail: what is told to whoever asks for something else.
    """
    try:
        return msgspec.convert(dict(request.query_params), kind, strict=False)
    except msgspec.ValidationError:
        return Problem(code=Code.INVALID_FIELD, detail=detail)


def read_page_of_ids(request: Request) -> PageOfIds | Problem:
    """Return which page of a list by id is asked for."""
    return read_query(request, PageOfIds, "In the query: `after` is an id, `limit` 1 to 200.")


def cut_page(found: Sequence[T], limit: int) -> tuple[tuple[T, ...], T | None]:
    """Return a page, and its last entry when more follows.

    Args:
        found: read with a limit of one more than the page has.
        limit: of the page.
    """
    shown = tuple(found[:limit])
    return shown, shown[-1] if len(found) > limit else None
