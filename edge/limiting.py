"""Rate limits in steps instead of a wall: who comes too often is told when to come again; nobody else notices.

The limits are the location's own (bindings, `edge.ports.RateLimiter`), and asking them is a wait. So an isolate lets
the first `UNASKED` calls of a key in a period through by itself: whom a limit is not meant for never pays for it. In
one period a location lets at most limit + `UNASKED` x isolates calls of one key through. What matters is capped
again, exactly, at settlement.

Keys are viewer keys and client networks. They stay in the isolate's memory, and are neither reported nor stored.
"""

from collections.abc import Coroutine
from typing import Any, Final

from edge.generations import Generations
from edge.isolate import MAX_CALLERS
from edge.ports import RateLimiter, Services
from shared.problems import Code, Problem

PERIOD_S: Final = 10  # of both limits in wrangler.toml: the platform knows 10 and 60
UNASKED: Final = 5
_MAX_ADDRESS: Final = 64
_GROUPS: Final = 8  # of an IPv6 address

Asking = Coroutine[Any, Any, Problem | None]


def limit_viewer(services: Services, viewer: str, now_ms: int) -> Asking | None:
    """Count a tap of a viewer key. Return None when it passes by itself; else what asks the location's limit."""
    key = f"viewer {viewer}"
    return None if _passes(services, key, now_ms) else _ask(services, services.viewer_limit, key)


def limit_network(services: Services, what: str, now_ms: int) -> Asking | None:
    """Count a request of the client's network for `what`, as `limit_viewer`; without an address, nothing is counted."""
    address = services.place.address
    if not address:
        return None
    key = f"{what} {name_network(address)}"
    return None if _passes(services, key, now_ms) else _ask(services, services.network_limit, key)


def name_network(address: str) -> str:
    """Return whom an address stands for: of IPv6, one customer has at least a whole /64 (RFC 6177)."""
    text = address[:_MAX_ADDRESS]
    if ":" not in text:
        return text
    head, _, tail = text.lower().partition("::")
    first, last = head.split(":") if head else [], tail.split(":") if tail else []
    groups = [*first, *["0"] * (_GROUPS - len(first) - len(last)), *last]
    return ":".join(group.lstrip("0") or "0" for group in groups[: _GROUPS // 2]) + "::/64"


async def _ask(services: Services, limiter: RateLimiter, key: str) -> Problem | None:
    """Return the refusal when there were too many."""
    if await limiter.allows(key):
        return None
    services.isolate.suppressed += 1
    return Problem(code=Code.RATE_LIMITED, retry_after_s=PERIOD_S)


def _passes(services: Services, key: str, now_ms: int) -> bool:
    """Count a call of this key; return whether it is one of the first that the isolate sees in its present period."""
    isolate = services.isolate
    if not 0 <= now_ms - isolate.calls_since_ms < PERIOD_S * 1000:
        isolate.calls, isolate.calls_since_ms = Generations(MAX_CALLERS // 2), now_ms
    number = (isolate.calls.get(key) or 0) + 1
    isolate.calls[key] = number
    return number <= UNASKED
