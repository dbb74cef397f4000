"""Scanners: let in once, told what is picked up where, heard once; what was handed out twice is shown with proof."""

import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import httpx
import jwt
import pytest

from shared.claims.passes import hash_code, write_code
from tests.postgres.scanning import Device, Operator
from tests.postgres.world import PUBLIC_URL, ROOT, OriginProcess, Tap, Viewer, World, together, until


@pytest.fixture
def operator(world: World, origin: OriginProcess) -> Operator:
    world.add_pickup("kiln")
    return Operator(world, origin)


def settle(origin: OriginProcess, tap: Tap | None = None) -> tuple[str, str]:
    """Settle, and return the claim's id and its pass."""
    body = origin.settle(tap or Tap()).json()
    return body["claim_id"], body["pass"]


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


# being let in


def test_a_code_lets_one_device_in_and_is_not_stored(world: World, operator: Operator, origin: OriginProcess) -> None:
    invited = operator.invite("door-1")
    first, second = Device(origin, "door-1"), Device(origin, "door-1")
    answers = together(lambda device: device.enrol(invited), [first, second])
    assert sorted(answer.status_code for answer in answers) == [201, 403]
    assert invited.replace("-", "") not in str(world.execute("SELECT * FROM scanners"))


@pytest.mark.parametrize("typed", ["", "0000-0000-0000-0000", "UUUU-UUUU-UUUU-UUUU", "%"])
def test_another_code_lets_nobody_in(operator: Operator, origin: OriginProcess, typed: str) -> None:
    operator.invite("door-1")
    assert code(Device(origin, "door-1").enrol(typed)) == (403, "enrolment_refused")


def test_a_code_is_good_for_a_day(world: World, operator: Operator, origin: OriginProcess) -> None:
    invited = operator.invite("door-1")
    world.execute("UPDATE scanners SET code_until_ms = 1")
    assert code(Device(origin, "door-1").enrol(invited)) == (403, "enrolment_refused")


def test_another_device_is_another_scanner(operator: Operator) -> None:
    operator.enrol("door-1")
    assert code(operator.post("/v1/scanners", {"scanner": "door-1", "place": "kiln"})) == (409, "already_exists")


def test_a_scanner_s_key_opens_nothing_else(operator: Operator, origin: OriginProcess) -> None:
    device = operator.enrol("door-1")
    assert code(origin.client.get("/v1/drops", headers=device.headers)) == (403, "key_refused")
    assert code(origin.client.get("/v1/scanner/passes", headers=operator.headers)) == (403, "key_refused")


def test_a_revoked_scanner_is_shut_out_and_an_unused_code_with_it(operator: Operator, origin: OriginProcess) -> None:
    device, waiting = operator.enrol("door-1"), operator.invite("door-2")
    for name in ("door-1", "door-2", "door-1"):
        assert operator.post(f"/v1/scanners/{name}/revoke").status_code == 200
    assert code(origin.client.get("/v1/scanner/passes", headers=device.headers)) == (403, "key_refused")
    assert code(Device(origin, "door-2").enrol(waiting)) == (403, "enrolment_refused")
    listed = {entry["scanner"]: entry for entry in operator.get("/v1/scanners").json()["scanners"]}
    assert listed["door-1"]["revoked_ms"] >= listed["door-1"]["enrolled_ms"]
    assert listed["door-2"]["enrolled_ms"] is None
    assert code(operator.post("/v1/scanners/door-3/revoke")) == (404, "scanner_unknown")


# knowing passes


def test_a_scanner_knows_the_passes_of_its_place_by_the_hashes_of_their_codes(
    world: World, operator: Operator, origin: OriginProcess
) -> None:
    world.add_drop("drop-2")
    world.add_pickup("harbour", drop="drop-2")
    claim_id, token = settle(origin)
    settle(origin, Tap(drop="drop-2"))
    page = operator.enrol("door-1").passes()
    assert (page["issuer"], page["place"], page["next"]) == (PUBLIC_URL, "kiln", None)
    assert page["keys"] == origin.client.get("/.well-known/jwks.json").json()["keys"]
    (listed,) = page["passes"]
    assert listed["said"]["jti"] == claim_id
    assert (listed["state"], listed["code"]) == ("good", hash_code(write_code(token)))


def test_a_scanner_hears_only_what_changed(world: World, operator: Operator, origin: OriginProcess) -> None:
    device, other = operator.enrol("door-1"), operator.enrol("door-2")
    first, token = settle(origin)
    second, _ = settle(origin)
    world.execute("UPDATE settlements SET settled_at_ms = 1000")
    assert device.passes("?since_ms=1001")["passes"] == []
    assert other.tell(other.scan(token, first)) == ["picked_up"]
    operator.post(f"/v1/passes/{second}/revoke")
    changed = device.passes("?since_ms=1001")["passes"]
    assert {listed["said"]["jti"]: listed["state"] for listed in changed} == {first: "used", second: "revoked"}


def test_pages_of_passes_make_the_whole(world: World, operator: Operator, origin: OriginProcess) -> None:
    claim_id, _ = settle(origin)
    columns = "drop, run, viewer, fingerprint, status, quantity, first_number, total_minor, currency, creator, clip, "
    columns += "offer, arm, lines, receipt, kid, source, settled_at_ms, stock_version"
    world.execute(
        f"INSERT INTO settlements (claim_id, {columns}) SELECT lpad(n::text, 22, '0'), {columns} "  # noqa: S608 - ours
        "FROM settlements, generate_series(1, 1000) AS n WHERE claim_id = %s",
        claim_id,
    )
    device = operator.enrol("door-1")
    first = device.passes()
    second = device.passes(f"?after={first['next']}")
    third = device.passes(f"?after={second['next']}")
    assert [len(page["passes"]) for page in (first, second, third)] == [500, 500, 1]
    assert third["next"] is None


def test_passes_are_listed_until_a_month_after_their_window(
    world: World, operator: Operator, origin: OriginProcess
) -> None:
    device = operator.enrol("door-1")
    claim_id, token = settle(origin)
    now_ms, day_ms = time.time_ns() // 1_000_000, 86_400_000
    world.add_pickup("kiln", until_ms=now_ms - 29 * day_ms)
    listed = device.passes()
    assert len(listed["passes"]) == 1
    assert listed["as_of_ms"] - listed["over_ms"] == 30 * day_ms
    world.add_pickup("kiln", until_ms=now_ms - 31 * day_ms)
    assert device.passes()["passes"] == []
    assert device.tell(device.scan(token, claim_id)) == ["picked_up"]


@pytest.mark.parametrize("query", ["?after=x", "?since_ms=-1", "?since_ms=soon"])
def test_a_query_that_is_none_is_refused(operator: Operator, origin: OriginProcess, query: str) -> None:
    device = operator.enrol("door-1")
    answer = origin.client.get(f"/v1/scanner/passes{query}", headers=device.headers)
    assert code(answer) == (422, "invalid_field")


# telling scans


def test_a_scan_picks_up_once_however_often_it_is_told(world: World, operator: Operator, origin: OriginProcess) -> None:
    device, tap = operator.enrol("door-1"), Tap()
    claim_id, token = settle(origin, tap)
    scan = device.scan(token, claim_id)
    assert device.tell(scan, scan) == ["picked_up", "picked_up"]
    assert device.tell(scan) == ["picked_up"]
    assert world.execute("SELECT count(*) FROM scans") == [(1,)]
    assert world.execute("SELECT claim_id FROM pickups") == [(claim_id,)]
    assert origin.read(tap, "/standing").json()["state"] == "picked_up"
    assert operator.disputed() == []


def test_a_typed_code_picks_up_too(operator: Operator, origin: OriginProcess) -> None:
    device = operator.enrol("door-1")
    claim_id, token = settle(origin)
    assert device.tell(device.scan(token, claim_id, pass_hash=None, code=write_code(token))) == ["picked_up"]


def test_two_devices_that_took_one_pass_are_found_with_both_signed_scans(
    operator: Operator, origin: OriginProcess
) -> None:
    claim_id, token = settle(origin)
    devices = {name: operator.enrol(name) for name in ("door-1", "door-2")}
    scans = {name: device.scan(token, claim_id) for name, device in devices.items()}
    outcomes = together(lambda name: devices[name].tell(scans[name])[0], list(devices))
    assert sorted(outcomes) == ["picked_up", "second_pickup"]
    (disputed,) = operator.disputed()
    assert disputed["claim_id"] == claim_id
    assert {shown["scanner"]: shown["scan"] for shown in disputed["scans"]} == scans
    for shown in disputed["scans"]:
        said = jwt.decode(shown["scan"], jwt.PyJWK.from_dict(shown["key"]), algorithms=["ES256"], audience=PUBLIC_URL)
        assert (said["claim_id"], said["iss"], said["at_ms"]) == (claim_id, shown["scanner"], shown["at_ms"])


def test_pages_of_disputed_pickups_make_the_whole(world: World, operator: Operator, origin: OriginProcess) -> None:
    device = operator.enrol("door-1")
    claim_id, token = settle(origin)
    device.tell(device.scan(token, claim_id))
    world.execute(
        """
        INSERT INTO scans (scanner, digest, seq, claim_id, verdict, outcome, at_ms, received_ms, scan)
        SELECT scanner, sha256((n || outcome)::bytea), 1, lpad(n::text, 22, '0'), 'good', outcome, n, n, 'a.b.c'
        FROM scanners, generate_series(1, 150) AS n, unnest(ARRAY['picked_up', 'second_pickup']) AS outcome
        """
    )
    first = operator.get("/v1/pickups/disputed").json()
    second = operator.get(f"/v1/pickups/disputed?after={first['next']}").json()
    assert [len(page["pickups"]) for page in (first, second)] == [100, 50]
    assert second["next"] is None
    assert {len(disputed["scans"]) for disputed in first["pickups"] + second["pickups"]} == {2}
    assert code(operator.get("/v1/pickups/disputed?after=x")) == (422, "invalid_field")


def test_reconciliation_names_the_place_where_something_was_handed_out_twice(
    world: World, operator: Operator, origin: OriginProcess
) -> None:
    devices = [operator.enrol(name) for name in ("door-1", "door-2")]
    for _ in range(2):
        claim_id, token = settle(origin)
        for device in devices:
            device.tell(device.scan(token, claim_id))
    done = subprocess.run(
        [sys.executable, "-m", "origin.reconcile"],
        cwd=ROOT, env=world.environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr  # the provider is away here, the report is whole all the same
    (line,) = [line for line in done.stdout.splitlines() if "/v1/pickups/disputed" in line]
    assert line.split()[:2] == ["kiln", "2"]


def test_one_device_that_took_a_pass_twice_is_found_too(operator: Operator, origin: OriginProcess) -> None:
    device = operator.enrol("door-1")
    claim_id, token = settle(origin)
    assert device.tell(device.scan(token, claim_id), device.scan(token, claim_id)) == ["picked_up", "second_pickup"]
    assert len(operator.disputed()[0]["scans"]) == 2


def test_what_was_handed_out_though_revoked_is_told(world: World, operator: Operator, origin: OriginProcess) -> None:
    device = operator.enrol("door-1")
    claim_id, token = settle(origin)
    for _ in range(2):
        assert operator.post(f"/v1/passes/{claim_id}/revoke").json() == {"claim_id": claim_id}
    assert device.tell(device.scan(token, claim_id)) == ["revoked"]
    assert world.execute("SELECT claim_id FROM pickups") == [(claim_id,)]
    assert [scan["outcome"] for scan in operator.disputed()[0]["scans"]] == ["revoked"]


def cancel(operator: Operator, claim_id: str) -> httpx.Response:
    return operator.post(f"/v1/settlements/{claim_id}/cancel", {"key": f"cancel-{claim_id}"})


def test_what_was_called_off_is_not_picked_up_but_told(world: World, operator: Operator, origin: OriginProcess) -> None:
    device = operator.enrol("door-1")
    tap = Tap()
    claim_id, token = settle(origin, tap)
    assert cancel(operator, claim_id).status_code == 200
    assert device.passes()["passes"][0]["state"] == "revoked"
    assert device.tell(device.scan(token, claim_id)) == ["not_settled"]
    assert world.execute("SELECT count(*) FROM pickups") == [(0,)]
    assert [scan["outcome"] for scan in operator.disputed()[0]["scans"]] == ["not_settled"]
    assert origin.read(tap, "/pass").json()["code"] == "nothing_to_pick_up"
    assert origin.read(tap, "/standing").json()["state"] == "cancelled"


def test_what_was_fetched_may_be_brought_back(world: World, operator: Operator, origin: OriginProcess) -> None:
    device, tap = operator.enrol("door-1"), Tap()
    claim_id, token = settle(origin, tap)
    device.tell(device.scan(token, claim_id))
    assert cancel(operator, claim_id).status_code == 200
    assert origin.read(tap, "/standing").json()["state"] == "cancelled"
    assert world.stock() == (100, 0, 0)
    assert device.tell(device.scan(token, claim_id)) == ["not_settled"]


def call_it(call: Callable[[], Any]) -> Any:
    return call()


def test_cancelling_and_fetching_at_once_leave_one_story(
    world: World, operator: Operator, origin: OriginProcess
) -> None:
    devices = [operator.enrol(f"door-{number}") for number in range(4)]
    for device in devices:
        claim_id, token = settle(origin)
        calls: list[Callable[[], Any]] = [partial(cancel, operator, claim_id)]
        calls.append(partial(device.tell, device.scan(token, claim_id)))
        cancelled, (outcome,) = together(call_it, calls)
        assert cancelled.status_code == 200
        assert outcome in {"picked_up", "not_settled"}
        fetched = world.execute("SELECT count(*) FROM pickups WHERE claim_id = %s", claim_id) == [(1,)]
        assert fetched is (outcome == "picked_up")
    assert world.stock() == (100, 0, 0)


def test_a_refused_pass_is_noted_and_moves_nothing(world: World, operator: Operator, origin: OriginProcess) -> None:
    device = operator.enrol("door-1")
    claim_id, token = settle(origin)
    scans = [device.scan(token, claim_id, verdict="used"), device.scan(token, None, verdict="foreign")]
    assert device.tell(*scans) == ["noted", "noted"]
    assert world.execute("SELECT count(*) FROM pickups") == [(0,)]
    assert operator.disputed() == []


def test_who_never_saw_the_pass_cannot_say_so(world: World, operator: Operator, origin: OriginProcess) -> None:
    world.add_drop("drop-2")
    world.add_pickup("harbour", drop="drop-2")
    device = operator.enrol("door-1")
    claim_id, token = settle(origin)
    elsewhere, other_token = settle(origin, Tap(drop="drop-2"))
    made_up = [
        device.scan("a.b.c", claim_id),
        device.scan(token, claim_id, pass_hash=None),
        device.scan(token, claim_id, pass_hash=None, code="0000-0000-0000-0000"),
        device.scan(other_token, elsewhere),
        device.scan(token, "AAAAAAAAAAAAAAAAAAAAAA"),
    ]
    assert device.tell(*made_up) == ["unproven"] * len(made_up)
    assert world.execute("SELECT count(*) FROM pickups") == [(0,)]


def test_a_scan_by_another_key_counts_for_nobody(world: World, operator: Operator, origin: OriginProcess) -> None:
    device, thief = operator.enrol("door-1"), operator.enrol("door-2")
    claim_id, token = settle(origin)
    signed = device.scan(token, claim_id)
    header, payload, _ = signed.split(".")
    stranger = Device(origin, "door-2")
    refused = [
        signed,  # told by another device than the one that signed it
        stranger.scan(token, claim_id),
        thief.scan(token, claim_id, iss="door-1"),
        thief.scan(token, claim_id, aud="https://else.example"),
        thief.scan(token, claim_id, more=1),
        f"{header}.{payload}.",
        f"{header}.{payload}",
        "",
    ]
    assert thief.tell(*refused) == ["refused"] * len(refused)
    assert world.execute("SELECT count(*) FROM scans") == [(0,)]
    assert device.tell(signed) == ["picked_up"]


def test_many_devices_at_once_pick_each_claim_up_once(world: World, operator: Operator, origin: OriginProcess) -> None:
    settled = [settle(origin) for _ in range(6)]
    devices = [operator.enrol(f"door-{number}") for number in range(4)]

    def tell_all(device: Device) -> list[str]:
        order = settled if device.name in {"door-0", "door-2"} else settled[::-1]
        return device.tell(*(device.scan(token, claim_id) for claim_id, token in order))

    outcomes = [outcome for told in together(tell_all, devices) for outcome in told]
    assert sorted(outcomes) == ["picked_up"] * 6 + ["second_pickup"] * 18
    assert [len(disputed["scans"]) for disputed in operator.disputed()] == [4] * 6
    assert world.execute("SELECT count(*) FROM pickups") == [(6,)]


@pytest.mark.parametrize(
    ("path", "document"),
    [
        pytest.param("/v1/enrolments", {"code": "x"}, id="no key"),
        pytest.param("/v1/enrolments", {"code": "x", "key": {**Viewer().jwk, "crv": "P-384"}}, id="another curve"),
        pytest.param("/v1/enrolments", {"code": "x", "key": {**Viewer().jwk, "d": "A" * 43}}, id="a private key"),
    ],
)
def test_an_enrolment_that_is_none_is_refused(origin: OriginProcess, path: str, document: dict[str, Any]) -> None:
    assert origin.client.post(path, json=document).status_code == 422


def test_nobody_without_a_key_is_told_anything(origin: OriginProcess) -> None:
    for path in ("/v1/scanners", "/v1/scanner/passes", "/v1/pickups/disputed"):
        assert code(origin.client.get(path)) == (401, "key_missing")
    for path in ("/v1/scanners", "/v1/scanner/scans", "/v1/passes/AAAAAAAAAAAAAAAAAAAAAA/revoke"):
        assert code(origin.client.post(path)) == (401, "key_missing")


def test_a_sync_whose_origin_is_killed_in_its_middle_is_told_again_and_counts_once(
    world: World, operator: Operator, origin: OriginProcess
) -> None:
    device = operator.enrol("door-1")
    claim_id, token = settle(origin)
    scan = device.scan(token, claim_id)
    doomed = world.start()
    with world.hold(), ThreadPoolExecutor(1) as pool:
        telling = pool.submit(doomed.client.post, "/v1/scanner/scans", json={"scans": [scan]}, headers=device.headers)
        until(lambda: bool(world.waiting_backends()))
        doomed.kill()
        with pytest.raises(httpx.TransportError):
            telling.result()
    assert world.execute("SELECT count(*) FROM scans") == [(0,)]
    assert device.tell(scan) == device.tell(scan) == ["picked_up"]
    assert world.execute("SELECT claim_id FROM pickups") == [(claim_id,)]
