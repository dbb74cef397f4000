"""Settlement: the origin's one final decision on a claim. Pure: rows in, decisions and new totals out.

Rules, in the order in which they are applied to a batch of one drop:

1. A claim id that was decided before keeps its decision. With another content it is a conflict, and nothing changes.
2. The run must be the drop's present run, the SKU its SKU, the quantity within what one claim may have.
3. A viewer key never settles more than the cap, over all claims, those of this batch included.
4. Units are taken while they last, in the order of the batch: `free + held + settled = total`, always.
5. Run numbers go up by one from 1, in that same order, without a gap.

A claim that was given within the window may settle until it expires, so the window is not looked at here; expiry is
`shared.claims.tokens.verify_claim`'s business.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from shared.problems import Code
from shared.structs import Wire

Source = Literal["request", "event"]


class DropStock(Wire, frozen=True, kw_only=True):
    """A drop's row, as locked by the transaction that decides.

    Attributes:
        next_number: the run number that the next unit gets.
        version: counts up with every change of stock.
    """

    drop: str
    run: str
    sku: str
    total: int
    free: int
    held: int
    settled: int
    next_number: int
    version: int
    per_viewer_cap: int
    max_quantity: int


class Presented(Wire, frozen=True, kw_only=True):
    """A verified claim that asks to be settled.

    Attributes:
        units: (SKU, quantity), summed per SKU.
        fingerprint: `shared.claims.tokens.fingerprint_claim` of it.
    """

    claim_id: str
    drop: str
    run: str
    viewer: str
    fingerprint: str
    units: tuple[tuple[str, int], ...]
    source: Source = "request"


class Settled(Wire, frozen=True, kw_only=True):
    """Units are the viewer's: `quantity` of them, numbered from `first_number`; stock after it as given."""

    claim: Presented
    quantity: int
    first_number: int
    remaining: int
    version: int


class Refused(Wire, frozen=True, kw_only=True):
    """A final no, with its code; it is kept and told again."""

    claim: Presented
    code: Code
    remaining: int
    version: int


class Repeated(Wire, frozen=True, kw_only=True):
    """Decided before: the stored answer counts."""

    claim: Presented


class Conflicting(Wire, frozen=True, kw_only=True):
    """The claim id was decided for another content; nothing is stored."""

    claim: Presented


Decision = Settled | Refused | Repeated | Conflicting


class Outcome(Wire, frozen=True, kw_only=True):
    """What a batch comes to: one decision for each claim, in order, and the drop's new row."""

    decisions: tuple[Decision, ...]
    drop: DropStock


def settle_batch(
    drop: DropStock,
    decided: Mapping[str, str],
    taken: Mapping[str, int],
    claims: Sequence[Presented],
) -> Outcome:
    """Decide a batch of claims on one drop.

    Args:
        drop: its row, locked.
        decided: fingerprints of those of the claim ids that were decided before.
        taken: units that each viewer of the batch has settled (or holds) in this run before.
        claims: in the order in which they came; one id may come several times.
    """
    fingerprints = dict(decided)
    units_of = dict(taken)
    free, number, version = drop.free, drop.next_number, drop.version
    decisions: list[Decision] = []
    for claim in claims:
        known = fingerprints.get(claim.claim_id)
        if known is not None:
            same = known == claim.fingerprint
            decisions.append(Repeated(claim=claim) if same else Conflicting(claim=claim))
            continue
        fingerprints[claim.claim_id] = claim.fingerprint
        quantity = sum(units for _, units in claim.units)
        code = _refusal(drop, claim, quantity, units_of.get(claim.viewer, 0), free)
        if code is not None:
            decisions.append(Refused(claim=claim, code=code, remaining=free, version=version))
            continue
        free -= quantity
        version += 1
        units_of[claim.viewer] = units_of.get(claim.viewer, 0) + quantity
        decisions.append(Settled(claim=claim, quantity=quantity, first_number=number, remaining=free, version=version))
        number += quantity
    return Outcome(decisions=tuple(decisions), drop=_after(drop, free, number, version))


def _refusal(drop: DropStock, claim: Presented, quantity: int, taken: int, free: int) -> Code | None:
    if claim.run != drop.run:
        return Code.DROP_CLOSED
    if any(sku != drop.sku for sku, _ in claim.units):
        return Code.OFFER_UNKNOWN
    if quantity > drop.max_quantity:
        return Code.QUANTITY_NOT_OFFERED
    if taken + quantity > drop.per_viewer_cap:
        return Code.CAP_REACHED
    if quantity > free:
        return Code.SOLD_OUT
    return None


def _after(drop: DropStock, free: int, number: int, version: int) -> DropStock:
    settled = drop.settled + (drop.free - free)
    if free + drop.held + settled != drop.total or free < 0:
        raise AssertionError(f"stock of {drop.drop} does not add up")
    return DropStock(
        drop=drop.drop,
        run=drop.run,
        sku=drop.sku,
        total=drop.total,
        free=free,
        held=drop.held,
        settled=settled,
        next_number=number,
        version=version,
        per_viewer_cap=drop.per_viewer_cap,
        max_quantity=drop.max_quantity,
    )
