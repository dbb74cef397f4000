"""Settlement: the origin's one final decision on a claim. Pure: rows in, decisions and new totals out.

Rules, in the order in which they are applied to a batch of one drop:

1. Holds whose instant has come lapse first, whoever looks: their units are free for this very batch.
2. A claim id that was decided before keeps its decision. With another content it is a conflict, and nothing changes.
3. A live hold of the claim is kept as it is, or settled when its payment is there: nothing is asked again.
4. The run must be the drop's present run, the SKU its SKU, the quantity within what one claim may have.
5. A viewer key never has more than the cap, settled and held together, those of this batch included. A register
   (source `pos`) has no cap, and no limit of one claim: what it reports has been sold.
6. Units are taken while they last, in the order of the batch: `free + held + settled = total`, always.
7. A viewer's own holds never lock them out: where cap or stock would refuse, older holds of theirs are given back, as
   many as it takes, and none when it would not help.
8. Run numbers go up by one from 1, as units are settled, without a gap.
9. Money that comes after its hold is gone gets units by rules 4 to 8, or is refused, as the drop declares.

Drops with parts are decided by `shared.claims.bundles`, at the desks of this module.

A claim that was given within the window may settle until it expires, so the window is not looked at here; expiry is
`shared.claims.tokens.verify_claim`'s business.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec.structs import replace

from shared.claims.receipts import Pickup
from shared.claims.states import State, state_at
from shared.problems import Code
from shared.structs import Wire

Source = Literal["request", "event", "payment", "pos", "bundle"]
Way = Literal["settle", "hold", "paid"]
LatePayment = Literal["honour", "refund"]


class PartUnits(Wire, frozen=True, kw_only=True):
    """How many units of another drop one unit of a bundle has."""

    drop: str
    units: int


class DropStock(Wire, frozen=True, kw_only=True):
    """A drop's row, as locked by the transaction that decides.

    Attributes:
        next_number: the run number that the next unit gets.
        version: counts up with every change of stock.
        late_payment: what money gets that comes after its hold is gone: units that are left, or itself back.
        hold_s: how long a new hold lasts.
        pickup_place, pickup_from_ms, pickup_until_ms: where and when units are picked up; None where none is.
        allotment_of, release_at_ms: the pool that its free units go to, and from when on (`shared.claims.allotments`).
        received, released: units that went to this drop as a pool, and from it as an allotment; `total` counts them.
        parts: what a bundle is made of; one drop may be there twice. None for all other drops.
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
    late_payment: LatePayment = "honour"
    hold_s: int = 300
    pickup_place: str | None = None
    pickup_from_ms: int | None = None
    pickup_until_ms: int | None = None
    allotment_of: str | None = None
    release_at_ms: int | None = None
    received: int = 0
    released: int = 0
    parts: tuple[PartUnits, ...] | None = None

    @property
    def pickup(self) -> Pickup | None:
        """Where and when units are picked up."""
        if self.pickup_place is None or self.pickup_from_ms is None or self.pickup_until_ms is None:
            return None
        return Pickup(place=self.pickup_place, from_ms=self.pickup_from_ms, until_ms=self.pickup_until_ms)


class Hold(Wire, frozen=True, kw_only=True):
    """Units set aside for a claim, until an instant.

    Attributes:
        state: held, lapsed, released, settled or refused, as stored.
        until_ms: when it lapses (exclusive).
        bundle: id of the claim that it is a part of; None for one that stands alone.
    """

    claim_id: str
    run: str
    viewer: str
    fingerprint: str
    quantity: int
    state: State
    until_ms: int
    bundle: str | None = None


class Presented(Wire, frozen=True, kw_only=True):
    """A verified claim that asks to be settled.

    Attributes:
        units: (SKU, quantity), summed per SKU.
        fingerprint: `shared.claims.tokens.fingerprint_claim` of it.
        way: settle at once, hold until it is paid, or settle because it is paid.
        parts: of a bundle: what it takes of each other drop, every drop once.
        bundle: id of the claim that this is a part of; None for one that stands alone.
    """

    claim_id: str
    drop: str
    run: str
    viewer: str
    fingerprint: str
    units: tuple[tuple[str, int], ...]
    source: Source = "request"
    way: Way = "settle"
    parts: "tuple[Presented, ...]" = ()
    bundle: str | None = None

    @property
    def quantity(self) -> int:
        """The units of all SKUs."""
        return self.units[0][1] if len(self.units) == 1 else sum([units for _, units in self.units])


class Settled(Wire, frozen=True, kw_only=True):
    """Units are the viewer's, numbered from `first_number`, with the `parts` of the claim; stock after it as given."""

    claim: Presented
    quantity: int
    first_number: int
    remaining: int
    version: int
    parts: "tuple[Settled, ...]" = ()


class Refused(Wire, frozen=True, kw_only=True):
    """A final no, with its code; it is kept and told again."""

    claim: Presented
    code: Code
    remaining: int
    version: int


class Held(Wire, frozen=True, kw_only=True):
    """Units wait for the payment until `hold.until_ms`; not `fresh` when they did so before. `parts` wait with it."""

    claim: Presented
    hold: Hold
    fresh: bool
    parts: "tuple[Held, ...]" = ()


class Repeated(Wire, frozen=True, kw_only=True):
    """Decided before: the stored answer counts."""

    claim: Presented


class Conflicting(Wire, frozen=True, kw_only=True):
    """The claim id was decided for another content; nothing is stored."""

    claim: Presented


Decision = Settled | Refused | Held | Repeated | Conflicting


class Outcome(Wire, frozen=True, kw_only=True):
    """What a batch comes to: one decision for each claim, in order, the drop's new row, and the holds that changed."""

    decisions: tuple[Decision, ...]
    drop: DropStock
    holds: tuple[Hold, ...] = ()


def settle_batch(  # noqa: PLR0913 - what is known, and when
    drop: DropStock,
    decided: Mapping[str, str],
    taken: Mapping[str, int],
    claims: Sequence[Presented],
    *,
    holds: Sequence[Hold] = (),
    now_ms: int = 0,
) -> Outcome:
    """Decide a batch of claims on one drop.

    Args:
        drop: its row, locked.
        decided: fingerprints of those of the claim ids that were decided before.
        taken: units that each viewer of the batch has settled in this run before.
        claims: in the order in which they came; one id may come several times.
        holds: of the drop: those of these claims, the live ones of these viewers, and those that should have lapsed.
        now_ms: the instant of the decision.
    """
    fingerprints = dict(decided)
    desk = Desk(drop, taken, holds, now_ms)
    desk.lapse()
    decisions = tuple([desk.judge(claim, fingerprints) for claim in claims])
    return Outcome(decisions=decisions, drop=desk.close(), holds=desk.changed())


def release_hold(drop: DropStock, hold: Hold, now_ms: int) -> Outcome:
    """Give a hold back; what is not live any more changes nothing but to lapse."""
    desk = Desk(drop, {}, (hold,), now_ms)
    desk.lapse()
    desk.release(hold.claim_id)
    return Outcome(decisions=(), drop=desk.close(), holds=desk.changed())


Look = tuple[Code | None, Sequence[tuple["Desk", Hold]]]  # why a claim is refused; or None, and what must go for it


class Desk:
    """One batch on its way over a drop's row. Only `free_hold`, `hold` and `settle` move units."""

    def __init__(self, drop: DropStock, taken: Mapping[str, int], holds: Sequence[Hold], now_ms: int) -> None:
        self._drop = drop
        self._now_ms = now_ms
        self._free, self._held, self._settled = drop.free, drop.held, drop.settled
        self._number, self._version = drop.next_number, drop.version
        self._taken = dict(taken)
        self._holds = {hold.claim_id: hold for hold in holds}
        self._before = dict(self._holds)
        self._ids_of: dict[str, list[str]] = {}
        for hold in holds:
            self._ids_of.setdefault(hold.viewer, []).append(hold.claim_id)

    @property
    def remaining(self) -> int:
        """The units that a claim could still take."""
        return self._free

    @property
    def version(self) -> int:
        """What counts up with every change of `remaining`."""
        return self._version

    def lapse(self) -> None:
        """Free what has lapsed."""
        for hold in list(self._holds.values()):
            if hold.state is State.HELD and state_at(hold.state, hold.until_ms, self._now_ms) is State.LAPSED:
                self.free_hold(hold, State.LAPSED)

    def release(self, claim_id: str) -> None:
        """Free a hold that is live."""
        hold = self._holds[claim_id]
        if hold.state is State.HELD:
            self.free_hold(hold, State.RELEASED)

    def judge(self, claim: Presented, fingerprints: dict[str, str]) -> Decision:
        """Decide a claim; `fingerprints` are of those that were decided before, and takes up what is decided now."""
        held = self._holds.get(claim.claim_id)
        known = fingerprints.get(claim.claim_id) or (None if held is None else held.fingerprint)
        if known is not None and known != claim.fingerprint:
            return Conflicting(claim=claim)
        if claim.claim_id in fingerprints:
            return Repeated(claim=claim)
        decision = self._decide(claim, held)
        if not isinstance(decision, Held):
            fingerprints[claim.claim_id] = claim.fingerprint
        return decision

    def live_hold(self, claim_id: str) -> Hold | None:
        """Return the hold of a claim while it is live."""
        hold = self._holds.get(claim_id)
        return hold if hold is not None and hold.state is State.HELD else None

    def close(self) -> DropStock:
        """Return the drop's new row."""
        free, held, settled = self._free, self._held, self._settled
        if free + held + settled != self._drop.total or min(free, held, settled) < 0:
            raise AssertionError(f"stock of {self._drop.drop} does not add up")
        number, version = self._number, self._version
        return replace(self._drop, free=free, held=held, settled=settled, next_number=number, version=version)

    def changed(self) -> tuple[Hold, ...]:
        """Return the holds that are not as they were."""
        return tuple(hold for claim_id, hold in self._holds.items() if self._before.get(claim_id) != hold)

    def look(self, claim: Presented, quantity: int, back: int = 0) -> "Look":
        """Look whether a claim fits, its viewer's own holds given back (rule 7), and `back` units of their bundles."""
        has = self._taken.get(claim.viewer, 0)
        if claim.viewer not in self._ids_of:  # nearly all of them
            return self._room(claim, quantity, has, back)
        live = self._live(claim)
        own = sorted([hold for hold in live if hold.bundle is None], key=lambda hold: (hold.until_ms, hold.claim_id))
        has += sum([hold.quantity for hold in live])
        code, others = self._room(claim, quantity, has, back)
        for count, hold in enumerate(own, 1):
            if code not in (Code.CAP_REACHED, Code.SOLD_OUT):
                return code, [*((self, gone) for gone in own[: count - 1]), *others]
            back += hold.quantity
            code, others = self._room(claim, quantity, has, back)
        return code, [*((self, gone) for gone in own), *others]

    def free_hold(self, hold: Hold, state: State) -> None:
        """Free a live hold, which is in another state from then on."""
        self._holds[hold.claim_id] = replace(hold, state=state)
        self._held -= hold.quantity
        self._free += hold.quantity
        self._version += 1

    def hold(self, claim: Presented, until_ms: int) -> Held:
        """Set free units aside."""
        hold = Hold(
            claim_id=claim.claim_id,
            run=claim.run,
            viewer=claim.viewer,
            fingerprint=claim.fingerprint,
            quantity=claim.quantity,
            state=State.HELD,
            until_ms=until_ms,
            bundle=claim.bundle,
        )
        if claim.claim_id not in self._holds:
            self._ids_of.setdefault(claim.viewer, []).append(claim.claim_id)
        self._holds[claim.claim_id] = hold
        self._free -= hold.quantity
        self._held += hold.quantity
        self._version += 1
        return Held(claim=claim, hold=hold, fresh=True)

    def settle(self, claim: Presented, quantity: int, *, held: bool) -> Settled:
        """Settle units that are held, or free ones."""
        if held:
            self._held -= quantity
        else:
            self._free -= quantity
        self._settled += quantity
        self._version += 1
        self._taken[claim.viewer] = self._taken.get(claim.viewer, 0) + quantity
        self.mark(claim, State.SETTLED)
        first = self._number
        self._number += quantity
        left, version = self._free, self._version
        return Settled(claim=claim, quantity=quantity, first_number=first, remaining=left, version=version)

    def _decide(self, claim: Presented, hold: Hold | None) -> Settled | Refused | Held:
        """Decide a claim that has no final decision; `hold` is its own, live or not."""
        quantity = claim.quantity
        if hold is not None and hold.state is State.HELD:
            if claim.way == "hold":
                return Held(claim=claim, hold=hold, fresh=False)
            return self.settle(claim, quantity, held=True)
        if claim.way == "paid" and self._drop.late_payment == "refund":
            return self._refuse(claim, Code.HOLD_LAPSED)
        code, gone = self.look(claim, quantity)
        if code is not None:
            return self._refuse(claim, code)
        for desk, own in gone:
            desk.free_hold(own, State.RELEASED)
        if claim.way == "hold":
            return self.hold(claim, self._now_ms + self._drop.hold_s * 1000)
        return self.settle(claim, quantity, held=False)

    def _room(self, claim: Presented, quantity: int, has: int, back: int) -> "Look":
        """Look whether a claim fits were `back` more units free; what else must go for it comes with the answer."""
        return _refusal(self._drop, claim, quantity, has - back, self._free + back), ()

    def _live(self, claim: Presented) -> list[Hold]:
        own = [self._holds[claim_id] for claim_id in self._ids_of.get(claim.viewer, ())]
        return [hold for hold in own if hold.run == self._drop.run and hold.state is State.HELD]

    def _refuse(self, claim: Presented, code: Code) -> Refused:
        self.mark(claim, State.REFUSED)
        return Refused(claim=claim, code=code, remaining=self._free, version=self._version)

    def mark(self, claim: Presented, state: State) -> None:
        """Note what became of a claim that is, or was, held."""
        hold = self._holds.get(claim.claim_id)
        if hold is not None:
            self._holds[claim.claim_id] = replace(hold, state=state)


def _refusal(drop: DropStock, claim: Presented, quantity: int, taken: int, free: int) -> Code | None:
    if claim.run != drop.run:
        return Code.DROP_CLOSED
    for sku, _ in claim.units:
        if sku != drop.sku:
            return Code.OFFER_UNKNOWN
    if claim.source != "pos":
        # How many units one claim may have is said of claims on the drop itself; parts come as their bundle has them.
        if quantity > drop.max_quantity and claim.bundle is None:
            return Code.QUANTITY_NOT_OFFERED
        if taken + quantity > drop.per_viewer_cap:
            return Code.CAP_REACHED
    return Code.SOLD_OUT if quantity > free else None
