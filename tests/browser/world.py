"""An edge, an origin and a shop's page on ports of their own: they speak the real contract, and fail on demand.

Tests and servers share one process: a test sets `world.edge_delay_s` and the next request is late.
"""

import json
import time
from dataclasses import dataclass, field, fields
from typing import Any

from shared.overlay.texts import texts_for

OFFER, DROP = "shirt", "shirt-r1"
FREE_OFFER, FREE_DROP = "sticker", "sticker-r1"
HOUR_MS = 3_600_000

Json = dict[str, Any]


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass
class Seen:
    """One request, as a service had it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    at: float = field(default_factory=time.monotonic)

    def json(self) -> Json:
        document: Json = json.loads(self.body)
        return document


@dataclass
class World:
    """What the services know, and how they behave. Every field may be changed at any time."""

    edge_url: str = ""
    origin_url: str = ""
    site_url: str = ""
    clip: str = "clip-0"
    edge_delay_s: float = 0
    edge_away: bool = False
    shared_away: bool = False
    origin_away: bool = False
    clock_ahead_ms: int = 0
    language: str = "en"
    title: str = "Lantern Row"
    price_minor: int = 2400
    opens_in_ms: int = -HOUR_MS
    closes_in_ms: int = HOUR_MS
    stock: int = 5
    stock_version: int = 7
    max_quantity: int = 1
    claim_life_ms: int = 60_000
    claim_refusal: str = ""
    claim_failures: int = 0
    claim_waits: int = 0
    lose_answers: int = 0
    settlement_refusal: str = ""
    pending_answers: int = 0
    settle_events: bool = True
    passes_away: bool = False
    pickup: Json = field(default_factory=dict)
    to_be_paid: bool = False
    paid: bool = False
    credit_too_low: bool = False
    edge_seen: list[Seen] = field(default_factory=list)
    origin_seen: list[Seen] = field(default_factory=list)
    decided: dict[str, Json] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)

    def now_ms(self) -> int:
        """Return the servers' time."""
        return now_ms() + self.clock_ahead_ms

    def note_edge(self, seen: Seen) -> None:
        """Remember a request to the edge."""
        self.edge_seen.append(seen)

    def note_origin(self, seen: Seen) -> None:
        """Remember a request to the origin."""
        self.origin_seen.append(seen)

    def posts(self, path: str) -> list[Seen]:
        """Return the POST requests of a path, at either service."""
        return [seen for seen in self.edge_seen + self.origin_seen if seen.method == "POST" and seen.path == path]

    def beacons(self) -> list[Json]:
        """Return all beacon events, in the order in which they came."""
        batches = [seen.json() for seen in self.posts("/v1/events")]
        return [event for batch in batches if batch["clip"] == self.clip for event in batch["events"]]

    def start_again(self) -> None:
        """Forget everything but the addresses, and name the clip anew: an earlier page may have last words."""
        fresh = World(clip=f"clip-{int(self.clip.removeprefix('clip-')) + 1}")
        for name in {each.name for each in fields(World)} - {"edge_url", "origin_url", "site_url"}:
            setattr(self, name, getattr(fresh, name))


def stock_state(remaining: int) -> str:
    if remaining == 0:
        return "sold_out"
    return "last" if remaining == 1 else "low"


def stock_view(world: World, drop: str) -> Json:
    remaining = world.stock if drop == DROP else 300
    return {
        "drop": drop,
        "state": stock_state(remaining) if drop == DROP else "available",
        "remaining": remaining,
        "version": world.stock_version,
        "as_of_ms": world.now_ms(),
        "stale": False,
    }


def overlay_view(world: World, *, shared: bool) -> Json:
    """Return the overlay: one priced offer of which little is left, and a free one."""
    words = texts_for(world.language)
    now = world.now_ms()
    terms: Json = {
        "opens_at_ms": now + world.opens_in_ms,
        "closes_at_ms": now + world.closes_in_ms,
        "image": None,
        "window": "open",
        "claimable": True,
    }
    price = {"amount_minor": world.price_minor, "currency": "EUR", "text": f"€{world.price_minor / 100:.2f}"}
    shirt = {"offer": OFFER, "drop": DROP, "title": "Shirt", "description": "Hand-printed.", "price": price}
    free = {"amount_minor": 0, "currency": "EUR", "text": words["free"]}
    sticker = {"offer": FREE_OFFER, "drop": FREE_DROP, "title": "Sticker", "description": "", "price": free}
    return {
        "clip": world.clip,
        "title": f"{world.title} (shared)" if shared else world.title,
        "manifest_version": 1,
        "locale": world.language,
        "dir": "rtl" if world.language == "ar" else "ltr",
        "settle_url": world.origin_url,
        "shared": shared,
        "links": [{"rel": "terms", "href": f"{world.site_url}/terms", "text": "Terms"}],
        "messages": words,
        "server_time_ms": now,
        "offers": [
            {
                **shirt,
                **terms,
                "kind": "product",
                "payment": "at_pickup",
                "action": words["reserve"],
                "max_quantity": world.max_quantity,
                "stock": {**stock_view(world, DROP), "text": ""},
            },
            {
                **sticker,
                **terms,
                "kind": "sample",
                "payment": "none",
                "action": words["claim"],
                "max_quantity": 1,
                "stock": {**stock_view(world, FREE_DROP), "text": ""},
            },
        ],
    }
