"""The operator API: who is let in, what is stored, what is refused, what is published."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from origin.apikeys import add_key, make_key
from origin.catalogue.editing import Catalogue
from origin.catalogue.operators import COLLECTIONS, OPERATIONS, Operators
from origin.database import Database
from origin.provider import ProviderAwayError
from shared.catalogue.entries import MAX_BODY_BYTES
from shared.catalogue.manifest import Manifest, read_manifest
from tests.postgres.edge_side import EdgeSide, on_edge_side, query
from tests.samples import NOW_MS

T = TypeVar("T")

KEY: Final = make_key()
CREATOR: Final[dict[str, Any]] = {"creator": "mika", "name": "Mika", "page": None}
DROP: Final[dict[str, Any]] = {
    "drop": "mug-1",
    "run": "r1",
    "sku": "mug",
    "total": 50,
    "opens_at_ms": NOW_MS,
    "closes_at_ms": NOW_MS + 1_200_000,
    "mode": "open",
    "max_quantity": 2,
    "per_viewer_cap": 2,
    "when_origin_away": "take",
    "hold_s": 300,
    "late_payment": "honour",
    "pickup": None,
}
OFFER: Final[dict[str, Any]] = {
    "offer": "mug",
    "drop": "mug-1",
    "kind": "product",
    "names": {"en": "Mug", "de": "Becher"},
    "descriptions": {"en": "Stoneware", "de": "Steinzeug"},
    "image": "https://example.com/mug.webp",
    "prices": [{"currency": "EUR", "amount_minor": 1900}, {"currency": "JPY", "amount_minor": 3000}],
    "payment": "at_pickup",
}
CLIP: Final[dict[str, Any]] = {
    "clip": "kiln",
    "creator": "mika",
    "names": {"en": "Kiln"},
    "default_locale": "en",
    "offers": ["mug"],
    "links": [{"rel": "terms", "href": "https://example.com/t", "names": {"en": "Terms"}, "regions": ["DE"]}],
    "claim_ttl_s": 300,
}
DOCUMENTS: Final = {"creator": CREATOR, "drop": DROP, "offer": OFFER, "clip": CLIP}
STOCK: Final[dict[str, Any]] = {
    "allotment_of": None,
    "release_at_ms": None,
    "shares": [],
    "partner": None,
    "parts": [],
    "received": 0,
    "released": 0,
    "free": 50,
    "held": 0,
    "settled": 0,
    "stock_version": 1,
    "pickup_from_ms": None,
    "pickup_until_ms": None,
}


class Api:
    """The operator's handlers as an application of their own, and a client with a key."""

    def __init__(self, side: EdgeSide) -> None:
        handlers = Operators(side.database, Catalogue(side.database), side.publisher).handlers()
        routes = [Route(one.path, handlers[one.id], methods=[one.method]) for one in OPERATIONS]
        self.side = side
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=Starlette(routes=routes)),
            base_url="https://origin.example",
            headers={"Authorization": f"Bearer {KEY}"},
        )

    async def put(self, kind: str, /, **changes: Any) -> httpx.Response:
        document = {**DOCUMENTS[kind], **changes}
        return await self.client.put(f"/v1/{kind}s/{document[kind]}", json=document)

    async def put_all(self) -> None:
        for kind in DOCUMENTS:
            assert (await self.put(kind)).status_code == 201

    async def get(self, path: str) -> httpx.Response:
        return await self.client.get(path)


def on_api(conninfo: str, story: Callable[[Api], Awaitable[T]]) -> T:
    async def main(side: EdgeSide) -> T:
        async with side.database.connection() as connection:
            await add_key(connection, "tests", KEY, 1)
        api = Api(side)
        async with api.client:
            return await story(api)

    return on_edge_side(conninfo, main)


def told(answer: httpx.Response) -> tuple[int, str | None]:
    return answer.status_code, answer.json().get("code")


def test_every_operation_wants_a_key_before_anything_else(conninfo: str) -> None:
    async def story(api: Api) -> None:
        for operation in OPERATIONS:
            path = operation.path.replace("{", "").replace("}", "")
            for value, code in [
                (None, "key_missing"),
                ("Basic x", "key_missing"),
                (f"Bearer {make_key()}", "key_refused"),
            ]:
                headers = {} if value is None else {"Authorization": value}
                request = httpx.Request(
                    operation.method, f"https://origin.example{path}", headers=headers, content=b"{"
                )
                async with httpx.AsyncClient(transport=api.client._transport) as nobody:
                    answer = await nobody.send(request)
                assert answer.json()["code"] == code
                assert answer.status_code == (401 if code == "key_missing" else 403)
                assert ("www-authenticate" in answer.headers) is (code == "key_missing")

    on_api(conninfo, story)
    assert all(operation.security for operation in OPERATIONS)


def test_documents_are_created_read_back_listed_and_kept(conninfo: str) -> None:
    async def story(api: Api) -> None:
        await api.put_all()
        for collection in COLLECTIONS:
            document = DOCUMENTS[collection.kind]
            stored = {**document, **STOCK} if collection.kind == "drop" else document
            one = await api.get(f"/v1/{collection.plural}/{document[collection.kind]}")
            assert one.json() == stored
            assert (await api.get(f"/v1/{collection.plural}")).json() == {collection.plural: [stored], "next": None}
            again = await api.put(collection.kind)
            assert (again.status_code, again.content) == (200, one.content)

    on_api(conninfo, story)


def test_post_creates_repeats_and_never_replaces(conninfo: str) -> None:
    async def story(api: Api) -> None:
        first = await api.client.post("/v1/creators", json=CREATOR)
        again = await api.client.post("/v1/creators", json=CREATOR)
        other = await api.client.post("/v1/creators", json={**CREATOR, "name": "Another"})
        assert (first.status_code, again.status_code, first.content) == (201, 200, again.content)
        assert told(other) == (409, "already_exists")
        assert (await api.get("/v1/creators/mika")).json() == CREATOR

    on_api(conninfo, story)


def test_lists_come_in_pages_by_id(conninfo: str) -> None:
    async def story(api: Api) -> None:
        for number in range(5):
            await api.put("creator", creator=f"c{number}")
        seen: list[str] = []
        after = ""
        while True:
            page = (await api.get(f"/v1/creators?limit=2{after}")).json()
            seen += [creator["creator"] for creator in page["creators"]]
            if page["next"] is None:
                break
            after = f"&after={page['next']}"
        assert seen == [f"c{number}" for number in range(5)]
        for query_string in ("limit=0", "limit=x", "limit=201", "after=A%20b"):
            assert told(await api.get(f"/v1/creators?{query_string}")) == (422, "invalid_field")

    on_api(conninfo, story)


@pytest.mark.parametrize(
    ("kind", "changes", "expected"),
    [
        pytest.param("creator", {"name": "a\u0000b"}, (422, "invalid_field"), id="control-character"),
        pytest.param("creator", {"name": "x" * 121}, (422, "invalid_field"), id="length"),
        pytest.param("creator", {"rank": 1}, (422, "unknown_field"), id="unknown-field"),
        pytest.param("creator", {"page": "javascript:alert(1)"}, (422, "invalid_field"), id="script-address"),
        pytest.param("drop", {"total": 0}, (422, "invalid_field"), id="no-units"),
        pytest.param("drop", {"total": 1.5}, (422, "invalid_field"), id="half-a-unit"),
        pytest.param("drop", {"closes_at_ms": NOW_MS}, (422, "invalid_field"), id="window"),
        pytest.param("offer", {"drop": "none"}, (404, "drop_unknown"), id="offer-of-no-drop"),
        pytest.param("offer", {"kind": "dream"}, (422, "invalid_field"), id="kind"),
        pytest.param(
            "offer", {"prices": [{"currency": "XXX", "amount_minor": 1}]}, (422, "invalid_field"), id="currency"
        ),
        pytest.param(
            "offer", {"prices": [{"currency": "EUR", "amount_minor": -1}]}, (422, "invalid_field"), id="negative-price"
        ),
        pytest.param("offer", {"names": {"de": "Becher"}}, (409, "revision_conflict"), id="locale-that-a-clip-needs"),
        pytest.param("clip", {"creator": "none"}, (404, "creator_unknown"), id="clip-of-nobody"),
        pytest.param("clip", {"offers": ["none"]}, (404, "offer_unknown"), id="clip-of-no-offer"),
        pytest.param("clip", {"claim_ttl_s": 5}, (422, "invalid_field"), id="validity"),
    ],
)
def test_what_could_not_be_published_is_refused_and_nothing_stored(
    conninfo: str, kind: str, changes: dict[str, Any], expected: tuple[int, str]
) -> None:
    async def story(api: Api) -> None:
        await api.put_all()
        before = (await api.get(f"/v1/{kind}s")).content
        assert told(await api.put(kind, **changes)) == expected
        assert (await api.get(f"/v1/{kind}s")).content == before

    on_api(conninfo, story)


def test_bodies_are_held_to_type_size_and_address(conninfo: str) -> None:
    async def story(api: Api) -> None:
        path = "/v1/creators/mika"
        as_json = {"Content-Type": "application/json"}
        answers = [
            await api.client.put(path, content=b"{}", headers={"Content-Type": "text/plain"}),
            await api.client.put(path, content=b"{", headers=as_json),
            await api.client.put(path, content=b" " * (MAX_BODY_BYTES + 1), headers=as_json),
            await api.client.put(path, content=b'{"creator":"mika","name":"a","name":"b"}', headers=as_json),
            await api.client.put(path, json={**CREATOR, "creator": "another"}),
        ]
        assert [told(answer) for answer in answers] == [
            (415, "unsupported_media_type"),
            (400, "malformed_json"),
            (413, "body_too_large"),
            (400, "duplicate_key"),
            (422, "invalid_field"),
        ]

    on_api(conninfo, story)


def test_a_total_goes_up_and_never_below_what_is_taken(conninfo: str) -> None:
    async def story(api: Api) -> None:
        await api.put("drop")
        query(conninfo, "UPDATE drops SET free = 30, held = 5, settled = 15")
        lower = await api.put("drop", total=19)
        assert told(lower) == (409, "total_below_taken")
        exact = (await api.put("drop", total=20)).json()
        assert (exact["total"], exact["free"], exact["stock_version"]) == (20, 0, 2)
        raised = (await api.put("drop", total=60)).json()
        assert (raised["free"], raised["held"], raised["settled"], raised["stock_version"]) == (40, 5, 15, 3)
        assert told(await api.put("drop", total=60, run="r2")) == (409, "revision_conflict")

    on_api(conninfo, story)


def test_a_raise_and_settlements_at_once_keep_the_stock_whole(conninfo: str) -> None:
    async def story(api: Api) -> None:
        await api.put("drop", total=1_000)
        other = Database(conninfo)
        await other.open()

        async def take() -> None:
            for _ in range(50):
                async with other.connection() as connection:
                    await connection.execute("UPDATE drops SET free = free - 1, settled = settled + 1 WHERE free > 0")

        async def change() -> None:
            for total in (40, 90, 30, 70, 200):
                await api.put("drop", total=total)

        await asyncio.gather(take(), take(), change())
        await other.close()

    on_api(conninfo, story)
    assert query(conninfo, "SELECT free + held + settled = total, settled FROM drops") == [(True, 100)]


def test_publishing_writes_a_version_that_the_edge_can_read_and_repeats_it(conninfo: str) -> None:
    async def story(api: Api) -> None:
        await api.put_all()
        first = await api.client.post("/v1/clips/kiln/publish")
        assert (first.status_code, first.json()["version"]) == (200, 1)
        written = await api.side.provider.read_value("manifest/kiln")
        manifest = read_manifest(written or b"", "kiln")
        assert isinstance(manifest, Manifest)
        assert (manifest.version, manifest.offers[0].terms.total) == (1, 50)
        assert (await api.client.post("/v1/clips/kiln/publish")).json() == first.json()
        await api.put("drop", total=51)
        assert (await api.client.post("/v1/clips/kiln/publish")).json()["version"] == 2
        assert told(await api.client.post("/v1/clips/none/publish")) == (404, "clip_unknown")

    on_api(conninfo, story)
    assert query(conninfo, "SELECT version FROM manifests ORDER BY 1") == [(1,), (2,)]


def test_parallel_publications_of_one_change_make_one_version(conninfo: str) -> None:
    async def story(api: Api) -> None:
        await api.put_all()
        answers = await asyncio.gather(*(api.client.post("/v1/clips/kiln/publish") for _ in range(5)))
        assert {answer.json()["version"] for answer in answers} == {1}

    on_api(conninfo, story)


def test_a_store_that_is_away_keeps_the_version_and_is_told(conninfo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(api: Api) -> None:
        await api.put_all()

        async def fail(_: object) -> None:
            raise ProviderAwayError("away")

        with monkeypatch.context() as patched:
            patched.setattr(api.side.provider, "write_values", fail)
            answer = await api.client.post("/v1/clips/kiln/publish")
        assert told(answer) == (503, "unavailable")
        assert answer.headers["retry-after"] == "5"
        assert await api.side.provider.read_value("manifest/kiln") is None
        assert await api.side.publisher.restore() == ("kiln",)
        assert await api.side.provider.read_value("manifest/kiln") is not None

    on_api(conninfo, story)


def test_what_the_store_lost_or_changed_is_written_again(conninfo: str) -> None:
    async def story(api: Api) -> None:
        await api.put_all()
        for clip in ("kiln", "wheel", "glaze"):
            await api.put("clip", clip=clip)
            await api.client.post(f"/v1/clips/{clip}/publish")
        side = api.side
        good = await side.provider.read_value("manifest/wheel")
        side.forget_value("manifest/kiln")
        side.change_value("manifest/wheel", b"{}")
        assert await side.publisher.restore() == ("kiln", "wheel")
        assert await side.provider.read_value("manifest/wheel") == good
        assert await side.publisher.restore() == ()

    on_api(conninfo, story)
