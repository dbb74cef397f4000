"""What a presented claim comes to, through HTTP: settled or refused, once, and told in the same bytes for ever."""

import json
import time
from typing import Any

import httpx
import jwt
import pytest

from origin.settlement.receipts import make_signing_key_set
from tests.postgres.world import PUBLIC_URL, SIGNING_KEYS, OriginProcess, Tap, Viewer, World, together


def test_settled_claim_has_its_number_receipt_and_stock(world: World, origin: OriginProcess) -> None:
    tap = Tap()
    answer = origin.settle(tap)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    stored_ms = world.execute("SELECT settled_at_ms FROM settlements")[0][0]
    receipt = body.pop("receipt")
    assert body == {
        "claim_id": tap.claim.jti,
        "status": "settled",
        "settled_at_ms": stored_ms,
        "drop": "drop-1",
        "run": "run-1",
        "run_numbers": [1],
        "lines": [{"sku": "sku-1", "quantity": 1, "unit_minor": 990}],
        "total_minor": 990,
        "currency": "EUR",
        "payment": "at_pickup",
        "position": 1,
        "stock": {"drop": "drop-1", "state": "available", "remaining": 99, "version": 2, "as_of_ms": stored_ms},
    }
    assert receipt.count(".") == 2
    assert world.stock() == (99, 0, 1)


def test_server_timing_tells_queue_and_database(origin: OriginProcess) -> None:
    stages = [stage.partition(";")[0] for stage in origin.settle(Tap()).headers["server-timing"].split(", ")]
    assert stages == ["queue", "db"]


def test_a_browser_may_warm_its_connection_up_and_nothing_is_stored(world: World, origin: OriginProcess) -> None:
    answer = origin.client.get("/v1/settlements", headers={"authorization": "DPoP x", "dpop": "x"})
    assert (answer.status_code, answer.content) == (204, b"")
    assert world.execute("SELECT count(*) FROM settlements")[0][0] == 0


@pytest.mark.parametrize("body", [b"", b"{}", b" {} "], ids=["none", "empty object", "with spaces"])
def test_body_may_be_empty(origin: OriginProcess, body: bytes) -> None:
    assert origin.settle(Tap(), body).status_code == 200


def test_free_claim_needs_no_payment(origin: OriginProcess) -> None:
    tap = Tap(lines=[{"sku": "sku-1", "quantity": 1, "unit_minor": 0}])
    assert origin.settle(tap).json()["payment"] == "none"


def test_same_claim_in_parallel_over_two_processes_is_one_row_and_one_body(world: World) -> None:
    origins = [world.start(), world.start()]
    tap = Tap()
    answers = together(lambda number: origins[number % 2].settle(tap), range(40))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert world.count() == 1
    assert world.stock() == (99, 0, 1)


def test_last_unit_goes_to_one_of_sixty_four(world: World) -> None:
    world.add_drop("drop-last", total=1)
    origins = [world.start(), world.start()]
    taps = [Tap(drop="drop-last") for _ in range(64)]
    answers = together(lambda number: origins[number % 2].settle(taps[number]), range(64))
    settled = [answer for answer in answers if answer.status_code == 200]
    refused = [answer.json() for answer in answers if answer.status_code == 409]
    assert (len(settled), len(refused)) == (1, 63)
    assert {problem["code"] for problem in refused} == {"sold_out"}
    assert settled[0].json()["stock"]["state"] == "sold_out"
    assert world.stock("drop-last") == (0, 0, 1)


def test_run_numbers_are_one_to_n_without_a_gap_over_two_processes(world: World) -> None:
    world.add_drop("drop-run", total=150, most=3, cap=3)
    origins = [world.start(), world.start()]
    lines = [[{"sku": "sku-1", "quantity": quantity, "unit_minor": 100}] for quantity in (1, 2, 3)]
    taps = [Tap(drop="drop-run", lines=lines[number % 3]) for number in range(90)]
    answers = together(lambda number: origins[number % 2].settle(taps[number]), range(90))
    numbers = world.numbers("drop-run")
    assert numbers == list(range(1, len(numbers) + 1))
    told = [number for answer in answers if answer.is_success for number in answer.json()["run_numbers"]]
    assert sorted(told) == numbers
    assert world.stock("drop-run") == (150 - len(numbers), 0, len(numbers))


def test_final_refusal_says_why_and_stays_when_stock_comes_back(world: World, origin: OriginProcess) -> None:
    world.add_drop("drop-none", total=0)
    tap = Tap(drop="drop-none")
    first = origin.settle(tap)
    assert first.status_code == 409
    assert first.headers["content-type"] == "application/problem+json"
    problem = first.json()
    decided_ms = problem.pop("decided_at_ms")
    assert problem == {
        "type": "urn:cliptill:problem:sold_out",
        "title": "Nothing is left",
        "status": 409,
        "code": "sold_out",
        "claim_id": tap.claim.jti,
        "outcome": "refused",
        "stock": {"drop": "drop-none", "state": "sold_out", "remaining": 0, "version": 1, "as_of_ms": decided_ms},
    }
    world.execute("UPDATE drops SET total = 5, free = 5 WHERE drop = 'drop-none'")
    assert origin.settle(tap).content == first.content
    assert origin.read(tap).content == first.content
    assert world.stock("drop-none") == (5, 0, 0)


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"drop": "drop-unknown"}, 404, "drop_unknown"),
        ({"run": "run-0"}, 410, "drop_closed"),
        ({"lines": [{"sku": "sku-2", "quantity": 1, "unit_minor": 990}]}, 404, "offer_unknown"),
        ({"lines": [{"sku": "sku-1", "quantity": 2, "unit_minor": 990}]}, 422, "quantity_not_offered"),
        ({"lines": [{"sku": "sku-1", "quantity": 1, "unit_minor": 990}] * 2}, 422, "quantity_not_offered"),
    ],
    ids=["unknown drop", "earlier run", "other sku", "too many", "too many over two lines"],
)  # fmt: skip
def test_claim_that_cannot_settle_is_refused_once_and_for_all(
    world: World, origin: OriginProcess, changes: dict[str, Any], status: int, code: str
) -> None:
    tap = Tap(**changes)
    answers = together(lambda _: origin.settle(tap), range(8))
    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(status, code)}
    assert len({answer.content for answer in answers}) == 1
    assert world.count() == 1
    assert world.stock() == (100, 0, 0)


def test_viewer_never_passes_the_cap_over_parallel_claims(world: World) -> None:
    world.add_drop("drop-cap", total=50, cap=3)
    origins = [world.start(), world.start()]
    viewer = Viewer()
    taps = [Tap(viewer, drop="drop-cap") for _ in range(24)]
    answers = together(lambda number: origins[number % 2].settle(taps[number]), range(24))
    assert sorted(answer.json().get("code", "settled") for answer in answers) == ["cap_reached"] * 21 + ["settled"] * 3
    assert world.stock("drop-cap") == (47, 0, 3)


def test_same_claim_id_for_another_content_is_a_conflict_and_changes_nothing(
    world: World, origin: OriginProcess
) -> None:
    tap = Tap()
    before = origin.settle(tap).content
    other = Tap(tap.viewer, jti=tap.claim.jti, currency="JPY")
    elsewhere = Tap(tap.viewer, jti=tap.claim.jti, drop="drop-unknown")
    for conflicting in (other, elsewhere):
        for answer in (origin.settle(conflicting), origin.read(conflicting)):
            assert answer.status_code == 409
            assert answer.json()["code"] == "idempotency_conflict"
    assert origin.settle(tap).content == before
    assert world.count() == 1


def test_newer_claim_for_the_same_tap_has_the_same_answer(world: World, origin: OriginProcess) -> None:
    tap = Tap()
    before = origin.settle(tap).content
    again = Tap(tap.viewer, jti=tap.claim.jti, exp=tap.claim.exp + 7, colo="NRT", stock_version=9)
    assert origin.settle(again).content == before
    assert world.count() == 1


def test_lost_acknowledgement_can_be_asked_for_after_the_claim_expired(origin: OriginProcess) -> None:
    tap = Tap(exp=int(time.time()) + 2)
    settled = origin.settle(tap).content
    time.sleep(tap.claim.exp - time.time() + 0.1)
    assert origin.settle(tap).json()["code"] == "claim_expired"
    assert origin.read(tap).content == settled


def test_undecided_claim_is_not_known(origin: OriginProcess) -> None:
    answer = origin.read(Tap())
    assert (answer.status_code, answer.json()["code"]) == (404, "settlement_unknown")


def test_decision_of_another_claim_is_not_told(origin: OriginProcess) -> None:
    tap, other = Tap(), Tap()
    origin.settle(tap)
    path = f"/v1/settlements/{tap.claim.jti}"
    answer = origin.client.get(path, headers=other.headers("GET", PUBLIC_URL + path))
    assert (answer.status_code, answer.json()["code"]) == (404, "settlement_unknown")


def verify_with_pyjwt(receipt: str, key_set: httpx.Response) -> dict[str, object]:
    """Check a receipt with a library that is not ours, as its documentation says."""
    keys = jwt.PyJWKSet.from_dict(key_set.json())
    kid = jwt.get_unverified_header(receipt)["kid"]
    said: dict[str, object] = jwt.decode(receipt, keys[kid], algorithms=["EdDSA"], issuer=PUBLIC_URL)
    return said


def test_receipt_verifies_by_another_library_and_names_no_viewer(origin: OriginProcess) -> None:
    tap = Tap()
    receipt = origin.settle(tap).json()["receipt"]
    said = verify_with_pyjwt(receipt, origin.client.get("/.well-known/jwks.json"))
    assert jwt.get_unverified_header(receipt)["typ"] == "receipt+jwt"
    assert (said["jti"], said["run_numbers"]) == (tap.claim.jti, [1])
    assert tap.viewer.thumbprint not in json.dumps(said)


def test_answers_outlive_restarts_and_newer_keys(world: World) -> None:
    before, tap, later = world.start(), Tap(), Tap()
    settled = before.settle(tap).content
    assert before.stop() == 0
    newer = {"keys": [*json.loads(make_signing_key_set())["keys"], *json.loads(SIGNING_KEYS)["keys"]]}
    after = world.start(CLIPTILL_SIGNING_KEY=json.dumps(newer))
    assert after.read(tap).content == settled
    assert after.settle(tap).content == settled
    key_set = after.client.get("/.well-known/jwks.json")
    kids = [key["kid"] for key in key_set.json()["keys"]]
    assert all("d" not in key for key in key_set.json()["keys"])
    receipts = [json.loads(settled)["receipt"], after.settle(later).json()["receipt"]]
    assert [jwt.get_unverified_header(receipt)["kid"] for receipt in receipts] == [kids[1], kids[0]]
    assert all(verify_with_pyjwt(receipt, key_set) for receipt in receipts)


def test_logs_have_no_token_and_no_viewer(own_world: World) -> None:
    origin, tap = own_world.start(), Tap()
    own_world.execute("ALTER TABLE settlements ADD CONSTRAINT broken CHECK (clip <> 'clip-1')")
    answer = origin.settle(tap)
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert set(answer.json()) == {"type", "title", "status", "code"}
    logs = own_world.logs()
    assert '"route":"POST /v1/settlements"' in logs
    for secret in (tap.token, tap.token.split(".")[2], tap.viewer.thumbprint, tap.claim.jti):
        assert secret not in logs
