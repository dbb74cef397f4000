"""Receipts: what was settled, without telling who has it."""

import json

from shared.claims.receipts import commit_holder, encode_receipt, write_receipt
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
