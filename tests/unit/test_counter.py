"""A register's sale as a claim: its number is its identity, and what cannot be settled is told."""

from typing import Any

import pytest

from shared.claims.counter import CounterOffer, CounterSale, claim_sale, identify_register
from shared.claims.settlement import DropStock, Presented, Refused, Settled, settle_batch
from shared.claims.tokens import Claim, fingerprint_claim
from shared.problems import Code, Problem

OFFER = CounterOffer(offer="lamp", drop="lamp-1", run="r1", sku="lamp", currencies=("EUR", "JPY"))
NOW_MS = 1_790_000_000_000


def make_sale(**changes: Any) -> CounterSale:
    told = {"sale": "7", "offer": "lamp", "quantity": 2, "unit_minor": 450, "currency": "EUR", "sold_at_ms": NOW_MS}
    return CounterSale(**{**told, **changes})


def claim_of(sale: CounterSale, register: str = "till-1", offer: CounterOffer | None = OFFER) -> Claim | Problem:
    return claim_sale(
        sale, offer, register=register, clip="clip-1", creator="nina", issuer="https://origin.example", now_ms=NOW_MS
    )


def claimed(sale: CounterSale, register: str = "till-1") -> Claim:
    claim = claim_of(sale, register)
    assert isinstance(claim, Claim)
    return claim


def test_sale_is_a_claim_at_the_price_that_was_charged() -> None:
    claim = claimed(make_sale())
    assert (claim.drop, claim.run, claim.quantity, claim.total_minor, claim.currency) == ("lamp-1", "r1", 2, 900, "EUR")
    assert (claim.creator, claim.clip, claim.offer) == ("nina", "clip-1", "lamp")


def test_number_of_a_sale_is_its_identity_within_its_register() -> None:
    assert claimed(make_sale()).jti == claimed(make_sale(quantity=3, currency="JPY")).jti
    assert len({claimed(make_sale(sale=str(n)), f"till-{t}").jti for n in range(5) for t in range(5)}) == 25
    assert claimed(make_sale(sale="1"), "till-11").jti != claimed(make_sale(sale="11"), "till-1").jti


def test_another_quantity_under_the_same_number_is_another_content() -> None:
    assert fingerprint_claim(claimed(make_sale())) != fingerprint_claim(claimed(make_sale(quantity=3)))


def test_register_stands_where_a_thumbprint_stands() -> None:
    assert claimed(make_sale()).cnf.jkt == identify_register("till-1")
    assert len(identify_register("till-1")) == 43


@pytest.mark.parametrize(
    ("sale", "offer", "code"),
    [
        pytest.param({}, None, Code.OFFER_UNKNOWN, id="offer that the clip has not"),
        pytest.param({"currency": "USD"}, OFFER, Code.CURRENCY_NOT_OFFERED, id="currency without a price"),
        pytest.param({"sold_at_ms": NOW_MS + 5_001}, OFFER, Code.INVALID_FIELD, id="sold in the future"),
    ],
)
def test_what_cannot_be_a_claim_is_told(sale: dict[str, Any], offer: CounterOffer | None, code: Code) -> None:
    told = claim_of(make_sale(**sale), offer=offer)
    assert isinstance(told, Problem)
    assert told.code is code


def test_clock_of_a_register_may_be_a_little_early() -> None:
    assert isinstance(claim_of(make_sale(sold_at_ms=NOW_MS + 5_000)), Claim)


def test_register_has_no_cap_but_no_more_than_there_is() -> None:
    stock = DropStock(
        drop="lamp-1", run="r1", sku="lamp", total=10, free=10, held=0, settled=0, next_number=1, version=1,
        per_viewer_cap=1, max_quantity=1,
    )  # fmt: skip
    sales = [
        Presented(
            claim_id=f"c{number}", drop="lamp-1", run="r1", viewer="register", fingerprint=f"f{number}",
            units=(("lamp", 4),), source="pos",
        )
        for number in range(3)
    ]  # fmt: skip
    outcome = settle_batch(stock, {}, {}, sales)
    kinds = [decision.code if isinstance(decision, Refused) else type(decision) for decision in outcome.decisions]
    assert kinds == [Settled, Settled, Code.SOLD_OUT]
    assert (outcome.drop.free, outcome.drop.settled) == (2, 8)
