"""Bundles in the core: all of their parts or none, whatever happens to them, and what is left is the scarcest part."""

from collections.abc import Sequence
from typing import Any

import pytest

from shared.catalogue.drops import DropStanding, check_allotment, check_bundles, check_drop, check_parts
from shared.catalogue.entries import DropBody, PartBody
from shared.claims.bundles import Linked, count_bundles, count_parts, derive_part_id, list_parts, settle_linked
from shared.claims.bundles import release_linked as give_back
from shared.claims.receipts import ReceiptPart, commit_holder, unfold_parts, write_receipt
from shared.claims.returns import ReturnOrder, Sold, decide_return
from shared.claims.settlement import (
    Conflicting,
    DropStock,
    Held,
    Hold,
    PartUnits,
    Presented,
    Refused,
    Repeated,
    Settled,
    settle_batch,
)
from shared.claims.states import Actor, State
from shared.claims.tokens import Claim, fingerprint_claim
from shared.problems import Code
from tests.samples import VIEWER, make_claim

NOW_MS = 1_000_000
PARTS = (PartUnits(drop="mug", units=2), PartUnits(drop="tea", units=1))
OTHER = "o" * len(VIEWER)


def row(drop: str, free: int = 10, **changes: Any) -> DropStock:
    fields: dict[str, Any] = {
        "drop": drop, "run": "run-1", "sku": f"sku-{drop}", "total": free, "free": free, "held": 0, "settled": 0,
        "next_number": 1, "version": 1, "per_viewer_cap": 10, "max_quantity": 3, "hold_s": 60,
    }  # fmt: skip
    return DropStock(**{**fields, **changes})


def rows(*, set_: int = 10, mug: int = 10, tea: int = 10, **changes: Any) -> dict[str, DropStock]:
    return {"mug": row("mug", mug), "set": row("set", set_, parts=PARTS, **changes), "tea": row("tea", tea)}


def tap(claim_id: str = "c1", quantity: int = 1, viewer: str = VIEWER, drop: str = "set") -> Claim:
    lines = [{"sku": f"sku-{drop}", "quantity": quantity, "unit_minor": 500}]
    return make_claim(jti=claim_id.ljust(22, "A"), drop=drop, cnf={"jkt": viewer}, lines=lines)


def present(claim: Claim, drops: dict[str, DropStock], way: Any = "settle", source: Any = "request") -> Presented:
    def show(one: Claim, **told: Any) -> Presented:
        return Presented(
            claim_id=one.jti, drop=one.drop, run=one.run, viewer=one.cnf.jkt, fingerprint=fingerprint_claim(one),
            units=((one.lines[0].sku, one.quantity),), way=way, source=source, **told,
        )  # fmt: skip

    bundle = drops[claim.drop].parts
    parts = tuple(show(part, bundle=claim.jti) for part in list_parts(claim, drops)) if bundle else ()
    return show(claim, parts=parts)


def settle(
    drops: dict[str, DropStock],
    *claims: Presented,
    holds: Sequence[tuple[str, Hold]] = (),
    taken: dict[str, dict[str, int]] | None = None,
    decided: dict[str, str] | None = None,
    now_ms: int = NOW_MS,
) -> tuple[Linked, dict[str, DropStock], dict[str, list[Hold]]]:
    """Return what came of it, the new rows, and the holds of each drop as they are then."""
    known: dict[str, list[Hold]] = {drop: [hold for at, hold in holds if at == drop] for drop in drops}
    linked = settle_linked(drops, decided or {}, taken or {}, claims, holds=known, now_ms=now_ms)
    after = {}
    for outcome in linked.outcomes:
        changed = {hold.claim_id: hold for hold in outcome.holds}
        left = [changed.pop(hold.claim_id, hold) for hold in known[outcome.drop.drop]]
        after[outcome.drop.drop] = [*left, *changed.values()]
    return linked, {outcome.drop.drop: outcome.drop for outcome in linked.outcomes}, after


def stock(drops: dict[str, DropStock]) -> dict[str, tuple[int, int, int]]:
    return {name: (drop.free, drop.held, drop.settled) for name, drop in drops.items()}


def flat(holds: dict[str, list[Hold]]) -> list[tuple[str, Hold]]:
    return [(drop, hold) for drop, some in holds.items() for hold in some]


def test_bundle_settles_with_all_its_parts() -> None:
    linked, after, _ = settle(rows(), present(tap(quantity=2), rows()))
    (settled,) = linked.decisions
    assert isinstance(settled, Settled)
    assert stock(after) == {"set": (8, 0, 2), "mug": (6, 0, 4), "tea": (8, 0, 2)}
    assert [(part.claim.drop, part.quantity, part.first_number) for part in settled.parts] == [
        ("mug", 4, 1), ("tea", 2, 1)
    ]  # fmt: skip
    assert {part.claim.claim_id for part in settled.parts} == {
        derive_part_id(tap().jti, "mug"), derive_part_id(tap().jti, "tea")
    }  # fmt: skip


@pytest.mark.parametrize(
    "short",
    [
        pytest.param({"set_": 0}, id="no bundle is left"),
        pytest.param({"mug": 1}, id="the first part is short"),
        pytest.param({"tea": 0}, id="the last part is short"),
    ],
)
@pytest.mark.parametrize("way", ["settle", "hold"])
def test_bundle_of_which_something_is_short_takes_nothing(short: dict[str, int], way: Any) -> None:
    drops = rows(**short)
    linked, after, holds = settle(drops, present(tap(), drops, way))
    (refused,) = linked.decisions
    assert isinstance(refused, Refused)
    assert (refused.code, refused.remaining) == (Code.SOLD_OUT, 0)
    assert after == drops
    assert flat(holds) == []


def test_two_parts_of_one_drop_are_one_demand() -> None:
    """Two lines of one order share a SKU, and each would pass the check."""
    parts = (PartUnits(drop="mug", units=2), PartUnits(drop="mug", units=1))
    for mugs, fits in ((2, False), (3, True)):
        drops = {"mug": row("mug", mugs), "set": row("set", parts=parts)}
        linked, after, _ = settle(drops, present(tap(), drops))
        assert isinstance(linked.decisions[0], Settled) is fits
        assert after["mug"].settled == (3 if fits else 0)
    assert count_parts(parts) == {"mug": 3}


@pytest.mark.parametrize(
    ("free", "mugs", "tea", "left"), [(9, 10, 10, 5), (9, 10, 3, 3), (2, 10, 10, 2), (9, 1, 10, 0)]
)
def test_what_is_left_is_what_the_scarcest_part_allows(free: int, mugs: int, tea: int, left: int) -> None:
    assert count_bundles(free, count_parts(PARTS), {"mug": mugs, "tea": tea}) == left


def test_decision_says_what_is_left_of_the_bundle_and_counts_every_change() -> None:
    drops = rows(set_=9, tea=3)
    linked, after, _ = settle(drops, present(tap(), drops))
    (settled,) = linked.decisions
    assert isinstance(settled, Settled)
    assert (settled.remaining, settled.version) == (2, sum(drop.version for drop in after.values()))
    assert settled.version == 3 + 3


def test_parts_count_for_the_caps_of_their_drops() -> None:
    drops = {**rows(), "mug": row("mug", per_viewer_cap=3)}
    claims = [present(tap(), drops), present(tap("c2", viewer=OTHER), drops)]
    linked, _, _ = settle(drops, *claims, taken={"mug": {VIEWER: 2}})
    first, second = linked.decisions
    assert isinstance(first, Refused)
    assert first.code is Code.CAP_REACHED
    assert isinstance(second, Settled)


def test_a_register_has_no_cap_in_a_bundle_either() -> None:
    drops = {**rows(), "mug": row("mug", per_viewer_cap=2, max_quantity=1)}
    linked, _, _ = settle(drops, present(tap(quantity=4), drops, source="pos"))
    assert isinstance(linked.decisions[0], Settled)


def test_most_units_of_one_claim_are_no_limit_to_a_bundle() -> None:
    drops = {**rows(), "mug": row("mug", max_quantity=1)}
    linked, _, _ = settle(drops, present(tap(), drops))
    assert isinstance(linked.decisions[0], Settled)


def test_bundles_and_single_parts_draw_on_one_stock_in_the_order_in_which_they_came() -> None:
    drops = rows(mug=3)
    claims = [present(tap("c1", drop="mug"), drops), present(tap("c2", viewer=OTHER), drops),
              present(tap("c3", viewer=OTHER, drop="mug"), drops)]  # fmt: skip
    linked, after, _ = settle(drops, *claims)
    assert [type(decision) for decision in linked.decisions] == [Settled, Settled, Refused]
    assert stock(after)["mug"] == (0, 0, 3)


def test_the_same_again_is_the_same_and_another_content_is_a_conflict() -> None:
    drops = rows()
    first = present(tap(), drops)
    linked, after, _ = settle(drops, first, first, present(tap(quantity=2), drops))
    assert [type(decision) for decision in linked.decisions] == [Settled, Repeated, Conflicting]
    assert stock(after)["mug"] == (8, 0, 2)


def held(drops: dict[str, DropStock], *claims: Claim) -> tuple[dict[str, DropStock], list[tuple[str, Hold]]]:
    linked, after, holds = settle(drops, *(present(claim, drops, "hold") for claim in claims))
    assert all(isinstance(decision, Held) for decision in linked.decisions)
    return after, flat(holds)


def test_parts_are_held_with_the_bundle_until_the_same_instant() -> None:
    after, holds = held(rows(hold_s=7), tap())
    assert stock(after) == {"set": (9, 1, 0), "mug": (8, 2, 0), "tea": (9, 1, 0)}
    assert {hold.until_ms for _, hold in holds} == {NOW_MS + 7_000}
    assert {drop: hold.bundle for drop, hold in holds} == {"set": None, "mug": tap().jti, "tea": tap().jti}


def test_what_is_held_is_settled_once_it_is_paid_whatever_is_left() -> None:
    drops, holds = held(rows(set_=1, mug=2, tea=1), tap())
    linked, after, states = settle(drops, present(tap(), drops, "paid"), holds=holds, now_ms=NOW_MS + 1)
    assert isinstance(linked.decisions[0], Settled)
    assert stock(after) == {"set": (0, 0, 1), "mug": (0, 0, 2), "tea": (0, 0, 1)}
    assert {hold.state for _, hold in flat(states)} == {State.SETTLED}


def test_a_hold_that_is_asked_for_again_is_the_same_hold() -> None:
    drops, holds = held(rows(), tap())
    linked, after, _ = settle(drops, present(tap(), drops, "hold"), holds=holds)
    (again,) = linked.decisions
    assert isinstance(again, Held)
    assert not again.fresh
    assert after == drops


@pytest.mark.parametrize("at", ["set", "mug", "tea"])
def test_lapse_frees_bundle_and_parts_at_one_instant_whoever_looks(at: str) -> None:
    drops, holds = held(rows(), tap())
    looked_at = {at: drops[at]}
    for now_ms, is_held in ((NOW_MS + 59_999, True), (NOW_MS + 60_000, False)):
        some = [hold for drop, hold in holds if drop == at]
        outcome = settle_batch(looked_at[at], {}, {}, (), holds=some, now_ms=now_ms)
        assert (outcome.drop.held > 0) is is_held
    _, after, _ = settle(drops, holds=holds, now_ms=NOW_MS + 60_000)
    assert stock(after) == stock(rows())


def test_a_hold_that_lost_a_part_to_a_faster_clock_is_gone_as_a_whole() -> None:
    drops, holds = held(rows(), tap())
    (mug,) = [hold for drop, hold in holds if drop == "mug"]
    early = settle_batch(drops["mug"], {}, {}, (), holds=[mug], now_ms=NOW_MS + 60_000)
    drops["mug"] = early.drop
    holds = [(drop, early.holds[0] if drop == "mug" else hold) for drop, hold in holds]
    _, after, _ = settle(drops, holds=holds, now_ms=NOW_MS + 1)
    assert stock(after) == stock(rows())


def test_giving_back_frees_every_part() -> None:
    drops, holds = held(rows(), tap(), tap("c2", viewer=OTHER))
    known = {drop: [hold for at, hold in holds if at == drop] for drop in drops}
    after = {outcome.drop.drop: outcome.drop for outcome in give_back(drops, known, "set", tap().jti, NOW_MS)}
    assert stock(after) == {"set": (9, 1, 0), "mug": (8, 2, 0), "tea": (9, 1, 0)}


@pytest.mark.parametrize(("late", "code"), [("honour", None), ("refund", Code.HOLD_LAPSED)])
def test_money_after_the_lapse_buys_all_of_it_or_nothing(late: Any, code: Code | None) -> None:
    drops, holds = held(rows(late_payment=late), tap())
    linked, after, states = settle(drops, present(tap(), drops, "paid"), holds=holds, now_ms=NOW_MS + 60_000)
    (decision,) = linked.decisions
    assert (decision.code if isinstance(decision, Refused) else None) is code
    assert {hold.state for _, hold in flat(states)} == {State.SETTLED if code is None else State.REFUSED}
    assert {drop.held for drop in after.values()} == {0}


def test_late_money_is_refused_as_a_whole_when_a_part_is_short() -> None:
    drops, holds = held(rows(mug=2), tap())
    _, drops, states = settle(
        drops, present(tap("c2", viewer=OTHER, drop="mug"), drops), holds=holds, now_ms=NOW_MS + 60_000
    )
    linked, after, _ = settle(drops, present(tap(), drops, "paid"), holds=flat(states), now_ms=NOW_MS + 60_001)
    (refused,) = linked.decisions
    assert isinstance(refused, Refused)
    assert refused.code is Code.SOLD_OUT
    assert stock(after) == {"set": (10, 0, 0), "mug": (1, 0, 1), "tea": (10, 0, 0)}


def test_own_holds_of_bundles_do_not_lock_their_viewer_out() -> None:
    """A shopper locked out by their own hold."""
    drops, holds = held(rows(tea=1), tap())
    linked, after, states = settle(drops, present(tap("c2"), drops, "hold"), holds=holds)
    assert isinstance(linked.decisions[0], Held)
    assert stock(after) == {"set": (9, 1, 0), "mug": (8, 2, 0), "tea": (0, 1, 0)}
    assert [hold.state for _, hold in flat(states) if (hold.bundle or hold.claim_id) == tap().jti] == [
        State.RELEASED
    ] * 3


def test_own_hold_of_a_part_does_not_lock_its_viewer_out_of_the_bundle() -> None:
    drops, holds = held(rows(mug=2), tap("c2", drop="mug"))
    linked, after, _ = settle(drops, present(tap(), drops), holds=holds)
    assert isinstance(linked.decisions[0], Settled)
    assert stock(after)["mug"] == (0, 0, 2)


def test_nothing_is_given_back_where_it_would_not_help() -> None:
    drops, holds = held(rows(mug=3, tea=0), tap("c2", drop="mug"))
    linked, after, _ = settle(drops, present(tap(), drops), holds=holds)
    assert isinstance(linked.decisions[0], Refused)
    assert after == drops


def test_a_part_that_is_held_in_a_bundle_is_not_given_back_alone() -> None:
    drops, holds = held(rows(mug=2), tap())
    linked, after, _ = settle(drops, present(tap("c2", drop="mug"), drops), holds=holds)
    assert isinstance(linked.decisions[0], Refused)
    assert stock(after)["set"] == (9, 1, 0)


def test_receipts_of_parts_follow_from_the_bundles() -> None:
    claim = tap()
    part_id = derive_part_id(claim.jti, "mug")
    told = ReceiptPart(
        claim_id=part_id, holder=commit_holder(part_id, VIEWER), drop="mug", run="run-1", sku="sku-mug",
        run_numbers=(4, 5), position=9, previous="h",
    )  # fmt: skip
    whole = write_receipt(claim, "https://origin.example", 1, NOW_MS, "card", parts=(told,))
    (part,) = unfold_parts(whole)
    assert (part.jti, part.bundle, part.drop, part.run_numbers) == (part_id, claim.jti, "mug", (4, 5))
    assert (part.total_minor, part.payment, part.position, part.lines[0].sku) == (0, "none", 9, "sku-mug")
    assert (whole.total_minor, whole.payment) == (500, "card")
    assert unfold_parts(part) == ()


def test_a_part_is_not_returned_alone() -> None:
    sold = Sold(
        claim_id="c1", drop="mug", state=State.SETTLED, units=1, paid_minor=0, paid_currency="EUR", is_part=True
    )
    order = ReturnOrder(key="k" * 22)
    assert decide_return(sold, State.CANCELLED, order, Actor.OPERATOR) is Code.PART_OF_BUNDLE


def body(drop: str = "set", **changes: Any) -> DropBody:
    told = {"drop": drop, "run": "r1", "sku": drop, "total": 10, "opens_at_ms": 10, "closes_at_ms": 20}
    return DropBody(**{**told, **changes})


def bundle(*parts: tuple[str, int], **changes: Any) -> DropBody:
    return body(parts=tuple(PartBody(drop=drop, units=units) for drop, units in parts), **changes)


MUG = body("mug", per_viewer_cap=4)


@pytest.mark.parametrize(
    ("document", "code", "where"),
    [
        pytest.param(bundle(("mug", 2)), None, "", id="good"),
        pytest.param(bundle(("mug", 2), ("mug", 2)), None, "", id="good, one drop twice"),
        pytest.param(bundle(("mug", 1), ("cup", 1)), Code.DROP_UNKNOWN, "$.parts[1].drop", id="unknown part"),
        pytest.param(bundle(("other", 1)), Code.INVALID_FIELD, "neither bundle", id="a bundle in a bundle"),
        pytest.param(bundle(("early", 1)), Code.INVALID_FIELD, "nor allotment", id="an allotment"),
        pytest.param(bundle(("mug", 1), opens_at_ms=9), Code.INVALID_FIELD, "open as long", id="opens earlier"),
        pytest.param(bundle(("mug", 1), closes_at_ms=21), Code.INVALID_FIELD, "open as long", id="closes later"),
        pytest.param(bundle(("mug", 5)), Code.INVALID_FIELD, "per_viewer_cap", id="more than the part's cap"),
        pytest.param(bundle(("mug", 2), ("mug", 3)), Code.INVALID_FIELD, "cap", id="more than the cap, in two parts"),
        pytest.param(
            bundle(("mug", 3), max_quantity=2, per_viewer_cap=2), Code.INVALID_FIELD, "cap", id="more in one claim"
        ),
    ],
)
def test_bundle_that_could_not_be_settled_is_refused(document: DropBody, code: Code | None, where: str) -> None:
    stored = {
        "mug": MUG,
        "other": bundle(("mug", 1), drop="other"),
        "early": body("early", allotment_of="mug", release_at_ms=15),
    }
    problem = check_parts(document, stored)
    assert (None if problem is None else problem.code) is code
    assert where in ("" if problem is None else problem.detail)


def test_bundle_is_neither_allotment_nor_pool() -> None:
    allotment = bundle(("mug", 1), allotment_of="mug", release_at_ms=15)
    told = [check_drop(allotment, None, 0), check_allotment(body("early", sku="set"), bundle(("mug", 1)))]
    assert [problem.code if problem else None for problem in told] == [Code.INVALID_FIELD] * 2


def test_bundle_keeps_its_parts() -> None:
    stored = DropStanding(run="r1", sku="set", taken=0, parts=(PartBody(drop="mug", units=1),))
    problem = check_drop(bundle(("mug", 2)), stored, 0)
    assert problem is not None
    assert problem.code is Code.REVISION_CONFLICT
    assert check_drop(bundle(("mug", 1)), stored, 0) is None


@pytest.mark.parametrize(
    ("changes", "fits"),
    [({"total": 50}, True), ({"closes_at_ms": 19}, False), ({"per_viewer_cap": 1}, False), ({"opens_at_ms": 1}, True)],
)
def test_part_is_not_changed_in_a_way_that_its_bundles_do_not_allow(changes: dict[str, int], *, fits: bool) -> None:
    part = body("mug", **{"per_viewer_cap": 4, **changes})
    problem = check_bundles(part, [bundle(("mug", 2))], {"mug": MUG})
    assert (problem is None) is fits
    assert problem is None or (problem.code is Code.REVISION_CONFLICT and "set" in problem.detail)
