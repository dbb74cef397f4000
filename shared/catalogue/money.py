"""Money: integer minor units with an ISO 4217 code, and how a price is written for a viewer.

Minor digits are from ISO 4217 list one (SIX Interbank Clearing, maintenance agency); where CLDR writes fewer digits
for some currencies, ISO counts, because it is what is charged.
"""

from typing import Final, NamedTuple

_CODES: Final = (
    "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CLP "
    "CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF "
    "IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD "
    "MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB "
    "RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD "
    "UYU UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG"
)
_NO_DIGITS: Final = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF"
_THREE_DIGITS: Final = "BHD IQD JOD KWD LYD OMR TND"

MINOR_DIGITS: Final[dict[str, int]] = {
    **dict.fromkeys(_CODES.split(), 2),
    **dict.fromkeys(_NO_DIGITS.split(), 0),
    **dict.fromkeys(_THREE_DIGITS.split(), 3),
}

_SYMBOLS: Final = {"EUR": "€", "USD": "$", "GBP": "£", "JPY": "¥", "KRW": "₩", "INR": "₹", "CHF": "CHF", "PLN": "zł"}
_NBSP: Final = "\u00a0"


class _Notation(NamedTuple):
    """How a language writes amounts (after CLDR's number patterns)."""

    point: str
    group: str
    symbol_first: bool
    space: str


_NOTATIONS: Final[dict[str, _Notation]] = {
    "ar": _Notation(".", ",", symbol_first=False, space=_NBSP),
    "de": _Notation(",", ".", symbol_first=False, space=_NBSP),
    "en": _Notation(".", ",", symbol_first=True, space=""),
    "es": _Notation(",", ".", symbol_first=False, space=_NBSP),
    "fr": _Notation(",", "\u202f", symbol_first=False, space=_NBSP),
    "ja": _Notation(".", ",", symbol_first=True, space=""),
}


def format_price(amount_minor: int, currency: str, language: str) -> str:
    """Return a price as a reader of `language` expects it, with the currency's own number of digits.

    Args:
        amount_minor: in minor units, 0 or more.
        currency: an ISO 4217 code of `MINOR_DIGITS`.
        language: primary subtag; one that has no notation here is written as English.
    """
    notation = _NOTATIONS.get(language, _NOTATIONS["en"])
    digits = MINOR_DIGITS[currency]
    whole, minor = divmod(amount_minor, 10**digits)
    number = f"{whole:,}".replace(",", notation.group)
    if digits:
        number += f"{notation.point}{minor:0{digits}}"
    symbol = _SYMBOLS.get(currency, currency)
    # A code of letters is set off from the digits whichever language it is.
    space = _NBSP if symbol.isalpha() else notation.space
    return f"{symbol}{space}{number}" if notation.symbol_first else f"{number}{space}{symbol}"
