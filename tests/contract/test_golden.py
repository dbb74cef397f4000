"""Golden files: what is written on the wire and shown to viewers changes only on purpose.

When a change is meant: `python -m tests.contract.golden_overlays`, and read the diff.
"""

import gzip
import json
import subprocess
import sys
from html.parser import HTMLParser
from typing import Final

import msgspec
import pytest

from shared.catalogue.manifest import read_manifest
from shared.catalogue.stock import StockReport, StockSnapshots
from shared.claims.tokens import Claim, verify_claim
from shared.insight.deliveries import ReadBatch, read_batch
from shared.insight.events import EventBatch
from shared.overlay.rendering import OverlayView
from shared.overlay.texts import TEXTS
from shared.problems import ProblemBody
from tests import samples
from tests.contract.golden_overlays import CURRENCIES, FOLDER, HOSTILE, STOCKS, golden_files, golden_manifest

FILES: Final = dict(golden_files())
MAX_HTML_GZIP_BYTES: Final = 4096


def test_there_are_no_other_files() -> None:
    assert {file.name for file in FOLDER.iterdir()} == set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_the_file_is_as_it_was(name: str) -> None:
    assert FILES[name].decode() == (FOLDER / name).read_text(encoding="utf-8")


def test_every_process_makes_the_same() -> None:
    command = "from tests.contract.golden_overlays import *; import sys; sys.stdout.write(str(dict(golden_files())))"
    made = {
        subprocess.run(
            [sys.executable, "-c", command],
            cwd=FOLDER.parents[2],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert made == {str(FILES).encode()}


@pytest.mark.parametrize("locale", sorted(TEXTS))
def test_every_currency_and_state_of_stock_is_in_the_matrix(locale: str) -> None:
    rows = json.loads((FOLDER / f"overlay-{locale}-matrix.json").read_bytes())
    assert [(row["currency"], row["given"]) for row in rows] == [
        (currency, stock) for currency in CURRENCIES for stock in STOCKS
    ]


@pytest.mark.parametrize("locale", sorted(TEXTS))
def test_the_component_can_read_the_overlay(locale: str) -> None:
    view = msgspec.json.decode((FOLDER / f"overlay-{locale}.json").read_bytes(), type=OverlayView, strict=True)
    assert view.locale == locale
    assert view.messages == TEXTS[locale]
    assert [offer.window for offer in view.offers] == ["open", "open", "upcoming", "closed"]
    assert [offer.claimable for offer in view.offers] == [True, True, False, False]


@pytest.mark.parametrize("locale", sorted(TEXTS))
def test_an_overlay_as_a_document_is_small(locale: str) -> None:
    assert len(gzip.compress((FOLDER / f"overlay-{locale}.html").read_bytes(), mtime=0)) < MAX_HTML_GZIP_BYTES


class Outline(HTMLParser):
    """Checks that elements nest, and collects what a document loads and says."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.said: list[str] = []
        self.loaded: list[str] = []
        self.handlers: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in {"meta", "link", "img", "br"}:
            self.open.append(tag)
        self.loaded += [value or "" for name, value in attrs if name in {"src", "href"}]
        self.handlers += [name for name, _ in attrs if name.startswith("on") or name == "style"]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.said.append(data)


@pytest.mark.parametrize("locale", sorted(TEXTS))
def test_a_document_nests_and_loads_only_what_it_names(locale: str) -> None:
    outline = Outline()
    outline.feed((FOLDER / f"overlay-{locale}.html").read_text(encoding="utf-8"))
    outline.close()
    assert outline.open == []
    assert outline.handlers == []
    assert outline.loaded == [
        "https://edge.example/overlay.css",
        "https://edge.example/cliptill-overlay.js",
        "https://cdn.example/a.jpg?b=1&c=2",
        "https://creator.example/terms?a=1&b=2",
        "https://creator.example/shipping",
    ]
    assert sum(HOSTILE in said for said in outline.said) == 2 + 2 * 4 + 2


def test_the_origin_reads_what_the_edge_writes() -> None:
    raw = (FOLDER / "wire-event-batch.json").read_bytes()
    read = read_batch(raw)
    assert isinstance(read, ReadBatch)
    assert read.rejections == ()
    batch = msgspec.json.decode(raw, type=EventBatch)
    assert tuple(item.event for item in read.events) == batch.events
    claim = verify_claim(
        (FOLDER / "wire-claim.jws").read_text(encoding="ascii"),
        [samples.NEW_KEY],
        issuer=samples.ISSUER,
        audience=samples.ORIGIN_URL,
        now_s=samples.NOW_S,
    )
    assert isinstance(claim, Claim)


def test_the_edge_reads_what_the_origin_writes() -> None:
    assert read_manifest((FOLDER / "wire-manifest.json").read_bytes(), "clip-1") == golden_manifest()
    snapshots = msgspec.json.decode((FOLDER / "wire-stock.json").read_bytes(), type=StockSnapshots)
    assert snapshots.drops == (samples.make_snapshot(admit_per_s=5),)


@pytest.mark.parametrize(
    ("name", "kind"), [("wire-problem.json", ProblemBody), ("wire-stock-report.json", StockReport)]
)
def test_a_browser_gets_what_is_documented(name: str, kind: type) -> None:
    raw = (FOLDER / name).read_bytes()
    assert msgspec.json.encode(msgspec.json.decode(raw, type=kind)) == raw
