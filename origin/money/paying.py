"""Paying over HTTP: what a viewer's browser asks, and where providers' messages arrive.

Rules:

1. The browser asks the same before it pays and when it comes back from paying, as often as it likes: each time the
   payment is taken as far as it goes, and told as it stands.
2. A message is checked byte for byte before anything of it is read, stored before it is acted upon, and acknowledged
   once it is stored. It is only a hint: what counts is what the provider answers when it is asked.
"""

from collections.abc import Callable, Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from origin.money.cashier import Cashier, Paying
from origin.responses import NOT_KEPT, Handler, read_body, refuse, tell
from origin.settlement.answers import PendingClaim, tell_pending
from origin.settlement.confirming import Confirmations
from origin.settlement.holding import find_claim
from origin.settlement.presenting import CODES, PARAMETERS, SECURITY, Trust, challenge
from origin.settlement.settlements import ASK_AGAIN, FINAL_CODES, respond
from shared.claims.budgets import BUDGETS, Fallback, Kind
from shared.money.payments import PaymentState
from shared.openapi import Answer, Operation, Parameter
from shared.problems import Code, Problem
from shared.structs import AmountMinor, ClaimId, CurrencyCode, Identifier, Wire

MAX_MESSAGE_BYTES: Final = 262_144


class PaymentView(Wire, frozen=True, kw_only=True):
    """A payment as its viewer sees it.

    Attributes:
        payment: its name, here and at the provider.
        state: `begun` while money is awaited; `captured`: paid, and the claim is settled; `refund_due` and `refunded`:
            money came, and goes back, or is back; `voided` and `failed`: no money came (asking again begins anew, as
            long as the units are held).
        pay_at: the page where the viewer pays; empty when there is nothing to do, or the provider has none.
        client_secret: what the provider's own script in the browser needs; empty when there is none.
    """

    claim_id: ClaimId
    payment: str
    provider: str
    state: PaymentState
    amount_minor: AmountMinor
    currency: CurrencyCode
    refunded_minor: AmountMinor = 0
    pay_at: str = ""
    client_secret: str = ""


OPERATIONS: Final = (
    Operation(
        id="pay_claim",
        method="POST",
        path="/v1/settlements/{claim_id}/payment",
        summary="Begin the payment of a held claim, or complete it on return from the provider; again is the same.",
        description="The answer says how the payment stands; the settlement is read, or streamed, as ever.",
        security=SECURITY,
        parameters=(Parameter(name="claim_id", where="path", type=ClaimId), *PARAMETERS),
        answers={
            200: Answer(description="How it stands.", type=PaymentView),
            202: Answer(description="It takes its time: ask again, or wait on the stream.", type=PendingClaim),
        },
        problems=(
            *CODES, Code.SETTLEMENT_UNKNOWN, Code.IDEMPOTENCY_CONFLICT, Code.NOT_HELD, Code.HOLD_RELEASED,
            *FINAL_CODES, Code.CREDIT_TOO_LOW, Code.PAYMENT_UNAVAILABLE, Code.UNAVAILABLE,
        ),
    ),
    Operation(
        id="take_message",
        method="POST",
        path="/v1/payment-messages/{provider}",
        summary="Take a message of a payment provider: the address of its webhook.",
        description="Signed as `t=SECONDS,v1=HEX`: HMAC-SHA-256 over `SECONDS.BODY`, in the provider's own header.",
        parameters=(Parameter(name="provider", where="path", type=Identifier),),
        answers={204: Answer(description="Kept, or not about a payment of ours.", media_types=())},
        problems=(
            Code.PROVIDER_UNKNOWN, Code.MESSAGE_FORGED, Code.MESSAGE_STALE, Code.MALFORMED_JSON, Code.BODY_TOO_LARGE,
            Code.UNAVAILABLE,
        ),
    ),
)  # fmt: skip


class Payments:
    """The handlers of `OPERATIONS`."""

    def __init__(
        self, cashier: Cashier, confirmations: Confirmations, trust: Trust, clock_ms: Callable[[], int]
    ) -> None:
        self._cashier = cashier
        self._confirmations = confirmations
        self._trust = trust
        self._clock_ms = clock_ms

    def handlers(self) -> Mapping[str, Handler]:
        """Return a handler for each operation."""
        return {"pay_claim": self._pay, "take_message": self._take_message}

    async def _pay(self, request: Request) -> Response:
        claim = find_claim(request, self._trust, self._clock_ms())
        if isinstance(claim, Problem):
            return challenge(claim)
        kind = await self._cashier.find_kind(claim.jti)
        if kind is None:
            return refuse(Problem(code=Code.NOT_HELD))
        paying = await self._confirmations.confirm(kind, self._cashier.pay(claim))
        if paying is None:
            return await self._tell_late(claim.jti, kind)
        return refuse(Problem(code=paying)) if not isinstance(paying, Paying) else tell(describe(paying))

    async def _tell_late(self, claim_id: str, kind: Kind) -> Response:
        """Return the declared fallback of a payment that takes too long."""
        if BUDGETS[kind].fallback is Fallback.PENDING:
            return respond(tell_pending(claim_id, self._trust.audience), ASK_AGAIN)
        if await self._cashier.give_up(claim_id):
            return refuse(Problem(code=Code.HOLD_RELEASED))
        return refuse(
            Problem(code=Code.UNAVAILABLE, retry_after_s=1)
        )  # it was paid at the last moment: asked again, it is told

    async def _take_message(self, request: Request) -> Response:
        cards = self._cashier.cards
        if cards is None or cards.name != request.path_params["provider"]:
            return refuse(Problem(code=Code.PROVIDER_UNKNOWN))
        body = await read_body(request, MAX_MESSAGE_BYTES)
        if isinstance(body, Problem):
            return refuse(body)
        message = cards.read_message(request.headers, body, self._clock_ms() // 1000)
        if isinstance(message, Code):
            return refuse(Problem(code=message))
        await self._cashier.note(cards.name, message)
        return Response(status_code=204, headers=NOT_KEPT)


def describe(paying: Paying) -> PaymentView:
    """Return what is told of a payment."""
    stored, charge = paying
    return PaymentView(
        claim_id=stored.claim_id,
        payment=stored.payment,
        provider=stored.provider,
        state=stored.state,
        amount_minor=stored.amount_minor,
        currency=stored.currency,
        refunded_minor=stored.refunded_minor,
        pay_at="" if charge is None else charge.pay_at,
        client_secret="" if charge is None else charge.client_secret,
    )
