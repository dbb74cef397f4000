"""Passes through HTTP: with the settlement, again by proof of possession, as a picture, and for nobody else."""

import json
import time
from typing import Any

import httpx
import jwt
import pytest

from shared.claims.passes import hash_code, read_code, write_code
from tests.postgres.edge_side import query
from tests.postgres.test_operators import DROP, Api, on_api, told
from tests.postgres.world import PUBLIC_URL, SIGNING_KEYS, OriginProcess, Tap, Viewer, World, together


def pass_of(body: dict[str, Any]) -> dict[str, Any]:
    """Return what a settlement's pass says, checked by a JOSE library that is not ours."""
    key = jwt.PyJWKSet.from_dict(json.loads(SIGNING_KEYS)).keys[0]
    return dict(jwt.decode(body["pass"], key, algorithms=["EdDSA"], issuer=PUBLIC_URL))


def test_what_is_picked_up_settles_with_a_pass(world: World, origin: OriginProcess) -> None:
    now_s = int(time.time())
    world.add_pickup("kiln", from_ms=(now_s - 60) * 1000, until_ms=(now_s + 3600) * 1000)
    tap = Tap()
    settled = origin.settle(tap)
    assert pass_of(settled.json()) == {
        "iss": PUBLIC_URL,
        "jti": tap.claim.jti,
        "nbf": now_s - 60,
        "exp": now_s + 3600,
        "place": "kiln",
        "drop": "drop-1",
        "units": 1,
        "first": 1,
        "due_minor": 990,
        "currency": "EUR",
    }
    assert origin.settle(tap).content == origin.read(tap).content == settled.content


def test_a_pass_stays_what_it_was_when_the_window_is_moved(world: World, origin: OriginProcess) -> None:
    world.add_pickup()
    tap = Tap()
    settled = origin.settle(tap)
    world.add_pickup(from_ms=5000)
    assert origin.read(tap).content == settled.content
    assert pass_of(origin.settle(Tap()).json())["nbf"] == 5


def test_the_holder_reads_the_pass_its_code_and_its_picture(world: World, origin: OriginProcess) -> None:
    world.add_pickup()
    tap = Tap()
    token = origin.settle(tap).json()["pass"]
    view = origin.read(tap, "/pass").json()
    assert (view["claim_id"], view["token"], view["code"]) == (tap.claim.jti, token, write_code(token))
    assert view["picture"]["path"] in origin.read(tap, "/pass.svg").text
    assert hash_code(read_code(view["code"]) or "") == hash_code(view["code"])
    picture = origin.read(tap, "/pass.svg")
    assert picture.headers["content-type"] == "image/svg+xml"
    assert picture.headers["cache-control"] == "no-store"
    assert picture.content.startswith(b"<svg")
    assert b"<script" not in picture.content


@pytest.mark.parametrize("part", ["/pass", "/pass.svg"])
def test_somebody_elses_proof_gets_no_pass(world: World, origin: OriginProcess, part: str) -> None:
    world.add_pickup()
    tap = Tap()
    origin.settle(tap)
    path = f"/v1/settlements/{tap.claim.jti}{part}"
    proof = Viewer().prove("GET", PUBLIC_URL + path, tap.token)
    answer = origin.client.get(path, headers={"Authorization": f"DPoP {tap.token}", "DPoP": proof})
    assert (answer.status_code, answer.json()["code"]) == (401, "proof_other_key")
    assert origin.client.get(path).json()["code"] == "claim_missing"


def test_there_is_no_pass_for_what_is_not_picked_up_or_not_settled(world: World, origin: OriginProcess) -> None:
    def code(answer: httpx.Response) -> tuple[int, str]:
        return answer.status_code, answer.json()["code"]

    tap, refused = Tap(), Tap(run="run-0")
    assert code(origin.read(tap, "/pass")) == (404, "settlement_unknown")
    assert "pass" not in origin.settle(tap).json()
    assert code(origin.read(tap, "/pass")) == (404, "nothing_to_pick_up")
    world.add_pickup()
    origin.settle(refused)
    assert code(origin.read(refused, "/pass.svg")) == (404, "nothing_to_pick_up")


def test_a_slot_never_has_more_passes_than_its_capacity(world: World, origin: OriginProcess) -> None:
    world.add_drop("saturday-ten", total=5)
    world.add_pickup(drop="saturday-ten")
    answers = together(origin.settle, [Tap(drop="saturday-ten") for _ in range(40)])
    passes = [pass_of(answer.json()) for answer in answers if answer.status_code == 200]
    assert sorted(said["first"] for said in passes) == [1, 2, 3, 4, 5]
    assert {answer.json()["code"] for answer in answers if answer.status_code != 200} == {"sold_out"}
    assert world.stock("saturday-ten") == (0, 0, 5)


PICKUP = {"place": "kiln", "zone": "Europe/Berlin", "opens": "2026-10-25T01:30", "closes": "2026-10-25T03:30"}


def test_an_operator_writes_wall_time_and_reads_instants(conninfo: str) -> None:
    async def story(api: Api) -> None:
        created = await api.put("drop", pickup=PICKUP)
        assert created.status_code == 201
        body = created.json()
        assert body["pickup"] == PICKUP
        assert body["pickup_until_ms"] - body["pickup_from_ms"] == 3 * 3_600_000
        again = await api.put("drop", pickup=PICKUP)
        assert (again.status_code, again.json()) == (200, body)
        without = (await api.put("drop")).json()
        assert (without["pickup"], without["pickup_from_ms"]) == (None, None)

    on_api(conninfo, story)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"opens": "2026-03-29T02:30"}, id="skipped"),
        pytest.param({"opens": "2026-10-25T02:30"}, id="twice"),
        pytest.param({"opens": "2026-10-25T01:30Z"}, id="another form"),
        pytest.param({"zone": "../etc/passwd"}, id="no zone"),
        pytest.param({"closes": "2026-10-25T01:30"}, id="empty window"),
    ],
)
def test_a_window_that_is_none_is_refused_and_nothing_is_stored(conninfo: str, changes: dict[str, str]) -> None:
    async def story(api: Api) -> None:
        assert told(await api.put("drop", pickup={**PICKUP, **changes})) == (422, "invalid_field")
        assert told(await api.get(f"/v1/drops/{DROP['drop']}")) == (404, "drop_unknown")

    on_api(conninfo, story)


def test_the_place_of_passes_that_were_given_is_kept_for_its_scanners(conninfo: str) -> None:
    async def story(api: Api) -> None:
        await api.put("drop", pickup=PICKUP)
        assert (await api.put("drop", pickup={**PICKUP, "place": "harbour"})).status_code == 200
        query(conninfo, "UPDATE drops SET free = free - 1, settled = 1")
        assert told(await api.put("drop", pickup=PICKUP)) == (409, "revision_conflict")
        assert told(await api.put("drop")) == (409, "revision_conflict")
        later = {**PICKUP, "place": "harbour", "closes": "2026-10-25T05:30"}
        assert (await api.put("drop", pickup=later)).json()["pickup"] == later

    on_api(conninfo, story)
