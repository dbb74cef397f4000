"""Messages to partners over HTTP: for operators. What was handed on, what is dead, and sending it again."""

from collections.abc import Callable, Mapping
from typing import Annotated, Final

from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from origin.database import Database
from origin.fulfilment.handoffs_store import HandoffView, Wanted, list_handoffs, resend_claim, resend_partner
from origin.fulfilment.partners_store import find_partners
from origin.guard import KEY_CODES, Guard
from origin.paging import LIMIT, PAGE_DEFAULT, PAGE_MOST, Limit, cut_page, read_query
from origin.responses import Handler, refuse, tell
from shared.fulfilment.handoffs import Progress, Standing
from shared.openapi import Answer, Operation, Parameter
from shared.problems import Code, Problem
from shared.structs import ClaimId, Identifier, Wire

SECURITY: Final = "operator"
FIRST_PAGE: Final = ".0"

HandoffMark = Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,63}\.[0-9]{1,15}$(?!\n)", description="DROP.POSITION")]


class HandoffPage(Wire, frozen=True, kw_only=True):
    """Messages, by drop and position in its audit trail; `next` is None on the last page."""

    handoffs: tuple[HandoffView, ...]
    next: HandoffMark | None = None


class Resent(Wire, frozen=True, kw_only=True):
    """How many messages are sent again, those that were dead among them."""

    messages: int


class _Asked(Wanted, frozen=True, kw_only=True):
    after: HandoffMark | None = None
    limit: Limit = PAGE_DEFAULT


_FILTERS: Final = {"state": Standing, "partner": Identifier, "drop": Identifier, "claim": ClaimId, "progress": Progress}

OPERATIONS: Final = (
    Operation(
        id="list_handoffs",
        method="GET",
        path="/v1/handoffs",
        summary="List what partners are told, and how far it is.",
        description="With `state=dead`: what needs a person, who sends it again.",
        security=SECURITY,
        parameters=(
            *(Parameter(name=name, where="query", type=kind) for name, kind in _FILTERS.items()),
            Parameter(name="after", where="query", type=HandoffMark, description="`next` of the page before"),
            LIMIT,
        ),
        answers={200: Answer(description="A page.", type=HandoffPage)},
        problems=(*KEY_CODES, Code.INVALID_FIELD),
    ),
    Operation(
        id="resend_claim",
        method="POST",
        path="/v1/handoffs/{claim_id}/resend",
        summary="Send all messages about a claim again, in their order, under the ids that they had.",
        security=SECURITY,
        parameters=(Parameter(name="claim_id", where="path", type=ClaimId),),
        answers={200: Answer(description="They wait to be sent.", type=HandoffPage)},
        problems=(*KEY_CODES, Code.HANDOFF_UNKNOWN),
    ),
    Operation(
        id="resend_partner",
        method="POST",
        path="/v1/partners/{partner}/resend",
        summary="Send all that a partner has not taken now: once it is back, say.",
        security=SECURITY,
        answers={200: Answer(description="They wait to be sent.", type=Resent)},
        problems=(*KEY_CODES, Code.PARTNER_UNKNOWN),
    ),
)


class Handoffs:
    """The handlers of `OPERATIONS`."""

    def __init__(self, database: Database, clock_ms: Callable[[], int]) -> None:
        self._database = database
        self._clock_ms = clock_ms
        self._guarded = Guard(database, SECURITY)

    def handlers(self) -> Mapping[str, Handler]:
        """Return a handler for each operation."""
        return {
            "list_handoffs": self._guarded(self._list),
            "resend_claim": self._guarded(self._resend),
            "resend_partner": self._guarded(self._resend_all),
        }

    async def _list(self, request: Request) -> Response:
        asked = read_query(request, _Asked, "In the query: look at the description of the API.")
        if isinstance(asked, Problem):
            return refuse(asked)
        drop, _, position = (asked.after or FIRST_PAGE).partition(".")
        async with self._database.connection() as connection:
            found = await list_handoffs(connection, asked, (drop, int(position)), asked.limit + 1)
        shown, last = cut_page(found, asked.limit)
        return tell(HandoffPage(handoffs=shown, next=None if last is None else f"{last.drop}.{last.position}"))

    async def _resend(self, request: Request) -> Response:
        claim_id = request.path_params["claim_id"]
        async with self._database.transaction() as connection:
            if not await resend_claim(connection, claim_id, self._clock_ms()):
                return refuse(Problem(code=Code.HANDOFF_UNKNOWN))
            told = await list_handoffs(connection, Wanted(claim=claim_id), ("", 0), PAGE_MOST)
        return tell(HandoffPage(handoffs=tuple(told)))

    async def _resend_all(self, request: Request) -> Response:
        partner = request.path_params["partner"]
        async with self._database.transaction() as connection:
            if not await find_partners(connection, [partner]):
                return refuse(Problem(code=Code.PARTNER_UNKNOWN))
            messages = await resend_partner(connection, partner, self._clock_ms())
        return tell(Resent(messages=messages))
