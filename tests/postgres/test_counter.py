"""Registers and viewers draw on one stock; what a register reports counts once, in whatever batches it comes."""

import json
import random
import time
from collections.abc import Iterator
from typing import Any

import httpx
import jwt
import pytest

from origin.apikeys import hash_key, make_key
from tests.postgres.test_windows import publish
from tests.postgres.world import OriginProcess, Tap, World, together, until

KEYS = {"till-1": make_key(), "till-2": make_key()}


def add_registers(world: World) -> None:
    """Have two registers, and an offer that they sell."""
    for name, key in KEYS.items():
        world.execute("INSERT INTO api_keys VALUES (%s, %s, 0, NULL, 'register')", hash_key(key), name)
    publish(world, 1)
    world.add_paid_offer("at_pickup")
    world.execute("UPDATE clips SET offers = '{offer-1}'")
    world.execute("""UPDATE offers SET prices = '[{"currency": "EUR", "amount_minor": 500}]'""")


@pytest.fixture(autouse=True)
def registers(world: World) -> Iterator[None]:
    add_registers(world)
    yield
    world.patiently("TRUNCATE api_keys")


def make_sale(number: int, **changes: Any) -> dict[str, Any]:
    told = {
        "sale": f"s-{number}", "offer": "offer-1", "quantity": 1, "unit_minor": 500, "currency": "EUR",
        "sold_at_ms": time.time_ns() // 1_000_000 - 3_600_000,
    }  # fmt: skip
    return {**told, **changes}


def post(
    origin: OriginProcess, *sales: dict[str, Any], register: str = "till-1", clip: str = "clip-1"
) -> httpx.Response:
    headers = {"Authorization": f"Bearer {KEYS[register]}"}
    return origin.client.post("/v1/counter/sales", json={"clip": clip, "sales": sales}, headers=headers)


def told(answer: httpx.Response) -> list[tuple[str, str | None]]:
    assert answer.status_code == 200, answer.text
    return [(sale["status"], sale.get("code")) for sale in answer.json()["sales"]]


def test_sale_is_settled_with_a_receipt_that_says_it_is_paid(world: World, origin: OriginProcess) -> None:
    world.add_pickup()
    (sale,) = post(origin, make_sale(1, quantity=3)).json()["sales"]
    said = jwt.decode(sale["receipt"], options={"verify_signature": False})
    assert (sale["status"], sale["run_numbers"]) == ("settled", [1, 2, 3])
    assert (said["payment"], said["total_minor"], said["creator"]) == ("at_counter", 1500, "creator-1")
    assert "pickup" not in said
    assert world.stock() == (97, 0, 3)


def test_what_viewers_pay_by_card_is_not_held_for_a_counter(world: World, origin: OriginProcess) -> None:
    world.execute("UPDATE offers SET payment = 'card'")
    assert told(post(origin, make_sale(1))) == [("settled", None)]
    assert world.stock() == (99, 0, 1)


def test_offline_batch_counts_once_however_it_is_sent_again(world: World, origin: OriginProcess) -> None:
    sales = [make_sale(number) for number in range(40)]
    first = post(origin, *sales).json()["sales"]
    shuffled = random.Random(7)  # noqa: S311 - any order will do
    for _ in range(5):
        part = shuffled.sample(range(40), 25)
        again = post(origin, *(sales[number] for number in part), *(sales[number] for number in part[:3]))
        assert again.json()["sales"] == [first[number] for number in [*part, *part[:3]]]
    assert world.stock() == (60, 0, 40)
    assert world.numbers() == list(range(1, 41))


def test_registers_and_viewers_never_sell_more_than_the_one_stock(world: World, origin: OriginProcess) -> None:
    world.execute("UPDATE drops SET total = 30, free = 30 WHERE drop = 'drop-1'")
    other = world.start()

    def sell(number: int) -> int:
        at = (origin, other)[number % 2]
        if number % 3:
            return int(at.settle(Tap()).status_code == 200)
        batch = [make_sale(number * 10 + place) for place in range(4)]
        return sum(status == "settled" for status, _ in told(post(at, *batch, register=f"till-{number % 2 + 1}")))

    assert sum(together(sell, range(36))) == 30
    assert world.stock() == (0, 0, 30)
    assert world.numbers() == list(range(1, 31))


def test_what_a_counter_sells_beyond_the_stock_is_kept_as_refused(world: World, origin: OriginProcess) -> None:
    world.execute("UPDATE drops SET total = 1, free = 1 WHERE drop = 'drop-1'")
    answer = post(origin, make_sale(1), make_sale(2))
    assert told(answer) == [("settled", None), ("refused", "sold_out")]
    kept = world.execute("SELECT status, code FROM settlements WHERE source = 'pos' ORDER BY status")
    assert kept == [("refused", "sold_out"), ("settled", None)]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"quantity": 2}, id="other quantity"),
        pytest.param({"unit_minor": 1}, id="other price"),
        pytest.param({"offer": "offer-2"}, id="other offer"),
    ],
)
def test_other_sale_under_a_number_that_is_taken_is_not_taken(
    world: World, origin: OriginProcess, change: dict[str, Any]
) -> None:
    world.add_drop("drop-2")
    world.execute("""
        INSERT INTO offers SELECT 'offer-2', 'drop-2', kind, names, descriptions, image, prices, payment, 0, 0
        FROM offers WHERE offer = 'offer-1'
    """)
    world.execute("UPDATE clips SET offers = '{offer-1,offer-2}'")
    post(origin, make_sale(1))
    assert told(post(origin, make_sale(1, **change))) == [("not_taken", "idempotency_conflict")]
    assert told(post(origin, make_sale(1), make_sale(2))) == [("settled", None)] * 2
    assert (world.stock(), world.stock("drop-2")) == ((98, 0, 2), (100, 0, 0))


def test_same_number_of_two_registers_is_two_sales(world: World, origin: OriginProcess) -> None:
    assert (
        told(post(origin, make_sale(1))) == told(post(origin, make_sale(1), register="till-2")) == [("settled", None)]
    )
    assert world.stock() == (98, 0, 2)


def test_what_cannot_be_taken_now_keeps_nobody_else_back_and_nothing_of_it_is_kept(
    world: World, origin: OriginProcess
) -> None:
    bad = [
        make_sale(1, offer="unheard"),
        make_sale(2, currency="USD"),
        make_sale(3, sold_at_ms=2**52),
    ]
    codes = ["offer_unknown", "currency_not_offered", "invalid_field"]
    assert told(post(origin, *bad, make_sale(4))) == [*(("not_taken", code) for code in codes), ("settled", None)]
    assert world.count() == 1
    assert told(post(origin, make_sale(1))) == [("settled", None)]


def test_batch_for_an_unknown_clip_is_refused_whole(world: World, origin: OriginProcess) -> None:
    answer = post(origin, make_sale(1), clip="unheard")
    assert (answer.status_code, answer.json()["code"], world.count()) == (404, "clip_unknown", 0)


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        pytest.param({"quantity": 0}, (422, "invalid_field"), id="nothing sold"),
        pytest.param({"quantity": 10**30}, (422, "invalid_field"), id="quantity that overflows"),
        pytest.param({"unit_minor": -1}, (422, "invalid_field"), id="negative price"),
        pytest.param({"unit_minor": 1.5}, (422, "invalid_field"), id="price with a fraction"),
        pytest.param({"sale": "a b"}, (422, "invalid_field"), id="number with a space"),
        pytest.param({"tip": 1}, (422, "unknown_field"), id="more fields"),
    ],
)
def test_malformed_batch_stores_nothing(
    world: World, origin: OriginProcess, change: dict[str, Any], refusal: tuple[int, str]
) -> None:
    answer = post(origin, make_sale(1), make_sale(2, **change))
    assert (answer.status_code, answer.json()["code"]) == refusal
    assert world.count() == 0


def test_claim_of_a_viewer_cannot_be_made_by_a_register(world: World, origin: OriginProcess) -> None:
    (sale,) = post(origin, make_sale(1)).json()["sales"]
    tap = Tap()
    assert origin.settle(tap).status_code == 200
    rows = world.execute("SELECT claim_id, viewer FROM settlements ORDER BY source = 'pos'")
    assert rows[0][0] == tap.claim.jti
    assert rows[1][1] != tap.viewer.thumbprint
    assert json.dumps(sale).count(tap.viewer.thumbprint) == 0


def test_what_a_register_sold_is_not_handed_on_to_a_partner(world: World, origin: OriginProcess) -> None:
    """Who bought it has it."""
    assert told(post(origin, make_sale(1))) == [("settled", None)]
    tap = Tap()
    assert origin.settle(tap).status_code == 200
    world.execute("INSERT INTO partners VALUES ('potter', 'http://127.0.0.1:9/', ARRAY['whsec_AAAA'], 0, 0)")
    world.execute("UPDATE drops SET partner = 'potter' WHERE drop = 'drop-1'")
    until(lambda: world.execute("SELECT position FROM handoff_cursors") == [(2,)])
    assert world.execute("SELECT claim_id FROM handoffs") == [(tap.claim.jti,)]
    world.execute("UPDATE drops SET partner = NULL")
