"""Latency budgets: how soon each kind of settlement is confirmed, what happens when it is not, and whose fault it was.

Rules:

1. Each kind has one deadline, from when it reaches its first stage here. It is the sum of what its stages may take.
2. A miss takes the kind's declared fallback, and counts once: against the stage that went furthest beyond its share.
3. What is late is not lost: `PENDING` is confirmed later, and only `RELEASE` ends a claim, with nothing taken.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from shared.structs import Wire


class Kind(StrEnum):
    """What is confirmed."""

    TAP = "tap"  # a viewer waits: free, or paid on fetching
    CARD = "card"  # a viewer waits for a held claim, or for its payment
    WALLET = "wallet"
    POINT_OF_SALE = "point_of_sale"  # somebody at a counter waits
    BULK = "bulk"  # nobody waits: what the edge reported


class Stage(StrEnum):
    """Where time goes."""

    EDGE = "edge"  # from the claim until the edge has reported it
    QUEUE = "queue"  # from there until it is taken in here
    BATCH = "batch"  # waiting for a transaction
    DATABASE = "database"  # the transaction
    PAYMENT = "payment"  # the payment provider


class Fallback(StrEnum):
    """What a miss comes to."""

    PENDING = "pending"  # `202`: confirmed later, over server-sent events or when asked again
    RELEASE = "release"  # refused, and what was held is free


class Budget(NamedTuple):
    """One kind's budget: milliseconds that each of its stages may take, and the fallback."""

    shares_ms: Mapping[Stage, int]
    fallback: Fallback

    @property
    def deadline_ms(self) -> int:
        """All stages together."""
        return sum(self.shares_ms.values())


BUDGETS: Final[Mapping[Kind, Budget]] = {
    Kind.TAP: Budget({Stage.BATCH: 1_000, Stage.DATABASE: 3_000}, Fallback.PENDING),
    Kind.CARD: Budget({Stage.BATCH: 1_000, Stage.DATABASE: 3_000, Stage.PAYMENT: 6_000}, Fallback.PENDING),
    Kind.WALLET: Budget({Stage.BATCH: 1_000, Stage.DATABASE: 2_000}, Fallback.RELEASE),
    Kind.POINT_OF_SALE: Budget({Stage.BATCH: 1_000, Stage.DATABASE: 3_000}, Fallback.PENDING),
    Kind.BULK: Budget({Stage.EDGE: 10_000, Stage.QUEUE: 40_000, Stage.DATABASE: 10_000}, Fallback.PENDING),
}
# `edge` is counted from the claim's own instant, which has whole seconds.
_ROUNDING_MS: Final = 1_000


class BudgetState(Wire, frozen=True, kw_only=True):
    """How one kind did over some time.

    Attributes:
        met: confirmed within the deadline.
        missed: not, by the stage that was slow; stages without a miss are not there.
    """

    kind: Kind
    deadline_ms: int
    fallback: Fallback
    met: int
    missed: dict[str, int]


def find_slow_stage(kind: Kind, spent_ms: Mapping[Stage, float]) -> Stage | None:
    """Return the stage that a miss counts against, or None when the deadline was met.

    Args:
        kind: what was confirmed.
        spent_ms: by stage; those that are not there took no time.
    """
    return blame_stage(kind, spent_ms) if sum(spent_ms.values()) > BUDGETS[kind].deadline_ms else None


def blame_stage(kind: Kind, spent_ms: Mapping[Stage, float]) -> Stage:
    """Return the stage that went furthest beyond its share."""
    shares_ms = BUDGETS[kind].shares_ms
    return max(Stage, key=lambda stage: spent_ms.get(stage, 0.0) - shares_ms.get(stage, 0))


def split_report(issued_s: int, reported_ms: int, received_ms: int) -> dict[Stage, float]:
    """Return where the time went of a claim that the edge reported, until it was taken in here.

    Args:
        issued_s: when the edge gave it (its `iat`).
        reported_ms: when the edge sent the report, by its own clock.
        received_ms: when the report was taken in, by ours. Clocks that differ count as no time.
    """
    return {
        Stage.EDGE: max(0.0, reported_ms - issued_s * 1000 - _ROUNDING_MS),
        Stage.QUEUE: max(0.0, received_ms - reported_ms),
    }


def sum_up(counts: Mapping[tuple[Kind, Stage | None], int]) -> tuple[BudgetState, ...]:
    """Return the state of each budget from counts of confirmations, by kind and slow stage (None: met)."""
    return tuple(
        BudgetState(
            kind=kind,
            deadline_ms=budget.deadline_ms,
            fallback=budget.fallback,
            met=counts.get((kind, None), 0),
            missed={stage: counts[kind, stage] for stage in Stage if counts.get((kind, stage))},
        )
        for kind, budget in BUDGETS.items()
    )
