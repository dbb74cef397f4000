"""Rows of `settlements`, as COPY takes them (`origin.copying`)."""

from struct import Struct
from typing import Final, NamedTuple

import msgspec

from origin.copying import SIZES, data, int4, int8, jsonb, open_row, text
from origin.settlement.answers import Decision
from shared.claims.tokens import Claim

COLUMNS: Final = (
    "claim_id", "drop", "run", "viewer", "fingerprint", "status", "code", "quantity", "first_number", "total_minor",
    "currency", "creator", "clip", "offer", "arm", "lines", "receipt", "kid", "source", "settled_at_ms", "stock_total",
    "stock_remaining", "stock_version",
)  # fmt: skip
_AT: Final = {name: place for place, name in enumerate(COLUMNS)}
_ENCODE: Final = msgspec.json.Encoder().encode
_NUMBER: Final = Struct("!ii").pack
_STOCK: Final = Struct("!iiiq").pack


class NewDecision(NamedTuple):
    """A decision to be stored, with the claim that it is about and the units that it gives."""

    claim: Claim
    decision: Decision
    quantity: int
    first_number: int | None


def keep_text(text: str) -> str:
    """Return the one free text of a claim without what a text column cannot hold."""
    return text.replace("\x00", "")


def encode_row(new: NewDecision) -> bytes:
    """Return the row of a decision."""
    return open_row(len(COLUMNS)) + b"".join(_encode_values(new))


class RowForm:
    """The rows of settlements that differ in ids, viewers, numbers, receipts and the stock that is left only.

    What they have in common is encoded once; each gets the very bytes of `encode_row`.

    Args:
        alike: one of them.
    """

    def __init__(self, alike: NewDecision) -> None:
        values = _encode_values(alike)

        def between(after: str, before: str) -> bytes:
            return b"".join(values[_AT[after] + 1 : _AT[before]])

        self._open = open_row(len(COLUMNS))
        self._drop = between("claim_id", "viewer")
        self._units = between("fingerprint", "first_number")
        self._sale = between("first_number", "receipt")
        self._made = between("receipt", "stock_remaining")

    def fill(self, claim: Claim, decision: Decision, receipt: bytes, first_number: int) -> bytes:
        """Return the row of one of them; its stock is known, and `receipt` is the decision's."""
        claim_id, viewer, fingerprint = claim.jti.encode(), claim.cnf.jkt.encode(), decision.fingerprint.encode()
        size, remaining, version = len(receipt), decision.stock_remaining, decision.stock_version
        return b"".join((
            self._open, SIZES[len(claim_id)], claim_id,
            self._drop, SIZES[len(viewer)], viewer, SIZES[len(fingerprint)], fingerprint,
            self._units, _NUMBER(4, first_number),
            self._sale, size.to_bytes(4, "big"), receipt,
            self._made, _STOCK(4, remaining, 8, version),
        ))  # fmt: skip


def _encode_values(new: NewDecision) -> list[bytes]:
    """Return the values of a row, in the order of `COLUMNS`."""
    claim, decision = new.claim, new.decision
    return [
        text(claim.jti),
        text(claim.drop),
        text(claim.run),
        text(claim.cnf.jkt),
        text(decision.fingerprint),
        text("settled" if decision.code is None else "refused"),
        text(None if decision.code is None else decision.code.value),
        int4(new.quantity),
        int4(new.first_number),
        int8(claim.total_minor),
        text(claim.currency),
        text(claim.creator),
        text(claim.clip),
        text(claim.offer),
        text(keep_text(claim.arm)),
        jsonb(_ENCODE(claim.lines)),
        data(decision.receipt),
        text(decision.kid),
        text(decision.source),
        int8(decision.decided_at_ms),
        int4(decision.stock_total),
        int4(decision.stock_remaining),
        int8(decision.stock_version),
    ]
