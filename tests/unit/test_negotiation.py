"""Weighted lists of HTTP: what is wanted most is found, nonsense counts as absent."""

import pytest

from shared.overlay.negotiation import choose_media_type, parse_weighted

JSON, HTML = "application/json", "text/html"


@pytest.mark.parametrize(
    ("header", "items"),
    [
        pytest.param("", (), id="nothing"),
        pytest.param(" , ,;q=1", (), id="empty items"),
        pytest.param("de", (("de", 1.0),), id="one"),
        pytest.param("DE-at", (("de-at", 1.0),), id="lower case"),
        pytest.param("a;q=0.1, b;q=0.9, c", (("c", 1.0), ("b", 0.9), ("a", 0.1)), id="weights"),
        pytest.param("a, b;q=1, c", (("a", 1.0), ("b", 1.0), ("c", 1.0)), id="equals stay in order"),
        pytest.param("a;q=0", (("a", 0.0),), id="refused"),
        pytest.param("a ; Q = 0.5 ", (("a", 0.5),), id="spaces and case"),
        pytest.param("a;level=1;q=0.5", (("a", 0.5),), id="other parameters"),
        pytest.param("a;q=x, b;q=-1, c;q=0.1234", (("a", 1.0), ("b", 1.0), ("c", 1.0)), id="nonsense weights"),
    ],
)
def test_a_list_is_read_the_most_wanted_first(header: str, items: tuple[tuple[str, float], ...]) -> None:
    assert parse_weighted(header) == items


def test_only_the_first_sixteen_items_are_looked_at() -> None:
    assert len(parse_weighted(",".join(f"l{number}" for number in range(10_000)))) == 16


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        pytest.param("", JSON, id="absent"),
        pytest.param("  ", JSON, id="blank"),
        pytest.param("*/*", JSON, id="anything"),
        pytest.param("text/*", HTML, id="range"),
        pytest.param("*/*;q=0.1, text/html", HTML, id="more specific"),
        pytest.param("text/html;q=0, */*", JSON, id="one refused"),
        pytest.param("application/json;q=0, text/*;q=0.1", HTML, id="other refused"),
        pytest.param("text/html;q=0.5, text/html;q=0.1, application/json;q=0.4", HTML, id="the higher of two"),
        pytest.param("application/*;q=0.2, text/*;q=0.2", JSON, id="equals: our first choice"),
        pytest.param("image/png", None, id="nothing that is made"),
        pytest.param("*/*;q=0", None, id="all refused"),
        pytest.param("application", None, id="no media type"),
    ],
)
def test_the_media_type_that_suits_best_is_chosen(accept: str, chosen: str | None) -> None:
    assert choose_media_type(accept, (JSON, HTML)) == chosen
