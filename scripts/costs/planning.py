"""A drop's bill: how often each viewer's browser asks, times what one answer was measured to need, times the prices.

How often a browser asks is the component's own rhythm (`edge/component`): the overlay when the page opens and then
each minute; stock each second while a drop runs low, a quarter as often otherwise; one report of what was seen, one
more of a tap. An isolate reads a manifest again after `edge.caches.MANIFEST_FRESH_MS`. Static files, and the shared
overlay from the CDN's cache, are no requests to the Worker.
"""

from typing import Final

import msgspec

from edge.caches import MANIFEST_FRESH_MS
from scripts.costs.prices import PLAN_NANO_USD, PRICES, READ_ON, charge

OVERLAY_EACH_S: Final = 60
STOCK_EACH_S: Final = 1
SELDOM: Final = 2  # a drop that does not run low is asked about so many times less often
KINDS: Final = ("overlay", "claim", "stock", "beacon")


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What is charged for; `cpu_us` is processor time in microseconds."""

    requests: int = 0
    cpu_us: int = 0
    kv_reads: int = 0
    kv_writes: int = 0
    queue_operations: int = 0

    def plus(self, other: "Usage") -> "Usage":
        """Return both together."""
        return Usage(**{name: getattr(self, name) + getattr(other, name) for name in self.__struct_fields__})


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """What `count` answers of one kind needed together."""

    count: int
    usage: Usage

    def scale(self, count: int) -> Usage:
        """Return what so many answers would need, but for key-value reads, which follow time and not requests."""
        used = {name: getattr(self.usage, name) for name in ("requests", "cpu_us", "queue_operations")}
        return Usage(**{name: -(-number * count // self.count) for name, number in used.items()})


class Drop(msgspec.Struct, frozen=True, kw_only=True):
    """What is planned.

    Attributes:
        low_share_percent: for how much of the time the drop runs low: then its stock is asked for most often.
        isolates: how many of the network's isolates serve it, over all locations.
    """

    viewers: int
    claims: int
    minutes: int = 10
    offers: int = 1
    low_share_percent: int = 25
    isolates: int = 100


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the bill, in billionths of a US dollar: all of it, and what is beyond the month's inclusion."""

    quantity: int
    nano_usd: int
    beyond_included_nano_usd: int


class Bill(msgspec.Struct, frozen=True, kw_only=True):
    """What a drop costs at the edge.

    Attributes:
        asked: how many answers of each kind.
        nano_usd: all of it at the listed prices.
        beyond_included_nano_usd: what it adds to the plan's own price, if nothing else uses the month's inclusion.
    """

    drop: Drop
    asked: dict[str, int]
    lines: dict[str, Line]
    nano_usd: int
    beyond_included_nano_usd: int
    plan_nano_usd: int = PLAN_NANO_USD
    prices_read_on: str = READ_ON


def count_requests(drop: Drop) -> dict[str, int]:
    """Return how many answers of each kind a drop takes."""
    seconds = drop.minutes * 60
    low, seldom = drop.low_share_percent, 100 - drop.low_share_percent
    polls = -(-seconds * (low * SELDOM + seldom) // (100 * SELDOM * STOCK_EACH_S))
    return {
        "overlay": drop.viewers * (1 + seconds // OVERLAY_EACH_S),
        "claim": drop.claims,
        "stock": drop.viewers * drop.offers * polls,
        "beacon": drop.viewers + drop.claims,
    }


def plan(samples: dict[str, Sample], drop: Drop) -> Bill:
    """Return the bill of a drop.

    Args:
        samples: what answers need, by kind.
        drop: what is planned.
    """
    asked = count_requests(drop)
    # A manifest is read when the isolate's copy has aged; no more often than somebody asks for something of it.
    most_reads = drop.isolates * (1 + drop.minutes * 60_000 // MANIFEST_FRESH_MS)
    usage = Usage(kv_reads=min(most_reads, asked["overlay"] + asked["claim"]), kv_writes=1)
    for kind in KINDS:
        usage = usage.plus(samples[kind].scale(asked[kind]))
    lines = {name: _line(name, getattr(usage, name)) for name in PRICES}
    return Bill(
        drop=drop,
        asked=asked,
        lines=lines,
        nano_usd=sum(line.nano_usd for line in lines.values()),
        beyond_included_nano_usd=sum(line.beyond_included_nano_usd for line in lines.values()),
    )


def cost_of_million(sample: Sample) -> dict[str, Line]:
    """Return what a million answers of one kind cost, with the key-value reads of the sample itself."""
    reads = -(-sample.usage.kv_reads * 1_000_000 // sample.count)
    usage = sample.scale(1_000_000).plus(Usage(kv_reads=reads))
    return {name: _line(name, getattr(usage, name)) for name in PRICES}


def _line(name: str, quantity: int) -> Line:
    return Line(
        quantity=quantity,
        nano_usd=charge(name, quantity),
        beyond_included_nano_usd=charge(name, quantity, PRICES[name].included),
    )
