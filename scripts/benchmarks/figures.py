"""Figures of a benchmark: rounds of several contenders in turn, and what to quote of them."""

import statistics
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Literal

import msgspec

MAX_SPREAD: Final = 0.3  # beyond this share of the median, the machine was too busy for the figure to be quoted

Effort = Literal["quick", "normal", "full"]
Contender = Callable[[], Awaitable[float]]


class BenchError(Exception):
    """What is measured does not do what it should: no figure is worth anything."""


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One quantity over several rounds.

    Attributes:
        unit: of the numbers.
        median, least, most: over the rounds.
        noisy: whether least and most are further apart than `MAX_SPREAD` of the median.
    """

    unit: str
    median: float
    least: float
    most: float
    noisy: bool


def summarise(unit: str, values: list[float]) -> Figure:
    """Return the figure of one contender's rounds."""
    median = statistics.median(values)
    return Figure(
        unit=unit,
        median=round(median, 1),
        least=round(min(values), 1),
        most=round(max(values), 1),
        noisy=max(values) - min(values) > MAX_SPREAD * median,
    )


def ratio(ours: list[float], other: list[float]) -> float:
    """Return the median of the rounds' own ratios: neighbours in time saw the same machine."""
    return round(statistics.median(a / b for a, b in zip(ours, other, strict=True)), 3)


async def run_in_turn(contenders: Mapping[str, Contender], rounds: int) -> dict[str, list[float]]:
    """Run every contender once a round, in turn, and return each one's values; the first round warms up only."""
    values: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, contender in contenders.items():
            value = await contender()
            say(f"{'warm-up' if number == 0 else f'round {number} of {rounds}'}: {name}: {value:,.0f}")
            if number:
                values[name].append(value)
    return values


def say(text: str) -> None:
    """Tell progress on standard error."""
    sys.stderr.write(f"bench: {text}\n")
    sys.stderr.flush()
