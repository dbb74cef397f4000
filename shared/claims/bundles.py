"""Bundles: drops that draw on the stock of several others, all or nothing. Pure: rows in, decisions and new rows out.

Rules:

1. A bundle is a drop with stock of its own (how many bundles there are), and parts: units of other drops. A unit of it
   is settled together with the units of all its parts, or none of them is: where one is short, all is refused.
2. What a bundle takes of a drop is summed first: two parts of one drop are one demand.
3. Each part is a claim of its own in its drop, with an id that derives from the bundle's: it costs nothing, has run
   numbers and a place in the audit trail there, counts for the drop's cap, and is held, given back, settled and
   returned with its bundle, never alone.
4. A bundle is held while all its parts are. They lapse at one instant, so whoever compares instants sees all or none
   lapse, whichever of the drops they look at.
5. A viewer's own holds do not lock them out of a bundle, be they of bundles or of single parts. A hold in a bundle is
   given back with all of it only: so by claims on the bundle, and not by claims on a part alone.
6. What is left of a bundle is what is left of its scarcest part, and never more than its own stock. Its version counts
   the changes of all of them.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from shared.claims.settlement import (
    Decision,
    Desk,
    DropStock,
    Held,
    Hold,
    Look,
    Outcome,
    PartUnits,
    Presented,
    Refused,
    Settled,
)
from shared.claims.states import State
from shared.claims.tokens import Claim, Line
from shared.encoding import digest_fields, encode_base64url
from shared.problems import Code
from shared.structs import Wire

MAX_PARTS: Final = 8


class Linked(Wire, frozen=True, kw_only=True):
    """What a batch over several drops comes to: one decision for each claim, in order, and what became of each drop."""

    decisions: tuple[Decision, ...]
    outcomes: tuple[Outcome, ...]


def count_parts(parts: Sequence[PartUnits]) -> dict[str, int]:
    """Return how many units of each drop one bundle takes (rule 2)."""
    units: dict[str, int] = {}
    for part in parts:
        units[part.drop] = units.get(part.drop, 0) + part.units
    return units


def count_bundles(free: int, parts: Mapping[str, int], free_of: Mapping[str, int]) -> int:
    """Return how many bundles are left (rule 6).

    Args:
        free: bundles that are free by the bundle's own stock.
        parts: units of each drop that one takes.
        free_of: free units by drop.
    """
    return min(free, *(free_of[drop] // units for drop, units in parts.items()))


def derive_part_id(bundle: str, drop: str) -> str:
    """Return the claim id of a bundle's part in a drop; no tap can have it, as it is hashed under another name."""
    return encode_base64url(digest_fields("cliptill bundle part 1", (bundle, drop))[:16])


def list_parts(claim: Claim, drops: Mapping[str, DropStock]) -> tuple[Claim, ...]:
    """Return the claims that a claim on a bundle is made of, beside itself: one for each drop.

    Args:
        claim: on a bundle.
        drops: rows of the bundle and of its parts, by id.
    """
    quantity = claim.quantity
    return tuple(
        replace(
            claim,
            jti=derive_part_id(claim.jti, drop),
            drop=drop,
            run=drops[drop].run,
            lines=(Line(sku=drops[drop].sku, quantity=quantity * units, unit_minor=0),),
        )
        for drop, units in count_parts(drops[claim.drop].parts or ()).items()
    )


def settle_linked(  # noqa: PLR0913 - what is known, and when
    drops: Mapping[str, DropStock],
    decided: Mapping[str, str],
    taken: Mapping[str, Mapping[str, int]],
    claims: Sequence[Presented],
    *,
    holds: Mapping[str, Sequence[Hold]],
    now_ms: int,
) -> Linked:
    """Decide a batch of claims on several drops, bundles among them; `shared.claims.settlement` has the rules of each.

    Args:
        drops: rows, locked: those of the claims, and of their parts.
        decided: fingerprints of those of the claim ids that were decided before.
        taken: by drop: units that each viewer of the batch has settled in its run before.
        claims: in the order in which they came; those on a bundle with their parts.
        holds: by drop: those of these claims and their parts, live ones of their viewers, and those that should have
            lapsed.
        now_ms: the instant of the decision.
    """
    desks = _open(drops, taken, holds, now_ms)
    fingerprints = dict(decided)
    decisions = tuple([desks[claim.drop].judge(claim, fingerprints) for claim in claims])
    return Linked(decisions=decisions, outcomes=_close(desks))


def release_linked(
    drops: Mapping[str, DropStock], holds: Mapping[str, Sequence[Hold]], drop: str, claim_id: str, now_ms: int
) -> tuple[Outcome, ...]:
    """Give a hold of a bundle back with all its parts; what is not live any more changes nothing but to lapse."""
    desks = _open(drops, {}, holds, now_ms)
    desks[drop].release(claim_id)
    return _close(desks)


class BundleDesk(Desk):
    """One batch on its way over a bundle's row; its parts are at the desks of their drops."""

    def __init__(
        self,
        drop: DropStock,
        taken: Mapping[str, int],
        holds: Sequence[Hold],
        now_ms: int,
        others: Mapping[str, Desk],
    ) -> None:
        super().__init__(drop, taken, holds, now_ms)
        self._units = count_parts(drop.parts or ())
        self._parts = {name: others[name] for name in self._units}

    @property
    def remaining(self) -> int:
        """Bundles that a claim could still take (rule 6)."""
        free_of = {name: desk.remaining for name, desk in self._parts.items()}
        return count_bundles(self._free, self._units, free_of)

    @property
    def version(self) -> int:
        """What counts up with every change of the bundle and of its parts."""
        return self._version + sum(desk.version for desk in self._parts.values())

    def lapse(self) -> None:
        """Free what has lapsed, by its own instant or in one of its parts."""
        super().lapse()
        for hold in list(self._holds.values()):
            if hold.state is State.HELD and not self._is_whole(hold.claim_id):
                self.free_hold(hold, State.LAPSED)

    def free_hold(self, hold: Hold, state: State) -> None:
        """Free a live hold with its parts."""
        super().free_hold(hold, state)
        for name, desk in self._parts.items():
            part = desk.live_hold(derive_part_id(hold.claim_id, name))
            if part is not None:
                desk.free_hold(part, state)

    def hold(self, claim: Presented, until_ms: int) -> Held:
        """Set bundles aside, and their parts until the same instant."""
        parts = tuple(self._parts[part.drop].hold(part, until_ms) for part in claim.parts)
        return replace(super().hold(claim, until_ms), parts=parts)

    def settle(self, claim: Presented, quantity: int, *, held: bool) -> Settled:
        """Settle bundles and their parts, held or free."""
        parts = tuple([self._parts[part.drop].settle(part, part.quantity, held=held) for part in claim.parts])
        settled = super().settle(claim, quantity, held=held)
        return replace(settled, parts=parts, remaining=self.remaining, version=self.version)

    def _is_whole(self, claim_id: str) -> bool:
        return all(desk.live_hold(derive_part_id(claim_id, name)) for name, desk in self._parts.items())

    def _room(self, claim: Presented, quantity: int, has: int, back: int) -> Look:
        code, _ = super()._room(claim, quantity, has, back)
        gone: list[tuple[Desk, Hold]] = []
        for part in claim.parts if code is None else ():
            code, others = self._parts[part.drop].look(part, part.quantity, back * self._units[part.drop])
            if code is not None:
                return code, []
            gone += others
        return code, gone

    def _refuse(self, claim: Presented, code: Code) -> Refused:
        """Refuse all of it; parts that were held once and came to nothing are refused with it."""
        for part in claim.parts:
            self._parts[part.drop].mark(part, State.REFUSED)
        return replace(super()._refuse(claim, code), remaining=self.remaining, version=self.version)


def _open(
    drops: Mapping[str, DropStock],
    taken: Mapping[str, Mapping[str, int]],
    holds: Mapping[str, Sequence[Hold]],
    now_ms: int,
) -> dict[str, Desk]:
    desks: dict[str, Desk] = {}
    for bundles in (False, True):  # parts first
        for name, drop in drops.items():
            known = (drop, taken.get(name, {}), holds.get(name, ()), now_ms)
            if bundles and drop.parts:
                desks[name] = BundleDesk(*known, desks)
            elif not bundles and not drop.parts:
                desks[name] = Desk(*known)
    for desk in desks.values():
        desk.lapse()
    return desks


def _close(desks: Mapping[str, Desk]) -> tuple[Outcome, ...]:
    return tuple(Outcome(decisions=(), drop=desk.close(), holds=desk.changed()) for desk in desks.values())
