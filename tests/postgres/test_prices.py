"""Prices that move, at the origin: kept as written, shown as they are now, and settled as they were claimed."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from origin.apikeys import hash_key, make_key
from tests.postgres.test_windows import publish
from tests.postgres.world import OriginProcess, Tap, World
from tests.samples import HOUR_MS, NOW_MS, encode, manifest_document, offer_document, terms_document

KEY = make_key()
RULE: dict[str, Any] = {
    "floor_minor": 500,
    "ceiling_minor": 2000,
    "by_stock": [{"left_bp": 5000, "price_bp": 12_000}],
    "by_time": [],
}


@pytest.fixture(autouse=True)
def shop(world: World) -> Iterator[None]:
    world.execute("INSERT INTO api_keys VALUES (%s, 'shop', 0, NULL, 'operator')", hash_key(KEY))
    yield
    world.patiently("TRUNCATE api_keys")


def put_offer(origin: OriginProcess, **price: Any) -> httpx.Response:
    document = {
        "offer": "offer-1", "drop": "drop-1", "kind": "product", "names": {"en": "Mug"}, "payment": "at_pickup",
        "prices": [{"currency": "EUR", "amount_minor": 1000, **price}],
    }  # fmt: skip
    return origin.client.put("/v1/offers/offer-1", json=document, headers={"Authorization": f"Bearer {KEY}"})


@pytest.mark.usefixtures("world")
def test_a_rule_is_kept_as_it_was_written(origin: OriginProcess) -> None:
    assert put_offer(origin, rule=RULE).json()["prices"] == [{"currency": "EUR", "amount_minor": 1000, "rule": RULE}]
    refused = put_offer(origin, rule={**RULE, "floor_minor": 1001})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_field")
    assert put_offer(origin).json()["prices"] == [{"currency": "EUR", "amount_minor": 1000}]


@pytest.mark.usefixtures("world")
def test_the_price_in_a_claim_is_what_it_settles_at_whatever_the_rule_says_by_then(origin: OriginProcess) -> None:
    assert put_offer(origin, rule=RULE).is_success
    tap = Tap(lines=[{"sku": "sku-1", "quantity": 1, "unit_minor": 1000}])
    assert put_offer(origin, rule={**RULE, "by_time": [{"from_ms": 0, "price_bp": 20_000}]}).is_success
    settled = origin.settle(tap)
    assert (settled.status_code, settled.json()["total_minor"]) == (200, 1000)
    assert put_offer(origin).is_success
    assert origin.settle(tap).content == origin.read(tap).content == settled.content


def test_the_shared_overlay_tells_the_price_of_now(world: World, origin: OriginProcess) -> None:
    terms = terms_document(opens_at_ms=NOW_MS, closes_at_ms=NOW_MS + 10 * 365 * 24 * HOUR_MS)
    prices = [{"currency": "EUR", "amount_minor": 1000, "rule": RULE}]
    publish(world, 1)
    document = manifest_document(version=2, offers=[offer_document(terms=terms, prices=prices, payment="at_pickup")])
    world.execute("INSERT INTO manifests VALUES ('clip-1', 2, %s, 0)", encode(document))

    def shown() -> str:
        told: str = origin.client.get("/shared/clips/clip-1/overlay.json").json()["offers"][0]["price"]["text"]
        return told

    assert shown() == "€10.00"
    world.execute("UPDATE drops SET free = 50, settled = 50, next_number = 51 WHERE drop = 'drop-1'")
    assert shown() == "€12.00"
