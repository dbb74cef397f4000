"""Comparing bundles with their parts, which are settlements in other drops. No I/O: rows in, faults out.

A bundle's receipt says which parts were settled with it, a part's receipt of which bundle it is: both are covered by
the audit trails of their drops. So neither can be taken away, or returned alone, without the other telling.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec
from msgspec import UNSET

from origin.trail.trail_store import Made, Tied
from shared.audit.checking import Fault, FaultCode
from shared.claims.receipts import Receipt, encode_receipt, unfold_parts

_RECEIPTS: Final = msgspec.json.Decoder(Receipt)


def read_receipt(payload: bytes) -> Receipt | None:
    """Return what a stored receipt says; None when it cannot be read."""
    try:
        return _RECEIPTS.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def list_tied(made: Made) -> list[str]:
    """Return the claims of other drops that a settlement stands and falls with: its parts, or its bundle."""
    said = read_receipt(made.receipt)
    if said is None:
        return []
    parts = [] if said.parts is UNSET else [part.claim_id for part in said.parts]
    return parts if said.bundle is UNSET else [*parts, said.bundle]


def compare_tied(made: Made, position: int | None, tied: Mapping[str, Tied]) -> list[Fault]:
    """Return what does not fit between a settlement and what it is tied to; `tied` is what is stored of that."""
    said = read_receipt(made.receipt)
    if said is None:
        return []
    return [
        Fault(code=code, position=position, claim_id=made.claim_id, detail=detail)
        for code, detail in (*_compare_parts(made, said, tied), *_compare_bundle(made, said, tied))
    ]


def _compare_parts(made: Made, said: Receipt, tied: Mapping[str, Tied]) -> Iterator[tuple[FaultCode, str]]:
    for part in unfold_parts(said):
        stored = tied.get(part.jti)
        where = f"claim {part.jti} in drop {part.drop}"
        if stored is None or stored.receipt is None:
            yield "part_missing", where
        elif (stored.drop, stored.receipt) != (part.drop, encode_receipt(part)):
            yield "part_disagrees", where
        elif stored.status != made.status:
            yield "part_disagrees", f"{where} is {stored.status}, the bundle is {made.status}"


def _compare_bundle(made: Made, said: Receipt, tied: Mapping[str, Tied]) -> Iterator[tuple[FaultCode, str]]:
    if said.bundle is UNSET:
        return
    bundle = tied.get(said.bundle)
    whole = None if bundle is None or bundle.receipt is None else read_receipt(bundle.receipt)
    if bundle is None or whole is None:
        yield "bundle_missing", f"claim {said.bundle}"
    elif made.receipt not in {encode_receipt(part) for part in unfold_parts(whole)}:
        yield "part_disagrees", f"claim {said.bundle} in drop {bundle.drop} does not have it"
    elif bundle.status != made.status:
        yield "part_disagrees", f"it is {made.status}, claim {said.bundle} in drop {bundle.drop} is {bundle.status}"
