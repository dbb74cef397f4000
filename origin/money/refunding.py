"""Cancelling and refunding over HTTP: for operators."""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec
import structlog
from starlette.requests import Request
from starlette.responses import Response

from origin.database import ClashError, Database
from origin.guard import KEY_CODES, Guard
from origin.money.cashier import Cashier
from origin.money.returning import return_claim
from origin.responses import BODY_CODES, NOT_KEPT, Handler, read_json, refuse
from origin.settlement.settling import Settler
from shared.claims.returns import Returned, ReturnOrder
from shared.claims.states import Actor, State
from shared.errors import ServiceAwayError
from shared.openapi import JSON, Answer, Operation, Parameter
from shared.problems import Code, Problem
from shared.structs import ClaimId

SECURITY: Final = "operator"
MAX_BODY_BYTES: Final = 4_096
_PATH: Final = (Parameter(name="claim_id", where="path", type=ClaimId),)
_ANSWERS: Final = {200: Answer(description="Returned; the same request again has the same answer.", type=Returned)}
_PROBLEMS: Final = (
    *KEY_CODES, Code.SETTLEMENT_UNKNOWN, Code.NOT_SETTLED, Code.PART_OF_BUNDLE, Code.ALREADY_RETURNED, *BODY_CODES,
)  # fmt: skip

OPERATIONS: Final = (
    Operation(
        id="cancel_claim",
        method="POST",
        path="/v1/settlements/{claim_id}/cancel",
        summary="Call a settled claim off that nothing was paid for: its units go back to the stock, once.",
        description="Who asks for the settlement is told `claim_cancelled` from then on; its run numbers stay given.",
        security=SECURITY,
        parameters=_PATH,
        body=ReturnOrder,
        answers=_ANSWERS,
        problems=(*_PROBLEMS, Code.REFUND_NEEDED),
    ),
    Operation(
        id="refund_claim",
        method="POST",
        path="/v1/settlements/{claim_id}/refund",
        summary="Call a paid claim off: its units go back to the stock, and the money to the viewer, once.",
        description="Who asks for the settlement is told `claim_refunded` from then on; its run numbers stay given.",
        security=SECURITY,
        parameters=_PATH,
        body=ReturnOrder,
        answers=_ANSWERS,
        problems=(
            *_PROBLEMS, Code.NOTHING_PAID, Code.NOTHING_TO_REFUND, Code.REFUND_TOO_LARGE, Code.CURRENCY_DIFFERS,
        ),
    ),
)  # fmt: skip

_DECODER: Final = msgspec.json.Decoder(ReturnOrder)

log = structlog.get_logger(__name__)


class Refunds:
    """The handlers of `OPERATIONS`."""

    def __init__(self, database: Database, settler: Settler, cashier: Cashier, clock_ms: Callable[[], int]) -> None:
        self._database = database
        self._settler = settler
        self._cashier = cashier
        self._clock_ms = clock_ms
        self._guarded = Guard(database, SECURITY)

    def handlers(self) -> Mapping[str, Handler]:
        """Return a handler for each operation."""
        return {
            "cancel_claim": self._guarded(self._returner(State.CANCELLED)),
            "refund_claim": self._guarded(self._returner(State.REFUNDED)),
        }

    def _returner(self, wanted: State) -> Handler:
        async def answer(request: Request) -> Response:
            order = await read_json(request, _DECODER, MAX_BODY_BYTES)
            if isinstance(order, Problem):
                return refuse(order)
            return await self._return(request.path_params["claim_id"], wanted, order)

        return answer

    async def _return(self, claim_id: str, wanted: State, order: ReturnOrder) -> Response:
        now_ms = self._clock_ms()
        async with self._database.transaction() as connection:
            kept = await return_claim(connection, self._settler, claim_id, wanted, order, Actor.OPERATOR, now_ms)
        if isinstance(kept, Code):
            return refuse(Problem(code=kept))
        if kept.payment is not None:
            await self._send_back(kept.payment)
        return Response(kept.document, 200, NOT_KEPT, JSON)

    async def _send_back(self, payment: str) -> None:
        """Have the money sent back now; if that cannot be, it is due, and the loop does it."""
        try:
            await self._cashier.advance(payment)
        except (ServiceAwayError, ClashError) as error:
            log.warning("refund_waits", payment=payment, reason=str(error))
