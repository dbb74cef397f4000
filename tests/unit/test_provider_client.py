"""The provider's client: what it sends, what it tries again, what it refuses."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import httpx
import msgspec
import pytest

from origin import provider as module
from origin.provider import KeyValue, Provider, ProviderAwayError, ProviderConfig, QueueMessage, message_bytes

CONFIG = ProviderConfig(url="https://provider.example/v4/", account="acc", token="secret", kv_namespace="ns", queue="q")
T = TypeVar("T")


class World:
    """A provider that answers from a list, and a clock that only waits on paper."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.waits: list[float] = []

    def handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)

    def run(self, call: Callable[[Provider], Awaitable[T]]) -> T:
        async def main() -> T:
            async with Provider(CONFIG, transport=httpx.MockTransport(self.handle), sleep=self.sleep) as provider:
                return await call(provider)

        return asyncio.run(main())


def told(result: Any, status: int = 200, **headers: str) -> httpx.Response:
    body = {"success": status < 400, "errors": [], "messages": [], "result": result, "later": 1}
    return httpx.Response(status, json=body, headers=headers)


def test_values_are_written_in_bulk_with_the_token() -> None:
    world = World(told({"successful_key_count": 1, "unsuccessful_keys": []}))
    world.run(lambda provider: provider.write_values([KeyValue(key="manifest/a", value="{}")]))
    request = world.requests[0]
    assert (request.method, str(request.url)) == (
        "PUT",
        "https://provider.example/v4/accounts/acc/storage/kv/namespaces/ns/bulk",
    )
    assert request.headers["authorization"] == "Bearer secret"
    assert msgspec.json.decode(request.content) == [{"key": "manifest/a", "value": "{}"}]


def test_nothing_to_write_sends_nothing() -> None:
    world = World()
    world.run(lambda provider: provider.write_values([]))
    assert world.requests == []


def test_bulk_writes_keep_within_the_providers_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BULK_PAIRS", 2)
    monkeypatch.setattr(module, "MAX_BULK_BYTES", 10)
    world = World(*[told({}) for _ in range(3)])
    entries = [KeyValue(key="k", value=value) for value in ("a", "b", "c", "0123456789")]
    world.run(lambda provider: provider.write_values(entries))
    assert [len(msgspec.json.decode(request.content)) for request in world.requests] == [2, 1, 1]


def test_keys_that_were_not_written_are_an_error() -> None:
    world = World(told({"unsuccessful_keys": ["manifest/a"]}))
    with pytest.raises(ProviderAwayError):
        world.run(lambda provider: provider.write_values([KeyValue(key="manifest/a", value="{}")]))


def test_a_value_is_read_as_it_is_and_a_missing_one_is_none() -> None:
    world = World(httpx.Response(200, content=b"\x00{"), told(None, 404))
    assert world.run(lambda provider: provider.read_value("manifest/a b")) == b"\x00{"
    assert world.requests[0].url.raw_path.endswith(b"/values/manifest%2Fa%20b")
    assert world.run(lambda provider: provider.read_value("x")) is None


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again(status: int) -> None:
    world = World(told(None, status), httpx.ConnectError("no"), told({"messages": []}))
    pulled = world.run(lambda provider: provider.pull(batch_size=10, visibility_timeout_ms=1000))
    assert pulled.messages == ()
    assert len(world.waits) == 2


def test_it_waits_at_least_as_long_as_it_is_told() -> None:
    world = World(told(None, 429, **{"Retry-After": "7"}), told({"messages": []}))
    world.run(lambda provider: provider.pull(batch_size=1, visibility_timeout_ms=1000))
    assert world.waits == [7.0]


def test_it_does_not_wait_beyond_its_budget() -> None:
    world = World(told(None, 429, **{"Retry-After": "3600"}))
    with pytest.raises(ProviderAwayError):
        world.run(lambda provider: provider.pull(batch_size=1, visibility_timeout_ms=1000))
    assert world.waits == []


def test_it_gives_up_after_its_attempts() -> None:
    world = World(*[told(None, 503) for _ in range(9)])
    with pytest.raises(ProviderAwayError) as caught:
        world.run(lambda provider: provider.acknowledge(["lease"]))
    assert len(world.requests) == module.ATTEMPTS
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(told(None, 403), id="refused"),
        pytest.param(httpx.Response(200, content=b"<html>"), id="not-json"),
        pytest.param(httpx.Response(200, json={"success": False, "result": None}), id="no-success"),
        pytest.param(httpx.Response(200, json={"success": True, "result": {"messages": 1}}), id="another-shape"),
        pytest.param(httpx.Response(302, headers={"Location": "https://thief.example/"}), id="redirect"),
    ],
)
def test_what_is_not_an_answer_is_an_error_at_once(answer: httpx.Response) -> None:
    world = World(answer)
    with pytest.raises(ProviderAwayError):
        world.run(lambda provider: provider.pull(batch_size=1, visibility_timeout_ms=1000))
    assert len(world.requests) == 1


def test_an_answer_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ANSWER_BYTES", 10)
    world = World(httpx.Response(200, content=b"x" * 11))
    with pytest.raises(ProviderAwayError):
        world.run(lambda provider: provider.read_value("k"))


@pytest.mark.parametrize("kind", ["json", "bytes", None])
def test_bodies_in_base64_are_decoded(kind: str | None) -> None:
    metadata = {} if kind is None else {"CF-Content-Type": kind}
    assert message_bytes(_message(base64.b64encode(b'{"v":1}').decode(), metadata)) == b'{"v":1}'


def test_bodies_as_text_and_as_json_are_taken_as_they_are() -> None:
    assert message_bytes(_message("plain", {"CF-Content-Type": "text"})) == b"plain"
    assert message_bytes(_message('{"v":1}', {"CF-Content-Type": "json"})) == b'{"v":1}'
    assert message_bytes(_message({"v": 1}, {})) == b'{"v":1}'


def test_a_body_that_its_encoding_does_not_fit_is_none() -> None:
    assert message_bytes(_message("not base64!", {"CF-Content-Type": "json"})) is None


def _message(body: Any, metadata: dict[str, str]) -> QueueMessage:
    document = {"id": "1", "lease_id": "l", "body": body, "metadata": metadata}
    return msgspec.json.decode(msgspec.json.encode(document), type=QueueMessage)
