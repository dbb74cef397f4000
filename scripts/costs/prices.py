"""What the edge's provider charges, as it publishes it for the paid plan; money is whole billionths of a US dollar.

| What | Included a month | Beyond | Published at |
|---|---|---|---|
| requests | 10 million | 0.30 USD a million | https://developers.cloudflare.com/workers/platform/pricing/ |
| processor time | 30 million ms | 0.02 USD a million ms | the same |
| key-value reads | 10 million | 0.50 USD a million | https://developers.cloudflare.com/kv/platform/pricing/ |
| key-value writes | 1 million | 5.00 USD a million | the same |
| queue operations | 1 million | 0.40 USD a million | https://developers.cloudflare.com/queues/platform/pricing/ |

Static files, subrequests (stock from the origin) and data transfer cost nothing there. A queue's message is written,
read and deleted: one operation each for every 64 kB.
"""

from typing import Final

import msgspec

READ_ON: Final = "2026-11-21"
PLAN_NANO_USD: Final = 5_000_000_000  # a month
OPERATIONS_A_MESSAGE: Final = 3
_SITE: Final = "https://developers.cloudflare.com"


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """What one unit costs, and how many cost nothing.

    Attributes:
        nano_usd: of `units`, beyond what is included in a month.
    """

    included: int
    nano_usd: int
    units: int
    source: str


PRICES: Final[dict[str, Price]] = {
    "requests": Price(included=10_000_000, nano_usd=300, units=1, source=f"{_SITE}/workers/platform/pricing/"),
    "cpu_us": Price(included=30_000_000_000, nano_usd=20, units=1000, source=f"{_SITE}/workers/platform/pricing/"),
    "kv_reads": Price(included=10_000_000, nano_usd=500, units=1, source=f"{_SITE}/kv/platform/pricing/"),
    "kv_writes": Price(included=1_000_000, nano_usd=5000, units=1, source=f"{_SITE}/kv/platform/pricing/"),
    "queue_operations": Price(included=1_000_000, nano_usd=400, units=1, source=f"{_SITE}/queues/platform/pricing/"),
}


def charge(name: str, quantity: int, included: int = 0) -> int:
    """Return what a quantity costs, in billionths of a US dollar, rounded up; `included` of it cost nothing."""
    price = PRICES[name]
    return -(-max(0, quantity - included) * price.nano_usd // price.units)
