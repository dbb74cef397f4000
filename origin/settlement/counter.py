"""What registers report: sales that were made over a counter (`shared.claims.counter` has the rules).

All of a report is one transaction. A register that hears no answer sends the same again, and is told the same.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from origin.database import Connection, Database
from origin.guard import KEY_CODES, Guard, holder_of
from origin.responses import BODY_CODES, Handler, read_json, refuse, tell
from origin.settlement.answers import Decision, HeldClaim, read_receipt
from origin.settlement.batches import Conflict
from origin.settlement.confirming import Confirmations
from origin.settlement.counter_store import read_creator, read_offers
from origin.settlement.receipts import SigningKeys
from origin.settlement.settling import Settler
from shared.claims.budgets import Kind
from shared.claims.counter import CounterBatch, CounterSale, claim_sale
from shared.claims.tokens import Claim
from shared.openapi import Answer, Operation
from shared.problems import Code, Problem
from shared.structs import Wire

MAX_BODY_BYTES: Final = 256 * 1024


class SaleOutcome(Wire, frozen=True, kw_only=True, omit_defaults=True):
    """What came of one sale.

    Attributes:
        status: `settled`; `refused`, for good; or `not_taken`: nothing is kept, and once the cause is mended it may be
            sent again.
        code, detail: why it is not settled.
        run_numbers: of its units within the run.
        receipt: EdDSA JWS of type `receipt+jwt`.
    """

    sale: str
    status: Literal["settled", "refused", "not_taken"]
    code: Code | None = None
    detail: str = ""
    run_numbers: tuple[int, ...] = ()
    receipt: str | None = None


class CounterReport(Wire, frozen=True, kw_only=True):
    """What came of each sale, in order."""

    sales: tuple[SaleOutcome, ...]


OPERATIONS: Final = (
    Operation(
        id="report_counter_sales",
        method="POST",
        path="/v1/counter/sales",
        summary="Report what a register sold, with or without network at the time.",
        description="One transaction. A sale's number makes it count once, however often and in whatever batch it is "
        "sent. Sales draw on the same stock as taps.",
        security="register",
        body=CounterBatch,
        answers={200: Answer(description="What came of each sale.", type=CounterReport)},
        problems=(
            *KEY_CODES, *BODY_CODES, Code.CLIP_UNKNOWN,
        ),
    ),
)  # fmt: skip

_DECODER: Final = msgspec.json.Decoder(CounterBatch)


class Counter:
    """The handlers of `OPERATIONS`."""

    def __init__(
        self,
        database: Database,
        settler: Settler,
        confirmations: Confirmations,
        keys: SigningKeys,
        clock_ms: Callable[[], int],
    ) -> None:
        self._database = database
        self._confirmations = confirmations
        self._settler = settler
        self._keys = keys
        self._clock_ms = clock_ms
        self._guarded = Guard(database, "register")

    def handlers(self) -> Mapping[str, Handler]:
        """Return a handler for each operation."""
        return {"report_counter_sales": self._guarded(self._take)}

    async def _take(self, request: Request) -> Response:
        batch = await read_json(request, _DECODER, MAX_BODY_BYTES)
        if isinstance(batch, Problem):
            return refuse(batch)
        register = holder_of(request)
        work = self._database.repeat(lambda connection: self._settle(connection, register, batch))
        told = await self._confirmations.confirm(Kind.POINT_OF_SALE, work)
        if told is None:  # it goes on: sent again, the register hears what came of it
            return refuse(Problem(code=Code.UNAVAILABLE, retry_after_s=1))
        return refuse(told) if isinstance(told, Problem) else tell(CounterReport(sales=told))

    async def _settle(
        self, connection: Connection, register: str, batch: CounterBatch
    ) -> tuple[SaleOutcome, ...] | Problem:
        creator = await read_creator(connection, batch.clip)
        if creator is None:
            return Problem(code=Code.CLIP_UNKNOWN)
        offers = await read_offers(connection, batch.clip, {sale.offer for sale in batch.sales})
        now_ms = self._clock_ms()
        read = [
            claim_sale(
                sale,
                offers.get(sale.offer),
                register=register,
                clip=batch.clip,
                creator=creator,
                issuer=self._settler.issuer,
                now_ms=now_ms,
            )
            for sale in batch.sales
        ]
        claims = [claim for claim in read if isinstance(claim, Claim)]
        answers = iter(await self._settler.settle_in(connection, claims, "pos", now_ms))
        return tuple(self._tell_each(batch.sales, read, answers))

    def _tell_each(
        self,
        sales: Sequence[CounterSale],
        read: Sequence[Claim | Problem],
        answers: Iterator[Decision | HeldClaim | Conflict],
    ) -> Iterator[SaleOutcome]:
        for sale, claim in zip(sales, read, strict=True):
            if isinstance(claim, Problem):
                yield SaleOutcome(sale=sale.sale, status="not_taken", code=claim.code, detail=claim.detail)
            else:
                yield self._tell(sale.sale, claim, next(answers))

    def _tell(self, number: str, claim: Claim, answer: Decision | HeldClaim | Conflict) -> SaleOutcome:
        if not isinstance(answer, Decision):  # held is nothing that is sold over a counter
            return SaleOutcome(sale=number, status="not_taken", code=Code.IDEMPOTENCY_CONFLICT)
        if answer.receipt is None or answer.kid is None:
            return SaleOutcome(sale=number, status="refused", code=answer.code)
        said = read_receipt(answer.receipt)
        if (said.lines, said.offer) != (claim.lines, claim.offer):  # what a fingerprint does not cover: price, offer
            return SaleOutcome(sale=number, status="not_taken", code=Code.IDEMPOTENCY_CONFLICT)
        return SaleOutcome(
            sale=number,
            status="settled",
            run_numbers=said.run_numbers,
            receipt=self._keys.sign(answer.receipt, answer.kid),
        )
