"""A payment under any order of browser, messages, crashes and lapses: the core against a model of a provider."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec.structs import replace

from shared.money.payments import Charge, Wanted, decide_step, is_sound

PRICE = 990


class Machine(RuleBasedStateMachine):
    """One unit, one payment. What is noted and what the provider has move apart with each crash in between."""

    def __init__(self) -> None:
        super().__init__()
        self.noted = Wanted(payment="p.1", state="begun", amount_minor=PRICE, currency="EUR")
        self.goods = False
        self.held = True
        self.unit_is_free = False
        self.refunds = 0

    @initialize(amount=st.sampled_from([PRICE, PRICE, PRICE, 1]), honours=st.booleans())
    def begin(self, amount: int, *, honours: bool) -> None:
        self.charge = Charge(reference="ch", payment="p.1", state="pending", amount_minor=amount, currency="EUR")
        self.honours = honours

    @rule(good=st.booleans())
    def viewer_gives_a_card(self, *, good: bool) -> None:
        if self.charge.state == "pending":
            self.charge = replace(self.charge, state="authorised" if good else "failed")

    @rule()
    def provider_takes_the_money_by_itself(self) -> None:
        if self.charge.state == "authorised":
            self.charge = replace(self.charge, state="captured", captured_minor=self.charge.amount_minor)

    @rule(taken=st.booleans())
    def hold_lapses(self, *, taken: bool) -> None:
        if self.held and not self.goods:
            self.held, self.unit_is_free = False, not taken

    @rule(killed=st.booleans())
    def somebody_looks(self, *, killed: bool) -> None:
        """Browser, message or loop: look, take one step; `killed` right after the provider acted."""
        takes = not self.goods and (self.held or self.honours)
        step: Any = decide_step(self.noted, self.charge, takes_money=takes)
        self.act_at_provider(step)
        if not killed:
            self.act_here(step)

    def act_at_provider(self, step: str) -> None:
        if step == "capture" and self.charge.state == "authorised":
            self.charge = replace(self.charge, state="captured", captured_minor=self.charge.amount_minor)
        elif step == "void" and self.charge.state in ("pending", "authorised"):
            self.charge = replace(self.charge, state="voided")
        elif step == "refund":
            self.refunds += 1
            self.charge = replace(self.charge, refunded_minor=self.noted.refund_minor)

    def act_here(self, step: str) -> None:
        taken = self.charge.captured_minor
        if step == "settle" and (self.held or (self.honours and self.unit_is_free)):
            self.goods, self.held, self.unit_is_free = True, False, False
            self.noted = replace(self.noted, state="captured")
        elif step in ("settle", "give_back"):
            self.noted = replace(self.noted, state="refund_due", refund_minor=taken)
        elif step == "note_refund":
            self.noted = replace(self.noted, state="refunded")
        elif step == "close":
            self.noted = replace(self.noted, state="voided")

    @invariant()
    def goods_are_beside_money_and_money_is_never_forgotten(self) -> None:
        if not hasattr(self, "charge"):
            return
        kept = self.charge.captured_minor - self.charge.refunded_minor
        assert is_sound(self.charge, "p.1")
        assert self.refunds <= 1
        if self.goods:
            assert (kept, self.noted.state) == (PRICE, "captured")
        if self.noted.state in ("refunded", "voided"):
            assert kept == 0

    def teardown(self) -> None:
        """However it went: once nothing more happens, looking a few times ends in goods or in no money."""
        if not hasattr(self, "charge"):
            return
        self.held = self.held and self.goods
        self.honours = False if not self.goods else self.honours
        for _ in range(6):
            self.somebody_looks(killed=False)
        kept = self.charge.captured_minor - self.charge.refunded_minor
        assert kept == (PRICE if self.goods else 0)
        assert self.noted.state in ("captured", "refunded", "voided")


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)
