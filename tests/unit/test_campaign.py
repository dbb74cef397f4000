"""The demo's campaign: what the catalogue would accept, in five languages, and a next run when one has ended."""

import asyncio
import json

import httpx
import msgspec
import pytest

from scripts.demo import campaign
from scripts.demo.campaign import CampaignError, Loader, drop_body
from shared.catalogue.entries import ClipBody, CreatorBody, DropBody, OfferBody

NOW_MS = 1_790_000_000_000
SITE = "http://127.0.0.1:8780"
SHAPES = {"creators": CreatorBody, "drops": DropBody, "offers": OfferBody, "clips": ClipBody}
LANGUAGES = {"en", "de", "fr", "ja", "ar"}


class FakeOrigin:
    """The operator API, as far as loading a campaign uses it; every body is held to the catalogue's shapes."""

    def __init__(self) -> None:
        self.stored: dict[str, dict[str, object]] = {}
        self.writes: list[str] = []
        self.refuse = ""

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/v1/")
        if request.headers["authorization"] != "Bearer key":
            return httpx.Response(401)
        if request.method == "GET":
            return httpx.Response(200, json=self.stored[path]) if path in self.stored else httpx.Response(404)
        if path == self.refuse:
            return httpx.Response(422, text="no")
        self.writes.append(path)
        if request.method == "POST":
            return httpx.Response(200, json={"version": 3})
        msgspec.json.decode(request.content, type=SHAPES[path.partition("/")[0]])
        self.stored[path] = json.loads(request.content)
        return httpx.Response(201, json=self.stored[path])


def load(origin: FakeOrigin, now_ms: int, key: str = "key") -> int:
    async def go() -> int:
        async with httpx.AsyncClient(transport=httpx.MockTransport(origin)) as client:
            return await Loader(client, "http://origin", key).load(SITE, now_ms)

    return asyncio.run(go())


def test_the_campaign_is_loaded_in_an_order_in_which_each_part_exists_and_published() -> None:
    origin = FakeOrigin()
    assert load(origin, NOW_MS) == 3
    assert origin.writes[0] == "creators/mika"
    assert origin.writes[-2:] == ["clips/lantern-row", "clips/lantern-row/publish"]
    for offer in campaign.OFFERS:
        assert origin.writes.index(f"drops/{offer}-r1") < origin.writes.index(f"offers/{offer}")


def test_loading_again_keeps_the_drops_that_are_open() -> None:
    origin = FakeOrigin()
    load(origin, NOW_MS)
    before = dict(origin.stored)
    origin.writes.clear()
    load(origin, NOW_MS + 1000)
    assert origin.stored == before
    assert not [path for path in origin.writes if path.startswith("drops/")]


def test_a_drop_that_has_ended_is_followed_by_its_next_run() -> None:
    origin = FakeOrigin()
    load(origin, NOW_MS)
    later_ms = NOW_MS + campaign.OPEN_FOR_MS
    load(origin, later_ms)
    assert origin.stored["offers/shirt"]["drop"] == "shirt-r2"
    drop = msgspec.convert(origin.stored["drops/shirt-r2"], DropBody)
    assert drop.opens_at_ms < later_ms < drop.closes_at_ms
    assert drop.run == "r2"


def test_an_open_drop_is_itself() -> None:
    present = drop_body("shirt", None, NOW_MS)
    assert drop_body("shirt", present, NOW_MS + 5) is present


def test_a_refusal_names_the_part() -> None:
    origin = FakeOrigin()
    origin.refuse = "drops/print-r1"
    with pytest.raises(CampaignError, match=r"PUT /v1/drops/print-r1: 422 no"):
        load(origin, NOW_MS)


def test_a_wrong_key_is_noticed() -> None:
    async def go() -> bool:
        async with httpx.AsyncClient(transport=httpx.MockTransport(FakeOrigin())) as client:
            return await Loader(client, "http://origin", "other").knows_key()

    assert asyncio.run(go()) is False


@pytest.mark.parametrize("offer", campaign.OFFERS)
def test_each_offer_is_written_in_each_language_and_priced_in_both_currencies(offer: str) -> None:
    body = campaign.OFFERS[offer]
    assert set(body["names"]) == set(body["descriptions"]) == LANGUAGES
    assert {price["currency"] for price in body["prices"]} == {"EUR", "JPY"}


def test_the_clip_and_its_links_are_written_in_each_language() -> None:
    assert all(set(names) == LANGUAGES for names in (campaign.CLIP_NAMES, *campaign.LINKS.values()))
