"""Holds in the core: set aside, paid, given back, lapsed by comparing instants, never in their owner's way."""

from typing import Any

import pytest

from shared.claims.settlement import (
    Conflicting,
    DropStock,
    Held,
    Hold,
    Presented,
    Refused,
    Settled,
    release_hold,
    settle_batch,
)
from shared.claims.states import State
from shared.problems import Code

NOW_MS = 1_000_000


def stock(**changes: Any) -> DropStock:
    fields: dict[str, Any] = {
        "drop": "drop-1", "run": "run-1", "sku": "sku-1", "total": 10, "free": 10, "held": 0, "settled": 0,
        "next_number": 1, "version": 5, "per_viewer_cap": 10, "max_quantity": 10, "hold_s": 60,
    }  # fmt: skip
    return DropStock(**{**fields, **changes})


def claim(claim_id: str = "c1", quantity: int = 1, **changes: Any) -> Presented:
    fields: dict[str, Any] = {
        "claim_id": claim_id, "drop": "drop-1", "run": "run-1", "viewer": "v1", "fingerprint": f"f-{claim_id}",
        "units": (("sku-1", quantity),), "way": "hold",
    }  # fmt: skip
    return Presented(**{**fields, **changes})


def hold(claim_id: str = "c1", **changes: Any) -> Hold:
    fields: dict[str, Any] = {
        "claim_id": claim_id, "run": "run-1", "viewer": "v1", "fingerprint": f"f-{claim_id}", "quantity": 1,
        "state": State.HELD, "until_ms": NOW_MS + 1,
    }  # fmt: skip
    return Hold(**{**fields, **changes})


def test_a_hold_sets_units_aside_until_an_instant() -> None:
    outcome = settle_batch(stock(), {}, {}, [claim(quantity=3)], now_ms=NOW_MS)
    (held,) = outcome.decisions
    assert isinstance(held, Held)
    assert held.fresh
    assert held.hold == hold(quantity=3, until_ms=NOW_MS + 60_000)
    assert outcome.holds == (held.hold,)
    assert (outcome.drop.free, outcome.drop.held, outcome.drop.settled, outcome.drop.next_number) == (7, 3, 0, 1)


def test_the_same_claim_again_is_the_same_hold() -> None:
    outcome = settle_batch(stock(free=9, held=1), {}, {}, [claim(), claim()], holds=[hold()], now_ms=NOW_MS)
    assert [isinstance(decision, Held) and not decision.fresh for decision in outcome.decisions] == [True, True]
    assert outcome.drop == stock(free=9, held=1)
    assert outcome.holds == ()


def test_the_same_id_with_another_content_is_a_conflict() -> None:
    outcome = settle_batch(stock(free=9, held=1), {}, {}, [claim(fingerprint="g")], holds=[hold()], now_ms=NOW_MS)
    assert isinstance(outcome.decisions[0], Conflicting)


def test_a_paid_hold_settles_whatever_cap_and_stock_say_now() -> None:
    drop = stock(total=1, free=0, held=1, per_viewer_cap=1, max_quantity=1)
    outcome = settle_batch(drop, {}, {"v1": 1}, [claim(way="paid")], holds=[hold()], now_ms=NOW_MS)
    assert isinstance(outcome.decisions[0], Settled)
    assert (outcome.drop.free, outcome.drop.held, outcome.drop.settled) == (0, 0, 1)
    assert outcome.holds == (hold(state=State.SETTLED),)


@pytest.mark.parametrize(
    ("until_ms", "free"),
    [pytest.param(NOW_MS, True, id="at its instant"), pytest.param(NOW_MS + 1, False, id="just before")],
)
def test_what_has_lapsed_is_free_for_others_at_once(until_ms: int, free: bool) -> None:  # noqa: FBT001
    """Failure table: expiry depends on a sweeper."""
    drop = stock(total=1, free=0, held=1)
    other = claim("c2", viewer="v2", way="settle")
    outcome = settle_batch(drop, {}, {}, [other], holds=[hold(until_ms=until_ms)], now_ms=NOW_MS)
    assert isinstance(outcome.decisions[0], Settled if free else Refused)
    assert (outcome.drop.held, outcome.drop.settled) == ((0, 1) if free else (1, 0))


@pytest.mark.parametrize(
    "drop",
    [
        pytest.param(stock(total=1, free=0, held=1), id="it was the last unit"),
        pytest.param(stock(free=9, held=1, per_viewer_cap=1), id="it was all that they may have"),
    ],
)
def test_a_viewer_is_not_locked_out_by_their_own_hold(drop: DropStock) -> None:
    """Failure table: a shopper locked out by their own hold."""
    outcome = settle_batch(drop, {}, {}, [claim("c2")], holds=[hold()], now_ms=NOW_MS)
    (held,) = outcome.decisions
    assert isinstance(held, Held)
    assert (outcome.drop.free, outcome.drop.held) == (drop.free, drop.held)
    assert {item.claim_id: item.state for item in outcome.holds} == {"c1": State.RELEASED, "c2": State.HELD}


def test_own_holds_are_given_back_only_as_far_as_it_helps() -> None:
    mine = [hold("c1", until_ms=NOW_MS + 5), hold("c2", until_ms=NOW_MS + 9)]
    fits = settle_batch(stock(total=2, free=0, held=2), {}, {}, [claim("c3")], holds=mine, now_ms=NOW_MS)
    assert {item.claim_id: item.state for item in fits.holds} == {"c1": State.RELEASED, "c3": State.HELD}
    vain = settle_batch(stock(total=2, free=0, held=2), {}, {}, [claim("c3", 3)], holds=mine, now_ms=NOW_MS)
    assert isinstance(vain.decisions[0], Refused)
    assert vain.holds == ()


def test_holds_of_others_are_never_given_back() -> None:
    drop = stock(total=1, free=0, held=1)
    outcome = settle_batch(drop, {}, {}, [claim("c2", viewer="v2")], holds=[hold()], now_ms=NOW_MS)
    assert [getattr(decision, "code", None) for decision in outcome.decisions] == [Code.SOLD_OUT]


def test_holds_count_for_the_cap() -> None:
    drop = stock(free=9, held=1, per_viewer_cap=2)
    outcome = settle_batch(drop, {}, {"v1": 1}, [claim("c2", way="settle")], holds=[hold()], now_ms=NOW_MS)
    assert isinstance(outcome.decisions[0], Settled)
    assert {item.claim_id: item.state for item in outcome.holds} == {"c1": State.RELEASED}


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        pytest.param({}, "settled", id="units are left: honoured"),
        pytest.param({"free": 0, "settled": 10}, Code.SOLD_OUT, id="none is left: refused, the money goes back"),
        pytest.param({"late_payment": "refund"}, Code.HOLD_LAPSED, id="the drop never honours late money"),
    ],
)
@pytest.mark.parametrize("state", [State.LAPSED, State.RELEASED])
def test_late_money_follows_the_policy_of_the_drop(changes: dict[str, Any], outcome: Any, state: State) -> None:
    """Failure table: payment arrives after the hold lapsed."""
    decided = settle_batch(
        stock(**changes), {}, {}, [claim(way="paid")], holds=[hold(state=state, until_ms=1)], now_ms=NOW_MS
    )
    (decision,) = decided.decisions
    assert (decision.code if isinstance(decision, Refused) else "settled") == outcome
    assert decided.holds[0].state == (State.SETTLED if outcome == "settled" else State.REFUSED)


def test_a_hold_is_given_back_once() -> None:
    """Failure table: cancel frees nothing."""
    once = release_hold(stock(free=7, held=3), hold(quantity=3), NOW_MS)
    assert (once.drop.free, once.drop.held, once.drop.version) == (10, 0, 6)
    assert once.holds == (hold(quantity=3, state=State.RELEASED),)
    again = release_hold(once.drop, once.holds[0], NOW_MS)
    assert (again.drop, again.holds) == (once.drop, ())


def test_giving_back_what_has_lapsed_says_that_it_lapsed() -> None:
    outcome = release_hold(stock(free=9, held=1), hold(until_ms=NOW_MS), NOW_MS)
    assert outcome.drop.free == 10
    assert outcome.holds[0].state is State.LAPSED


def test_a_lapsed_claim_that_is_presented_again_is_held_again() -> None:
    outcome = settle_batch(stock(free=9, held=1), {}, {}, [claim()], holds=[hold(until_ms=NOW_MS)], now_ms=NOW_MS)
    (held,) = outcome.decisions
    assert isinstance(held, Held)
    assert held.fresh
    assert (outcome.drop.free, outcome.drop.held) == (9, 1)
