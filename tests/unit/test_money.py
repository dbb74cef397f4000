"""Prices: integer minor units, with each currency's own digits, as readers of each language write them."""

from typing import Final

import pytest

from shared.catalogue.money import MINOR_DIGITS, format_price
from shared.overlay.texts import TEXTS

NBSP, NNBSP = "\u00a0", "\u202f"

# Copied from ISO 4217 list one (currencies of countries, without funds and precious metals), apart from the module's.
ISO_4217: Final = (
    "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CLP CNY "
    "COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR "
    "ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK "
    "MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF "
    "SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU "
    "UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG"
)
NO_DIGITS: Final = {
    "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF", "XPF",
}  # fmt: skip
THREE_DIGITS: Final = {"BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"}


@pytest.mark.parametrize("currency", ISO_4217.split())
def test_every_currency_has_the_digits_of_the_standard(currency: str) -> None:
    assert MINOR_DIGITS[currency] == 0 if currency in NO_DIGITS else 3 if currency in THREE_DIGITS else 2


def test_nothing_else_is_a_currency() -> None:
    assert set(MINOR_DIGITS) == set(ISO_4217.split())


@pytest.mark.parametrize(
    ("amount_minor", "currency", "language", "text"),
    [
        (0, "EUR", "en", "€0.00"),
        (1, "EUR", "en", "€0.01"),
        (199_900, "EUR", "en", "€1,999.00"),
        (199_900, "EUR", "de", f"1.999,00{NBSP}€"),
        (199_900, "EUR", "es", f"1.999,00{NBSP}€"),
        (199_900, "EUR", "fr", f"1{NNBSP}999,00{NBSP}€"),
        (199_900, "EUR", "ar", f"1,999.00{NBSP}€"),
        (199_900, "EUR", "ja", "€1,999.00"),
        (1999, "JPY", "ja", "¥1,999"),
        (1999, "JPY", "de", f"1.999{NBSP}¥"),
        (1_234_567, "KRW", "en", "₩1,234,567"),
        (1_234_567, "BHD", "ar", f"1,234.567{NBSP}BHD"),
        (5, "KWD", "en", f"KWD{NBSP}0.005"),
        (5, "TND", "fr", f"0,005{NBSP}TND"),
        (1050, "CHF", "en", f"CHF{NBSP}10.50"),
        (1050, "CHF", "de", f"10,50{NBSP}CHF"),
        (1050, "PLN", "en", f"zł{NBSP}10.50"),
        (10**12, "EUR", "de", f"10.000.000.000,00{NBSP}€"),
        (1050, "EUR", "xx", "€10.50"),
    ],
)
def test_a_price_is_written_as_its_readers_expect(amount_minor: int, currency: str, language: str, text: str) -> None:
    assert format_price(amount_minor, currency, language) == text


@pytest.mark.parametrize("language", sorted(TEXTS))
def test_in_every_language_the_digits_are_the_amount(language: str) -> None:
    for currency, digits in MINOR_DIGITS.items():
        text = format_price(1_234_567_890, currency, language)
        assert "".join(character for character in text if character.isdigit()) == "1234567890"
        tail = text.rpartition("," if language in {"de", "es", "fr"} else ".")[2].strip(NBSP)
        assert not digits or len("".join(character for character in tail if character.isdigit())) == digits


def test_a_currency_that_is_not_known_is_a_bug_of_the_caller() -> None:
    with pytest.raises(KeyError):
        format_price(1, "XXX", "en")
