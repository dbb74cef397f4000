"""What an audit found, as text: what does not fit comes first."""

from collections.abc import Sequence
from typing import Final

from origin.trail.auditing import Audit
from shared.audit.checking import Fault, FaultCode
from shared.audit.exports import ExportCheck

MOST_SHOWN: Final = 40
_EXPLAINED: Final[dict[FaultCode, str]] = {
    "entry_changed": "the entry does not fit its hash",
    "entry_missing": "entries were removed",
    "entry_out_of_place": "the entry is in another's place",
    "total_wrong": "the total is not the sum of the entries before it",
    "head_disagrees": "the trail is not the one that this head signs",
    "head_forged": "the head is not signed by one of the origin's keys",
    "head_beyond_end": "the trail was longer when this head was signed",
    "end_disagrees": "the last line does not fit the file",
    "settlement_changed": "the settlement was changed after it was made",
    "settlement_removed": "the settlement was removed",
    "settlement_inserted": "the settlement has no entry in the trail",
    "part_missing": "a part of the bundle is not settled",
    "part_disagrees": "bundle and part do not fit",
    "bundle_missing": "the bundle that it is a part of is not settled",
    "numbers_disagree": "run numbers are not without gaps",
    "stock_disagrees": "the stock is not what the rows say",
    "file_unreadable": "the file cannot be read here",
    "file_truncated": "the file was cut off",
}


def write_audit(audit: Audit) -> str:
    """Return an audit as text, with a last newline."""
    stock = audit.stock
    told = (
        "gone" if stock is None else f"{stock.total} = {stock.free} free + {stock.held} held + {stock.settled} settled"
    )
    lines = [
        f"drop {audit.drop}: {_judge(audit.fault_count)}",
        *_write_faults(audit.faults, audit.fault_count),
        f"trail  {audit.entries} entries, {audit.settled} units settled; {audit.settlements} settlements are stored",
        f"stock  {told}",
        f"heads  {audit.heads}, signed until entry {audit.signed_until}",
        f"hash   {audit.hash}",
    ]
    return "\n".join(lines) + "\n"


def write_check(checked: ExportCheck) -> str:
    """Return what checking a file came to as text, with a last newline."""
    lines = [
        f"drop {checked.drop} of {checked.issuer}: {_judge(checked.fault_count)}",
        *_write_faults(checked.faults, checked.fault_count),
        f"trail  {checked.entries} entries, {checked.settled} units settled",
        f"heads  signed until entry {checked.signed_until}",
        f"hash   {checked.hash}",
    ]
    return "\n".join(lines) + "\n"


def _judge(count: int) -> str:
    return "everything fits" if not count else f"{count} fault{'s' if count > 1 else ''}"


def _write_faults(faults: Sequence[Fault], count: int) -> list[str]:
    lines = [f"  {_write_fault(fault)}" for fault in faults[:MOST_SHOWN]]
    return [*lines, f"  ... and {count - MOST_SHOWN} more"] if count > MOST_SHOWN else lines


def _write_fault(fault: Fault) -> str:
    where = "" if fault.position is None else f"entry {fault.position}"
    claim = "" if fault.claim_id is None else f"claim {fault.claim_id}"
    about = ", ".join(part for part in (where, claim) if part)
    detail = f" ({fault.detail})" if fault.detail else ""
    return f"{fault.code}{': ' if about else ''}{about}: {_EXPLAINED[fault.code]}{detail}"
