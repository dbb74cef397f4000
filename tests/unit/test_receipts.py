"""Receipts: what was settled, without telling who has it."""

import json

import pytest

from shared.claims.receipts import Paid, Pickup, ReceiptForm, commit_holder, encode_receipt, write_receipt
from tests import samples


def test_a_receipt_states_what_was_settled() -> None:
    lines = [{"sku": "sku-1", "quantity": 2, "unit_minor": 500}, {"sku": "sku-1", "quantity": 1, "unit_minor": 0}]
    receipt = write_receipt(samples.make_claim(lines=lines), "https://origin.example", 7, samples.NOW_MS + 999)
    assert json.loads(encode_receipt(receipt)) == {
        "iss": "https://origin.example",
        "jti": "CCCCCCCCCCCCCCCCCCCCCA",
        "iat": samples.NOW_S,
        "holder": commit_holder("CCCCCCCCCCCCCCCCCCCCCA", samples.VIEWER),
        "drop": "drop-1",
        "run": "run-1",
        "run_numbers": [7, 8, 9],
        "lines": lines,
        "currency": "EUR",
        "total_minor": 1000,
        "payment": "at_pickup",
        "creator": "creator-1",
        "clip": "clip-1",
        "offer": "offer-1",
        "position": 0,
        "previous": "",
    }


def test_what_was_free_is_paid_with_nothing() -> None:
    free = samples.make_claim(lines=[{"sku": "sku-1", "quantity": 1, "unit_minor": 0}])
    assert write_receipt(free, "https://origin.example", 1, samples.NOW_MS).payment == "none"


def test_a_receipt_does_not_tell_the_viewer() -> None:
    receipt = encode_receipt(write_receipt(samples.make_claim(), "https://origin.example", 1, samples.NOW_MS))
    assert samples.VIEWER.encode() not in receipt


def test_two_receipts_of_one_viewer_cannot_be_tied_together() -> None:
    commitments = {
        commit_holder(claim_id, viewer)
        for claim_id in ("CCCCCCCCCCCCCCCCCCCCCA", "DDDDDDDDDDDDDDDDDDDDDA")
        for viewer in (samples.VIEWER, samples.OTHER_VIEWER)
    }
    assert len(commitments) == 4


@pytest.mark.parametrize("pickup", [None, Pickup(place="stall-1", from_ms=1, until_ms=2)], ids=["kept", "picked up"])
@pytest.mark.parametrize("paid", [None, "card"], ids=["not paid", "paid"])
@pytest.mark.parametrize("quantity", [1, 3])
def test_a_filled_in_form_is_the_receipt_byte_for_byte(quantity: int, paid: Paid | None, pickup: Pickup | None) -> None:
    issuer = 'https://origin.example/"jti":"x","run_numbers":["'  # whatever an operator calls it
    lines = [{"sku": "sku-1", "quantity": quantity, "unit_minor": 5}]
    form = ReceiptForm(samples.make_claim(lines=lines), issuer, samples.NOW_MS, paid, pickup)
    for number, viewer in enumerate((samples.VIEWER, "B" * 43)):
        claim = samples.make_claim(lines=lines, jti=f"{number:022}", cnf={"jkt": viewer})
        place = (number + 1, "h" * 43)
        made = write_receipt(claim, issuer, 7 + number, samples.NOW_MS, paid, place=place, pickup=pickup)
        assert form.fill(claim, 7 + number, place) == encode_receipt(made)
