"""Ten thousand mixed contexts: what viewers ask the edge for in the benchmark, and what the origin knows of it.

A context is a clip, the languages and the currency that a browser asks for, and the country that it comes from. The
clips are the demo's, in every state of stock, each in four arms: an arm is a clip of its own, because the manifest
alone decides what a viewer is shown. Of eight contexts, one is asked for as a document (HTML), the others as JSON.
"""

import hashlib
from collections.abc import Iterator
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

import msgspec

from scripts.demo.campaign import CLIP_NAMES, LINKS, OFFERS
from shared.encoding import encode_base64url

CONTEXTS: Final = 10_000
HOST: Final = "edge.bench"
COUNTRY_HEADER: Final = "x-country"
TAP: Final = "0" * 22  # the load generator writes a number of its own here: each tap is another viewer's
HTML_EACH: Final = 8
STATES: Final[dict[str, tuple[int, int] | None]] = {
    "available": (900_000, 1_000_000),
    "low": (90_000, 1_000_000),
    "last": (1, 100),
    "sold-out": (0, 100),
    "unknown": None,
}
ARMS: Final = ("control", "price", "words", "order")
LANGUAGES: Final = (
    "en-US,en;q=0.9",
    "de-DE,de;q=0.9,en;q=0.7",
    "fr-FR,fr;q=0.8,en;q=0.5",
    "ja,en-US;q=0.7,en;q=0.3",
    "ar-EG,ar;q=0.9,en;q=0.8",
    "en-GB,en;q=0.9,fr;q=0.4",
    "pl,de;q=0.6",
    "fr-CH,de-CH;q=0.9,en;q=0.5",
    "de",
    "*",
)
WISHES: Final = ("", "de", "fr-CA", "ja", "xx")
CURRENCIES: Final = ("", "EUR", "JPY", "USD", "GBP", "KRW", "eur", "CHF", "PLN", "AUD")
COUNTRIES: Final = ("DE", "JP", "US", "GB", "FR", "CH", "KR", "BR")
AMOUNTS: Final = {"EUR": 1, "JPY": 150, "USD": 1, "GBP": 1, "KRW": 1500}
_STEP: Final = 7_919  # prime to `CONTEXTS`: neighbours in time have little in common


class Context(NamedTuple):
    """What one viewer asks for."""

    number: int
    clip: str
    accept_language: str
    locale: str
    currency: str

    @property
    def country(self) -> str:
        """Where the viewer is."""
        return COUNTRIES[self.number % len(COUNTRIES)]

    @property
    def wants_html(self) -> bool:
        """Whether a document is asked for, and not JSON."""
        return self.number % HTML_EACH == 1


def list_clips() -> list[str]:
    """Return the names of all clips: one for each state of stock, in each arm."""
    return [f"{state}-{arm}" for state in STATES for arm in ARMS]


def list_contexts(count: int = CONTEXTS) -> Iterator[Context]:
    """Return the first `count` contexts, well mixed; no two are alike."""
    clips = list_clips()
    for position in range(count):
        number = position * _STEP % CONTEXTS
        rest, clip = divmod(number, len(clips))
        rest, language = divmod(rest, len(LANGUAGES))
        rest, wish = divmod(rest, len(WISHES))
        yield Context(number, clips[clip], LANGUAGES[language], WISHES[wish], CURRENCIES[rest])


def ask_overlay(context: Context) -> str:
    """Return the request for a context's overlay, as it goes over the wire."""
    query = urlencode({"locale": context.locale, "currency": context.currency})
    accept = "text/html,application/xhtml+xml,*/*;q=0.8" if context.wants_html else "application/json"
    return _request("GET", f"/v1/clips/{context.clip}/overlay?{query}", context, {"accept": accept})


def ask_claim(context: Context) -> str | None:
    """Return the request of a tap in a context, as it goes over the wire; None where nothing is left to claim."""
    if context.clip.startswith("sold-out"):
        return None
    offer = list(OFFERS)[context.number % len(OFFERS)]
    tap = {
        "clip": context.clip,
        "offer": offer,
        "viewer": TAP + _digest(context)[22:43],
        "idempotency_key": _digest(context)[:22],
        "quantity": 1,
        **({"currency": context.currency} if context.currency in AMOUNTS else {}),
    }
    return _request("POST", "/v1/claims", context, {"content-type": "application/json"}, msgspec.json.encode(tap))


def _digest(context: Context) -> str:
    return encode_base64url(hashlib.sha256(str(context.number).encode()).digest())


def _request(method: str, path: str, context: Context, headers: dict[str, str], body: bytes = b"") -> str:
    lines = {
        "host": HOST,
        "user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
        "accept-encoding": "identity",
        "accept-language": context.accept_language,
        COUNTRY_HEADER: context.country,
        **headers,
        **({"content-length": str(len(body))} if body else {}),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n{body.decode()}"


def make_manifest(clip: str, now_ms: int) -> dict[str, Any]:
    """Return the manifest of a clip, whose drops are open around `now_ms`."""
    return {
        "schema": 1,
        "clip": clip,
        "version": 3,
        "creator": "mika",
        "names": CLIP_NAMES,
        "default_locale": "en",
        "offers": [_offer(clip, name, now_ms) for name in OFFERS],
        "links": [
            {
                "rel": rel,
                "href": f"https://shop.example/{rel}",
                "names": names,
                "regions": ["DE", "FR"] * (rel != "terms"),
            }
            for rel, names in LINKS.items()
        ],
        "published_at_ms": now_ms,
    }


def _offer(clip: str, name: str, now_ms: int) -> dict[str, Any]:
    offer = OFFERS[name]
    unit = offer["prices"][0]["amount_minor"]
    prices = [{"currency": code, "amount_minor": unit * factor} for code, factor in AMOUNTS.items()]
    hour_ms = 3_600_000
    return {
        **offer,
        "offer": name,
        "image": f"https://images.example/{name}.webp",
        "prices": prices,
        "terms": {
            "drop": f"{clip}-{name}",
            "run": "r1",
            "sku": f"lantern-{name}",
            "total": 1_000_000,
            "opens_at_ms": now_ms - hour_ms,
            "closes_at_ms": now_ms + 24 * hour_ms,
        },
    }


def tell_stock(drop: str, now_ms: int) -> dict[str, Any] | None:
    """Return a drop's snapshot as it is at `now_ms`; None when the origin knows nothing of it."""
    state = next(state for state in STATES if drop.startswith(state))
    numbers = STATES[state]
    if numbers is None:
        return None
    remaining, total = numbers
    return {
        "drop": drop,
        "version": 12,
        "as_of_ms": now_ms,
        "total": total,
        "remaining": remaining,
        "admit_per_s": None,
    }
