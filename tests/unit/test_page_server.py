"""The emulator's page and its endpoint: what may set faults, what is refused, what is said when nothing answers."""

import asyncio
from typing import Any

import httpx
import pytest

from scripts.emulator.page_server import Configuration, PageServer

# Port 1 of the loopback interface: nothing listens there.
AWAY = Configuration(port=8790, control="http://127.0.0.1:1", provider_url="http://127.0.0.1:1", addresses={})
HERE = "http://127.0.0.1:8790"
JSON = {"content-type": "application/json"}


def ask(method: str, path: str, **details: Any) -> httpx.Response:
    async def request() -> httpx.Response:
        transport = httpx.ASGITransport(PageServer(AWAY).app())
        async with httpx.AsyncClient(transport=transport, base_url=HERE) as client:
            return await client.request(method, path, **details)

    return asyncio.run(request())


@pytest.mark.parametrize(
    ("path", "media_type"),
    [("/", "text/html"), ("/page.css", "text/css"), ("/page.mjs", "text/javascript")],
    ids=["page", "style", "script"],
)
def test_the_page_comes_with_a_strict_policy_and_is_never_kept(path: str, media_type: str) -> None:
    answer = ask("GET", path)
    assert answer.headers["content-type"].startswith(media_type)
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"origin": "https://elsewhere.example"}, id="another origin"),
        pytest.param({"origin": "http://127.0.0.1:8780"}, id="another port"),
        pytest.param({"sec-fetch-site": "cross-site"}, id="another site"),
        pytest.param({"sec-fetch-site": "same-site"}, id="a neighbour"),
    ],
)
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_a_page_of_another_site_sets_nothing(method: str, headers: dict[str, str]) -> None:
    answer = ask(method, "/faults/all", headers={**JSON, **headers}, content="{}")
    assert (answer.status_code, answer.json()["code"]) == (403, "other_site")


def test_another_host_s_name_leads_nowhere() -> None:
    assert ask("GET", "/state", headers={"host": "rebound.example"}).status_code == 400


@pytest.mark.parametrize(
    ("headers", "content", "said"),
    [
        pytest.param({"content-type": "text/plain"}, "{}", "application/json", id="as a form may send it"),
        pytest.param(JSON, '{"weather": "bad"}', "weather", id="unknown fault"),
        pytest.param(JSON, '{"latency_ms": -1}', "latency_ms", id="negative"),
        pytest.param(JSON, "[", "no list of faults", id="not JSON"),
        pytest.param(JSON, " " * 5000, "longer than 4096", id="too long"),
    ],
)
def test_a_body_that_is_no_list_of_faults_is_refused(headers: dict[str, str], content: str, said: str) -> None:
    answer = ask("PUT", "/faults/fra", headers=headers, content=content)
    assert (answer.status_code, answer.json()["code"]) == (422, "faults_invalid")
    assert said in answer.json()["detail"]


def test_an_emulator_that_does_not_answer_is_told_of_as_such() -> None:
    set_answer = ask(
        "PUT", "/faults/fra", headers={**JSON, "origin": HERE, "sec-fetch-site": "same-origin"}, content="{}"
    )
    assert (set_answer.status_code, set_answer.json()["code"]) == (502, "emulator_away")
    state = ask("GET", "/state").json()
    assert state["problem"] == "the emulator does not answer: ConnectError"
    assert state["nodes"] == []
