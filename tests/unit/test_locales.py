"""Languages and currencies of viewers: what does not fit falls back, nothing fails."""

import pytest

from shared.catalogue.money import MINOR_DIGITS
from shared.overlay.locales import choose_currency, choose_locale, choose_text, direction_of, language_of
from shared.overlay.texts import TEXTS

AVAILABLE = {"en", "de", "pt-BR", "zh-Hant", "ar"}


@pytest.mark.parametrize(
    ("wish", "header", "chosen"),
    [
        pytest.param("", "", "en", id="nothing"),
        pytest.param("de", "ar", "de", id="wish first"),
        pytest.param("DE", "", "de", id="case of the wish"),
        pytest.param("xx", "de", "de", id="unknown wish"),
        pytest.param("", "de-AT", "de", id="region dropped"),
        pytest.param("", "de-Latn-AT-1996", "de", id="all subtags dropped"),
        pytest.param("", "zh-hant-tw", "zh-Hant", id="one subtag dropped"),
        pytest.param("", "pt-PT", "pt-BR", id="another region of the language"),
        pytest.param("", "pt", "pt-BR", id="the language alone"),
        pytest.param("", "xx, de;q=0.5", "de", id="second choice"),
        pytest.param("", "de;q=0, ar;q=0.1", "ar", id="refused"),
        pytest.param("", "de;q=0", "en", id="refused, and nothing else"),
        pytest.param("", "*", "en", id="anything"),
        pytest.param("-", "-,--,de-", "de", id="empty subtags"),
        pytest.param("\x00", "é, \ud800, 🎬", "en", id="nonsense"),
    ],
)
def test_a_locale_is_wished_or_accepted_or_the_default(wish: str, header: str, chosen: str) -> None:
    assert choose_locale(wish, header, AVAILABLE, "en") == chosen


def test_the_default_needs_no_texts() -> None:
    assert choose_locale("", "", (), "tlh") == "tlh"


@pytest.mark.parametrize(("locale", "direction"), [("ar", "rtl"), ("HE-il", "rtl"), ("en", "ltr"), ("", "ltr")])
def test_a_language_has_a_direction(locale: str, direction: str) -> None:
    assert direction_of(locale) == direction


@pytest.mark.parametrize(("locale", "language"), [("de-AT", "de"), ("PT", "pt"), ("", ""), ("-x", "")])
def test_a_language_is_the_first_subtag(locale: str, language: str) -> None:
    assert language_of(locale) == language


@pytest.mark.parametrize(
    ("texts", "chosen"),
    [
        pytest.param({"de-AT": "Jänner", "de": "Januar", "en": "January"}, "Jänner", id="the locale's"),
        pytest.param({"de": "Januar", "en": "January"}, "Januar", id="the language's"),
        pytest.param({"fr": "janvier", "en": "January"}, "January", id="the default's"),
        pytest.param({"fr": "janvier"}, "janvier", id="any"),
        pytest.param({}, "", id="none"),
    ],
)
def test_a_text_is_the_nearest_that_there_is(texts: dict[str, str], chosen: str) -> None:
    assert choose_text(texts, "de-AT", "en") == chosen


@pytest.mark.parametrize(
    ("wish", "country", "chosen"),
    [
        pytest.param("", "", "EUR", id="nothing: the offer's first"),
        pytest.param("usd", "JP", "USD", id="wish first"),
        pytest.param("XXX", "JP", "JPY", id="unknown wish"),
        pytest.param("", "jp", "JPY", id="country"),
        pytest.param("", "GB", "EUR", id="a country whose currency is not offered"),
        pytest.param("ß", "T1", "EUR", id="nonsense"),
    ],
)
def test_a_currency_is_wished_or_the_countrys_or_the_offers(wish: str, country: str, chosen: str) -> None:
    assert choose_currency(wish, country, ["EUR", "USD", "JPY"]) == chosen


@pytest.mark.parametrize("country", ["DE", "BG", "US", "JP", "KW", "BH", "CH"])
def test_the_currency_of_a_country_is_one_that_has_digits(country: str) -> None:
    assert choose_currency("", country, sorted(MINOR_DIGITS)) != min(MINOR_DIGITS)


def test_every_language_of_the_overlay_can_be_chosen() -> None:
    assert {choose_locale(language, "", TEXTS, "en") for language in TEXTS} == set(TEXTS)
