"""Credit over HTTP: operators give it, viewers see what they have and pay with it (`origin.money.wallet`).

A wallet belongs to a viewer key, like everything a viewer has: no account, no e-mail.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Final

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from origin.database import Connection, Database
from origin.guard import KEY_CODES, Guard
from origin.money import ledger_store as ledger
from origin.money.ledger_store import Balance
from origin.responses import BODY_CODES, Handler, read_json, refuse, tell
from origin.settlement.holding import find_claim
from origin.settlement.presenting import CODES, PARAMETERS, SECURITY, Trust, challenge
from shared.openapi import Answer, Operation, Parameter
from shared.problems import Code, Problem
from shared.structs import ClaimId, CurrencyCode, IdempotencyKey, Strict, Thumbprint, Wire

OPERATOR: Final = "operator"
MAX_BODY_BYTES: Final = 4_096
MOST_MINOR: Final = 10**12
GIVEN: Final = "credit_given"


class CreditOrder(Strict, frozen=True, kw_only=True):
    """Credit to be given.

    Attributes:
        key: made anew for each gift; the same key again is the same gift.
    """

    key: IdempotencyKey
    amount_minor: Annotated[int, Meta(ge=1, le=MOST_MINOR, description="minor units of the currency")]
    currency: CurrencyCode


class WalletView(Wire, frozen=True, kw_only=True):
    """What a viewer has to spend, by currency."""

    viewer: Thumbprint
    balances: tuple[Balance, ...]


_VIEWER: Final = (Parameter(name="viewer", where="path", type=Thumbprint),)
_HAS: Final = {200: Answer(description="What the viewer has.", type=WalletView)}

OPERATIONS: Final = (
    Operation(
        id="give_credit",
        method="POST",
        path="/v1/wallets/{viewer}/credits",
        summary="Give credit to a viewer, once for each key.",
        security=OPERATOR,
        parameters=_VIEWER,
        body=CreditOrder,
        answers=_HAS,
        problems=(
            *KEY_CODES, Code.IDEMPOTENCY_CONFLICT, *BODY_CODES,
        ),
    ),
    Operation(
        id="read_wallet",
        method="GET",
        path="/v1/wallets/{viewer}",
        summary="Read what a viewer has to spend.",
        security=OPERATOR,
        parameters=_VIEWER,
        answers=_HAS,
        problems=(*KEY_CODES, Code.INVALID_FIELD),
    ),
    Operation(
        id="read_own_wallet",
        method="GET",
        path="/v1/settlements/{claim_id}/wallet",
        summary="Read what the viewer of a claim has to spend.",
        security=SECURITY,
        parameters=(Parameter(name="claim_id", where="path", type=ClaimId), *PARAMETERS),
        answers=_HAS,
        problems=(*CODES, Code.SETTLEMENT_UNKNOWN, Code.UNAVAILABLE),
    ),
)  # fmt: skip

_DECODER: Final = msgspec.json.Decoder(CreditOrder)


class Credits:
    """The handlers of `OPERATIONS`."""

    def __init__(self, database: Database, trust: Trust, clock_ms: Callable[[], int]) -> None:
        self._database = database
        self._trust = trust
        self._clock_ms = clock_ms
        self._guarded = Guard(database, OPERATOR)

    def handlers(self) -> Mapping[str, Handler]:
        """Return a handler for each operation."""
        return {
            "give_credit": self._guarded(self._give),
            "read_wallet": self._guarded(self._read),
            "read_own_wallet": self._read_own,
        }

    async def _give(self, request: Request) -> Response:
        viewer = _read_viewer(request)
        if isinstance(viewer, Problem):
            return refuse(viewer)
        order = await read_json(request, _DECODER, MAX_BODY_BYTES)
        if isinstance(order, Problem):
            return refuse(order)
        problem = await self._database.repeat(
            lambda connection: give_credit(connection, viewer, order, self._clock_ms())
        )
        return refuse(problem) if problem is not None else await self._tell(viewer)

    async def _read(self, request: Request) -> Response:
        viewer = _read_viewer(request)
        return refuse(viewer) if isinstance(viewer, Problem) else await self._tell(viewer)

    async def _read_own(self, request: Request) -> Response:
        claim = find_claim(request, self._trust, self._clock_ms())
        return challenge(claim) if isinstance(claim, Problem) else await self._tell(claim.cnf.jkt)

    async def _tell(self, viewer: str) -> Response:
        async with self._database.connection() as connection:
            return tell(WalletView(viewer=viewer, balances=await ledger.read_balances(connection, viewer)))


async def give_credit(connection: Connection, viewer: str, order: CreditOrder, now_ms: int) -> Problem | None:
    """Give credit within the caller's transaction, once for each key; return why not, and nothing is stored."""
    account, posting = ledger.wallet_of(viewer), f"credit:{order.key}"
    before = await ledger.read_posting(connection, posting)
    amounts = {account: order.amount_minor, GIVEN: -order.amount_minor}
    if before:
        same = before == {(name, order.currency): amount for name, amount in amounts.items()}
        return None if same else Problem(code=Code.IDEMPOTENCY_CONFLICT)
    if await ledger.lock_balance(connection, viewer, order.currency) + order.amount_minor > MOST_MINOR:
        return Problem(code=Code.INVALID_FIELD, detail="At $.amount_minor: the wallet would have too much.")
    await ledger.post(connection, posting, order.currency, amounts, now_ms)
    return None


def _read_viewer(request: Request) -> str | Problem:
    try:
        return msgspec.convert(request.path_params["viewer"], Thumbprint)
    except msgspec.ValidationError:
        return Problem(code=Code.INVALID_FIELD, detail="In the address: not a viewer key's thumbprint.")
