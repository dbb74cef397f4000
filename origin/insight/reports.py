"""The reports of reconciliation over HTTP, for operators: which runs there were, and what each of them found."""

from collections.abc import Mapping
from typing import Annotated, Final

from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from origin.database import Database
from origin.guard import KEY_CODES, Guard
from origin.insight.reconciliation import Run
from origin.insight.runs_store import RunSummary, list_runs, read_run
from origin.responses import MOST_DIGITS, NOT_KEPT, Handler, read_number, refuse, tell
from shared.openapi import JSON, Answer, Operation, Parameter
from shared.problems import Code, Problem
from shared.structs import Wire

SECURITY: Final = "operator"
LATEST: Final = "latest"
PAGE: Final = 50

RunNumber = Annotated[
    str, Meta(pattern=r"^([0-9]{1,15}|latest)$(?!\n)", description="the number of a run, or `latest`")
]


class RunPage(Wire, frozen=True, kw_only=True):
    """Runs that have ended, the newest first; `next` is None on the last page."""

    runs: tuple[RunSummary, ...]
    next: int | None = None


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
)


class Reports:
    """The handlers of `OPERATIONS`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._guarded = Guard(database, SECURITY)

    def handlers(self) -> Mapping[str, Handler]:
        """Return a handler for each operation."""
        return {
            "list_reconciliations": self._guarded(self._list),
            "read_reconciliation": self._guarded(self._read),
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
