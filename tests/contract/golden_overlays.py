"""Golden files of overlays, and of what edge and origin tell each other.

To write them anew, and then read the diff:

python -m tests.contract.golden_overlays
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from shared.catalogue.manifest import Manifest, encode_manifest
from shared.catalogue.stock import LATE_MS, StockSnapshot, StockSnapshots, report_stock
from shared.claims.tokens import sign_claim
from shared.insight.events import ClaimIssued, ClaimRefused, Clicked, EventBatch, Failed, Timed, Viewed
from shared.overlay.rendering import ViewerContext, compile_html, compile_json, render_html, render_json
from shared.overlay.texts import TEXTS
from shared.problems import Code, Problem, encode_problem
from tests import samples
from tests.contract.golden_passes import pass_files
from tests.samples import HOUR_MS, NOW_MS

FOLDER: Final = Path(__file__).resolve().parent / "golden"
EDGE_URL: Final = "https://edge.example"
CURRENCIES: Final = ("EUR", "USD", "JPY", "BHD")
STOCKS: Final[dict[str, dict[str, int] | None]] = {
    "available": {"remaining": 1234, "total": 2000},
    "low": {"remaining": 5, "total": 2000},
    "last": {"remaining": 1, "total": 2000},
    "sold_out": {"remaining": 0, "total": 2000},
    "stale": {"remaining": 5, "total": 2000, "as_of_ms": NOW_MS - LATE_MS - 1},
    "unknown": None,
}
PRICES: Final = [
    {"currency": "EUR", "amount_minor": 129_900},
    {"currency": "USD", "amount_minor": 149_900},
    {"currency": "JPY", "amount_minor": 210_000},
    {"currency": "BHD", "amount_minor": 499_500},
]
HOSTILE: Final = "\"'><script>alert(1)</script>&amp;"


def golden_manifest() -> Manifest:
    """Return a clip with a priced offer, a free one, one to come and one gone by."""
    names = {language: f"Clip ({language}) {HOSTILE}" for language in TEXTS}
    offers = [
        _offer("priced", payment="at_pickup", kind="product", prices=PRICES, image="https://cdn.example/a.jpg?b=1&c=2"),
        _offer("free"),
        _offer("upcoming", opens_at_ms=NOW_MS + 1, closes_at_ms=NOW_MS + HOUR_MS),
        _offer("closed", opens_at_ms=NOW_MS - HOUR_MS, closes_at_ms=NOW_MS),
    ]
    links = [
        {"rel": "terms", "href": "https://creator.example/terms?a=1&b=2", "names": names},
        {"rel": "shipping", "href": "https://creator.example/shipping", "names": names, "regions": ["DE"]},
    ]
    return samples.make_manifest(names=names, offers=offers, links=links)


def _offer(name: str, **changes: Any) -> dict[str, Any]:
    window = {key: changes.pop(key) for key in ("opens_at_ms", "closes_at_ms") if key in changes}
    texts = {language: f"{name} ({language}) {HOSTILE}" for language in TEXTS}
    terms = samples.terms_document(drop=f"drop-{name}", max_quantity=2, **window)
    return samples.offer_document(offer=name, names=texts, descriptions=texts, terms=terms, **changes)


def golden_snapshot(drop: str, stock: str) -> dict[str, StockSnapshot]:
    """Return the snapshots of one drop in a state."""
    fields = STOCKS[stock]
    return {} if fields is None else {drop: samples.make_snapshot(drop=drop, **fields)}


def render_view(locale: str, currency: str, snapshots: dict[str, StockSnapshot]) -> dict[str, Any]:
    """Return the overlay as the component gets it."""
    context = ViewerContext(locale=locale, currency=currency, country="DE")
    template = compile_json(golden_manifest(), context, settle_url=samples.ORIGIN_URL)
    view: dict[str, Any] = json.loads(render_json(template, snapshots, NOW_MS))
    return view


def render_matrix(locale: str) -> Iterator[dict[str, Any]]:
    """Yield what is shown of the priced offer in each currency and each state of stock."""
    for currency in CURRENCIES:
        for stock in STOCKS:
            shown = render_view(locale, currency, golden_snapshot("drop-priced", stock))["offers"][0]
            told = {key: shown["stock"][key] for key in ("state", "remaining", "stale", "text")}
            yield {
                "currency": currency,
                "given": stock,
                "price": shown["price"]["text"],
                **told,
                "claimable": shown["claimable"],
            }


def render_document(locale: str) -> bytes:
    """Return the overlay as a document of its own."""
    context = ViewerContext(locale=locale, country="DE")
    template = compile_html(golden_manifest(), context, settle_url=samples.ORIGIN_URL, edge_url=EDGE_URL)
    return render_html(template, golden_snapshot("drop-priced", "low"), NOW_MS)


def wire_files() -> Iterator[tuple[str, bytes]]:
    """Yield the documents that one part of Cliptill writes and another reads."""
    token = sign_claim(samples.make_claim(), samples.NEW_KEY)
    about: dict[str, Any] = {"drop": "drop-1", "clip": "clip-1", "offer": "offer-1"}
    seen: dict[str, Any] = {"clip": "clip-1", "at_ms": NOW_MS, "offer": "offer-1"}
    batch = EventBatch(
        node="node-1",
        colo="FRA",
        country="DE",
        seq=7,
        at_ms=NOW_MS,
        events=(
            ClaimIssued(claim_id="CCCCCCCCCCCCCCCCCCCCCA", token=token, expires_at_ms=NOW_MS + 300_000, **about),
            ClaimRefused(code=Code.SOLD_OUT, suppressed=3, **about),
            Viewed(**seen),
            Clicked(**seen),
            Failed(**seen, name="settle", detail="offline"),
            Timed(**seen, name="first_overlay", duration_ms=12.5),
        ),
    )
    snapshot = samples.make_snapshot(admit_per_s=5)
    yield "wire-claim.jws", token.encode()
    yield "wire-event-batch.json", msgspec.json.encode(batch)
    yield "wire-manifest.json", encode_manifest(golden_manifest())
    yield "wire-problem.json", encode_problem(Problem(code=Code.DROP_NOT_OPEN, detail="Soon.", retry_after_s=3))
    yield "wire-stock.json", msgspec.json.encode(StockSnapshots(as_of_ms=NOW_MS, drops=(snapshot,)))
    yield "wire-stock-report.json", msgspec.json.encode(report_stock("drop-1", snapshot, NOW_MS))


def golden_files() -> Iterator[tuple[str, bytes]]:
    """Yield every golden file: its name and what it must hold."""
    yield from wire_files()
    yield from pass_files()
    for locale in sorted(TEXTS):
        snapshots = golden_snapshot("drop-priced", "low")
        view = json.dumps(render_view(locale, "", snapshots), ensure_ascii=False, indent=1)
        rows = ",\n".join(json.dumps(row, ensure_ascii=False) for row in render_matrix(locale))
        yield f"overlay-{locale}.json", f"{view}\n".encode()
        yield f"overlay-{locale}-matrix.json", f"[\n{rows}\n]\n".encode()
        yield f"overlay-{locale}.html", render_document(locale)


def main() -> None:
    """Write all golden files, and remove those that there are no more."""
    FOLDER.mkdir(exist_ok=True)
    for file in FOLDER.iterdir():
        file.unlink()
    for name, content in golden_files():
        (FOLDER / name).write_bytes(content)


if __name__ == "__main__":
    main()
