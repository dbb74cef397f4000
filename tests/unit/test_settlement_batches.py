"""A batch of claims that differ: each has its own receipt and row, whatever the forms of others say."""

from typing import Any

import msgspec
import pytest

from origin import copying
from origin.settlement.answers import Decision, read_receipt
from origin.settlement.asking import present_claim
from origin.settlement.batches import Batch
from origin.settlement.holds_store import StoredHold
from origin.settlement.receipts import parse_signing_keys
from origin.settlement.settlements_store import Known
from shared.claims.settlement import DropStock
from shared.claims.states import State
from shared.claims.tokens import Claim
from tests import samples
from tests.postgres.world import SIGNING_KEYS

KEYS = parse_signing_keys(SIGNING_KEYS)
# Of its run before this one a claim is held, and settles all the same.
DROP = DropStock(
    drop="drop-1", run="run-1", sku="sku-1", total=50, free=49, held=1, settled=0, next_number=1, version=1,
    per_viewer_cap=10, max_quantity=10,
)  # fmt: skip
SAID = ("drop", "run", "lines", "currency", "total_minor", "creator", "clip", "offer")


def hold(claim: Claim) -> StoredHold:
    return StoredHold(
        claim_id=claim.jti,
        drop=claim.drop,
        run=claim.run,
        viewer=claim.cnf.jkt,
        fingerprint=present_claim(claim, "request").fingerprint,
        quantity=claim.quantity,
        state=State.HELD,
        until_ms=samples.NOW_MS + 1,
        payment="card",
        claim=msgspec.json.encode(claim),
        held_at_ms=samples.NOW_MS,
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"run": "run-0"},
        {"lines": [{"sku": "sku-1", "quantity": 1, "unit_minor": 880}]},
        {"currency": "USD"},
        {"creator": "creator-2"},
        {"clip": "clip-2"},
        {"offer": "offer-2"},
        {"arm": "b"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_claim_that_differs_in_one_thing_is_settled_as_what_it_says(changes: dict[str, Any]) -> None:
    alike = samples.make_claim(arm="a")
    other = samples.make_claim(**{"arm": "a", "jti": "D" * 22, "cnf": {"jkt": "v" * 43}, **changes})
    claims = [alike, other]
    known = Known(drops={DROP.drop: DROP}, decided={}, taken={}, tails={}, holds={other.jti: hold(other)}, paid_by={})
    batch = Batch("https://till", KEYS, known, "request", samples.NOW_MS)
    batch.decide(DROP.drop, [(claim, present_claim(claim, "request")) for claim in claims])
    rows = list(batch.make_rows())
    for claim, told, row in zip(claims, batch.answers(), rows, strict=True):
        assert isinstance(told, Decision)
        assert told.receipt is not None
        said = read_receipt(told.receipt)
        assert [getattr(said, name) for name in SAID] == [getattr(claim, name) for name in SAID]
        assert copying.text(claim.arm) + copying.jsonb(msgspec.json.encode(claim.lines)) in row
        assert copying.text(claim.drop) + copying.text(claim.run) in row
