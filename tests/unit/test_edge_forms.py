"""Claims that are alike: a form gives the very bytes of each alone, and never one claim's words to another."""

from typing import Any

import msgspec
import pytest

from edge.claiming import ClaimRequest, Given, give_claim
from edge.forms import ClaimAnswer, ClaimForm
from shared.catalogue.manifest import Manifest, find_offer
from shared.claims.tokens import Claim, read_claim, sign_claim
from tests import samples
from tests.edge_world import MemoryWorld

SETTLE_URL = 'https://till.example/"claim":"'
PRICES = [{"currency": "EUR", "amount_minor": 500}, {"currency": "USD", "amount_minor": 600}]


@pytest.mark.parametrize("iss", ["edge", 'an "iat":0 "jkt":"x" \\ edge'])
@pytest.mark.parametrize("version", [0, 7])
@pytest.mark.parametrize("unit_minor", [0, 1250])
def test_a_form_gives_the_very_bytes_of_the_claim_alone(iss: str, version: int, unit_minor: int) -> None:
    lines = [{"sku": "sku-1", "quantity": 2, "unit_minor": unit_minor}]
    words = {"iss": iss, "lines": lines, "stock_version": version, "mode": "queue", "colo": "FRA"}
    form = ClaimForm(samples.make_claim(jti="A" * 22, **words), samples.NEW_KEY, SETTLE_URL)
    for viewer, jti, now_s in (("v" * 43, "B" * 22, samples.NOW_S), ("-_" * 21 + "w", "C" * 22, samples.NOW_S + 9)):
        alone = samples.make_claim(
            cnf={"jkt": viewer},
            jti=jti,
            iat=now_s,
            nbf=now_s,
            exp=now_s + 300,
            **{**words, "stock_version": version * 3},
        )
        token, answer, expires_at_ms = form.fill(viewer, jti, now_s, version * 3)
        assert token == sign_claim(alone, samples.NEW_KEY)
        assert expires_at_ms == (now_s + 300) * 1000
        assert answer == msgspec.json.encode(
            ClaimAnswer(
                claim=token,
                claim_id=jti,
                expires_at_ms=expires_at_ms,
                settles="request" if unit_minor else "event",
                settle_url=SETTLE_URL,
                lines=alone.lines,
                total_minor=2 * unit_minor,
                currency="EUR",
            )
        )


def give(world: MemoryWorld, manifest: dict[str, Any], number: int, **tap: Any) -> Claim:
    """Return the claim that a tap is given in this isolate."""
    known = msgspec.json.decode(samples.encode(manifest), type=Manifest)
    offer = find_offer(known, tap.pop("offer", "offer-1"))
    snapshot = tap.pop("snapshot", samples.make_snapshot())
    assert offer is not None
    said: dict[str, Any] = {
        "clip": known.clip,
        "offer": offer.offer,
        "viewer": f"{number:043}",
        "idempotency_key": f"{number:022}",
    }
    given = give_claim(world.services(), known, offer, snapshot, ClaimRequest(**said, **tap), world.now_ms())
    assert isinstance(given, Given)
    claim = read_claim(msgspec.json.decode(given.body)["claim"], world.claim_keys)
    assert isinstance(claim, Claim)
    return claim


def offering(**changes: Any) -> dict[str, Any]:
    terms = samples.terms_document(max_quantity=5, **changes.pop("terms", {}))
    document = {"prices": PRICES, "payment": "at_pickup", "terms": terms, **changes.pop("one", {})}
    offers = [samples.offer_document(**document), samples.offer_document(**{**document, "offer": "offer-2"})]
    return samples.manifest_document(offers=offers, **changes)


@pytest.mark.parametrize(
    ("manifest", "tap", "expected"),
    [
        ({"clip": "clip-2"}, {}, {"clip": "clip-2"}),
        ({"version": 2, "creator": "creator-2"}, {}, {"creator": "creator-2"}),
        ({"version": 2, "terms": {"run": "run-2"}}, {}, {"run": "run-2"}),
        ({}, {"offer": "offer-2"}, {"offer": "offer-2"}),
        ({}, {"currency": "USD"}, {"currency": "USD"}),
        ({}, {"quantity": 3}, {}),
        ({}, {"snapshot": samples.make_snapshot(version=8)}, {"stock_version": 8}),
        ({}, {"snapshot": None}, {"stock_version": 0}),
    ],
    ids=["clip", "creator", "run", "offer", "currency", "quantity", "version", "no version"],
)
def test_a_claim_that_differs_in_one_thing_says_so(
    manifest: dict[str, Any], tap: dict[str, Any], expected: dict[str, Any]
) -> None:
    world = MemoryWorld(start_ms=samples.NOW_MS)
    usual = give(world, offering(), 1)
    other = give(world, offering(**manifest), 2, **tap)
    again = give(world, offering(), 3)
    told = {name: getattr(usual, name) for name in Claim.__struct_fields__ if name not in {"cnf", "jti", "lines"}}
    assert {name: getattr(again, name) for name in told} == told
    assert {name: getattr(other, name) for name in told} == {**told, **expected}
    (line,) = other.lines
    assert (line.quantity, line.unit_minor) == (tap.get("quantity", 1), 600 if "currency" in tap else 500)
    assert other.cnf.jkt != usual.cnf.jkt


def test_a_price_that_moves_and_another_place_are_told_as_they_are() -> None:
    world = MemoryWorld(start_ms=samples.NOW_MS)
    first = give(world, offering(), 1)
    dearer = give(world, offering(version=2, one={"prices": [{"currency": "EUR", "amount_minor": 700}]}), 2)
    world.set_place(colo="FRA", country="DE")
    moved = give(world, offering(), 3)
    world.wait_ms(61_000)
    later = give(world, offering(), 4)
    assert [claim.lines[0].unit_minor for claim in (first, dearer, moved)] == [500, 700, 500]
    assert [claim.colo for claim in (first, moved)] == ["", "FRA"]
    assert (later.iat, later.nbf, later.exp - first.exp) == (samples.NOW_S + 61, samples.NOW_S + 61, 61)
