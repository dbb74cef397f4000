"""What an entry point finds in the emulated runtime."""

import time

import pytest

from tests.emulator.program import RunningEdge
from tests.emulator.services import FakeServices


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        pytest.param("/plain", 200, "at once", id="a-javascript-response"),
        pytest.param("/sdk", 201, "of the SDK", id="the-sdks-response"),
        pytest.param("/promise", 200, "promised", id="a-promise"),
        pytest.param("/wait", 200, "waited", id="a-coroutine-that-waits"),
        pytest.param("/health", 200, '{"version":"1"}', id="a-coroutine-that-does-not-wait"),
    ],
)
def test_every_kind_of_answer_is_sent(edge: RunningEdge, path: str, status: int, text: str) -> None:
    response = edge.node.get(path)
    assert (response.status_code, response.text) == (status, text)


def test_an_object_of_the_engine_is_the_same_to_python_again(edge: RunningEdge) -> None:
    assert edge.node.get("/identities").text == "True True True"


def test_each_request_gets_an_instance_of_its_own(edge: RunningEdge) -> None:
    first = int(edge.node.get("/instances").text)
    assert int(edge.node.get("/instances").text) == first + 1


def test_a_request_has_its_place_and_its_clients_address(edge: RunningEdge) -> None:
    assert edge.node.get("/place").json() == {"country": "DE", "colo": "FRA", "address": "127.0.0.1"}
    told = edge.node.get("/place", headers={"CF-Connecting-IP": "203.0.113.9"}).json()
    assert told["address"] == "203.0.113.9"


def test_a_failing_request_leaks_nothing_and_is_logged_with_real_file_names(edge: RunningEdge) -> None:
    response = edge.node.get("/broken")
    assert response.status_code == 500
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["code"] == "internal_error"
    assert "secret" not in response.text
    log = edge.program.logs()
    assert 'File "edge/app.py", line' in log
    assert "ValueError: a secret in an exception" in log


def test_an_interpreter_that_died_is_replaced_with_the_next_request(edge: RunningEdge) -> None:
    assert edge.node.get("/deadly").status_code == 500
    assert edge.node.get("/health").text == '{"version":"1"}'


def test_work_after_the_answer_is_done(edge: RunningEdge) -> None:
    assert edge.node.get("/after", headers={"key": "after"}).text == "answered"
    deadline = time.monotonic() + 5
    while edge.node.get("/key/after").text != "written after the answer":
        assert time.monotonic() < deadline


def test_the_cache_keeps_an_answer(edge: RunningEdge) -> None:
    assert edge.node.get("/cache").text == "stored"
    assert edge.node.get("/cache").text == "found kept"


def test_a_pushed_value_is_read_until_it_is_deleted(edge: RunningEdge) -> None:
    key = "manifest/summer%20clip"
    assert edge.control.put(f"/kv/fra/{key}", content='{"ü":1}').status_code == 200
    assert edge.node.get("/key/manifest/summer clip").text == '{"ü":1}'
    assert edge.control.delete(f"/kv/fra/{key}").status_code == 200
    assert edge.node.get("/key/manifest/summer clip").text == "nothing"


def test_queued_messages_reach_a_provider_that_was_away(edge: RunningEdge, services: FakeServices) -> None:
    services.up = False
    services.messages.clear()
    services.queue_attempts = 0
    assert edge.node.get("/queue").text == "queued"
    services.wait_for(lambda: services.queue_attempts >= 2)
    assert services.messages == []
    services.up = True
    services.wait_for(lambda: len(services.messages) == 2)
    assert [(message["content_type"], message["body"]) for message in services.messages] == [
        ("json", {"number": 7}),
        ("text", "as text"),
    ]
    assert {message["path"] for message in services.messages} == {"/emulator/queues/events"}
    assert len({message["id"] for message in services.messages}) == 2
