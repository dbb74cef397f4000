"""The emulated provider's REST paths: envelope, refusals, limits, and what the nodes are told."""

import asyncio
import base64
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from scripts.emulator.provider import Configuration, Provider, open_database
from scripts.emulator.queues import Queue

TOKEN = "secret-token"
PAIRS = "/accounts/acc/storage/kv/namespaces/manifests"
MESSAGES = "/accounts/acc/queues/events/messages"
CONFIGURATION = Configuration(
    port=0,
    account="acc",
    token=TOKEN,
    namespace="manifests",
    queues=(Queue(name="events", dead_letter="events-dead"),),
    database="",
)


class Clock:
    """An instant that the tests move."""

    now_ms = 1_000_000

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Client:
    """One caller of the app, without a server in between."""

    def __init__(self, app: Starlette) -> None:
        self._app = app

    def request(self, method: str, path: str, **details: Any) -> httpx.Response:
        return asyncio.run(self._request(method, path, **details))

    def get(self, path: str, **details: Any) -> httpx.Response:
        return self.request("GET", path, **details)

    def put(self, path: str, **details: Any) -> httpx.Response:
        return self.request("PUT", path, **details)

    def post(self, path: str, **details: Any) -> httpx.Response:
        return self.request("POST", path, **details)

    async def _request(self, method: str, path: str, **details: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {TOKEN}", **details.pop("headers", {})}
        transport = httpx.ASGITransport(self._app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.request(method, path, headers=headers, **details)


@pytest.fixture
def client(tmp_path: Path, clock: Clock) -> Iterator[Client]:
    with contextlib.closing(open_database(str(tmp_path / "provider.sqlite"))) as database:
        yield Client(Provider(CONFIGURATION, database, clock).app())


def code_of(answer: httpx.Response) -> tuple[int, int]:
    document = answer.json()
    assert document["success"] is False
    assert document["result"] is None
    return answer.status_code, document["errors"][0]["code"]


def result_of(answer: httpx.Response) -> Any:
    document = answer.json()
    assert answer.status_code == 200, document
    assert (document["success"], document["errors"], document["messages"]) == (True, [], [])
    return document["result"]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        pytest.param("", (401, 10000), id="none"),
        pytest.param("Basic abc", (401, 10000), id="another scheme"),
        pytest.param("Bearer wrong", (403, 10000), id="wrong token"),
    ],
)
def test_a_request_without_the_token_is_refused(client: Client, header: str, expected: tuple[int, int]) -> None:
    assert code_of(client.post(MESSAGES + "/pull", headers={"Authorization": header})) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        pytest.param("/accounts/other/queues/events/messages/pull", (403, 10000), id="account"),
        pytest.param("/accounts/acc/queues/other/messages/pull", (404, 10104), id="queue"),
        pytest.param("/accounts/acc/somewhere", (404, 7003), id="path"),
        pytest.param(PAIRS + "/bulk", (405, 7003), id="method"),
    ],
)
def test_what_does_not_exist_is_refused_in_the_envelope(client: Client, path: str, expected: tuple[int, int]) -> None:
    assert code_of(client.post(path, json={})) == expected


def test_an_unknown_namespace_is_refused(client: Client) -> None:
    assert code_of(client.get("/accounts/acc/storage/kv/namespaces/other/values/k")) == (404, 10013)


def test_bulk_written_values_are_read_one_by_one(client: Client) -> None:
    pairs = [
        {"key": "manifest/clip", "value": '{"a":1}', "metadata": {"version": 3}},
        {"key": "binary", "value": base64.b64encode(b"\x00\xff").decode(), "base64": True},
    ]
    assert result_of(client.put(PAIRS + "/bulk", json=pairs))["successful_key_count"] == 2
    assert client.get(PAIRS + "/values/manifest%2Fclip").content == b'{"a":1}'
    assert client.get(PAIRS + "/values/binary").content == b"\x00\xff"
    result_of(client.request("DELETE", PAIRS + "/values/binary"))
    assert code_of(client.get(PAIRS + "/values/binary")) == (404, 10009)


def test_an_expiring_value_is_gone_in_time(client: Client, clock: Clock) -> None:
    client.put(PAIRS + "/bulk", json=[{"key": "k", "value": "v", "expiration_ttl": 60}])
    clock.now_ms += 59_999
    assert client.get(PAIRS + "/values/k").content == b"v"
    clock.now_ms += 1
    assert client.get(PAIRS + "/values/k").status_code == 404


@pytest.mark.parametrize(
    ("pair", "status"),
    [
        pytest.param({"key": "k" * 513, "value": ""}, 414, id="key too long"),
        pytest.param({"key": "", "value": ""}, 400, id="key empty"),
        pytest.param({"key": "k"}, 400, id="no value"),
        pytest.param({"key": "k", "value": "?", "base64": True}, 400, id="not base64"),
        pytest.param({"key": "k", "value": "", "expiration_ttl": 59}, 400, id="lifetime too short"),
        pytest.param({"key": "k", "value": "", "expiration": 1_059}, 400, id="expiry too near"),
        pytest.param({"key": "k", "value": "", "metadata": "m" * 1024}, 413, id="metadata too long"),
    ],
)
def test_one_bad_pair_refuses_the_whole_write(client: Client, pair: dict[str, object], status: int) -> None:
    answer = client.put(PAIRS + "/bulk", json=[{"key": "good", "value": "v"}, pair])
    assert code_of(answer)[0] == status
    assert client.get(PAIRS + "/values/good").status_code == 404


def test_a_bulk_write_has_at_most_ten_thousand_pairs(client: Client) -> None:
    pairs = [{"key": str(number), "value": ""} for number in range(10_001)]
    assert code_of(client.put(PAIRS + "/bulk", json=pairs))[0] == 400
    assert result_of(client.put(PAIRS + "/bulk", json=pairs[1:]))["successful_key_count"] == 10_000


def test_a_queued_event_is_pulled_in_base64_and_acknowledged(client: Client, clock: Clock) -> None:
    event = {"v": 1, "events": []}
    result_of(client.post("/emulator/queues/events", json={"body": event}))
    pulled = result_of(client.post(MESSAGES + "/pull", json={"batch_size": 10, "visibility_timeout_ms": 1000}))
    assert pulled["message_backlog_count"] == 1
    message = pulled["messages"][0]
    assert json.loads(base64.b64decode(message["body"])) == event
    assert message["metadata"]["CF-Content-Type"] == "json"
    assert (message["attempts"], message["timestamp_ms"]) == (1, clock.now_ms)
    body = {"acks": [{"lease_id": message["lease_id"]}], "retries": [{"lease_id": "unknown", "delay_seconds": 1}]}
    done = result_of(client.post(MESSAGES + "/ack", json=body))
    assert (done["ackCount"], done["retryCount"], len(done["warnings"])) == (1, 0, 1)
    assert result_of(client.post(MESSAGES + "/pull"))["messages"] == []


def test_messages_come_in_together_and_text_is_pulled_as_it_is(client: Client) -> None:
    batch = [
        {"body": "hello", "content_type": "text"},
        {"body": base64.b64encode(b"\x00").decode(), "content_type": "bytes", "id": "given"},
        {"body": "", "content_type": "bytes", "id": "given"},
    ]
    assert result_of(client.post("/emulator/queues/events", json=batch))["accepted"] == 3
    messages = result_of(client.post(MESSAGES + "/pull"))["messages"]
    assert [message["body"] for message in messages] == ["hello", base64.b64encode(b"\x00").decode()]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"batch_size": 0}, id="no messages"),
        pytest.param({"batch_size": 101}, id="too many messages"),
        pytest.param({"visibility_timeout_ms": 12 * 3600 * 1000 + 1}, id="more than twelve hours"),
        pytest.param({"batch_size": "10"}, id="not a number"),
    ],
)
def test_a_pull_out_of_bounds_is_refused(client: Client, body: dict[str, object]) -> None:
    assert code_of(client.post(MESSAGES + "/pull", json=body))[0] == 400


def test_a_message_that_is_too_long_is_refused(client: Client) -> None:
    assert code_of(client.post("/emulator/queues/events", json={"body": "x" * 128 * 1024}))[0] == 413


@pytest.mark.parametrize("header", ["Origin", "Sec-Fetch-Site"])
def test_a_web_page_cannot_reach_the_emulator_paths(client: Client, header: str) -> None:
    answer = client.post("/emulator/queues/events", json={"body": 1}, headers={header: "http://evil.example"})
    assert answer.status_code == 403


def test_another_host_name_is_refused(client: Client) -> None:
    assert client.get("/emulator/health", headers={"Host": "evil.example"}).status_code == 400


def test_the_state_tells_what_is_in_each_queue(client: Client, clock: Clock) -> None:
    client.post("/emulator/queues/events", json={"body": 1})
    state = result_of(client.get("/emulator/state"))
    assert state["at_ms"] == clock.now_ms
    assert [(queue["name"], queue["waiting"]) for queue in state["queues"]] == [("events", 1), ("events-dead", 0)]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param({"lateness_ms": 100}, 404, id="a node that there is not"),
        pytest.param({"lateness_ms": -1}, 400, id="from the future"),
        pytest.param({"lateness_ms": 10**9}, 400, id="too late"),
    ],
)
def test_only_a_node_s_sane_lateness_is_set(client: Client, body: dict[str, object], status: int) -> None:
    assert client.put("/emulator/nodes/fra/lateness", json=body).status_code == status


WRITTEN = [
    {"key": "manifest/a", "value": "one", "metadata": {"by": "origin"}},
    {"key": "manifest/b", "value": '{"version": 2}', "expiration_ttl": 60},
    {"key": "stock/c", "value": "3"},
]


@pytest.fixture
def written(client: Client) -> Client:
    result_of(client.put(PAIRS + "/bulk", json=WRITTEN))
    return client


def test_a_bulk_read_gives_values_and_null_for_those_that_are_not_there(written: Client) -> None:
    found = result_of(written.post(PAIRS + "/bulk/get", json={"keys": ["manifest/a", "none"]}))
    assert found == {"values": {"manifest/a": "one", "none": None}}
    as_json = result_of(written.post(PAIRS + "/bulk/get", json={"keys": ["manifest/b", "stock/c"], "type": "json"}))
    assert as_json == {"values": {"manifest/b": {"version": 2}, "stock/c": 3}}


def test_a_bulk_read_gives_metadata_and_expiry_when_asked(written: Client, clock: Clock) -> None:
    asked = {"keys": ["manifest/a", "manifest/b"], "withMetadata": True}
    assert result_of(written.post(PAIRS + "/bulk/get", json=asked))["values"] == {
        "manifest/a": {"value": "one", "metadata": {"by": "origin"}},
        "manifest/b": {"value": '{"version": 2}', "metadata": None, "expiration": clock.now_ms // 1000 + 60},
    }


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"keys": []}, id="none"),
        pytest.param({"keys": ["k"] * 101}, id="more than a hundred"),
        pytest.param({"keys": ["manifest/a"], "type": "arrayBuffer"}, id="bytes"),
        pytest.param({"keys": ["manifest/a"], "type": "json"}, id="a text as JSON"),
        pytest.param(["manifest/a"], id="a list"),
    ],
)
def test_a_bulk_read_that_is_not_as_documented_is_refused(written: Client, body: object) -> None:
    assert code_of(written.post(PAIRS + "/bulk/get", json=body))[0] == 400


def test_keys_are_listed_a_page_at_a_time_until_the_cursor_is_empty(client: Client, clock: Clock) -> None:
    names = [f"manifest/{number:03}" for number in range(25)]
    pairs: list[dict[str, object]] = [{"key": name, "value": "v"} for name in names]
    pairs[0] |= {"metadata": {"version": 7}, "expiration_ttl": 90}
    result_of(client.put(PAIRS + "/bulk", json=[*pairs, {"key": "stock", "value": "v"}]))
    pages: list[Any] = []
    cursor = ""
    while not pages or cursor:
        answer = client.get(PAIRS + "/keys", params={"prefix": "manifest/", "limit": 10, "cursor": cursor})
        pages.append(result_of(answer))
        info = answer.json()["result_info"]
        assert info["count"] == len(pages[-1])
        cursor = info["cursor"]
    assert [len(page) for page in pages] == [10, 10, 5]
    assert [key["name"] for page in pages for key in page] == names
    assert pages[0][:2] == [
        {"name": names[0], "expiration": clock.now_ms // 1000 + 90, "metadata": {"version": 7}},
        {"name": names[1]},
    ]


@pytest.mark.parametrize(
    "query",
    [
        pytest.param({"limit": "9"}, id="too few"),
        pytest.param({"limit": "1001"}, id="too many"),
        pytest.param({"limit": "ten"}, id="no number"),
        pytest.param({"cursor": "a"}, id="no cursor"),
    ],
)
def test_a_listing_out_of_bounds_is_refused(client: Client, query: dict[str, str]) -> None:
    assert code_of(client.get(PAIRS + "/keys", params=query))[0] == 400


@pytest.mark.parametrize(("method", "path"), [("POST", "/bulk/delete"), ("DELETE", "/bulk")], ids=["now", "before"])
def test_a_bulk_delete_takes_what_is_there_and_what_is_not(written: Client, method: str, path: str) -> None:
    gone = written.request(method, PAIRS + path, json=["manifest/a", "none"])
    assert result_of(gone) == {"successful_key_count": 2, "unsuccessful_keys": []}
    assert [key["name"] for key in result_of(written.get(PAIRS + "/keys"))] == ["manifest/b", "stock/c"]
    assert code_of(written.request(method, PAIRS + path, json=["k"] * 10_001))[0] == 400


def test_metadata_and_expiry_of_one_key_are_told(written: Client, clock: Clock) -> None:
    assert result_of(written.get(PAIRS + "/metadata/manifest%2Fa")) == {"by": "origin"}
    assert result_of(written.get(PAIRS + "/metadata/stock%2Fc")) is None
    assert code_of(written.get(PAIRS + "/metadata/none")) == (404, 10009)
    assert written.get(PAIRS + "/values/manifest%2Fb").headers["expiration"] == str(clock.now_ms // 1000 + 60)
    assert "expiration" not in written.get(PAIRS + "/values/manifest%2Fa").headers


@pytest.mark.parametrize("path", ["/pull", "/ack"])
def test_a_queue_tells_bad_json_from_another_shape(client: Client, path: str) -> None:
    assert code_of(client.post(MESSAGES + path, content=b"{")) == (400, 10208)
    assert code_of(client.post(MESSAGES + path, json={"batch_size": "all", "acks": 1})) == (400, 10207)


def test_a_message_that_comes_back_too_often_is_pulled_from_the_dead_letter_queue(client: Client, clock: Clock) -> None:
    client.post("/emulator/queues/events", json={"body": {"a": 1}})
    attempts = []
    while pulled := result_of(client.post(MESSAGES + "/pull", json={"visibility_timeout_ms": 1000}))["messages"]:
        attempts.append(pulled[0]["attempts"])
        retry = {"acks": [], "retries": [{"lease_id": pulled[0]["lease_id"], "delay_seconds": 1}]}
        assert result_of(client.post(MESSAGES + "/ack", json=retry)) == {"ackCount": 0, "retryCount": 1, "warnings": []}
        clock.now_ms += 1000
    assert attempts == list(range(1, len(attempts) + 1))
    dead = result_of(client.post("/accounts/acc/queues/events-dead/messages/pull", json={}))["messages"]
    assert [(base64.b64decode(message["body"]), message["attempts"]) for message in dead] == [(b'{"a":1}', 1)]
