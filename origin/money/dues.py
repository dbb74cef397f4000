"""What creators are owed, over HTTP: for operators. The ledger tells it; paying it out is the shop's own affair."""

from collections.abc import Mapping
from typing import Annotated, Final

from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from origin.database import Database
from origin.guard import KEY_CODES, Guard
from origin.money.shares_store import Due, list_dues
from origin.paging import LIMIT, PAGE_DEFAULT, Limit, cut_page, read_query
from origin.responses import Handler, refuse, tell
from shared.openapi import Answer, Operation, Parameter
from shared.problems import Code, Problem
from shared.structs import Identifier, Wire

SECURITY: Final = "operator"

DueMark = Annotated[
    str, Meta(pattern=r"^[a-z0-9-]{1,63}\.[a-z0-9-]{1,63}\.[A-Z]{3}$(?!\n)", description="CREATOR.DROP.CURRENCY")
]


class DuePage(Wire, frozen=True, kw_only=True):
    """What is owed, by creator, drop and currency; `next` is None on the last page."""

    dues: tuple[Due, ...]
    next: DueMark | None = None


class _Asked(Wire, frozen=True, kw_only=True):
    creator: Identifier | None = None
    drop: Identifier | None = None
    after: DueMark | None = None
    limit: Limit = PAGE_DEFAULT


OPERATIONS: Final = (
    Operation(
        id="list_dues",
        method="GET",
        path="/v1/dues",
        summary="List what creators are owed of sales that were paid through here, by drop and currency.",
        description="The split of what was paid and has not gone back, by the shares of each drop.",
        security=SECURITY,
        parameters=(
            Parameter(name="creator", where="query", type=Identifier, description="of one creator only"),
            Parameter(name="drop", where="query", type=Identifier, description="of one drop only"),
            Parameter(name="after", where="query", type=DueMark, description="`next` of the page before"),
            LIMIT,
        ),
        answers={200: Answer(description="A page.", type=DuePage)},
        problems=(*KEY_CODES, Code.INVALID_FIELD),
    ),
)


class Dues:
    """The handlers of `OPERATIONS`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._guarded = Guard(database, SECURITY)

    def handlers(self) -> Mapping[str, Handler]:
        """Return a handler for each operation."""
        return {"list_dues": self._guarded(self._list)}

    async def _list(self, request: Request) -> Response:
        detail = "In the query: `creator` and `drop` are ids, `after` a `next`, `limit` 1 to 200."
        asked = read_query(request, _Asked, detail)
        if isinstance(asked, Problem):
            return refuse(asked)
        creator, drop, currency = (asked.after or "..").split(".")
        async with self._database.connection() as connection:
            found = await list_dues(connection, asked.creator, asked.drop, (creator, drop, currency), asked.limit + 1)
        shown, last = cut_page(found, asked.limit)
        return tell(DuePage(dues=shown, next=None if last is None else f"{last.creator}.{last.drop}.{last.currency}"))
