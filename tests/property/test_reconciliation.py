"""Reconciliation: whatever the order in which facts come, and however often, there is one report."""

from itertools import pairwise

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from shared.insight.deliveries import ReadBatch, Rejection, read_batch
from shared.insight.reconciliation import DropFact, Facts, IntakeFact, Report, hash_state, reconcile
from shared.insight.standings import MINUTE_MS, ClaimFact, ClaimFold, Minute, merge_claims, sort_key
from tests.samples import NOW_MS

DROPS = ("drop-1", "drop-2")
instants = st.integers(NOW_MS - 100_000, NOW_MS + 100_000)


@st.composite
def claim_facts(draw: st.DrawFn, claim_id: str, drop: str) -> ClaimFact:
    """Return one report of a claim. What one signed claim says is the same in all its reports."""
    return ClaimFact(
        claim_id=claim_id,
        drop=drop,
        units=0,
        free=False,
        trusted=False,
        issued_at_ms=draw(instants),
        node=draw(st.sampled_from(["node-1", "node-2"])),
        expires_at_ms=draw(instants),
    )


@st.composite
def reported_claims(draw: st.DrawFn) -> list[ClaimFact]:
    """Return reports of some claims, each reported at least once, some several times, some under an unknown key."""
    facts: list[ClaimFact] = []
    for number in range(draw(st.integers(0, 8))):
        claim_id, drop = f"claim-{number}", draw(st.sampled_from(DROPS))
        free, units = draw(st.booleans()), draw(st.integers(1, 3))
        decision = draw(st.sampled_from(["settled", "refused", None]))
        for _ in range(draw(st.integers(1, 3))):
            fact = draw(claim_facts(claim_id, drop))
            if draw(st.booleans()):
                fact = msgspec.structs.replace(fact, trusted=True, free=free, units=units)
            facts.append(msgspec.structs.replace(fact, decision=decision))
    return facts


def report_of(facts: list[ClaimFact]) -> tuple[Report, list[Minute]]:
    """Reconcile facts, as the store does: those of one claim are joined as they come, then all are sorted."""
    claims: dict[tuple[str, str], ClaimFact] = {}
    for fact in facts:
        key = (fact.drop, fact.claim_id)
        claims[key] = merge_claims(claims[key], fact) if key in claims else fact
    drops = tuple(
        DropFact(drop=drop, total=5, free=0, held=0, settled=5, settled_units=5, sold_out_at_ms=NOW_MS - 5_000)
        for drop in DROPS
    )
    fold = ClaimFold({drop.drop: drop.sold_out_at_ms for drop in drops}, NOW_MS)
    fold.feed(sorted(claims.values(), key=sort_key))
    counts, facts_of_all = fold.finish(), Facts(drops=drops, gaps=(), intake=IntakeFact(), rejections=())
    return reconcile(facts_of_all, counts, NOW_MS, fold.worst), fold.minutes


@given(facts=reported_claims(), data=st.data())
def test_any_order_and_duplication_gives_the_same_report(facts: list[ClaimFact], data: st.DataObject) -> None:
    repeated = data.draw(st.lists(st.sampled_from(facts), max_size=8)) if facts else []
    again = data.draw(st.permutations([*facts, *repeated]))
    (report, minutes), (same, same_minutes) = report_of(facts), report_of(again)
    assert (report, minutes) == (same, same_minutes)
    assert hash_state(report) == hash_state(same)


@given(facts=reported_claims())
def test_each_claim_is_counted_once_and_stands_somewhere(facts: list[ClaimFact]) -> None:
    report, minutes = report_of(facts)
    assert sum(drop.issued for drop in report.drops) == len({(fact.drop, fact.claim_id) for fact in facts})
    for drop in report.drops:
        standing = (drop.settled, drop.refused, drop.waiting, drop.outstanding, drop.lapsed, drop.due, drop.unverified)
        assert sum(standing) == drop.issued
        assert sum(minute.issued for minute in minutes if minute.drop == drop.drop) == drop.issued


@given(facts=reported_claims(), cuts=st.lists(st.integers(0, 30), max_size=4))
def test_the_size_of_the_chunks_does_not_matter(facts: list[ClaimFact], cuts: list[int]) -> None:
    ordered = sorted(facts, key=sort_key)
    whole, parts = ClaimFold({}, NOW_MS), ClaimFold({}, NOW_MS)
    whole.feed(ordered)
    edges = [0, *sorted(min(cut, len(ordered)) for cut in cuts), len(ordered)]
    for start, end in pairwise(edges):
        parts.feed(ordered[start:end])
    assert {name: vars(counts) for name, counts in parts.finish().items()} == {
        name: vars(counts) for name, counts in whole.finish().items()
    }
    assert parts.minutes == whole.minutes


@given(facts=reported_claims(), split=instants)
def test_what_was_counted_earlier_and_what_is_counted_anew_are_the_whole(facts: list[ClaimFact], split: int) -> None:
    ordered = sorted(facts, key=sort_key)
    first, whole = ClaimFold({}, NOW_MS), ClaimFold({}, NOW_MS)
    first.feed(ordered)
    whole.feed(ordered)
    first.finish()
    start = split // MINUTE_MS * MINUTE_MS
    second = ClaimFold({}, NOW_MS, [minute for minute in first.minutes if minute.minute_ms < start])
    second.feed([fact for fact in ordered if fact.issued_at_ms >= start])
    late = {"unverified_lately": 0}  # what is old is no news
    assert {name: {**vars(counts), **late} for name, counts in second.finish().items()} == {
        name: {**vars(counts), **late} for name, counts in whole.finish().items()
    }


@given(data=st.data())
def test_merging_is_a_join(data: st.DataObject) -> None:
    one, two, three = (
        msgspec.structs.replace(
            data.draw(claim_facts("c", "d")),
            trusted=data.draw(st.booleans()),
            free=data.draw(st.booleans()),
            units=data.draw(st.integers(0, 3)),
            repaired=data.draw(st.booleans()),
        )
        for _ in range(3)
    )
    assert merge_claims(one, one) == one
    assert merge_claims(one, two) == merge_claims(two, one)
    assert merge_claims(merge_claims(one, two), three) == merge_claims(one, merge_claims(two, three))


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
BATCH_LIKE = st.fixed_dictionaries(
    {},
    optional={
        "v": st.just(1) | JSON_VALUES,
        "node": st.just("node-1") | JSON_VALUES,
        "seq": st.integers(-1, 5) | JSON_VALUES,
        "at_ms": st.just(NOW_MS) | JSON_VALUES,
        "colo": st.just("FRA") | JSON_VALUES,
        "events": st.lists(st.just({"type": "view", "clip": "clip-1", "at_ms": NOW_MS}) | JSON_VALUES, max_size=3)
        | JSON_VALUES,
    },
)


@given(raw=st.binary(max_size=40) | BATCH_LIKE.map(msgspec.json.encode) | JSON_VALUES.map(msgspec.json.encode))
def test_whatever_is_delivered_is_a_batch_or_a_reason(raw: bytes) -> None:
    read = read_batch(raw)
    assert isinstance(read, ReadBatch | Rejection)


@given(good=st.integers(1, 4), bad=JSON_VALUES, place=st.integers(0, 4))
def test_a_bad_event_takes_no_other_with_it(good: int, bad: object, place: int) -> None:
    events: list[object] = [{"type": "view", "clip": "clip-1", "at_ms": NOW_MS}] * good
    events.insert(min(place, good), bad)
    read = read_batch(msgspec.json.encode({"v": 1, "node": "n", "seq": 1, "at_ms": NOW_MS, "events": events}))
    assert isinstance(read, ReadBatch)
    assert [item.index for item in read.events] == [index for index in range(good + 1) if index != min(place, good)]
    assert read.rejections == (Rejection(index=min(place, good), reason="not_an_event"),)
