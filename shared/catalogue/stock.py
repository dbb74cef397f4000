"""Stock as the edge sees it: a small, dated, versioned snapshot of what a drop has left, and how fast to admit.

A snapshot is never counted down at the edge: nodes share nothing within the time that a drop takes. What is shown is
the snapshot's own number with its version and age, so it can be checked against the audit trail.
"""

from typing import Annotated, Final, Literal

from msgspec import Meta

from shared.structs import Identifier, InstantMs, Units, Wire

FRESH_MS: Final = 250  # within this age an isolate does not ask again
EDGE_CACHE_S: Final = 1  # how long a location's cache keeps one
LATE_MS: Final = 5_000  # beyond this age a snapshot is shown as stale
FUTURE_LEEWAY_MS: Final = 5_000  # two clocks differ; a snapshot from further ahead is not believed

SPREAD_S: Final = 2  # a scarce run is meant to be admitted over about this long, by all nodes together
ALWAYS_ADMIT_PER_S: Final = 5  # even the last unit is offered to more than one viewer a second
PLENTY: Final = 10_000  # units from which no rate is needed

LOW_SHARE_BP: Final = 2_000  # a fifth left is "low"
LOW_UNITS: Final = 5

StockState = Literal["available", "low", "last", "sold_out", "unknown"]


class StockSnapshot(Wire, frozen=True, kw_only=True):
    """What a drop has left, at one instant.

    Attributes:
        version: counts up with every change of the drop's stock; the higher is the newer.
        as_of_ms: the origin's clock when it was read.
        total: units of the run.
        remaining: units that a claim could still settle: the free ones.
        admit_per_s: claims that one node may give a second; None for no limit.
    """

    drop: Identifier
    version: Annotated[int, Meta(ge=0)]
    as_of_ms: InstantMs
    total: Units
    remaining: Units
    admit_per_s: Annotated[int, Meta(ge=0)] | None = None


class StockSnapshots(Wire, frozen=True, kw_only=True):
    """The snapshots of several drops, read at one instant."""

    as_of_ms: InstantMs
    drops: tuple[StockSnapshot, ...]


class StockReport(Wire, frozen=True, kw_only=True):
    """A drop's stock as told to a browser.

    Attributes:
        remaining: None when it is not known.
        age_ms: how old it is by the clock of whoever tells.
        stale: whether it is older than it should be, because the origin is away.
    """

    drop: Identifier
    state: StockState
    remaining: Units | None
    version: int
    as_of_ms: InstantMs
    age_ms: int
    stale: bool


def band_stock(remaining: int, total: int) -> StockState:
    """Return the band that `remaining` of `total` units is in."""
    if remaining <= 0:
        return "sold_out"
    if remaining == 1:
        return "last"
    if remaining <= LOW_UNITS or remaining * 10_000 <= total * LOW_SHARE_BP:
        return "low"
    return "available"


def is_believable(snapshot: StockSnapshot, now_ms: int) -> bool:
    """Return whether a snapshot is not from further in the future than clocks differ."""
    return snapshot.as_of_ms <= now_ms + FUTURE_LEEWAY_MS


def is_stale(snapshot: StockSnapshot, now_ms: int) -> bool:
    """Return whether a snapshot is older than what a healthy origin would give."""
    return now_ms - snapshot.as_of_ms > LATE_MS


def report_stock(drop: str, snapshot: StockSnapshot | None, now_ms: int) -> StockReport:
    """Return what a browser is told of a drop; `unknown` when there is no snapshot."""
    if snapshot is None:
        return StockReport(drop=drop, state="unknown", remaining=None, version=0, as_of_ms=0, age_ms=0, stale=True)
    return StockReport(
        drop=drop,
        state=band_stock(snapshot.remaining, snapshot.total),
        remaining=snapshot.remaining,
        version=snapshot.version,
        as_of_ms=snapshot.as_of_ms,
        age_ms=max(0, now_ms - snapshot.as_of_ms),
        stale=is_stale(snapshot, now_ms),
    )


def set_admission_rate(remaining: int, nodes: int) -> int | None:
    """Return how many claims a second each of `nodes` nodes may give for a drop with `remaining` free units.

    None for no limit. The rate is a share of what is left, so that all nodes together give about what is left within
    `SPREAD_S`; never less than `ALWAYS_ADMIT_PER_S`, because most claims are never settled.
    """
    if remaining <= 0:
        return 0
    if remaining >= PLENTY:
        return None
    return max(ALWAYS_ADMIT_PER_S, -(-remaining // (SPREAD_S * max(1, nodes))))


def bound_over_issue(admit_per_s: int, nodes: int, age_ms: int) -> int:
    """Return how many claims beyond stock `nodes` nodes can give while their snapshot grows `age_ms` old.

    Each node's bucket holds one second's worth when the snapshot is taken, and is refilled at the rate. The age is by
    the node's own clock, which also stamps its claims: how far clocks differ (`FUTURE_LEEWAY_MS`) moves the time in
    which they are given, and not their number.
    """
    return nodes * (admit_per_s + -(-admit_per_s * age_ms // 1000))
