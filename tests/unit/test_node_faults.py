"""What can be wrong with a node: one vocabulary, however it is said."""

import asyncio
import json
import re
from pathlib import Path

import httpx
import pytest

from scripts.emulator.faults import FaultError, Faults, FaultSetter, read_faults

NODES = ("fra", "nrt")
ROOT = Path(__file__).resolve().parents[2]


def test_faults_are_read_for_each_node_and_all_means_every_one() -> None:
    texts = ["all:latency=200", "nrt:origin=dead", "nrt:store-latency=50", "fra:isolate=wedged", "fra:lateness=0"]
    assert read_faults(texts, NODES) == {
        "fra": Faults(latency_ms=200, isolate="wedged", lateness_ms=0),
        "nrt": Faults(latency_ms=200, origin="dead", store_latency_ms=50),
    }


def test_without_a_text_nothing_is_wrong_anywhere() -> None:
    assert read_faults([], NODES) == {"fra": Faults(), "nrt": Faults()}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("fra", "not of the form", id="no fault"),
        pytest.param("fra:queue", "not of the form", id="no value"),
        pytest.param("lhr:queue=dead", "there is no node lhr, only fra, nrt and all", id="unknown node"),
        pytest.param("fra:weather=bad", "there are latency, isolate, store", id="unknown fault"),
        pytest.param("fra:origin=tired", "no such value", id="unknown state"),
        pytest.param("fra:latency=soon", "no such value", id="no number"),
        pytest.param("fra:latency=-1", "no such value", id="negative"),
        pytest.param("fra:latency=3600000", "no such value", id="an hour"),
    ],
)
def test_what_is_no_fault_is_refused_with_the_reason(text: str, said: str) -> None:
    with pytest.raises(FaultError, match=said):
        read_faults([text], NODES)


def set_through(statuses: dict[str, int]) -> list[tuple[str, object]]:
    sent: list[tuple[str, object]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append((str(request.url), json.loads(request.content)))
        return httpx.Response(statuses.get(request.url.host, 200))

    async def set_them() -> None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
            setter = FaultSetter(client, "http://control", "http://provider")
            await setter.set("nrt", Faults(queue="dead", lateness_ms=900))

    asyncio.run(set_them())
    return sent


def test_the_lateness_goes_to_the_provider_and_the_rest_to_the_node() -> None:
    assert set_through({}) == [
        ("http://control/faults/nrt", {"queue": "dead"}),
        ("http://provider/emulator/nodes/nrt/lateness", {"lateness_ms": 900}),
    ]


@pytest.mark.parametrize("host", ["control", "provider"])
def test_a_node_that_one_of_them_does_not_know_is_refused(host: str) -> None:
    with pytest.raises(FaultError, match="there is no node nrt"):
        set_through({host: 404})


def test_one_that_fails_is_not_taken_for_a_success() -> None:
    with pytest.raises(httpx.HTTPStatusError):
        set_through({"control": 500})


def test_the_readme_and_the_page_name_every_fault() -> None:
    table = (ROOT / "README.md").read_text().partition("| Fault | Values |")[2].partition("\n\n")[0]
    listed = {
        name for row in table.splitlines() for name in re.findall(r"`([a-z-]+)`", row.split("|")[1:2][0] if row else "")
    }
    page = (ROOT / "scripts" / "emulator" / "page" / "page.html").read_text()
    fields = set(Faults.__struct_fields__)
    assert {field.removesuffix("_ms").replace("_", "-") for field in fields} == listed
    assert set(re.findall(r'name="(\w+)"', page.partition("<form>")[2])) == fields
