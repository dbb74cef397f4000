"""Faults of one node, set through the emulator's control: each does what it says, and goes when it is cleared."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.emulator.program import RunningEdge
from tests.emulator.services import FakeServices


def set_faults(edge: RunningEdge, node: str = "fra", **faults: Any) -> int:
    return edge.control.put(f"/faults/{node}", json=faults).status_code


def node_state(edge: RunningEdge) -> dict[str, Any]:
    (node,) = edge.control.get("/state").json()["nodes"]
    return dict(node)


@pytest.fixture(autouse=True)
def sound(edge: RunningEdge) -> Iterator[None]:
    yield
    assert set_faults(edge) == 200


def took_s(edge: RunningEdge, path: str) -> float:
    began = time.monotonic()
    edge.node.get(path)
    return time.monotonic() - began


def test_every_answer_is_late_by_the_set_latency(edge: RunningEdge) -> None:
    assert set_faults(edge, latency_ms=300) == 200
    assert min(took_s(edge, "/health"), took_s(edge, "/component.js")) >= 0.3
    assert node_state(edge)["measured"]["latency_ms"]["p99"] >= 290
    set_faults(edge)
    assert took_s(edge, "/health") < 0.3


def test_a_wedged_isolate_answers_nothing_until_it_is_released(edge: RunningEdge) -> None:
    set_faults(edge, isolate="wedged")
    answers: list[int] = []
    waiting = threading.Thread(target=lambda: answers.append(edge.node.get("/health").status_code))
    waiting.start()
    time.sleep(0.4)
    assert answers == []
    assert node_state(edge)["faults"] == {"isolate": "wedged"}
    set_faults(edge)
    waiting.join(5)
    assert answers == [200]


@pytest.mark.parametrize(("store", "status", "text"), [("dead", 500, None), ("empty", 200, "nothing")])
def test_the_store_can_be_dead_or_know_nothing(edge: RunningEdge, store: str, status: int, text: str | None) -> None:
    edge.control.put("/kv/fra/some", content="there")
    set_faults(edge, store=store)
    answer = edge.node.get("/key/some")
    assert answer.status_code == status
    assert text is None or answer.text == text
    set_faults(edge, store_latency_ms=200)
    assert took_s(edge, "/key/some") >= 0.2
    assert edge.node.get("/key/some").text == "there"


def test_the_origin_can_be_dead_or_slow_for_one_node(edge: RunningEdge, services: FakeServices) -> None:
    set_faults(edge, origin="dead")
    assert edge.node.get("/shared/dead").status_code == 503
    set_faults(edge, origin_latency_ms=250)
    assert took_s(edge, "/shared/slow") >= 0.25
    assert services.shared_requests.count("/shared/dead") == 0


def test_a_dead_queue_takes_nothing(edge: RunningEdge, services: FakeServices) -> None:
    before = node_state(edge)["measured"]["counts"]
    set_faults(edge, queue="dead")
    assert edge.node.get("/queue").status_code == 500
    set_faults(edge)
    services.messages.clear()
    assert edge.node.get("/queue").text == "queued"
    services.wait_for(lambda: len(services.messages) == 2)
    after = node_state(edge)["measured"]["counts"]
    assert after["queue_refused"] - before.get("queue_refused", 0) == 1
    assert after["queue_writes"] - before.get("queue_writes", 0) == 2


def test_faults_outlive_a_reload(edge: RunningEdge) -> None:
    set_faults(edge, latency_ms=200)
    edge.control.post("/reload").raise_for_status()
    assert took_s(edge, "/health") >= 0.2


@pytest.mark.parametrize(
    ("node", "faults", "status"),
    [
        pytest.param("nowhere", {}, 404, id="unknown node"),
        pytest.param("fra", {"weather": "bad"}, 422, id="unknown fault"),
        pytest.param("fra", {"latency_ms": -1}, 422, id="negative latency"),
        pytest.param("fra", {"latency_ms": 3_600_000}, 422, id="an hour's latency"),
        pytest.param("fra", {"origin": "tired"}, 422, id="unknown state"),
        pytest.param("all", {"stock": "frozen"}, 200, id="every node"),
    ],
)
def test_only_known_faults_of_known_nodes_are_taken(
    edge: RunningEdge, node: str, faults: dict[str, Any], status: int
) -> None:
    assert set_faults(edge, node, **faults) == status


def test_the_state_tells_what_was_asked_how_it_went_and_what_was_said(edge: RunningEdge) -> None:
    before = node_state(edge)["measured"]
    edge.node.get("/component.js")
    edge.node.get("/broken")
    state = node_state(edge)
    assert (state["name"], state["country"], state["colo"]) == ("fra", "DE", "FRA")
    assert state["measured"]["requests"] == before["requests"] + 2
    assert state["measured"]["routes"]["asset"] == before["routes"].get("asset", 0) + 1
    assert state["measured"]["statuses"]["500"] == before["statuses"].get("500", 0) + 1
    said = "\n".join(line["text"] for line in state["lines"])
    assert 'File "edge/app.py", line' in said
