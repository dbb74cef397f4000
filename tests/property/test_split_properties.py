"""Splits of any amount by any shares: to the last minor unit, in any order, and back again in any parts."""

import random
from fractions import Fraction
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from shared.money.splits import SHOP, WHOLE_BP, Share, change_split, split_money

AMOUNTS = st.integers(0, 10**12) | st.integers(0, 200)
SALES = st.text("abcdefgh", min_size=1, max_size=8)


@st.composite
def share_lists(draw: st.DrawFn) -> list[Share]:
    """Shares of up to eight creators that leave the shop something, or nothing."""
    cuts = sorted(draw(st.sets(st.integers(1, WHOLE_BP), max_size=8)))
    names = draw(st.permutations([f"creator-{place}" for place in range(len(cuts))]))
    sizes = [high - low for low, high in pairwise([0, *cuts])]
    return [Share(creator=name, share_bp=size) for name, size in zip(names, sizes, strict=True)]


def exact(amount: int, shares: list[Share]) -> dict[str, Fraction]:
    parts = {share.creator: Fraction(amount * share.share_bp, WHOLE_BP) for share in shares}
    return {**parts, SHOP: amount - sum(parts.values(), Fraction())}


@given(AMOUNTS, share_lists(), SALES)
def test_parts_sum_to_the_amount_and_each_is_its_share_within_one_minor_unit(
    amount: int, shares: list[Share], sale: str
) -> None:
    parts, due = split_money(amount, shares, sale), exact(amount, shares)
    assert sum(parts.values()) == amount
    assert parts.keys() == due.keys()
    assert all(abs(parts[name] - due[name]) < 1 and parts[name] >= 0 for name in due)
    assert all(parts[name] == 0 for name in due if due[name] == 0)


@given(AMOUNTS, share_lists(), SALES, st.randoms(use_true_random=False))
def test_the_order_in_which_shares_are_written_does_not_matter(
    amount: int, shares: list[Share], sale: str, chance: random.Random
) -> None:
    shuffled = chance.sample(shares, len(shares))
    assert split_money(amount, shuffled, sale) == split_money(amount, shares, sale)


@given(AMOUNTS, share_lists(), SALES)
def test_who_has_the_larger_share_never_gets_less(amount: int, shares: list[Share], sale: str) -> None:
    parts, due = split_money(amount, shares, sale), exact(WHOLE_BP, shares)
    ordered = sorted(due, key=lambda name: due[name])
    assert all(parts[low] <= parts[high] for low, high in pairwise(ordered) if due[low] < due[high])


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=8), share_lists(), SALES)
def test_however_many_refunds_give_it_back_each_part_is_that_of_what_is_kept_and_nothing_is_left(
    refunds: list[int], shares: list[Share], sale: str
) -> None:
    kept = sum(refunds)
    owed = change_split(0, kept, shares, sale)
    for refund in refunds:
        moved = change_split(kept, kept - refund, shares, sale)
        kept -= refund
        assert sum(moved.values()) == -refund
        assert 0 not in moved.values()
        share = exact(refund, shares)
        assert all(abs(-moved.get(name, 0) - share[name]) < 2 for name in share)
        owed = {name: owed.get(name, 0) + moved.get(name, 0) for name in owed | moved}
        assert {name: part for name, part in split_money(kept, shares, sale).items() if part} == {
            name: part for name, part in owed.items() if part
        }
    assert not any(owed.values())
