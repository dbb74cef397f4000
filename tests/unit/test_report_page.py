"""The page of a report: what needs a person comes first, and what comes from outside stays text."""

import re
from html.parser import HTMLParser

from origin.insight.report_page import MOST_DROPS, write_empty_page, write_page
from shared.insight.reconciliation import Finding, GapReport, RejectionFact
from shared.insight.standings import Minute
from tests.report_samples import RUNS, drop_report, make_run

ATTACK = "<script>alert(1)</script>&\"'"
VOID = {"meta", "br"}


class Nesting(HTMLParser):
    """Sees that all elements are closed in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not {"style", "onclick"} & {name for name, _ in attrs}
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def texts_of(page: str) -> str:
    return re.sub(r"<style>.*?</style>|<[^>]+>", " ", page, flags=re.DOTALL)


def test_findings_come_first_and_everything_is_there() -> None:
    page = write_page(make_run(), RUNS, live=True)
    text = " ".join(texts_of(page).split())
    assert text.index("more claims were given than the published bound allows") < text.index("60 settled")
    for told in (
        "1 finding",
        "The stock does not add up.",
        "node-with-a-gap",
        "claim_forged",
        "2 to 4",
        "database 2",
        "in order",
    ):
        assert (told in text) == (told != "in order")
    assert text.index("The stock does not add up.") < text.index("60 settled, 10 held, 30 free of 100 issued")


def test_a_run_without_findings_is_in_order() -> None:
    page = write_page(make_run(findings=(), gaps=(), rejections=(), minutes=(), drops=(), budgets=()), (), live=False)
    assert "in order" in page
    assert "refresh" not in page
    for heading in ("What needs a person", "Minutes", "missing</h2>", "Rejected", "Confirmed"):
        assert heading not in page


def test_what_comes_from_outside_stays_text() -> None:
    page = write_page(
        make_run(
            findings=(Finding(code="clock_ahead", subject=ATTACK, count=1),),
            drops=(drop_report(ATTACK),),
            gaps=(GapReport(node=ATTACK, colo=ATTACK, first=1, last=1, lost=False),),
            rejections=(RejectionFact(reason=ATTACK, count=1, recent=1),),
            minutes=(Minute(drop=ATTACK, minute_ms=0, node=ATTACK, due=1),),
        ),
        RUNS,
        live=True,
    )
    assert "<script" not in page
    assert page.count("&lt;script&gt;") == 7


def test_elements_are_nested_and_have_no_style_or_script_of_their_own() -> None:
    for page in (write_page(make_run(), RUNS, live=True), write_empty_page()):
        nesting = Nesting()
        nesting.feed(page)
        assert nesting.open == []


def test_many_drops_do_not_make_an_endless_page() -> None:
    page = write_page(
        make_run(drops=tuple(drop_report(f"d{number}") for number in range(MOST_DROPS + 3))), (), live=True
    )
    assert page.count("<h3>") == MOST_DROPS
    assert "and 3 more" in page


def test_an_empty_drop_has_no_division_by_nothing() -> None:
    assert "0 free of 0" in write_page(
        make_run(drops=(drop_report(total=0, free=0, held=0, settled_units=0),)), (), live=True
    )
