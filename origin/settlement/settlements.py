"""Settlements over HTTP: settle a claim, ask for its decision, wait for it.

Rules:

1. Who asks must present the claim and prove that the viewer key is theirs, each time.
2. A claim must be valid to be settled. What was decided may be asked for at any time after: a lost acknowledgement is
   never a lost claim.
3. However a decision is asked for, its body is the same.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final

import anyio
import msgspec
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.requests import Request
from starlette.responses import Response

from origin.database import Database
from origin.responses import NOT_KEPT, Handler, Prepared, read_json, refuse, write_headers
from origin.settlement.answers import (
    Decision,
    HeldClaim,
    PendingClaim,
    Reply,
    Settlement,
    tell_decision,
    tell_hold,
    tell_pending,
)
from origin.settlement.batches import Conflict
from origin.settlement.holds_store import read_hold
from origin.settlement.presenting import CODES, PARAMETERS, SECURITY, Trust, authenticate, challenge
from origin.settlement.receipts import SigningKeys
from origin.settlement.settlements_store import read_decisions
from origin.settlement.streams import Watcher
from origin.settlement.writer import LateError, Writer
from shared.claims.states import State
from shared.claims.tokens import Claim, fingerprint_claim
from shared.openapi import JSON, Answer, Operation, Parameter
from shared.problems import MEDIA_TYPE, Code, Problem
from shared.structs import ClaimId, Strict

PATH: Final = "/v1/settlements"
MAX_BODY_BYTES: Final = 4_096
STREAM_S: Final = 300.0  # then a client that still waits connects again
STOPPING_S: Final = 2.0  # for streams to end properly when this process does
PING_S: Final = 15
EVENT: Final = "settlement"

FINAL_CODES: Final = (
    Code.SOLD_OUT,
    Code.CAP_REACHED,
    Code.QUANTITY_NOT_OFFERED,
    Code.OFFER_UNKNOWN,
    Code.DROP_UNKNOWN,
    Code.DROP_CLOSED,
    Code.HOLD_LAPSED,
    Code.CLAIM_CANCELLED,
    Code.CLAIM_REFUNDED,
)
_AWAY: Final = (Code.UNAVAILABLE, Code.OVERLOADED)
_TIMING: Final = {"Server-Timing": "queue: waiting for the batch; db: its transaction; in milliseconds"}
_REFUSED: Final = "A final refusal has the members of `Refusal` beside those of every problem."
_SETTLED: Final = Answer(description="Settled.", type=Settlement)
_HELD: Final = Answer(
    description="Units are held until it is paid (offers with payment card or wallet).", type=HeldClaim
)
_HELD_OR_PENDING: Final = Answer(
    description="Units are held until it is paid; or it is not decided yet: ask again, or wait on the stream.",
    type=HeldClaim | PendingClaim,
    headers={"Retry-After": "seconds, while it is not decided"},
)
ASK_AGAIN: Final = {"Retry-After": "1"}
_ID: Final = Parameter(name="claim_id", where="path", type=ClaimId)


class SettlementRequest(Strict, frozen=True, kw_only=True):
    """All is in the claim: the body is `{}`, or left out."""


OPERATIONS: Final = (
    Operation(
        id="warm_settlements",
        method="GET",
        path=PATH,
        summary="Nothing: lets a browser connect, and ask for its preflight, before the viewer taps.",
        answers={204: Answer(description="Nothing.", media_types=())},
    ),
    Operation(
        id="settle_claim",
        method="POST",
        path=PATH,
        summary="Settle a claim, once: the same claim again has the same answer, byte for byte.",
        description=_REFUSED,
        security=SECURITY,
        parameters=PARAMETERS,
        body=SettlementRequest,
        body_required=False,
        answers={200: Answer(description="Settled.", type=Settlement, headers=_TIMING), 202: _HELD_OR_PENDING},
        problems=(
            *CODES, Code.CLAIM_NOT_YET_VALID, Code.CLAIM_EXPIRED, *FINAL_CODES, Code.IDEMPOTENCY_CONFLICT, *_AWAY,
            Code.BODY_TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE, Code.MALFORMED_JSON, Code.UNKNOWN_FIELD,
            Code.INVALID_FIELD, Code.DUPLICATE_KEY,
        ),
    ),
    Operation(
        id="read_settlement",
        method="GET",
        path="/v1/settlements/{claim_id}",
        summary="Read what was decided on a claim, also after the claim has expired.",
        description=_REFUSED,
        security=SECURITY,
        parameters=(_ID, *PARAMETERS),
        answers={200: _SETTLED, 202: _HELD},
        problems=(
            *CODES, Code.SETTLEMENT_UNKNOWN, Code.HOLD_RELEASED, Code.IDEMPOTENCY_CONFLICT, *FINAL_CODES,
            Code.UNAVAILABLE,
        ),
    ),
    Operation(
        id="stream_settlement",
        method="GET",
        path="/v1/settlements/{claim_id}/stream",
        summary="Wait for the decision on a claim: one server-sent event, `settlement`, then the stream ends.",
        description=f"The event's data is the body of the decision. {_REFUSED}",
        security=SECURITY,
        parameters=(_ID, *PARAMETERS),
        answers={200: Answer(description="A stream.", media_types=("text/event-stream",))},
        problems=(*CODES, Code.IDEMPOTENCY_CONFLICT, *_AWAY),
    ),
)  # fmt: skip

_LASTING: Final = {
    media_type: write_headers({**NOT_KEPT, "Content-Type": media_type}) for media_type in (JSON, MEDIA_TYPE)
}
_DECODER: Final = msgspec.json.Decoder(SettlementRequest)
_EMPTY: Final = SettlementRequest()


class Settlements:
    """The handlers of `OPERATIONS`."""

    def __init__(  # noqa: PLR0913 - what settling needs
        self,
        *,
        database: Database,
        writer: Writer,
        watcher: Watcher,
        trust: Trust,
        keys: SigningKeys,
        clock_ms: Callable[[], int],
    ) -> None:
        self._database = database
        self._writer = writer
        self._watcher = watcher
        self._trust = trust
        self._keys = keys
        self._clock_ms = clock_ms

    def handlers(self) -> Mapping[str, Handler]:
        """Return a handler for each operation."""
        return {
            "warm_settlements": self._warm,
            "settle_claim": self._settle,
            "read_settlement": self._read,
            "stream_settlement": self._stream,
        }

    async def _warm(self, _: Request) -> Response:
        return Response(status_code=204, headers=NOT_KEPT)

    async def _settle(self, request: Request) -> Response:
        claim = authenticate(request, self._trust, self._clock_ms() // 1000, current=True)
        if isinstance(claim, Problem):
            return challenge(claim)
        body = await read_json(request, _DECODER, MAX_BODY_BYTES, _EMPTY)
        if isinstance(body, Problem):
            return refuse(body)
        try:
            decided = await self._writer.settle(claim)
        except LateError:
            return respond(tell_pending(claim.jti, self._trust.audience), ASK_AGAIN)
        timing = {"Server-Timing": f"queue;dur={decided.queue_ms:.2f}, db;dur={decided.database_ms:.2f}"}
        if isinstance(decided.decision, Conflict):
            return refuse(Problem(code=Code.IDEMPOTENCY_CONFLICT), timing)
        if isinstance(decided.decision, HeldClaim):
            return respond(tell_hold(decided.decision), timing)
        return respond(tell_decision(decided.decision, self._keys), timing)

    async def _read(self, request: Request) -> Response:
        asked = await self._look_up(request)
        if isinstance(asked, Response):
            return asked
        claim, decision = asked
        if decision is None:
            return await self._read_hold(claim)
        return respond(tell_decision(decision, self._keys), {})

    async def _read_hold(self, claim: Claim) -> Response:
        async with self._database.connection() as connection:
            held = await read_hold(connection, claim.jti)
        if held is None or held.fingerprint != fingerprint_claim(claim):
            return refuse(Problem(code=Code.SETTLEMENT_UNKNOWN if held is None else Code.IDEMPOTENCY_CONFLICT))
        state = held.state_at(self._clock_ms())
        if state is State.HELD:
            return respond(tell_hold(held.describe(self._trust.audience)), {})
        return refuse(Problem(code=Code.HOLD_LAPSED if state is State.LAPSED else Code.HOLD_RELEASED))

    async def _stream(self, request: Request) -> Response:
        asked = await self._look_up(request)
        if isinstance(asked, Response):
            return asked
        claim, decision = asked
        if decision is None and self._watcher.is_full:
            return refuse(Problem(code=Code.OVERLOADED, retry_after_s=1))
        stopping = anyio.Event()
        return EventSourceResponse(
            self._events(claim.jti, decision, stopping),
            ping=PING_S,
            sep="\n",
            shutdown_event=stopping,
            shutdown_grace_period=STOPPING_S,
        )

    async def _events(
        self, claim_id: str, decision: Decision | None, stopping: anyio.Event
    ) -> AsyncIterator[ServerSentEvent]:
        yield ServerSentEvent(comment="waiting")
        if decision is None:
            decision = await self._wait(claim_id, stopping)
        if decision is not None:
            yield ServerSentEvent(event=EVENT, data=tell_decision(decision, self._keys).body.decode())

    async def _wait(self, claim_id: str, stopping: anyio.Event) -> Decision | None:
        """Return the decision, or None when it takes too long or this process is about to end."""
        decided = asyncio.create_task(self._watcher.wait(claim_id))
        told = asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait((decided, told), timeout=STREAM_S, return_when=asyncio.FIRST_COMPLETED)
            return decided.result() if decided.done() else None
        finally:
            decided.cancel()
            told.cancel()

    async def _look_up(self, request: Request) -> tuple[Claim, Decision | None] | Response:
        """Return the claim that is presented, and what was decided on it; or a refusal."""
        claim = authenticate(request, self._trust, self._clock_ms() // 1000, current=False)
        if isinstance(claim, Problem):
            return challenge(claim)
        if claim.jti != request.path_params["claim_id"]:
            return refuse(Problem(code=Code.SETTLEMENT_UNKNOWN))
        async with self._database.connection() as connection:
            decision = (await read_decisions(connection, [claim.jti])).get(claim.jti)
        if decision is not None and decision.fingerprint != fingerprint_claim(claim):
            return refuse(Problem(code=Code.IDEMPOTENCY_CONFLICT))
        return claim, decision


def respond(reply: Reply, headers: Mapping[str, str]) -> Response:
    """Return an answer over HTTP."""
    return Prepared(reply.body, reply.status, _LASTING[reply.media_type], headers)
