"""The reports of reconciliation over HTTP, for operators: which runs there were, and what each of them found."""

import re
from collections.abc import Mapping
from typing import Annotated, Final

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from origin.database import Database
from origin.guard import KEY_CODES, PAGE_CODES, PAGE_SCHEME, Guard, PageGuard
from origin.insight.minutes_store import list_minutes
from origin.insight.reconciliation import Run
from origin.insight.report_page import POLICY, write_empty_page, write_page
from origin.insight.runs_store import RunSummary, list_runs, read_run
from origin.responses import MOST_DIGITS, NOT_KEPT, Handler, read_number, refuse, tell
from shared.insight.standings import Minute
from shared.openapi import JSON, Answer, Operation, Parameter
from shared.problems import Code, Problem
from shared.structs import Identifier, Wire

SECURITY: Final = "operator"
LATEST: Final = "latest"
HTML: Final = "text/html"
PAGE: Final = 50
SHOWN_RUNS: Final = 20
_PAGE_HEADERS: Final = {
    **NOT_KEPT,
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}
MINUTES_PAGE: Final = 500
_RUNS: Final = msgspec.json.Decoder(Run)
_AFTER: Final = re.compile(r"([0-9]{1,15})-([A-Za-z0-9_-]{0,64})")

RunNumber = Annotated[
    str, Meta(pattern=r"^([0-9]{1,15}|latest)$(?!\n)", description="the number of a run, or `latest`")
]


class RunPage(Wire, frozen=True, kw_only=True):
    """Runs that have ended, the newest first; `next` is None on the last page."""

    runs: tuple[RunSummary, ...]
    next: int | None = None


class MinutePage(Wire, frozen=True, kw_only=True):
    """Minutes of a drop, in order; `next` is the `after` of the next page, None on the last one."""

    minutes: tuple[Minute, ...]
    next: str | None = None


OPERATIONS: Final = (
    Operation(
        id="list_reconciliations",
        method="GET",
        path="/v1/reconciliations",
        summary="List the runs of reconciliation, the newest first.",
        description=f"In pages of {PAGE}: `next` of an answer is the `before` of the next page.",
        security=SECURITY,
        parameters=(Parameter(name="before", where="query", type=int, description="the number of a run"),),
        answers={200: Answer(description="The runs.", type=RunPage)},
        problems=(*KEY_CODES, Code.INVALID_FIELD),
    ),
    Operation(
        id="read_reconciliation",
        method="GET",
        path="/v1/reconciliations/{run}",
        summary="Read what a run of reconciliation did and found.",
        security=SECURITY,
        parameters=(Parameter(name="run", where="path", type=RunNumber),),
        answers={200: Answer(description="The report.", type=Run)},
        problems=(*KEY_CODES, Code.RUN_UNKNOWN),
    ),
    Operation(
        id="show_reconciliation",
        method="GET",
        path="/reconciliation",
        summary="Read what the last run of reconciliation found, as a page.",
        security=PAGE_SCHEME,
        answers={200: Answer(description="The page.", media_types=(HTML,))},
        problems=PAGE_CODES,
    ),
    Operation(
        id="show_reconciliation_run",
        method="GET",
        path="/reconciliation/{run}",
        summary="Read what one run of reconciliation found, as a page.",
        security=PAGE_SCHEME,
        parameters=(Parameter(name="run", where="path", type=RunNumber),),
        answers={200: Answer(description="The page.", media_types=(HTML,))},
        problems=(*PAGE_CODES, Code.RUN_UNKNOWN),
    ),
    Operation(
        id="list_minutes",
        method="GET",
        path="/v1/drops/{drop}/minutes",
        summary="Read what became of a drop's claims, by the minute and the node that gave them.",
        description=f"As of the last reconciliation. In pages of {MINUTES_PAGE}.",
        security=SECURITY,
        parameters=(
            Parameter(name="drop", where="path", type=Identifier),
            Parameter(name="after", where="query", description="`next` of the page before"),
        ),
        answers={200: Answer(description="The minutes.", type=MinutePage)},
        problems=(*KEY_CODES, Code.INVALID_FIELD),
    ),
)


class Reports:
    """The handlers of `OPERATIONS`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._guarded = Guard(database, SECURITY)
        self._on_page = PageGuard(database)

    def handlers(self) -> Mapping[str, Handler]:
        """Return a handler for each operation."""
        return {
            "list_reconciliations": self._guarded(self._list),
            "read_reconciliation": self._guarded(self._read),
            "list_minutes": self._guarded(self._list_minutes),
            "show_reconciliation": self._on_page(self._show),
            "show_reconciliation_run": self._on_page(self._show),
        }

    async def _list(self, request: Request) -> Response:
        before = read_number(request.query_params.get("before", "9" * MOST_DIGITS))
        if before is None:
            return refuse(Problem(code=Code.INVALID_FIELD, detail="In the query: `before` is the number of a run."))
        async with self._database.connection() as connection:
            found = await list_runs(connection, before, PAGE + 1)
        shown = tuple(found[:PAGE])
        return tell(RunPage(runs=shown, next=shown[-1].run if len(found) > PAGE else None))

    async def _read(self, request: Request) -> Response:
        asked = request.path_params["run"]
        number = read_number(asked)
        if number is None and asked != LATEST:
            return refuse(Problem(code=Code.RUN_UNKNOWN))
        async with self._database.connection() as connection:
            kept = await read_run(connection, number)
        return refuse(Problem(code=Code.RUN_UNKNOWN)) if kept is None else Response(kept, 200, NOT_KEPT, JSON)

    async def _show(self, request: Request) -> Response:
        asked = request.path_params.get("run", LATEST)
        number = read_number(asked)
        if number is None and asked != LATEST:
            return refuse(Problem(code=Code.RUN_UNKNOWN))
        async with self._database.connection() as connection:
            kept = await read_run(connection, number)
            runs = await list_runs(connection, 10**MOST_DIGITS, SHOWN_RUNS)
        if kept is None and number is not None:
            return refuse(Problem(code=Code.RUN_UNKNOWN))
        page = write_empty_page() if kept is None else write_page(_RUNS.decode(kept), runs, live=number is None)
        return Response(page, 200, _PAGE_HEADERS, HTML)

    async def _list_minutes(self, request: Request) -> Response:
        asked = _AFTER.fullmatch(request.query_params.get("after", "0-"))
        if asked is None:
            return refuse(Problem(code=Code.INVALID_FIELD, detail="In the query: `after` is the `next` of a page."))
        after = (int(asked.group(1)), asked.group(2))
        async with self._database.connection() as connection:
            found = await list_minutes(connection, request.path_params["drop"], after, MINUTES_PAGE + 1)
        shown = tuple(found[:MINUTES_PAGE])
        more = f"{shown[-1].minute_ms}-{shown[-1].node}" if len(found) > MINUTES_PAGE else None
        return tell(MinutePage(minutes=shown, next=more))
