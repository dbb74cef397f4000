"""The overlay's words: every language says everything, with the same blanks to fill in."""

import re

import pytest

from shared.overlay.texts import DEFAULT_LANGUAGE, TEXTS, texts_for
from shared.problems import Code

ENGLISH = TEXTS[DEFAULT_LANGUAGE]


@pytest.mark.parametrize("language", sorted(TEXTS))
def test_every_language_has_every_key_in_the_same_order(language: str) -> None:
    assert list(TEXTS[language]) == list(ENGLISH)


@pytest.mark.parametrize("language", sorted(TEXTS))
def test_every_text_has_the_same_blanks(language: str) -> None:
    for key, text in TEXTS[language].items():
        assert sorted(re.findall(r"\{\w+\}", text)) == sorted(re.findall(r"\{\w+\}", ENGLISH[key])), key
        assert text.count("{") == text.count("}") == ENGLISH[key].count("{")


@pytest.mark.parametrize("language", sorted(TEXTS))
def test_no_text_is_empty_or_markup(language: str) -> None:
    for text in TEXTS[language].values():
        assert text == text.strip() != ""
        assert not set(text) & set("<>&\n\t")


@pytest.mark.parametrize("language", sorted(set(TEXTS) - {DEFAULT_LANGUAGE}))
def test_no_language_is_a_copy_of_english(language: str) -> None:
    same = [key for key, text in TEXTS[language].items() if text == ENGLISH[key]]
    assert set(same) <= {"number"}


def test_a_language_without_words_gets_english() -> None:
    assert texts_for("tlh") is ENGLISH
    assert texts_for("de") is TEXTS["de"]


@pytest.mark.parametrize(
    "code",
    [
        Code.SOLD_OUT,
        Code.NOT_ADMITTED_YET,
        Code.CAP_REACHED,
        Code.DROP_NOT_OPEN,
        Code.DROP_CLOSED,
        Code.CLAIM_EXPIRED,
        Code.STOCK_UNKNOWN,
    ],
)
def test_what_a_viewer_can_run_into_has_words(code: Code) -> None:
    assert code in ENGLISH
