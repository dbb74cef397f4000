"""Settlement, in any order and any batches: stock adds up, caps hold, each claim is decided once."""

import itertools
from collections.abc import Iterable, Sequence

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from shared.claims.settlement import (
    Conflicting,
    Decision,
    DropStock,
    Outcome,
    Presented,
    Refused,
    Repeated,
    Settled,
    settle_batch,
)

VIEWERS = ["v1", "v2", "v3"]


@st.composite
def stocks(draw: st.DrawFn) -> DropStock:
    free, held, settled = draw(st.integers(0, 12)), draw(st.integers(0, 3)), draw(st.integers(0, 5))
    return DropStock(
        drop="drop-1",
        run="run-1",
        sku="sku-1",
        total=free + held + settled,
        free=free,
        held=held,
        settled=settled,
        next_number=settled + 1,
        version=draw(st.integers(0, 9)),
        per_viewer_cap=draw(st.integers(1, 6)),
        max_quantity=draw(st.integers(1, 4)),
    )


presented = st.builds(
    Presented,
    claim_id=st.sampled_from([f"c{number}" for number in range(12)]),
    drop=st.just("drop-1"),
    run=st.sampled_from(["run-1", "run-1", "run-1", "run-1", "run-0"]),
    viewer=st.sampled_from(VIEWERS),
    fingerprint=st.sampled_from(["f", "f", "f", "g"]),
    units=st.lists(
        st.tuples(st.sampled_from(["sku-1", "sku-1", "sku-1", "sku-2"]), st.integers(1, 3)), min_size=1, max_size=2
    ).map(tuple),
)
sequences = st.lists(presented, max_size=25)


class Ledger:
    """What a database remembers between batches."""

    def __init__(self, drop: DropStock, taken: dict[str, int]) -> None:
        self.drop = drop
        self.decided: dict[str, str] = {}
        self.taken = dict(taken)
        self.decisions: list[Decision] = []

    def settle(self, batch: Sequence[Presented]) -> Outcome:
        ids = {claim.claim_id for claim in batch}
        viewers = {claim.viewer for claim in batch}
        outcome = settle_batch(
            self.drop,
            {claim_id: fingerprint for claim_id, fingerprint in self.decided.items() if claim_id in ids},
            {viewer: units for viewer, units in self.taken.items() if viewer in viewers},
            batch,
        )
        for decision in outcome.decisions:
            if isinstance(decision, Settled | Refused):
                self.decided[decision.claim.claim_id] = decision.claim.fingerprint
            if isinstance(decision, Settled):
                self.taken[decision.claim.viewer] = self.taken.get(decision.claim.viewer, 0) + decision.quantity
        self.decisions += outcome.decisions
        self.drop = outcome.drop
        return outcome


def settled_of(decisions: Iterable[Decision]) -> list[Settled]:
    return [decision for decision in decisions if isinstance(decision, Settled)]


@given(stocks(), sequences)
def test_stock_adds_up_and_never_goes_below_nothing(drop: DropStock, claims: list[Presented]) -> None:
    after = settle_batch(drop, {}, {}, claims).drop
    assert after.free >= 0
    assert after.free + after.held + after.settled == after.total == drop.total
    assert after.held == drop.held


@given(stocks(), st.dictionaries(st.sampled_from(VIEWERS), st.integers(0, 3)), sequences)
def test_no_viewer_settles_above_the_cap(drop: DropStock, taken: dict[str, int], claims: list[Presented]) -> None:
    ledger = Ledger(drop, taken)
    ledger.settle(claims)
    for viewer in VIEWERS:
        before = taken.get(viewer, 0)
        assert ledger.taken.get(viewer, 0) <= max(before, drop.per_viewer_cap)


@given(stocks(), sequences)
def test_run_numbers_go_up_without_a_gap(drop: DropStock, claims: list[Presented]) -> None:
    outcome = settle_batch(drop, {}, {}, claims)
    numbers = [
        number
        for decision in settled_of(outcome.decisions)
        for number in range(decision.first_number, decision.first_number + decision.quantity)
    ]
    assert numbers == list(range(drop.next_number, drop.next_number + len(numbers)))
    assert outcome.drop.next_number == drop.next_number + len(numbers)
    assert outcome.drop.settled - drop.settled == len(numbers)


@given(stocks(), sequences)
def test_each_claim_id_is_decided_once(drop: DropStock, claims: list[Presented]) -> None:
    outcome = settle_batch(drop, {}, {}, claims)
    assert [decision.claim for decision in outcome.decisions] == claims
    first: dict[str, Presented] = {}
    for decision in outcome.decisions:
        claim = decision.claim
        if claim.claim_id not in first:
            assert isinstance(decision, Settled | Refused)
            first[claim.claim_id] = claim
        else:
            same = first[claim.claim_id].fingerprint == claim.fingerprint
            assert isinstance(decision, Repeated if same else Conflicting)


@given(stocks(), st.dictionaries(st.sampled_from(VIEWERS), st.integers(0, 3)), sequences, st.data())
def test_any_split_into_batches_gives_the_same_decisions(
    drop: DropStock, taken: dict[str, int], claims: list[Presented], data: st.DataObject
) -> None:
    whole, split = Ledger(drop, taken), Ledger(drop, taken)
    whole.settle(claims)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(claims)), max_size=6)))
    for start, end in itertools.pairwise([0, *cuts, len(claims)]):
        split.settle(claims[start:end])
    assert split.decisions == whole.decisions
    assert split.drop == whole.drop


@given(stocks(), sequences)
def test_asking_everything_again_changes_nothing(drop: DropStock, claims: list[Presented]) -> None:
    ledger = Ledger(drop, {})
    ledger.settle(claims)
    after, decided = ledger.drop, dict(ledger.decided)
    again = ledger.settle(list(reversed(claims)))
    assert again.drop == after
    assert ledger.decided == decided
    assert not any(isinstance(decision, Settled | Refused) for decision in again.decisions)


@given(stocks(), sequences)
def test_a_version_counts_each_change_of_stock(drop: DropStock, claims: list[Presented]) -> None:
    outcome = settle_batch(drop, {}, {}, claims)
    versions = [decision.version for decision in settled_of(outcome.decisions)]
    assert versions == list(range(drop.version + 1, drop.version + 1 + len(versions)))
    assert outcome.drop.version == drop.version + len(versions)


@given(stocks(), sequences)
def test_what_is_left_over_could_not_have_been_settled(drop: DropStock, claims: list[Presented]) -> None:
    outcome = settle_batch(drop, {}, {}, claims)
    for decision in outcome.decisions:
        if isinstance(decision, Refused) and decision.code == "sold_out":
            assert sum(units for _, units in decision.claim.units) > decision.remaining


@given(stocks())
def test_nothing_of_a_row_is_lost(drop: DropStock) -> None:
    changed = {"free", "settled", "next_number", "version"}
    claim = Presented(claim_id="c", drop="drop-1", run="run-1", viewer="v", fingerprint="f", units=(("sku-1", 1),))
    after = settle_batch(drop, {}, {}, [claim]).drop
    for name in set(msgspec.structs.asdict(drop)) - changed:
        assert getattr(after, name) == getattr(drop, name)
