"""Latency budgets: one table, the stage that a miss counts against, and what is added up."""

import asyncio
from collections.abc import Mapping

import pytest

from origin.settlement import confirming
from origin.settlement.confirming import Confirmations, spend
from shared.claims.budgets import BUDGETS, Fallback, Kind, Stage, find_slow_stage, split_report, sum_up

EDGE, QUEUE, BATCH, DATABASE, PAYMENT = Stage


def test_every_kind_has_a_deadline_and_a_fallback() -> None:
    assert set(BUDGETS) == set(Kind)
    assert all(budget.deadline_ms > 0 for budget in BUDGETS.values())
    assert {budget.fallback for budget in BUDGETS.values()} == set(Fallback)


def test_every_stage_has_a_share_of_some_deadline() -> None:
    assert {stage for budget in BUDGETS.values() for stage in budget.shares_ms} == set(Stage)


@pytest.mark.parametrize(
    ("kind", "spent_ms", "slow"),
    [
        pytest.param(Kind.TAP, {}, None, id="no time at all"),
        pytest.param(Kind.TAP, {BATCH: 1_000, DATABASE: 3_000}, None, id="on the dot"),
        pytest.param(Kind.TAP, {BATCH: 3_900, DATABASE: 10}, None, id="one stage over, all in time"),
        pytest.param(Kind.TAP, {BATCH: 3_000, DATABASE: 1_001}, BATCH, id="waited for a batch"),
        pytest.param(Kind.TAP, {BATCH: 1_200, DATABASE: 4_000}, DATABASE, id="slow transaction"),
        pytest.param(Kind.CARD, {PAYMENT: 12_000, DATABASE: 50}, PAYMENT, id="slow provider"),
        pytest.param(Kind.BULK, {EDGE: 61_000, QUEUE: 2_000}, EDGE, id="reported late"),
        pytest.param(Kind.BULK, {EDGE: 9_000, QUEUE: 55_000}, QUEUE, id="taken in late"),
        pytest.param(Kind.WALLET, {PAYMENT: 3_001}, PAYMENT, id="a stage without a share"),
    ],
)
def test_a_miss_counts_against_the_stage_furthest_beyond_its_share(
    kind: Kind, spent_ms: Mapping[Stage, float], slow: Stage | None
) -> None:
    assert find_slow_stage(kind, spent_ms) is slow


def test_a_report_s_time_is_the_edge_s_until_it_is_sent_and_the_queue_s_after() -> None:
    assert split_report(100, 103_500, 110_000) == {EDGE: 2_500, QUEUE: 6_500}


def test_clocks_that_differ_count_as_no_time() -> None:
    assert split_report(100, 99_000, 98_000) == {EDGE: 0, QUEUE: 0}


def test_states_add_up_by_kind() -> None:
    states = {state.kind: state for state in sum_up({(Kind.TAP, None): 7, (Kind.TAP, BATCH): 2, (Kind.BULK, QUEUE): 1})}
    assert (states[Kind.TAP].met, states[Kind.TAP].missed) == (7, {BATCH: 2})
    assert (states[Kind.BULK].met, states[Kind.BULK].missed) == (0, {QUEUE: 1})
    assert (states[Kind.CARD].met, states[Kind.CARD].missed) == (0, {})


def test_work_in_time_is_returned_and_counted() -> None:
    async def work() -> str:
        return "done"

    confirmations = Confirmations()
    assert asyncio.run(confirmations.confirm(Kind.CARD, work())) == "done"
    assert confirmations.count(Kind.CARD, None) == 1


def test_what_the_work_raises_is_raised() -> None:
    async def work() -> None:
        raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        asyncio.run(Confirmations().confirm(Kind.CARD, work()))


def test_late_work_goes_on_and_counts_against_the_stage_that_it_is_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confirming, "deadline_s", lambda _: 0.05)
    told: list[str] = []

    async def act() -> Confirmations:
        goes_on = asyncio.Event()

        async def work() -> str:
            with spend(PAYMENT):
                await goes_on.wait()
            told.append("done")
            return "told"

        confirmations = Confirmations()
        assert await confirmations.confirm(Kind.BULK, work()) is None
        goes_on.set()
        await confirmations.close()
        return confirmations

    assert asyncio.run(act()).count(Kind.BULK, PAYMENT) == 1
    assert told == ["done"]


def test_late_wallet_work_ends() -> None:
    ended: list[str] = []

    async def act(confirmations: Confirmations) -> None:
        async def work() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append("ended")

        await confirmations.confirm(Kind.WALLET, work())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(confirming, "deadline_s", lambda _: 0.01)
        asyncio.run(act(Confirmations()))
    assert ended == ["ended"]
