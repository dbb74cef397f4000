"""Figures of benchmarks: medians, spreads, and ratios of neighbours in time."""

import asyncio

from scripts.benchmarks.figures import ratio, run_in_turn, summarise


def test_a_figure_is_the_median_with_its_spread() -> None:
    figure = summarise("claims/s", [100.0, 300.0, 110.0])
    assert (figure.median, figure.least, figure.most, figure.noisy) == (110.0, 100.0, 300.0, True)


def test_close_rounds_are_not_called_noisy() -> None:
    assert not summarise("claims/s", [100.0, 105.0, 110.0]).noisy


def test_a_ratio_compares_what_ran_side_by_side() -> None:
    # The machine was three times slower in the second round: each pair tells the same.
    assert ratio([40.0, 13.0, 40.0], [10.0, 3.25, 10.0]) == 4.0


def test_contenders_take_turns_and_the_warm_up_does_not_count() -> None:
    turns: list[str] = []

    async def run(name: str) -> float:
        turns.append(name)
        return float(len(turns))

    values = asyncio.run(run_in_turn({"ours": lambda: run("ours"), "theirs": lambda: run("theirs")}, rounds=2))
    assert turns == ["ours", "theirs"] * 3
    assert values == {"ours": [3.0, 5.0], "theirs": [4.0, 6.0]}
