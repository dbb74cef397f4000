"""A viewer's pass: for who presents the claim and proves that its key is theirs, also after the claim has expired."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from typing import Final

import segno
from starlette.requests import Request
from starlette.responses import Response

from origin.database import Database
from origin.responses import NOT_KEPT, Handler, refuse, tell
from origin.settlement.answers import read_receipt
from origin.settlement.holding import find_claim
from origin.settlement.presenting import CODES, PARAMETERS, SECURITY, Trust, challenge
from origin.settlement.receipts import SigningKeys
from origin.settlement.settlements_store import read_decisions
from shared.claims.passes import TYPE, Pass, encode_pass, write_code, write_pass
from shared.claims.receipts import Receipt, unfold_parts
from shared.claims.tokens import fingerprint_claim
from shared.openapi import Answer, Operation, Parameter
from shared.problems import Code, Problem
from shared.structs import ClaimId, Identifier, Wire

SVG: Final = "image/svg+xml"


class QrCode(Wire, frozen=True, kw_only=True):
    """A QR code as a picture: a square of light modules, with dark ones along a path.

    Attributes:
        side: modules, with the quiet zone that scanners need.
        path: SVG path data, in modules.
    """

    side: int
    path: str


class PassView(Wire, frozen=True, kw_only=True):
    """A pass, and what to type where there is no camera.

    Attributes:
        token: EdDSA JWS of type `pass+jwt`, as in the settlement; its QR code has just this text.
        code: sixteen characters in four groups.
        said: what the pass states.
        picture: the QR code.
    """

    claim_id: ClaimId
    token: str
    code: str
    said: Pass
    picture: QrCode


_PARAMETERS: Final = (
    Parameter(name="claim_id", where="path", type=ClaimId),
    Parameter(name="part", where="query", type=Identifier, description="of a bundle: the drop of the part to fetch"),
    *PARAMETERS,
)
_PROBLEMS: Final = (
    *CODES,
    Code.SETTLEMENT_UNKNOWN,
    Code.IDEMPOTENCY_CONFLICT,
    Code.NOTHING_TO_PICK_UP,
    Code.UNAVAILABLE,
)

OPERATIONS: Final = (
    Operation(
        id="read_pass",
        method="GET",
        path="/v1/settlements/{claim_id}/pass",
        summary="Read the pass of what is to be picked up, and its code to be typed.",
        security=SECURITY,
        parameters=_PARAMETERS,
        answers={200: Answer(description="The pass.", type=PassView)},
        problems=_PROBLEMS,
    ),
    Operation(
        id="draw_pass",
        method="GET",
        path="/v1/settlements/{claim_id}/pass.svg",
        summary="Read the pass as a QR code.",
        security=SECURITY,
        parameters=_PARAMETERS,
        answers={200: Answer(description="The picture.", media_types=(SVG,))},
        problems=_PROBLEMS,
    ),
)


class Passes:
    """The handlers of `OPERATIONS`."""

    def __init__(self, database: Database, trust: Trust, keys: SigningKeys, clock_ms: Callable[[], int]) -> None:
        self._database = database
        self._trust = trust
        self._keys = keys
        self._clock_ms = clock_ms

    def handlers(self) -> Mapping[str, Handler]:
        """Return a handler for each operation."""
        return {"read_pass": self._read, "draw_pass": self._draw}

    async def _read(self, request: Request) -> Response:
        found = await self._find(request)
        return found if isinstance(found, Response) else tell(found)

    async def _draw(self, request: Request) -> Response:
        found = await self._find(request)
        return found if isinstance(found, Response) else Response(write_svg(found.picture), 200, NOT_KEPT, SVG)

    async def _find(self, request: Request) -> PassView | Response:
        claim = find_claim(request, self._trust, self._clock_ms())
        if isinstance(claim, Problem):
            return challenge(claim)
        async with self._database.connection() as connection:
            decision = (await read_decisions(connection, [claim.jti])).get(claim.jti)
        if decision is None:
            return refuse(Problem(code=Code.SETTLEMENT_UNKNOWN))
        if decision.fingerprint != fingerprint_claim(claim):
            return refuse(Problem(code=Code.IDEMPOTENCY_CONFLICT))
        if decision.receipt is None or decision.kid is None:
            return refuse(Problem(code=Code.NOTHING_TO_PICK_UP))
        receipt = _choose_receipt(read_receipt(decision.receipt), request.query_params.get("part"))
        said = None if receipt is None else write_pass(receipt)
        if said is None:
            return refuse(Problem(code=Code.NOTHING_TO_PICK_UP))
        token = self._keys.sign(encode_pass(said), decision.kid, TYPE)
        return PassView(claim_id=said.jti, token=token, code=write_code(token), said=said, picture=draw_code(token))


def _choose_receipt(receipt: Receipt, part: str | None) -> Receipt | None:
    """Return the receipt itself, or that of a bundle's part in a drop."""
    if part is None:
        return receipt
    return next((said for said in unfold_parts(receipt) if said.drop == part), None)


def draw_code(token: str) -> QrCode:
    """Return a pass as the QR code of its text.

    Errors are corrected at the lowest level that this size has room for: a screen is not stained, and larger modules
    are read from farther off.
    """
    rows = list(segno.make(token, error="l", micro=False).matrix_iter())
    return QrCode(side=len(rows), path="".join(_trace(rows)))


def write_svg(code: QrCode) -> bytes:
    """Return a QR code as a document that scales to what it is put into, readable on any ground."""
    size = code.side
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size} {size}" shape-rendering="crispEdges">'
        f'<path fill="#fff" d="M0 0h{size}v{size}H0z"/><path d="{code.path}"/></svg>'
    ).encode()


def _trace(rows: Iterable[Iterable[int]]) -> Iterator[str]:
    """Yield one closed strip for each run of dark modules."""
    for y, row in enumerate(rows):
        x = 0
        for dark, run in groupby(row):
            length = len(list(run))
            if dark:
                yield f"M{x} {y}h{length}v1h-{length}z"
            x += length
