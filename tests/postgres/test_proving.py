"""Proofs over HTTP: what a receipt says is shown to be in the trail, by public values alone."""

import json

import jwt
import msgspec
import pytest

from origin.trail.public_keys import PublicKeys
from shared.audit.heads import read_good_head
from shared.audit.proofs import InclusionProof, check_proof
from shared.audit.trail import HEAD_EVERY
from shared.encoding import decode_base64url
from tests.postgres.test_audit import audit
from tests.postgres.world import OriginProcess, Tap, World, together


def receipt_of(origin: OriginProcess, tap: Tap | None = None) -> bytes:
    token = origin.settle(tap or Tap()).json()["receipt"]
    payload = decode_base64url(token.split(".")[1])
    assert payload is not None
    return payload


def prove(origin: OriginProcess, receipt: bytes) -> InclusionProof:
    said = json.loads(receipt)
    answer = origin.client.get(f"/v1/drops/{said['drop']}/trail/{said['position']}")
    assert answer.status_code == 200, answer.text
    return msgspec.json.decode(answer.content, type=InclusionProof)


def test_a_receipt_is_proved_by_the_verifier_and_a_head_that_another_library_checks(
    world: World, origin: OriginProcess
) -> None:
    receipts = [receipt_of(origin) for _ in range(3)]
    key_set = origin.client.get("/.well-known/jwks.json")
    for receipt in receipts:
        proof = prove(origin, receipt)
        assert check_proof(proof, receipt) is None
        assert read_good_head(proof.head, PublicKeys(key_set.content).verify) is not None
        kid = jwt.get_unverified_header(proof.head)["kid"]
        key = next(key for key in jwt.PyJWKSet.from_dict(key_set.json()).keys if key.key_id == kid)
        said = jwt.decode(proof.head, key, ["EdDSA"])
        assert (said["drop"], said["position"], said["settled"]) == ("drop-1", 3, 3)
    # One head is enough for all that came before it.
    assert world.execute("SELECT count(*) FROM trail_heads") == [(1,)]


def test_a_proof_is_about_one_receipt_only(origin: OriginProcess) -> None:
    first, second = receipt_of(origin), receipt_of(origin)
    assert check_proof(prove(origin, first), second) == "other_receipt"
    changed = first.replace(b'"currency":"EUR"', b'"currency":"USD"')
    assert check_proof(prove(origin, first), changed) == "other_receipt"


def test_settlements_at_the_same_moment_have_one_place_each_and_all_are_proved(
    world: World, origin: OriginProcess
) -> None:
    world.execute("UPDATE drops SET total = 200, free = 200")
    receipts = together(lambda _: receipt_of(origin), range(HEAD_EVERY + 12))
    assert sorted(json.loads(receipt)["position"] for receipt in receipts) == list(range(1, HEAD_EVERY + 13))
    for receipt in receipts:
        assert check_proof(prove(origin, receipt), receipt) is None
    positions = [position for (position,) in world.execute("SELECT position FROM trail_heads ORDER BY position")]
    assert positions == [HEAD_EVERY, HEAD_EVERY + 12]


def test_a_proof_is_the_same_for_ever(origin: OriginProcess) -> None:
    receipt = receipt_of(origin)
    before = prove(origin, receipt)
    receipt_of(origin)
    assert prove(origin, receipt) == before


def test_a_settlement_in_the_past_of_a_head_that_is_gone_is_not_proved_by_a_longer_way(
    world: World, origin: OriginProcess
) -> None:
    world.execute("UPDATE drops SET total = 400, free = 400")
    together(lambda _: receipt_of(origin), range(HEAD_EVERY + 2))
    world.execute("DELETE FROM trail_heads")
    answer = origin.client.get("/v1/drops/drop-1/trail/1")
    assert len(answer.json()["following"]) <= HEAD_EVERY


def test_the_stock_that_is_shown_is_signed_and_checked_against_the_trail(world: World, origin: OriginProcess) -> None:
    for _ in range(3):
        receipt_of(origin)
    signed = origin.client.get("/v1/drops/drop-1/stock").json()
    (shown,) = origin.client.get("/v1/stock?drops=drop-1").json()["drops"]
    assert {**signed["stock"], "as_of_ms": 0} == {**shown, "as_of_ms": 0}
    keys = PublicKeys(origin.client.get("/.well-known/jwks.json").content)
    head = read_good_head(signed["head"], keys.verify)
    assert head is not None
    assert (head.position, head.settled, head.total, head.remaining) == (3, 3, 100, 97)
    assert (head.version, head.at_ms) == (signed["stock"]["version"], signed["stock"]["as_of_ms"])
    receipt_of(origin)
    assert audit(world, signed["head"]).faults == ()
    world.execute("DELETE FROM trail_entries WHERE position > 1")
    assert ("head_beyond_end", 3) in [(fault.code, fault.position) for fault in audit(world, signed["head"]).faults]


def test_stock_of_a_drop_of_which_nothing_is_settled_is_signed_too(world: World, origin: OriginProcess) -> None:
    signed = origin.client.get("/v1/drops/drop-1/stock").json()
    assert audit(world, signed["head"]).faults == ()


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        pytest.param("/v1/drops/drop-1/trail/1", 404, "entry_unknown", id="nothing-settled"),
        pytest.param("/v1/drops/unknown/trail/1", 404, "entry_unknown", id="unknown-drop"),
        pytest.param("/v1/drops/drop-1/trail/0", 404, "entry_unknown", id="zero"),
        pytest.param("/v1/drops/drop-1/trail/-1", 404, "entry_unknown", id="negative"),
        pytest.param("/v1/drops/drop-1/trail/first", 404, "entry_unknown", id="no-number"),
        pytest.param("/v1/drops/drop-1/trail/" + "9" * 40, 404, "entry_unknown", id="overflow"),
        pytest.param("/v1/drops/unknown/stock", 404, "drop_unknown", id="stock-of-unknown-drop"),
        pytest.param("/v1/drops/unknown/trail/heads", 404, "drop_unknown", id="heads-of-unknown-drop"),
        pytest.param("/v1/drops/drop-1/trail/heads?after=x", 422, "invalid_field", id="after-no-number"),
        pytest.param("/v1/drops/drop-1/trail/heads?after=²", 422, "invalid_field", id="after-another-script"),
    ],
)
def test_what_is_not_there_is_refused(origin: OriginProcess, path: str, status: int, code: str) -> None:
    answer = origin.client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_heads_are_published_in_order_and_page_by_page(world: World, origin: OriginProcess) -> None:
    assert origin.client.get("/v1/drops/drop-1/trail/heads").json() == {"drop": "drop-1", "heads": []}
    for _ in range(3):
        prove(origin, receipt_of(origin))
    every = origin.client.get("/v1/drops/drop-1/trail/heads?after=0").json()["heads"]
    assert len(every) == 3
    assert origin.client.get("/v1/drops/drop-1/trail/heads?after=2").json()["heads"] == every[2:]
    assert origin.client.get("/v1/drops/drop-1/trail/heads").json()["heads"] == every[2:]
    assert [head for (head,) in world.execute("SELECT head FROM trail_heads ORDER BY position")] == every
