"""Rows of settlements: made from a form or one by one, they are the same bytes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from origin import copying
from origin.settlement.answers import Decision
from origin.settlement.receipts import parse_signing_keys
from origin.settlement.rows import COLUMNS, NewDecision, RowForm, encode_row
from origin.settlement.sales import SaleForm
from origin.trail.appending import Trail
from origin.trail.facts import list_facts
from shared.audit.trail import Tail
from shared.claims.receipts import Paid, Pickup, encode_receipt, write_receipt
from shared.claims.settlement import Presented, Settled
from shared.claims.tokens import Claim
from shared.problems import Code
from tests import samples
from tests.postgres.world import SIGNING_KEYS

KEYS = parse_signing_keys(SIGNING_KEYS)
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=300)
INT4 = st.integers(-(2**31), 2**31 - 1)
INT8 = st.integers(-(2**63), 2**63 - 1)


def decide(claim: Claim, **changes: Any) -> Decision:
    told = {
        "claim_id": claim.jti, "drop": claim.drop, "fingerprint": "f" * 43, "code": None, "receipt": b"{}", "kid": "k",
        "source": "request", "decided_at_ms": samples.NOW_MS, "stock_total": 9, "stock_remaining": 3,
        "stock_version": 7,
    }  # fmt: skip
    return Decision(**(told | changes))


@given(
    ids=st.tuples(st.from_regex(r"\A[A-Za-z0-9_-]{22}\Z"), st.from_regex(r"\A[A-Za-z0-9_-]{43}\Z")),
    numbers=st.tuples(INT4, INT4, INT8),
    receipt=st.binary(max_size=700),
    arm=TEXT,
    quantity=st.integers(1, 100),
)
def test_a_row_of_a_form_is_the_row_that_is_made_alone(
    ids: tuple[str, str], numbers: tuple[int, int, int], receipt: bytes, arm: str, quantity: int
) -> None:
    (jti, viewer), (number, left, version) = ids, numbers
    lines = [{"sku": "sku-1", "quantity": quantity, "unit_minor": 5}]
    alike = samples.make_claim(arm=arm, lines=lines)
    form = RowForm(NewDecision(alike, decide(alike), quantity, 0))
    claim = samples.make_claim(jti=jti, cnf={"jkt": viewer}, arm=arm, lines=lines)
    decision = decide(claim, fingerprint=viewer[::-1], receipt=receipt, stock_remaining=left, stock_version=version)
    assert form.fill(claim, decision, receipt, number) == encode_row(NewDecision(claim, decision, quantity, number))


def test_a_refusal_has_neither_number_nor_receipt() -> None:
    claim = samples.make_claim()
    row = encode_row(NewDecision(claim, decide(claim, code=Code.SOLD_OUT, receipt=None, kid=None), 0, None))
    assert row.startswith(copying.open_row(len(COLUMNS)) + copying.text(claim.jti))
    assert row.count(copying.NULL) == 3
    assert copying.text("refused") + copying.text("sold_out") in row


@pytest.mark.parametrize("pickup", [None, Pickup(place="door", from_ms=5, until_ms=9)], ids=["sent", "picked-up"])
@pytest.mark.parametrize("total", [0, 1200], ids=["free", "priced"])
def test_what_a_form_sells_is_what_is_sold_alone(pickup: Pickup | None, total: int) -> None:
    """Receipt, trail entry, decision and row: all of them are those that were made without a form."""
    lines = [{"sku": "sku-1", "quantity": 2, "unit_minor": total}]
    paid: Paid | None = "card" if total else None
    alike, claim = (samples.make_claim(jti=name * 22, lines=lines, arm="a\x00b") for name in "ab")
    form = SaleForm(
        alike,
        issuer="https://till",
        kid="k",
        source="request",
        now_ms=samples.NOW_MS,
        total=50,
        paid=paid,
        pickup=pickup,
    )
    presented = Presented(
        claim_id=claim.jti,
        drop=claim.drop,
        run=claim.run,
        viewer=claim.cnf.jkt,
        fingerprint="f" * 43,
        units=(("sku-1", 2),),
    )
    trail, alone = (Trail(claim.drop, Tail(), "https://till", KEYS) for _ in range(2))
    settled = Settled(claim=presented, quantity=2, first_number=11, remaining=40, version=6)
    decision, row = form.sell(claim, settled, trail)

    said = write_receipt(claim, "https://till", 11, samples.NOW_MS, paid, place=alone.place, pickup=pickup)
    expected = decide(claim, receipt=encode_receipt(said), stock_total=50, stock_remaining=40, stock_version=6)
    facts = list_facts(
        viewer=claim.cnf.jkt, fingerprint="f" * 43, arm="ab", kid="k", source="request", stock_total=50,
        stock_remaining=40, stock_version=6,
    )  # fmt: skip
    alone.append("settled", claim.jti, 2, encode_receipt(said), facts, samples.NOW_MS)
    assert decision == expected
    assert row == encode_row(NewDecision(claim, expected, 2, 11))
    assert trail.entries == alone.entries
