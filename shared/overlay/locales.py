"""Which language and currency a viewer gets. What does not fit falls back; nothing here can fail.

Language: an explicit wish, then `Accept-Language` (RFC 9110, section 12.5.4, looked up as in RFC 4647, section 3.4),
then the clip's default. Currency: an explicit wish, then the country's, then the offer's first.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from shared.overlay.negotiation import parse_weighted

_RIGHT_TO_LEFT: Final = frozenset({"ar", "dv", "fa", "he", "ps", "ur", "yi"})

_EURO_COUNTRIES: Final = "AT BE BG CY DE EE ES FI FR GR HR IE IT LT LU LV MT NL PT SI SK"
_COUNTRY_CURRENCY: Final[dict[str, str]] = {
    **dict.fromkeys(_EURO_COUNTRIES.split(), "EUR"),
    "AE": "AED", "AU": "AUD", "BH": "BHD", "BR": "BRL", "CA": "CAD", "CH": "CHF", "CN": "CNY", "CZ": "CZK",
    "DK": "DKK", "GB": "GBP", "HK": "HKD", "HU": "HUF", "IN": "INR", "JP": "JPY", "KR": "KRW", "KW": "KWD",
    "MX": "MXN", "NO": "NOK", "NZ": "NZD", "PL": "PLN", "RO": "RON", "SA": "SAR", "SE": "SEK", "SG": "SGD",
    "TR": "TRY", "TW": "TWD", "US": "USD", "ZA": "ZAR",
}  # fmt: skip


def language_of(locale: str) -> str:
    """Return the primary subtag, in lower case."""
    return locale.partition("-")[0].lower()


def direction_of(locale: str) -> str:
    """Return `rtl` or `ltr`."""
    return "rtl" if language_of(locale) in _RIGHT_TO_LEFT else "ltr"


def choose_locale(wish: str, accept_language: str, available: Collection[str], default: str) -> str:
    """Return one of `available`, or `default`.

    Args:
        wish: what the page asks for; may be empty or nonsense.
        accept_language: the header as received; may be empty or nonsense.
        available: BCP 47 tags that there are texts for.
        default: the clip's own.
    """
    by_folded = {tag.lower(): tag for tag in available}
    wanted = [(wish.lower(), 1.0), *parse_weighted(accept_language)]
    for language_range, weight in wanted:
        found = _lookup(language_range, by_folded) if weight else None
        if found is not None:
            return found
    return default


def _lookup(language_range: str, by_folded: Mapping[str, str]) -> str | None:
    """Return the tag found by dropping subtags from the end, or another tag of the same language."""
    subtags = language_range.split("-")
    for length in range(len(subtags), 0, -1):
        found = by_folded.get("-".join(subtags[:length]))
        if found is not None:
            return found
    return next((tag for folded, tag in sorted(by_folded.items()) if language_of(folded) == subtags[0]), None)


def choose_text(texts: Mapping[str, str], locale: str, default: str) -> str:
    """Return the text for `locale`, else for its language, else for `default`, else any; empty when there is none."""
    for tag in (locale, language_of(locale), default):
        if tag in texts:
            return texts[tag]
    return next(iter(texts.values()), "")


def choose_currency(wish: str, country: str, offered: Sequence[str]) -> str:
    """Return one of `offered` (at least one, the offer's first choice first)."""
    for currency in (wish.upper(), _COUNTRY_CURRENCY.get(country.upper(), "")):
        if currency in offered:
            return currency
    return offered[0]
