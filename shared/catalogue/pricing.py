"""Prices of short runs: a price that follows from its rule, what is left, and the time, and from nothing else. Pure.

Rules:

1. The rule has steps by what is left of the run, and steps by instants. Of each kind one counts at a time: the last
   that was reached. Both are shares of the price as it is written; together they are their product.
2. No price is below the floor or above the ceiling, whatever the steps come to. It is rounded to the nearest minor
   unit, halves up, so all who compute it have the same.
3. What is left counts as the snapshot tells it to whoever computes. Where nothing is known of it, all is left.
4. The price that is signed into a claim is what it settles at, whatever the rule says by then: a rule is asked once, by
   whoever gives the claim.
"""

from collections.abc import Iterator
from typing import Annotated, Final

from msgspec import Meta

from shared.structs import AmountMinor, InstantMs, Strict, Wire

WHOLE_BP: Final = 10_000
MAX_STEPS: Final = 16

ShareBp = Annotated[int, Meta(ge=1, le=100_000, description="of the price as written, in basis points")]
LeftBp = Annotated[int, Meta(ge=1, le=WHOLE_BP, description="of the run, in basis points")]


class StockStepBody(Strict, frozen=True, kw_only=True, omit_defaults=False):
    """From when on no more than `left_bp` of the run is left, the price is `price_bp` of what is written."""

    left_bp: LeftBp
    price_bp: ShareBp


class TimeStepBody(Strict, frozen=True, kw_only=True, omit_defaults=False):
    """From an instant on, the price is `price_bp` of what is written."""

    from_ms: InstantMs
    price_bp: ShareBp


class PriceRuleBody(Strict, frozen=True, kw_only=True, omit_defaults=False):
    """How a price moves, as an operator writes it.

    Attributes:
        floor_minor, ceiling_minor: the least and the most that it ever is.
        by_stock: each at another share of the run.
        by_time: each at another instant.
    """

    floor_minor: AmountMinor
    ceiling_minor: AmountMinor
    by_stock: Annotated[tuple[StockStepBody, ...], Meta(max_length=MAX_STEPS)] = ()
    by_time: Annotated[tuple[TimeStepBody, ...], Meta(max_length=MAX_STEPS)] = ()


class StockStep(Wire, frozen=True, kw_only=True):
    """As `StockStepBody`, published."""

    left_bp: LeftBp
    price_bp: ShareBp


class TimeStep(Wire, frozen=True, kw_only=True):
    """As `TimeStepBody`, published."""

    from_ms: InstantMs
    price_bp: ShareBp


class PriceRule(Wire, frozen=True, kw_only=True):
    """As `PriceRuleBody`, published."""

    floor_minor: AmountMinor
    ceiling_minor: AmountMinor
    by_stock: tuple[StockStep, ...] = ()
    by_time: tuple[TimeStep, ...] = ()


def publish_rule(body: PriceRuleBody) -> PriceRule:
    """Return a rule as it goes into a manifest."""
    return PriceRule(
        floor_minor=body.floor_minor,
        ceiling_minor=body.ceiling_minor,
        by_stock=tuple(StockStep(left_bp=step.left_bp, price_bp=step.price_bp) for step in body.by_stock),
        by_time=tuple(TimeStep(from_ms=step.from_ms, price_bp=step.price_bp) for step in body.by_time),
    )


def find_rule_fault(body: PriceRuleBody, amount_minor: int) -> str | None:
    """Return the rule of writing that a price rule breaks, or None; `amount_minor` is the price as written."""
    if not 0 < body.floor_minor <= amount_minor <= body.ceiling_minor:
        return "must have a floor above zero, and the price as written between floor and ceiling"
    if not body.by_stock and not body.by_time:
        return "must have a step"
    shares, instants = [step.left_bp for step in body.by_stock], [step.from_ms for step in body.by_time]
    if len(set(shares)) < len(shares) or len(set(instants)) < len(instants):
        return "must not have two steps at one share of the run, or at one instant"
    return None


def quote_price(amount_minor: int, rule: PriceRule, *, remaining: int, total: int, now_ms: int) -> int:
    """Return what one unit costs.

    Args:
        amount_minor: the price as it is written.
        rule: how it moves.
        remaining: units that are left of the run, as far as is known.
        total: units of the run.
        now_ms: the clock of whoever asks.
    """
    reached = min((s for s in rule.by_stock if remaining * WHOLE_BP <= total * s.left_bp), key=_left_bp, default=None)
    begun = max((step for step in rule.by_time if step.from_ms <= now_ms), key=_from_ms, default=None)
    stock_bp = WHOLE_BP if reached is None else reached.price_bp
    time_bp = WHOLE_BP if begun is None else begun.price_bp
    whole = WHOLE_BP * WHOLE_BP
    moved = (2 * amount_minor * stock_bp * time_bp + whole) // (2 * whole)
    return max(rule.floor_minor, min(rule.ceiling_minor, moved))


def list_instants(rule: PriceRule) -> Iterator[int]:
    """Give the instants at which a price may move by itself."""
    return (step.from_ms for step in rule.by_time)


def _left_bp(step: StockStep) -> int:
    return step.left_bp


def _from_ms(step: TimeStep) -> int:
    return step.from_ms
