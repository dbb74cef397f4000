"""What partners report of claims, over HTTP: shipped, handed over, failed. The address of their webhook.

Rules:

1. The exact bytes are checked, with the partner's own secrets, before anything of them is read.
2. A report counts once, whatever was answered when it came: the same again is told so, and another one under its id is
   a conflict.
3. A partner reports of claims that were handed on to it, and of no others.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import Final, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from origin.database import Database
from origin.fulfilment import handoffs_store as store
from origin.fulfilment.handoffs_store import NewReport
from origin.fulfilment.partners_store import read_partner
from origin.responses import Handler, read_body, refuse, tell
from shared.fulfilment.handoffs import CLOCK_AHEAD_MS, ProgressReport, is_news, progress_of
from shared.fulfilment.webhooks import check_webhook
from shared.insight.deliveries import clean_text
from shared.openapi import Answer, Operation
from shared.problems import Code, Problem
from shared.structs import ClaimId, Wire
from shared.wire import decode_body

MAX_REPORT_BYTES: Final = 16_384


class ReportTaken(Wire, frozen=True, kw_only=True):
    """What a report did: `applied`; `repeated`, it had come before; `outdated`, a later one had come before."""

    claim_id: ClaimId
    outcome: Literal["applied", "repeated", "outdated"]


OPERATIONS: Final = (
    Operation(
        id="take_report",
        method="POST",
        path="/v1/partners/{partner}/reports",
        summary="Take a partner's report of a claim: the address of its webhook.",
        description="Signed as Standard Webhooks has it (`webhook-id`, `webhook-timestamp`, `webhook-signature`), with "
        "the secret that signs what the partner is told.",
        body=ProgressReport,
        answers={200: Answer(description="Kept; the same again has no second effect.", type=ReportTaken)},
        problems=(
            Code.PARTNER_UNKNOWN, Code.HANDOFF_UNKNOWN, Code.MESSAGE_FORGED, Code.MESSAGE_STALE, Code.MALFORMED_JSON,
            Code.DUPLICATE_KEY, Code.INVALID_FIELD, Code.BODY_TOO_LARGE, Code.IDEMPOTENCY_CONFLICT, Code.UNAVAILABLE,
        ),
    ),
)  # fmt: skip

_DECODER: Final = msgspec.json.Decoder(ProgressReport)


class Reporting:
    """The handlers of `OPERATIONS`."""

    def __init__(self, database: Database, clock_ms: Callable[[], int]) -> None:
        self._database = database
        self._clock_ms = clock_ms

    def handlers(self) -> Mapping[str, Handler]:
        """Return a handler for each operation."""
        return {"take_report": self._take}

    async def _take(self, request: Request) -> Response:
        body = await read_body(request, MAX_REPORT_BYTES)
        if isinstance(body, Problem):
            return refuse(body)
        async with self._database.connection() as connection:
            partner = await read_partner(connection, request.path_params["partner"])
        if partner is None:
            return refuse(Problem(code=Code.PARTNER_UNKNOWN))
        now_ms = self._clock_ms()
        message = check_webhook(request.headers, body, partner.secrets, now_ms // 1000)
        if isinstance(message, Code):
            return refuse(Problem(code=message))
        report = decode_body(body, _DECODER, MAX_REPORT_BYTES)
        if isinstance(report, Problem):
            return refuse(report)
        if report.at_ms > now_ms + CLOCK_AHEAD_MS:
            return refuse(Problem(code=Code.INVALID_FIELD, detail="At $.at_ms: must not be in the future."))
        taken = await self._keep(partner.partner, message, report, body, now_ms)
        return refuse(taken) if isinstance(taken, Problem) else tell(taken)

    async def _keep(
        self, partner: str, message: str, report: ProgressReport, body: bytes, now_ms: int
    ) -> ReportTaken | Problem:
        reason, digest = clean_text(report.reason), hashlib.sha256(body).digest()
        new = NewReport(partner, message, digest, report.claim_id, report.type, reason, report.at_ms, now_ms)
        async with self._database.transaction() as connection:
            handed_on, reported_ms = await store.lock_sold(connection, report.claim_id, partner)
            if not handed_on:
                return Problem(code=Code.HANDOFF_UNKNOWN)
            if not await store.add_report(connection, new):
                same = await store.read_report_digest(connection, partner, message) == digest
                detail = "Another report came under this webhook-id."
                repeated = ReportTaken(claim_id=report.claim_id, outcome="repeated")
                return repeated if same else Problem(code=Code.IDEMPOTENCY_CONFLICT, detail=detail)
            if not is_news(reported_ms, report):
                return ReportTaken(claim_id=report.claim_id, outcome="outdated")
            await store.move_progress(connection, report.claim_id, progress_of(report), report.at_ms)
        return ReportTaken(claim_id=report.claim_id, outcome="applied")
