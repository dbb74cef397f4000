"""Reading the weighted lists of HTTP content negotiation (RFC 9110, section 12.4.2). Nonsense counts as absent."""

import re
from collections.abc import Sequence
from typing import Final

_MAX_ITEMS: Final = 16
_WEIGHT: Final = re.compile(r"\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*$")


def parse_weighted(header: str) -> tuple[tuple[str, float], ...]:
    """Return the items of a weighted list in lower case, the most wanted first; equals stay in order."""
    items: list[tuple[str, float]] = []
    for text in header.lower().split(",")[:_MAX_ITEMS]:
        name, *parameters = text.split(";")
        weights = [found.group(1) for parameter in parameters if (found := _WEIGHT.match(parameter))]
        if name.strip():
            items.append((name.strip(), float(weights[0]) if weights else 1.0))
    return tuple(sorted(items, key=lambda item: -item[1]))


def choose_media_type(accept: str, offered: Sequence[str]) -> str | None:
    """Return the one of `offered` (our first choice first) that suits best; None when none is acceptable."""
    if not accept.strip():
        return offered[0]
    best, best_weight = None, 0.0
    for media_type in offered:
        weight = _weigh(media_type, parse_weighted(accept))
        if weight > best_weight:
            best, best_weight = media_type, weight
    return best


def _weigh(media_type: str, wanted: Sequence[tuple[str, float]]) -> float:
    """Return the weight of the most specific range that covers a media type (RFC 9110, section 12.5.1)."""
    weights = dict(reversed(wanted))
    for media_range in (media_type, media_type.partition("/")[0] + "/*", "*/*"):
        if media_range in weights:
            return weights[media_range]
    return 0.0
