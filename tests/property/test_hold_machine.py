"""Holding, paying, giving back, lapsing, in any order: the core against a model that is too simple to be wrong."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from shared.claims.settlement import (
    DropStock,
    Held,
    Hold,
    Outcome,
    Presented,
    Refused,
    Settled,
    release_hold,
    settle_batch,
)
from shared.claims.states import State, state_at

IDS = st.sampled_from([f"c{number}" for number in range(8)])
HOLD_MS = 10_000


def viewer_of(claim_id: str) -> str:
    return f"v{int(claim_id[1:]) % 3}"


class Machine(RuleBasedStateMachine):
    """What a database remembers of one drop, and a model: who has how many units, by claim."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ms = 1_000_000
        self.decided: dict[str, str] = {}
        self.holds: dict[str, Hold] = {}
        self.units: dict[str, int] = {}  # the model: units that are the claim's, settled
        self.numbers: list[int] = []

    @initialize(total=st.integers(1, 6), cap=st.integers(1, 4), late=st.sampled_from(["honour", "refund"]))
    def open_drop(self, total: int, cap: int, late: Any) -> None:
        self.drop = DropStock(
            drop="drop-1", run="run-1", sku="sku-1", total=total, free=total, held=0, settled=0, next_number=1,
            version=1, per_viewer_cap=cap, max_quantity=3, late_payment=late, hold_s=HOLD_MS // 1000,
        )  # fmt: skip

    def live(self) -> dict[str, Hold]:
        return {
            name: hold
            for name, hold in self.holds.items()
            if state_at(hold.state, hold.until_ms, self.now_ms) is State.HELD
        }

    def take_up(self, outcome: Outcome) -> None:
        self.drop = outcome.drop
        self.holds.update({hold.claim_id: hold for hold in outcome.holds})

    def present(self, claim_id: str, quantity: int, way: Any) -> Any:
        viewer = viewer_of(claim_id)
        claim = Presented(
            claim_id=claim_id, drop="drop-1", run="run-1", viewer=viewer, fingerprint=f"{claim_id}*{quantity}",
            units=(("sku-1", quantity),), way=way,
        )  # fmt: skip
        taken = sum(units for name, units in self.units.items() if viewer_of(name) == viewer)
        concerned = [hold for hold in self.holds.values() if hold.state is State.HELD or hold.claim_id == claim_id]
        outcome = settle_batch(self.drop, self.decided, {viewer: taken}, [claim], holds=concerned, now_ms=self.now_ms)
        self.take_up(outcome)
        (decision,) = outcome.decisions
        if isinstance(decision, Settled | Refused):
            self.decided[claim_id] = claim.fingerprint
        if isinstance(decision, Settled):
            self.units[claim_id] = decision.quantity
            self.numbers += range(decision.first_number, decision.first_number + decision.quantity)
        return decision

    @rule(claim_id=IDS, quantity=st.integers(1, 3))
    def hold(self, claim_id: str, quantity: int) -> None:
        free = self.drop.total - sum(self.units.values()) - sum(hold.quantity for hold in self.live().values())
        mine = [hold for hold in self.live().values() if hold.viewer == viewer_of(claim_id)]
        own = sum(units for name, units in self.units.items() if viewer_of(name) == viewer_of(claim_id))
        known = claim_id in self.decided or claim_id in self.holds
        decision = self.present(claim_id, quantity, "hold")
        if not known:  # a new claim is held exactly when it fits into what nobody else has, own holds aside
            fits = quantity <= free + sum(hold.quantity for hold in mine) and own + quantity <= self.drop.per_viewer_cap
            assert isinstance(decision, Held if fits else Refused)

    @rule(claim_id=IDS, quantity=st.integers(1, 3))
    def settle_at_once(self, claim_id: str, quantity: int) -> None:
        self.present(claim_id, quantity, "settle")

    @rule(claim_id=IDS)
    def pay(self, claim_id: str) -> None:
        hold = self.holds.get(claim_id)
        if hold is None or claim_id in self.decided:
            return
        was_live = claim_id in self.live()
        decision = self.present(claim_id, hold.quantity, "paid")
        assert isinstance(decision, Settled | Refused)  # goods, or a refusal on which the money goes back
        if was_live:
            assert isinstance(decision, Settled)

    @rule(claim_id=IDS)
    def give_back(self, claim_id: str) -> None:
        hold = self.holds.get(claim_id)
        if hold is not None:
            self.take_up(release_hold(self.drop, hold, self.now_ms))
            assert claim_id not in self.live()

    @rule(passed_ms=st.sampled_from([1, HOLD_MS - 1, HOLD_MS, 3 * HOLD_MS]))
    def wait(self, passed_ms: int) -> None:
        self.now_ms += passed_ms

    @rule()
    def tidy(self) -> None:
        before = self.live()
        self.take_up(settle_batch(self.drop, {}, {}, [], holds=[*self.holds.values()], now_ms=self.now_ms))
        assert self.live() == before
        assert self.drop.held == sum(hold.quantity for hold in before.values())

    @invariant()
    def stock_is_what_the_model_says(self) -> None:
        if not hasattr(self, "drop"):
            return
        stored = sum(hold.quantity for hold in self.holds.values() if hold.state is State.HELD)
        assert self.drop.settled == sum(self.units.values())
        assert self.drop.held == stored
        assert self.drop.free + self.drop.held + self.drop.settled == self.drop.total
        assert self.drop.free >= 0

    @invariant()
    def caps_hold_and_numbers_have_no_gap(self) -> None:
        if not hasattr(self, "drop"):
            return
        assert self.numbers == list(range(1, len(self.numbers) + 1))
        for viewer in ("v0", "v1", "v2"):
            settled = sum(units for name, units in self.units.items() if viewer_of(name) == viewer)
            held = sum(hold.quantity for hold in self.live().values() if hold.viewer == viewer)
            assert settled + held <= self.drop.per_viewer_cap


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
