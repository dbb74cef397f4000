"""What a self-hosted edge needs of the origin: manifests to read, and a place to report to.

At the provider, manifests are in its key-value store and reports go through its queue. An edge on a machine of one's
own has neither: it reads and posts here, and the same things happen.

Rules:

1. A manifest is public, and is answered as the bytes that were published. Their hash is the entity tag, so asking again
   costs a few bytes until there is a newer version; caches may go on with what they have while the origin is away.
2. A report is what the queue would carry: texts of `EventBatch`, at least once, in any order. All of a request is one
   transaction with its effects (`origin.insight.intake`), so an edge that hears no answer sends the same again.
3. What cannot be read in a report is stored as rejected, as it is when the queue delivers it; it is not refused,
   because it would be no better the next time.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from origin.catalogue.stock_store import read_manifest_body
from origin.database import Database
from origin.guard import KEY_CODES, Guard
from origin.insight.event_store import Delivery
from origin.insight.intake import Intake, Taken
from origin.responses import BODY_CODES, Handler, read_json, refuse, tell
from shared.catalogue.manifest import Manifest
from shared.encoding import encode_base64url
from shared.openapi import JSON, Answer, Operation, Parameter
from shared.problems import Code, Problem
from shared.structs import Strict, Wire

MAX_MESSAGES: Final = 100  # as many as one pull from the queue brings
MAX_BODY_BYTES: Final = 1 << 20
MANIFEST_CACHE: Final = "public, max-age=5, stale-if-error=86400"


class EdgeReport(Strict, frozen=True, kw_only=True):
    """What an edge posts: texts, each one `EventBatch` as JSON, as the queue would carry it."""

    messages: Annotated[tuple[str, ...], Meta(min_length=1, max_length=MAX_MESSAGES)]


class ReportAccepted(Wire, frozen=True, kw_only=True):
    """What came of a report; all of it is stored.

    Attributes:
        accepted: messages that were taken, whatever came of them: none needs to be sent again.
        batches: those that were new.
        events: events in the new ones.
        repeated: messages that had come before.
        rejected: messages and events that do not count.
    """

    accepted: int
    batches: int
    events: int
    repeated: int
    rejected: int


OPERATIONS: Final = (
    Operation(
        id="read_edge_manifest",
        method="GET",
        path="/v1/edge/manifests/{clip}",
        summary="Read the newest published manifest of a clip, byte for byte.",
        description="For edges that have no key-value store. Send `If-None-Match` with the last `ETag`.",
        parameters=(Parameter(name="If-None-Match", where="header", description="the entity tag that is at hand"),),
        answers={
            200: Answer(
                description="The manifest.",
                type=Manifest,
                headers={"Cache-Control": "who may keep it, and how long", "ETag": "strong; changes with the bytes"},
            ),
            304: Answer(description="It is still the same.", media_types=()),
        },
        problems=(Code.CLIP_UNKNOWN, Code.UNAVAILABLE),
    ),
    Operation(
        id="report_edge_events",
        method="POST",
        path="/v1/edge/events",
        summary="Report what an edge did: batches of events, as the queue would carry them.",
        description="All of a request is stored in one transaction, each batch once, however often it is sent.",
        security="edge",
        body=EdgeReport,
        answers={202: Answer(description="Stored.", type=ReportAccepted)},
        problems=(
            *KEY_CODES,
            *BODY_CODES,
        ),
    ),
)

_DECODER: Final = msgspec.json.Decoder(EdgeReport)


class Edges:
    """The handlers of `OPERATIONS`."""

    def __init__(self, database: Database, intake: Intake) -> None:
        self._database = database
        self._intake = intake
        self._guarded = Guard(database, "edge")

    def handlers(self) -> Mapping[str, Handler]:
        """Return a handler for each operation."""
        return {"read_edge_manifest": self._read_manifest, "report_edge_events": self._guarded(self._take_report)}

    async def _read_manifest(self, request: Request) -> Response:
        async with self._database.connection() as connection:
            body = await read_manifest_body(connection, request.path_params["clip"])
        if body is None:
            return refuse(Problem(code=Code.CLIP_UNKNOWN))
        tag = tag_bytes(body)
        headers = {"Cache-Control": MANIFEST_CACHE, "ETag": tag}
        if matches_tag(request.headers.getlist("if-none-match"), tag):
            return Response(None, 304, headers)
        return Response(body, 200, headers, JSON)

    async def _take_report(self, request: Request) -> Response:
        report = await read_json(request, _DECODER, MAX_BODY_BYTES)
        if isinstance(report, Problem):
            return refuse(report)
        taken = await self._store([text.encode() for text in report.messages])
        told = ReportAccepted(
            accepted=len(report.messages),
            batches=taken.batches,
            events=taken.events,
            repeated=taken.repeated,
            rejected=taken.rejected,
        )
        return tell(told, status=202)

    async def _store(self, messages: Sequence[bytes]) -> Taken:
        """Store all messages in one transaction; again when another one decided the same claims at the same time."""
        deliveries = [Delivery(name=f"post {hashlib.sha256(raw).hexdigest()[:32]}", raw=raw) for raw in messages]
        stored = await self._database.repeat(lambda connection: self._intake.store_batches(connection, deliveries))
        return self._intake.count(stored)


def tag_bytes(body: bytes) -> str:
    """Return the strong entity tag of a body (RFC 9110, section 8.8.3)."""
    return f'"{encode_base64url(hashlib.sha256(body).digest())}"'


def matches_tag(given: Sequence[str], tag: str) -> bool:
    """Return whether `If-None-Match` names a tag: compared weakly, as RFC 9110, section 13.1.2, says."""
    listed = [item.strip().removeprefix("W/") for header in given for item in header.split(",")]
    return tag in listed or listed == ["*"]
