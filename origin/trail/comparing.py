"""Comparing settlements with the entries of the trail that cover them. No I/O: rows in, faults out."""

from typing import Final

import msgspec

from origin.trail.facts import list_facts
from origin.trail.trail_store import Back, Made, Pair
from origin.trail.tying import read_receipt
from shared.audit.checking import Fault
from shared.audit.trail import Entry, hash_content, hash_facts
from shared.claims.receipts import Receipt
from shared.claims.returns import Returned
from shared.claims.tokens import Line

_RETURNS: Final = msgspec.json.Decoder(Returned)
_LINES: Final = msgspec.json.Decoder(tuple[Line, ...])
_BESIDE: Final = "viewer, fingerprint, arm, kid, source or stock"


class Numbers:
    """Sees that run numbers go up by one from 1, in each run, without a gap."""

    def __init__(self) -> None:
        """Start before the first number of every run."""
        self._next: dict[str, int] = {}
        self._sure = True

    def next_of(self, run: str) -> int | None:
        """Return the number that comes next in a run; None when that is not known, because of an earlier fault."""
        return self._next.get(run, 1) if self._sure else None

    def pass_over(self) -> None:
        """Take note of a settlement that is missing, or is not what it was: what comes next is not known."""
        self._sure = False

    def take(self, entry: Entry, made: Made) -> list[Fault]:
        """Look at one more settlement, in the order of the trail."""
        wanted, given = self.next_of(made.run), made.first_number
        self._next[made.run], self._sure = given + made.quantity, True
        if wanted in {given, None}:
            return []
        detail = f"numbered from {given} instead of {wanted}"
        return [Fault(code="numbers_disagree", position=entry.position, claim_id=made.claim_id, detail=detail)]


def compare_pair(pair: Pair) -> list[Fault]:
    """Return what does not fit between an entry and its settlement; either may be missing."""
    stored, made, returned, undone = pair
    if stored is None:
        return [] if made is None else [_name_inserted(made)]
    entry = stored.entry
    if entry.kind == "returned":
        return _compare_return(entry, returned)
    if made is None:
        return [Fault(code="settlement_removed", position=entry.position, claim_id=entry.claim_id)]
    return [
        Fault(code="settlement_changed", position=entry.position, claim_id=made.claim_id, detail=detail)
        for detail in _list_changed(entry, made)
    ] + _compare_status(entry, made, returned, undone=undone)


def _compare_status(entry: Entry, made: Made, returned: Back | None, *, undone: bool) -> list[Fault]:
    """Return what does not fit between a settlement's status and what the trail says of its return."""
    if returned is not None and not undone:
        detail = "a return that is not in the trail"
        return [Fault(code="settlement_inserted", position=entry.position, claim_id=made.claim_id, detail=detail)]
    said = None if returned is None else _read_return(returned.document)
    if undone and said is None:  # its own entry tells that its return is gone, or cannot be read
        return []
    if made.status == ("settled" if said is None else said.state):
        return []
    return [Fault(code="settlement_changed", position=entry.position, claim_id=made.claim_id, detail="status")]


def _compare_return(entry: Entry, back: Back | None) -> list[Fault]:
    if back is None:
        return [Fault(code="settlement_removed", position=entry.position, claim_id=entry.claim_id, detail="its return")]
    if (hash_content(back.document).hex(), hash_facts((back.request, back.key)).hex(), back.returned_ms) == (
        entry.content, entry.facts, entry.at_ms,
    ):  # fmt: skip
        return []
    return [Fault(code="settlement_changed", position=entry.position, claim_id=entry.claim_id, detail="its return")]


def _name_inserted(made: Made) -> Fault:
    said = read_receipt(made.receipt)
    detail = "" if said is None else f"its receipt says entry {said.position}"
    return Fault(code="settlement_inserted", claim_id=made.claim_id, detail=detail)


def _list_changed(entry: Entry, made: Made) -> list[str]:
    said = read_receipt(made.receipt)
    if said is None or hash_content(made.receipt).hex() != entry.content:
        return ["receipt"]
    changed = _differing_columns(entry, made, said)
    facts = list_facts(
        viewer=made.viewer,
        fingerprint=made.fingerprint,
        arm=made.arm,
        kid=made.kid,
        source=made.source,
        stock_total=made.stock_total,
        stock_remaining=made.stock_remaining,
        stock_version=made.stock_version,
    )
    if hash_facts(facts).hex() != entry.facts:
        changed.append(_BESIDE)
    return [", ".join(changed)] if changed else []


def _differing_columns(entry: Entry, made: Made, said: Receipt) -> list[str]:
    """Return the columns that do not say what the receipt says, whose bytes are those that were signed."""
    compared: dict[str, tuple[object, object]] = {
        "run": (said.run, made.run),
        "quantity": (len(said.run_numbers), made.quantity),
        "first_number": (said.run_numbers[:1], (made.first_number,)),
        "total_minor": (said.total_minor, made.total_minor),
        "currency": (said.currency, made.currency),
        "creator": (said.creator, made.creator),
        "clip": (said.clip, made.clip),
        "offer": (said.offer, made.offer),
        "lines": (said.lines, _read_lines(made.lines)),
        "settled_at_ms": (entry.at_ms, made.settled_at_ms),
    }
    return [name for name, (told, kept) in compared.items() if told != kept]


def _read_return(document: bytes) -> Returned | None:
    try:
        return _RETURNS.decode(document)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _read_lines(text: str) -> tuple[Line, ...] | None:
    try:
        return _LINES.decode(text)
    except msgspec.DecodeError:
        return None
