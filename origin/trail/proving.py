"""The audit trail over HTTP, for everyone: signed heads, and proofs that a receipt's settlement is in it.

Rules:

1. It is public: an entry has a claim's id and digests, nothing of a person, and nothing that could be guessed.
2. A receipt says where its entry is (`drop`, `position`); `shared.audit.proofs` says how anyone checks a proof.
3. Whoever keeps a head can show later that the trail was changed: so they are published, and never change.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Final

from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from origin.catalogue.stock_store import read_stock
from origin.catalogue.windows import STOCK_CACHE
from origin.database import Database
from origin.responses import Handler, read_number, refuse, tell
from origin.trail import trail_store as store
from origin.trail.appending import sign_head
from origin.trail.heads import Signer, cover
from shared.audit.proofs import InclusionProof
from shared.audit.trail import HEAD_EVERY, START, digest_entry, show_hash
from shared.catalogue.stock import StockSnapshot
from shared.openapi import Answer, Operation, Parameter
from shared.problems import Code, Problem
from shared.structs import Identifier, Wire

HEADS_MOST: Final = 100
_SHORTLY: Final = {"Cache-Control": "public, max-age=5"}
_FOR_EVER: Final = {"Cache-Control": "public, max-age=31536000, immutable"}

Position = Annotated[int, Meta(ge=1, description="place in the trail of the drop, counted from 1")]


class Heads(Wire, frozen=True, kw_only=True):
    """Signed heads of a drop's trail, in order: EdDSA JWS of type `trail-head+jwt` (`Head`)."""

    drop: Identifier
    heads: tuple[str, ...]


class SignedStock(Wire, frozen=True, kw_only=True):
    """What a drop has left, and the origin's signature under it.

    Attributes:
        stock: as overlays show it.
        head: EdDSA JWS of type `trail-head+jwt`: where the audit trail ended at that instant, and the same stock.
    """

    stock: StockSnapshot
    head: str


OPERATIONS: Final = (
    Operation(
        id="read_trail_heads",
        method="GET",
        path="/v1/drops/{drop}/trail/heads",
        summary="Read signed heads of a drop's audit trail: the newest, or those after a position.",
        description=f"At most {HEADS_MOST} at once; ask on with the position of the last one.",
        parameters=(
            Parameter(name="drop", where="path", type=Identifier),
            Parameter(name="after", where="query", type=Position, description="the newest one alone when left out"),
        ),
        answers={200: Answer(description="The heads.", type=Heads)},
        problems=(Code.DROP_UNKNOWN, Code.INVALID_FIELD, Code.UNAVAILABLE),
    ),
    Operation(
        id="sign_stock",
        method="GET",
        path="/v1/drops/{drop}/stock",
        summary="Read what a drop has left, signed together with the end of its audit trail at that instant.",
        description="Whoever keeps one can show later that more was told to be left than the trail allows.",
        parameters=(Parameter(name="drop", where="path", type=Identifier),),
        answers={200: Answer(description="The stock, and the head.", type=SignedStock)},
        problems=(Code.DROP_UNKNOWN, Code.UNAVAILABLE),
    ),
    Operation(
        id="prove_entry",
        method="GET",
        path="/v1/drops/{drop}/trail/{position}",
        summary="Prove that a receipt's settlement is in the audit trail: `drop` and `position` are in the receipt.",
        parameters=(
            Parameter(name="drop", where="path", type=Identifier),
            Parameter(name="position", where="path", type=Position),
        ),
        answers={200: Answer(description="The proof, up to a signed head.", type=InclusionProof)},
        problems=(Code.ENTRY_UNKNOWN, Code.UNAVAILABLE),
    ),
)


class Proving:
    """The handlers of `OPERATIONS`."""

    def __init__(self, database: Database, signer: Signer, clock_ms: Callable[[], int]) -> None:
        self._database = database
        self._signer = signer
        self._clock_ms = clock_ms

    def handlers(self) -> Mapping[str, Handler]:
        """Return a handler for each operation."""
        return {"read_trail_heads": self._read_heads, "prove_entry": self._prove, "sign_stock": self._sign_stock}

    async def _read_heads(self, request: Request) -> Response:
        drop, asked = request.path_params["drop"], request.query_params.get("after")
        after = None if asked is None else read_number(asked)
        if asked is not None and after is None:
            return refuse(Problem(code=Code.INVALID_FIELD, detail="In the query: `after` is a position."))
        async with self._database.connection() as connection:
            if after is None:
                newest = await store.read_newest_head(connection, drop)
                heads = [] if newest is None else [newest]
            else:
                heads = await store.read_heads_after(connection, drop, after, HEADS_MOST)
            if not heads and not await store.has_drop(connection, drop):
                return refuse(Problem(code=Code.DROP_UNKNOWN))
        return tell(Heads(drop=drop, heads=tuple(heads)), _SHORTLY)

    async def _sign_stock(self, request: Request) -> Response:
        drop, now_ms = request.path_params["drop"], self._clock_ms()
        async with self._database.snapshot() as connection:
            found = await read_stock(connection, [drop], now_ms)
            tail = await store.read_tail(connection, drop)
        if not found:
            return refuse(Problem(code=Code.DROP_UNKNOWN))
        (stock,) = found
        signed = sign_head(drop, tail, *self._signer, now_ms, stock)
        return tell(SignedStock(stock=stock, head=signed.head), {"Cache-Control": STOCK_CACHE})

    async def _prove(self, request: Request) -> Response:
        drop, position = request.path_params["drop"], read_number(request.path_params["position"])
        if position is None:
            return refuse(Problem(code=Code.ENTRY_UNKNOWN))
        async with self._database.connection() as connection:
            found = await cover(connection, drop, position, self._signer, self._clock_ms())
            if found is None:
                return refuse(Problem(code=Code.ENTRY_UNKNOWN))
            reached, head = found
            last = min(reached, position + HEAD_EVERY)  # there is a head within this, unless somebody has removed it
            entries = await store.read_slice(connection, drop, max(1, position - 1), last)
        kept = {stored.entry.position: stored for stored in entries}
        if not kept.keys() >= {position, max(1, position - 1)}:
            return refuse(Problem(code=Code.ENTRY_UNKNOWN))
        proof = InclusionProof(
            entry=kept[position].entry,
            previous=show_hash(kept[position - 1].hash if position > 1 else START),
            following=tuple(
                show_hash(digest_entry(stored.entry)) for stored in entries if stored.entry.position > position
            ),
            head=head,
        )
        return tell(proof, _FOR_EVER)
