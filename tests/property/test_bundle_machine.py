"""Bundles beside single parts, in any order, against a model that is too simple to be wrong: units by claim."""

from typing import Any, NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from shared.claims.bundles import count_parts, derive_part_id, release_linked, settle_linked
from shared.claims.returns import put_back
from shared.claims.settlement import DropStock, Held, Hold, Outcome, PartUnits, Presented, Refused, Settled
from shared.claims.states import State, state_at

NUMBERS = st.integers(0, 15)
QUANTITIES = st.integers(1, 2)
DROPS = ("duo", "mug", "set", "tea")  # duo and set are bundles
PARTS = {
    "duo": (PartUnits(drop="tea", units=2), PartUnits(drop="mug", units=1)),
    "set": (PartUnits(drop="mug", units=1), PartUnits(drop="tea", units=1), PartUnits(drop="mug", units=1)),
}
HOLD_MS = 10_000


class Tap(NamedTuple):
    """A claim's number says whose it is, and of which drop."""

    number: int
    quantity: int

    @property
    def claim_id(self) -> str:
        return f"c{self.number}"

    @property
    def viewer(self) -> str:
        return f"v{self.number // len(DROPS) % 2}"

    @property
    def drop(self) -> str:
        return DROPS[self.number % len(DROPS)]

    @property
    def needs(self) -> dict[str, int]:
        """Return the units of each drop that it takes."""
        parts = {drop: units * self.quantity for drop, units in count_parts(PARTS.get(self.drop, ())).items()}
        return {self.drop: self.quantity, **parts}


class Machine(RuleBasedStateMachine):
    """What a database remembers of four drops, and a model: which taps are settled, and which are held until when."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ms = 1_000_000
        self.decided: dict[str, str] = {}
        self.holds: dict[tuple[str, str], Hold] = {}
        self.quantities: dict[int, int] = {}  # of each number, from its first tap on
        self.settled: dict[int, Tap] = {}
        self.held: dict[int, tuple[Tap, int]] = {}
        self.numbers: dict[str, list[int]] = {drop: [] for drop in DROPS}

    @initialize(totals=st.lists(st.integers(2, 8), min_size=4, max_size=4), cap=st.integers(3, 8))
    def open_drops(self, totals: list[int], cap: int) -> None:
        self.cap = cap
        self.totals = dict(zip(DROPS, totals, strict=True))
        self.drops = {
            drop: DropStock(
                drop=drop, run="run-1", sku=drop, total=total, free=total, held=0, settled=0, next_number=1, version=1,
                per_viewer_cap=cap, max_quantity=2, hold_s=HOLD_MS // 1000, parts=PARTS.get(drop),
            )
            for drop, total in self.totals.items()
        }  # fmt: skip

    def live(self) -> dict[int, Tap]:
        return {number: tap for number, (tap, until_ms) in self.held.items() if until_ms > self.now_ms}

    def takes(self, drop: str, viewer: str | None = None) -> int:
        """Return the units of a drop that are settled or held, of all or of one viewer."""
        taps = [*self.settled.values(), *self.live().values()]
        return sum(tap.needs.get(drop, 0) for tap in taps if viewer in (None, tap.viewer))

    def take_up(self, outcomes: tuple[Outcome, ...]) -> None:
        for outcome in outcomes:
            self.drops[outcome.drop.drop] = outcome.drop
            self.holds.update({(outcome.drop.drop, hold.claim_id): hold for hold in outcome.holds})

    def known_holds(self) -> dict[str, list[Hold]]:
        return {drop: [hold for (at, _), hold in self.holds.items() if at == drop] for drop in DROPS}

    def present(self, tap: Tap, way: Any) -> Any:
        def show(drop: str, claim_id: str, **told: Any) -> Presented:
            return Presented(
                claim_id=claim_id, drop=drop, run="run-1", viewer=tap.viewer, fingerprint=f"{drop}*{tap.needs[drop]}",
                units=((drop, tap.needs[drop]),), way=way, **told,
            )  # fmt: skip

        ids = {drop: derive_part_id(tap.claim_id, drop) for drop in tap.needs if drop != tap.drop}
        parts = tuple(show(drop, claim_id, bundle=tap.claim_id) for drop, claim_id in ids.items())
        taken = {
            drop: {tap.viewer: sum(t.needs.get(drop, 0) for t in self.settled.values() if t.viewer == tap.viewer)}
            for drop in DROPS
        }
        claim = show(tap.drop, tap.claim_id, parts=parts)
        linked = settle_linked(
            self.drops, self.decided, taken, [claim], holds=self.known_holds(), now_ms=self.now_ms
        )  # fmt: skip
        self.take_up(linked.outcomes)
        (decision,) = linked.decisions
        if isinstance(decision, Settled | Refused):
            self.decided[tap.claim_id] = claim.fingerprint
            self.held.pop(tap.number, None)
        if isinstance(decision, Settled):
            self.settled[tap.number] = tap
            for each in (decision, *decision.parts):
                self.numbers[each.claim.drop] += range(each.first_number, each.first_number + each.quantity)
        if isinstance(decision, Held) and decision.fresh:
            self.held[tap.number] = (tap, decision.hold.until_ms)
        return decision

    @rule(number=NUMBERS, quantity=QUANTITIES, way=st.sampled_from(["hold", "settle"]))
    def tap(self, number: int, quantity: int, way: Any) -> None:
        tap = Tap(number, self.quantities.setdefault(number, quantity))
        if tap.claim_id in self.decided or number in self.live():
            self.present(tap, way)
            return
        # What may go for it: own holds of its drop, and of its parts where these are held alone.
        mine = {number: one for number, one in self.live().items() if one.viewer == tap.viewer}
        may_go = [one for one in mine.values() if one.drop in tap.needs]
        back = {drop: sum(one.needs.get(drop, 0) for one in may_go) for drop in tap.needs}
        fits = all(
            self.takes(drop) - back[drop] + units <= self.totals[drop]
            and self.takes(drop, tap.viewer) - back[drop] + units <= self.cap
            for drop, units in tap.needs.items()
        )
        others = {number: one for number, one in self.live().items() if one.viewer != tap.viewer}
        decision = self.present(tap, way)
        assert isinstance(decision, Refused if not fits else Held if way == "hold" else Settled)
        self.forget_given_back()
        assert others.keys() <= self.live().keys()
        if isinstance(decision, Refused):
            assert mine.keys() <= self.live().keys()

    def forget_given_back(self) -> None:
        """Take up which of the viewer's own holds went for a tap: each of them as a whole."""
        for number, (tap, _) in list(self.held.items()):
            if self.holds[tap.drop, tap.claim_id].state is State.RELEASED:
                del self.held[number]

    @rule(number=NUMBERS)
    def pay(self, number: int) -> None:
        if number not in self.held:
            return
        was_live = number in self.live()
        decision = self.present(self.held[number][0], "paid")
        assert isinstance(decision, Settled | Refused)
        assert isinstance(decision, Settled) or not was_live
        self.forget_given_back()

    @rule(number=NUMBERS)
    def give_back(self, number: int) -> None:
        if number in self.held:
            tap, _ = self.held.pop(number)
            self.take_up(release_linked(self.drops, self.known_holds(), tap.drop, tap.claim_id, self.now_ms))

    @rule(number=NUMBERS, restock=st.booleans())
    def bring_back(self, number: int, *, restock: bool) -> None:
        tap = self.settled.pop(number, None)
        for drop, units in {} if tap is None else tap.needs.items():
            self.drops[drop] = put_back(self.drops[drop], units, restock=restock)
            self.totals[drop] -= 0 if restock else units

    @rule(passed_ms=st.sampled_from([1, HOLD_MS - 1, HOLD_MS, 3 * HOLD_MS]))
    def wait(self, passed_ms: int) -> None:
        self.now_ms += passed_ms

    @invariant()
    def every_drop_has_what_the_model_says(self) -> None:
        for name, drop in getattr(self, "drops", {}).items():
            live = [
                hold
                for hold in self.known_holds()[name]
                if state_at(hold.state, hold.until_ms, self.now_ms) is State.HELD
            ]
            assert drop.free + drop.held + drop.settled == drop.total == self.totals[name]
            assert drop.settled == sum(tap.needs.get(name, 0) for tap in self.settled.values())
            assert sum(hold.quantity for hold in live) == sum(tap.needs.get(name, 0) for tap in self.live().values())
            assert self.numbers[name] == list(range(1, len(self.numbers[name]) + 1))
            assert all(self.takes(name, viewer) <= self.cap for viewer in ("v0", "v1"))


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=500, stateful_step_count=50, deadline=None)
