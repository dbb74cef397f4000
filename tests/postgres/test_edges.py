"""What a self-hosted edge reads and posts: the published bytes, reports stored once, keys that open one door."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from origin.apikeys import KINDS, KeyKind, hash_key, make_key
from origin.insight.edges import MAX_BODY_BYTES, MAX_MESSAGES, matches_tag
from shared.claims.keys import parse_claim_keys
from tests.postgres.edge_side import Node
from tests.postgres.test_windows import publish
from tests.postgres.world import CLAIM_KEYS, OriginProcess, Tap, World, together

KEYS: dict[KeyKind, str] = {kind: make_key() for kind in KINDS}
PATH = "/v1/edge/manifests/clip-1"
JSON = {"Content-Type": "application/json"}


@pytest.fixture(autouse=True)
def known_keys(world: World) -> Iterator[None]:
    for kind, key in KEYS.items():
        world.execute(
            "INSERT INTO api_keys VALUES (%s, %s, 0, NULL, %s) ON CONFLICT DO NOTHING", hash_key(key), kind, kind
        )
    yield
    world.patiently("TRUNCATE edge_events, event_rejections, issued_claims, edge_nodes, api_keys")


def report(origin: OriginProcess, *messages: Any, key: str = KEYS["edge"]) -> httpx.Response:
    texts = [message if isinstance(message, str) else json.dumps(message) for message in messages]
    return origin.client.post("/v1/edge/events", json={"messages": texts}, headers={"Authorization": f"Bearer {key}"})


def told(answer: httpx.Response) -> tuple[int, ...]:
    assert answer.status_code == 202, answer.text
    said = answer.json()
    return tuple(said[name] for name in ("accepted", "batches", "events", "repeated", "rejected"))


def node(name: str) -> Node:
    return Node(name, parse_claim_keys(CLAIM_KEYS)[0])


def test_manifest_is_the_published_bytes_and_public(world: World, origin: OriginProcess) -> None:
    publish(world, 1)
    publish(world, 2, names={"en": "Newer"})
    answer = origin.client.get(PATH)
    stored = world.execute("SELECT body FROM manifests WHERE clip = 'clip-1' AND version = 2")[0][0]
    assert (answer.status_code, answer.content) == (200, bytes(stored))
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "public, max-age=5, stale-if-error=86400"
    assert answer.headers["etag"].startswith('"')


def test_manifest_that_is_at_hand_is_not_sent_again(world: World, origin: OriginProcess) -> None:
    publish(world, 1)
    tag = origin.client.get(PATH).headers["etag"]
    for given in (tag, f'"other", {tag}', f"W/{tag}", "*"):
        again = origin.client.get(PATH, headers={"If-None-Match": given})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert again.headers["cache-control"].startswith("public")
    publish(world, 2)
    newer = origin.client.get(PATH, headers={"If-None-Match": tag})
    assert (newer.status_code, newer.headers["etag"] != tag) == (200, True)


@pytest.mark.parametrize("given", [[], [""], ['"x"'], ["x"]])
def test_other_tags_do_not_match(given: list[str]) -> None:
    assert not matches_tag(given, '"tag"')


def test_manifest_of_an_unknown_clip_is_a_problem(origin: OriginProcess) -> None:
    answer = origin.client.get("/v1/edge/manifests/nothing")
    assert (answer.status_code, answer.json()["code"]) == (404, "clip_unknown")


def test_report_is_stored_with_its_effect_and_once(world: World, origin: OriginProcess) -> None:
    tap = Tap(lines=[{"sku": "sku-1", "quantity": 1, "unit_minor": 0}])
    one = node("edge-a")
    messages = [one.report(tap.claim), one.report()]
    assert told(report(origin, *messages)) == (2, 2, 2, 0, 0)
    assert told(report(origin, *messages)) == (2, 0, 0, 2, 0)
    assert world.stock() == (99, 0, 1)
    assert world.execute("SELECT count(*) FROM edge_events") == [(2,)]
    assert origin.read(tap).json()["status"] == "settled"


def test_what_cannot_be_read_is_kept_as_rejected_once(world: World, origin: OriginProcess) -> None:
    messages = ["no json", node("edge-b").report(), "[]", "\x00"]
    assert told(report(origin, *messages)) == (4, 1, 1, 0, 3)
    assert told(report(origin, *messages))[1] == 0
    assert world.execute("SELECT count(*) FROM event_rejections") == [(3,)]


def test_edges_that_report_the_same_claims_at_once_settle_them_once(world: World, origin: OriginProcess) -> None:
    claims = [Tap(lines=[{"sku": "sku-1", "quantity": 1, "unit_minor": 0}]).claim for _ in range(20)]
    answers = together(lambda number: report(origin, node(f"edge-{number}").report(*claims)), range(8))
    assert [answer.status_code for answer in answers] == [202] * 8
    assert world.stock() == (80, 0, 20)


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_opens_its_own_door_only(origin: OriginProcess, kind: KeyKind) -> None:
    headers = {"Authorization": f"Bearer {KEYS[kind]}"}
    opened = {
        "operator": origin.client.get("/v1/drops", headers=headers).status_code,
        "edge": report(origin, "x", key=KEYS[kind]).status_code,
        "register": origin.client.post("/v1/counter/sales", content=b"{", headers={**headers, **JSON}).status_code,
    }
    good = {"operator": 200, "edge": 202, "register": 400}
    assert opened == {door: good[door] if door == kind else 403 for door in KINDS}


@pytest.mark.parametrize(
    ("headers", "body", "refusal"),
    [
        pytest.param({"Authorization": ""}, b"{}", (401, "key_missing"), id="no key"),
        pytest.param({"Authorization": f"Bearer {make_key()}"}, b"{}", (403, "key_refused"), id="unknown key"),
        pytest.param({"Content-Type": "text/plain"}, b"{}", (415, "unsupported_media_type"), id="another type"),
        pytest.param({}, b"", (400, "malformed_json"), id="nothing"),
        pytest.param({}, b"{", (400, "malformed_json"), id="cut short"),
        pytest.param({}, b'{"messages":["\\ud800"]}', (400, "malformed_json"), id="half a character"),
        pytest.param({}, b'{"messages":["y"],"messages":["x"]}', (400, "duplicate_key"), id="a key twice"),
        pytest.param({}, b'{"messages":["x"],"more":1}', (422, "unknown_field"), id="more fields"),
        pytest.param({}, b'{"messages":[]}', (422, "invalid_field"), id="no message"),
        pytest.param({}, b'{"messages":[1]}', (422, "invalid_field"), id="not a text"),
        pytest.param(
            {}, json.dumps({"messages": ["x"] * (MAX_MESSAGES + 1)}).encode(), (422, "invalid_field"), id="too many"
        ),
        pytest.param({}, b" " * (MAX_BODY_BYTES + 1), (413, "body_too_large"), id="too large"),
    ],
)
def test_report_that_is_none_is_refused_and_nothing_stored(
    world: World, origin: OriginProcess, headers: dict[str, str], body: bytes, refusal: tuple[int, str]
) -> None:
    usual = {"Authorization": f"Bearer {KEYS['edge']}", "Content-Type": "application/json"}
    answer = origin.client.post("/v1/edge/events", content=body, headers={**usual, **headers})
    assert (answer.status_code, answer.json()["code"]) == refusal
    assert world.execute("SELECT count(*) FROM edge_events") == [(0,)]
    assert world.execute("SELECT count(*) FROM event_rejections") == [(0,)]
