"""What the edge costs: published prices, the component's own rhythm, and bills computed by hand."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from edge.caches import MANIFEST_FRESH_MS
from scripts.costing import main, read_arguments, read_drop, write_json, write_text
from scripts.costs import prices
from scripts.costs.planning import OVERLAY_EACH_S, SELDOM, STOCK_EACH_S, Drop, Sample, Usage, count_requests, plan
from scripts.costs.prices import PRICES, charge

COMPONENT = Path(__file__).resolve().parents[2] / "edge" / "component"
SAMPLES = {
    "overlay": Sample(count=100, usage=Usage(requests=100, cpu_us=30_000, kv_reads=1)),
    "claim": Sample(count=10, usage=Usage(requests=10, cpu_us=10_000, queue_operations=30)),
    "stock": Sample(count=100, usage=Usage(requests=100, cpu_us=10_000)),
    "beacon": Sample(count=10, usage=Usage(requests=10, cpu_us=2_000, queue_operations=30)),
}


@pytest.mark.parametrize(
    ("name", "quantity", "included", "nano_usd"),
    [
        pytest.param("requests", 15_000_000, 10_000_000, 1_500_000_000, id="the provider's example of requests"),
        pytest.param("cpu_us", 105_000_000_000, 30_000_000_000, 1_500_000_000, id="its example of processor time"),
        pytest.param("queue_operations", 90_000_000, 1_000_000, 35_600_000_000, id="its example of a queue"),
        pytest.param("kv_reads", 3, 0, 1500, id="three reads"),
        pytest.param("cpu_us", 1, 0, 1, id="rounded up"),
        pytest.param("kv_writes", 5, 10, 0, id="within what is included"),
    ],
)
def test_a_quantity_costs_what_the_provider_says(name: str, quantity: int, included: int, nano_usd: int) -> None:
    assert charge(name, quantity, included) == nano_usd


def test_the_table_of_prices_tells_every_source() -> None:
    assert {price.source for price in PRICES.values()} == set(re.findall(r"https://\S+", prices.__doc__ or ""))
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", prices.READ_ON)


def test_browsers_ask_as_often_as_the_component_does() -> None:
    stocks, views = (COMPONENT / "stocks.js").read_text(), (COMPONENT / "views.js").read_text()
    assert f"const EVERY_MS = {STOCK_EACH_S * 1000};" in stocks
    assert f"const SELDOM_MS = {SELDOM * STOCK_EACH_S * 1000};" in stocks
    assert f"const REFRESH_MS = {OVERLAY_EACH_S * 1000:_};" in views


def test_a_drop_is_asked_for_as_often_as_its_viewers_browsers_do() -> None:
    drop = Drop(viewers=1000, claims=40, minutes=10, offers=2, low_share_percent=20)
    # 120 s at one a second, 480 s at half of that, of both offers.
    assert count_requests(drop) == {"overlay": 11_000, "claim": 40, "stock": 720_000, "beacon": 1_040}


def test_a_bill_is_what_one_would_compute_by_hand() -> None:
    drop = Drop(viewers=1000, claims=40, minutes=10, offers=1, low_share_percent=0, isolates=10)
    bill = plan(SAMPLES, drop)
    quantities = {name: line.quantity for name, line in bill.lines.items()}
    assert quantities == {
        "requests": 11_000 + 40 + 300_000 + 1_040,
        "cpu_us": 11_000 * 300 + 40 * 1000 + 300_000 * 100 + 1_040 * 200,
        "kv_reads": 10 * (1 + 600_000 // MANIFEST_FRESH_MS),
        "kv_writes": 1,
        "queue_operations": 3 * 40 + 3 * 1_040,
    }
    assert bill.nano_usd == 312_080 * 300 + 33_548_000 * 20 // 1000 + 1210 * 500 + 5000 + 3240 * 400
    assert bill.beyond_included_nano_usd == 0


def test_manifests_are_read_no_more_often_than_anybody_asks() -> None:
    bill = plan(SAMPLES, Drop(viewers=2, claims=1, minutes=1, isolates=1000))
    assert bill.lines["kv_reads"].quantity == 2 * 2 + 1


def test_a_drop_of_nobody_costs_the_publishing_alone() -> None:
    assert plan(SAMPLES, Drop(viewers=0, claims=0)).nano_usd == PRICES["kv_writes"].nano_usd


def test_what_is_beyond_the_inclusion_is_told_apart() -> None:
    bill = plan(SAMPLES, Drop(viewers=100_000, claims=0, minutes=10, low_share_percent=0))
    line = bill.lines["requests"]
    assert line.nano_usd - line.beyond_included_nano_usd == 10_000_000 * 300


def test_text_and_json_tell_the_same_bill() -> None:
    bill = plan(SAMPLES, Drop(viewers=1000, claims=40))
    told: dict[str, Any] = json.loads(write_json(SAMPLES, bill))
    assert told["drop"]["nano_usd"] == bill.nano_usd
    assert told["prices"]["requests"]["source"].startswith("https://developers.cloudflare.com/")
    assert told["a_million"]["claim"]["queue_operations"]["quantity"] == 3_000_000
    text = write_text(SAMPLES, bill)
    assert f"{told['drop']['asked']['stock']:,} x stock" in text
    assert "read on 2026-11-21" in text
    assert "a drop of" not in write_text(SAMPLES, None)


def test_a_drop_is_read_from_the_command_line() -> None:
    chosen = read_arguments(["--viewers", "5", "--claims", "2", "--minutes", "3", "--offers", "4", "--isolates", "6"])
    assert read_drop(chosen) == Drop(viewers=5, claims=2, minutes=3, offers=4, isolates=6)


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["--claims", "5"], id="claims without viewers"),
        pytest.param(["--viewers", "-1"], id="negative"),
        pytest.param(["--viewers", "many"], id="no number"),
        pytest.param(["--viewers", "10000000000"], id="more than there are people"),
    ],
)
def test_wrong_use_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: scripts/cost" in capsys.readouterr().err
