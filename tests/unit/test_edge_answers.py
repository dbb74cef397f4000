"""The edge's prepared answers: the same status, headers and body over ASGI and as the runtime's Response."""

import asyncio
from typing import Any

import msgspec
import pytest
from starlette.responses import Response
from starlette.types import Message

from edge.answers import Prepared, answer_document, answer_json, answer_overlay

ANSWERS = {
    "json": lambda: answer_json(b"{}", 201, 3),
    "overlay": lambda: answer_overlay('{"title":"ランタン"}'.encode(), 0),
    "document": lambda: answer_document(b"<!doctype html>", 12, "https://edge.example", "https://till.example"),
    "document of an odd host": lambda: answer_document(b"<p>", 0, 'https://e"\\\xe9', "https://till.example"),
}


def send(response: Response) -> list[Message]:
    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError("nothing is asked for")

    async def keep(message: Message) -> None:
        sent.append(message)

    asyncio.run(response({"type": "http"}, receive, keep))
    return sent


@pytest.mark.parametrize("name", ANSWERS)
def test_both_ways_tell_the_same(name: str) -> None:
    answer = ANSWERS[name]()
    assert isinstance(answer, Prepared)
    start, body = send(answer)
    init: dict[str, Any] = msgspec.json.decode(answer.as_init())
    headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in start["headers"]}
    assert headers.pop("content-length") == str(len(answer.body))
    assert init == {"status": start["status"], "headers": headers}
    assert body["body"] == answer.body
