"""Answers to a settlement: what a stored decision says, always in the same bytes.

A decision is stored as facts (`Decision`), and its answer is made from them each time: by the same encoder, signed by
the key that it was made under. Nothing of the present goes in, so the answer is the same in every process, after a
restart, and after newer keys.
"""

from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

import msgspec

from origin.settlement.receipts import SigningKeys
from shared.catalogue.stock import StockState, band_stock
from shared.claims.passes import TYPE as PASS_TYPE
from shared.claims.passes import encode_pass, write_pass
from shared.claims.receipts import Payment, Receipt, encode_receipt, unfold_parts
from shared.claims.settlement import Source
from shared.claims.tokens import Line
from shared.problems import MEDIA_TYPE as PROBLEM_TYPE
from shared.problems import TABLE, Code, Problem, ProblemBody, describe_problem
from shared.structs import ClaimId, Identifier, InstantMs, Wire

JSON: Final = "application/json"


class Decision(Wire, frozen=True, kw_only=True):
    """A decision as it is stored: one row of `settlements`, as far as its answer needs it.

    Attributes:
        code: why it was refused, or how it was returned since; None for what is settled.
        receipt, kid: payload that is signed, and the key; None for what is not settled, or not any more.
        stock_total, stock_remaining, stock_version: of the drop right after the decision; None for an unknown drop.
    """

    claim_id: str
    drop: str
    fingerprint: str
    code: Code | None
    receipt: bytes | None
    kid: str | None
    source: Source
    decided_at_ms: int
    stock_total: int | None
    stock_remaining: int | None
    stock_version: int | None


class StockAsOf(Wire, frozen=True, kw_only=True):
    """A drop's stock at the instant of a decision."""

    drop: Identifier
    state: StockState
    remaining: int
    version: int
    as_of_ms: InstantMs


class SettledPart(Wire, frozen=True, kw_only=True):
    """What was settled of another drop with a bundle.

    Attributes:
        claim_id: of the part, as its pass and its entry in the drop's audit trail have it.
        run_numbers, receipt, pass_: as those of a settlement.
    """

    claim_id: ClaimId
    drop: Identifier
    run: Identifier
    run_numbers: tuple[int, ...]
    receipt: str
    pass_: str | msgspec.UnsetType = msgspec.field(name="pass", default=msgspec.UNSET)


class Settlement(Wire, frozen=True, kw_only=True):
    """A settled claim.

    Attributes:
        run_numbers: of the viewer's units within the run.
        payment: `none` when it was free, `at_pickup` when it is paid on fetching, otherwise how it was paid.
        receipt: EdDSA JWS of type `receipt+jwt`; keys are at `/.well-known/jwks.json`.
        pass_: where something is to be picked up: EdDSA JWS of type `pass+jwt`, which a QR code shows.
        position: of its entry in the drop's audit trail; `GET /v1/settlements/{claim_id}/inclusion` proves it.
        stock: of the drop right after this settlement.
        parts: of a bundle: what it has of other drops.
    """

    claim_id: ClaimId
    status: Literal["settled"] = "settled"
    settled_at_ms: InstantMs
    drop: Identifier
    run: Identifier
    run_numbers: tuple[int, ...]
    lines: tuple[Line, ...]
    total_minor: int
    currency: str
    payment: Payment
    receipt: str
    pass_: str | msgspec.UnsetType = msgspec.field(name="pass", default=msgspec.UNSET)
    position: int
    stock: StockAsOf
    parts: tuple[SettledPart, ...] | msgspec.UnsetType = msgspec.UNSET


class Refusal(ProblemBody, frozen=True, kw_only=True):
    """A refused claim, or one that was returned, as a problem (RFC 9457) with members of its own; as final.

    Attributes:
        outcome: tells it from problems of the request, which decide nothing.
        stock: of the drop when it was decided; absent when there is no such drop.
    """

    claim_id: ClaimId
    outcome: Literal["refused"]
    decided_at_ms: InstantMs
    stock: StockAsOf | None = None


class HeldClaim(Wire, frozen=True, kw_only=True, tag_field="status", tag="held"):
    """A claim whose units wait for its payment. The same hold is always told in the same bytes.

    Attributes:
        held_until_ms: when they are free for others again; money that comes later follows the drop's `late_payment`.
        payment: how it is to be paid.
        pay_url: where the payment is begun and, on return, completed (`POST`).
    """

    claim_id: ClaimId
    held_at_ms: InstantMs
    held_until_ms: InstantMs
    drop: Identifier
    run: Identifier
    lines: tuple[Line, ...]
    total_minor: int
    currency: str
    payment: Literal["card", "wallet"]
    pay_url: str


class PendingClaim(Wire, frozen=True, kw_only=True, tag_field="status", tag="pending"):
    """A claim that is not decided yet, though its deadline has passed: ask again, or wait on its stream.

    Attributes:
        stream_url: where one server-sent event tells the decision.
    """

    claim_id: ClaimId
    stream_url: str


class Reply(NamedTuple):
    """What is sent: status, media type, body."""

    status: int
    media_type: str
    body: bytes


_ENCODER: Final = msgspec.json.Encoder()
_RECEIPT_DECODER: Final = msgspec.json.Decoder(Receipt)


def tell_decision(decision: Decision, keys: SigningKeys) -> Reply:
    """Return the answer of a decision.

    Raises:
        CliptillError: it was made under a signing key that is no longer in the list.
    """
    if decision.code is not None:
        refusal = _tell_refusal(decision, decision.code)
        return Reply(TABLE[decision.code].status, PROBLEM_TYPE, _ENCODER.encode(refusal))
    return Reply(200, JSON, _ENCODER.encode(_tell_settlement(decision, keys)))


def read_receipt(receipt: bytes) -> Receipt:
    """Return what a stored receipt states."""
    return _RECEIPT_DECODER.decode(receipt)


def sign_pass(receipt: bytes, kid: str, keys: SigningKeys) -> str | None:
    """Return the pass that belongs to a receipt, signed by the same key; None where nothing is to be picked up.

    Raises:
        CliptillError: the key is no longer in the list.
    """
    said = write_pass(read_receipt(receipt))
    return None if said is None else keys.sign(encode_pass(said), kid, PASS_TYPE)


def tell_hold(hold: HeldClaim) -> Reply:
    """Return the answer that a hold is."""
    return Reply(202, JSON, _ENCODER.encode(hold))


def tell_pending(claim_id: str, issuer: str) -> Reply:
    """Return what is told of a claim that is still on its way."""
    pending = PendingClaim(claim_id=claim_id, stream_url=f"{issuer}/v1/settlements/{claim_id}/stream")
    return Reply(202, JSON, _ENCODER.encode(pending))


def _tell_settlement(decision: Decision, keys: SigningKeys) -> Settlement:
    stock = _stock_of(decision)
    if decision.receipt is None or decision.kid is None or stock is None:
        raise AssertionError(f"settlement {decision.claim_id} is not whole")
    said = read_receipt(decision.receipt)
    return Settlement(
        claim_id=decision.claim_id,
        settled_at_ms=decision.decided_at_ms,
        drop=said.drop,
        run=said.run,
        run_numbers=said.run_numbers,
        lines=said.lines,
        total_minor=said.total_minor,
        currency=said.currency,
        payment=said.payment,
        receipt=keys.sign(decision.receipt, decision.kid),
        pass_=sign_pass(decision.receipt, decision.kid, keys) or msgspec.UNSET,
        position=said.position,
        stock=stock,
        parts=tuple(_tell_parts(said, decision.kid, keys)) or msgspec.UNSET,
    )


def _tell_parts(said: Receipt, kid: str, keys: SigningKeys) -> Iterator[SettledPart]:
    for part in unfold_parts(said):
        payload = encode_receipt(part)
        yield SettledPart(
            claim_id=part.jti,
            drop=part.drop,
            run=part.run,
            run_numbers=part.run_numbers,
            receipt=keys.sign(payload, kid),
            pass_=sign_pass(payload, kid, keys) or msgspec.UNSET,
        )


def _tell_refusal(decision: Decision, code: Code) -> Refusal:
    problem = describe_problem(Problem(code=code))
    return Refusal(
        type=problem.type,
        title=problem.title,
        status=problem.status,
        code=code,
        claim_id=decision.claim_id,
        outcome="refused",
        decided_at_ms=decision.decided_at_ms,
        stock=_stock_of(decision),
    )


def _stock_of(decision: Decision) -> StockAsOf | None:
    if decision.stock_total is None or decision.stock_remaining is None or decision.stock_version is None:
        return None
    return StockAsOf(
        drop=decision.drop,
        state=band_stock(decision.stock_remaining, decision.stock_total),
        remaining=decision.stock_remaining,
        version=decision.stock_version,
        as_of_ms=decision.decided_at_ms,
    )
