"""The operator API: creators, drops, offers, clips, and publishing.

Every request carries `Authorization: Bearer ct_...` (made by `python -m origin.keys create NAME`). Write in this
order, because each names the one before it: creators, drops, offers, clips; then publish the clip.

The bodies (all fields: `shared.catalogue.entries`; prices in minor units, instants in milliseconds since 1970 UTC):

    PUT /v1/creators/mika
    {"creator": "mika", "name": "Mika", "page": "https://example.com/mika"}

    PUT /v1/drops/mug-run-1
    {"drop": "mug-run-1", "run": "r1", "sku": "mug", "total": 50, "opens_at_ms": 1790000000000,
     "closes_at_ms": 1790001200000, "mode": "open", "max_quantity": 2, "per_viewer_cap": 2,
     "when_origin_away": "take", "pickup": {"place": "kiln", "zone": "Europe/Berlin",
     "opens": "2026-10-24T10:00", "closes": "2026-10-24T12:00"}, "shares": [{"creator": "mika", "share_bp": 6000}]}

    PUT /v1/offers/mug
    {"offer": "mug", "drop": "mug-run-1", "kind": "product", "names": {"en": "Mug", "de": "Becher"},
     "descriptions": {"en": "Stoneware, 300 ml", "de": "Steinzeug, 300 ml"}, "image": "https://example.com/mug.webp",
     "prices": [{"currency": "EUR", "amount_minor": 1900}, {"currency": "JPY", "amount_minor": 3000}],
     "payment": "at_pickup"}

    PUT /v1/clips/kiln
    {"clip": "kiln", "creator": "mika", "names": {"en": "From the kiln"}, "default_locale": "en", "offers": ["mug"],
     "links": [{"rel": "terms", "href": "https://example.com/terms", "names": {"en": "Terms"}, "regions": []}],
     "claim_ttl_s": 300}

    POST /v1/clips/kiln/publish        (no body)

Rules:

1. PUT creates (201) or replaces (200); POST on the collection creates (201), and answers 409 `already_exists` when the
   id is taken by another content. The same content again is the same answer (200), however often.
2. What can be stored can be published: `shared.catalogue.entries` decides, inside the transaction that stores.
3. Publishing what has not changed makes no new version, and writes it to the edge's store again.
4. Lists come in pages, by id: `?limit=100&after=ID`; `next` of an answer is the `after` of the next page.
5. The key is looked at first: nothing of a request is read before.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from origin.catalogue.editing import Catalogue, Kind, Written
from origin.catalogue.publishing import Publisher
from origin.database import Database
from origin.guard import KEY_CODES, Guard
from origin.paging import PAGE_OF_IDS, cut_page, read_page_of_ids
from origin.provider import ProviderAwayError
from origin.responses import BODY_CODES, Handler, read_json, refuse, tell
from shared.catalogue.entries import MAX_BODY_BYTES, ClipBody, CreatorBody, DropBody, DropView, OfferBody
from shared.openapi import Answer, Operation
from shared.problems import Code, Problem
from shared.structs import Identifier, InstantMs, Wire

SECURITY: Final = "operator"  # kind of key, and name of the security scheme


class CreatorPage(Wire, frozen=True, kw_only=True):
    """Creators, by id; `next` is None on the last page."""

    creators: tuple[CreatorBody, ...]
    next: Identifier | None = None


class DropPage(Wire, frozen=True, kw_only=True):
    """Drops, by id; `next` is None on the last page."""

    drops: tuple[DropView, ...]
    next: Identifier | None = None


class OfferPage(Wire, frozen=True, kw_only=True):
    """Offers, by id; `next` is None on the last page."""

    offers: tuple[OfferBody, ...]
    next: Identifier | None = None


class ClipPage(Wire, frozen=True, kw_only=True):
    """Clips, by id; `next` is None on the last page."""

    clips: tuple[ClipBody, ...]
    next: Identifier | None = None


class Publication(Wire, frozen=True, kw_only=True):
    """A manifest that the edge's store has; nodes see it within the store's own delay (up to a minute)."""

    clip: Identifier
    version: int
    published_at_ms: InstantMs


class Collection(Wire, frozen=True, kw_only=True):
    """How a kind of document is called and described."""

    kind: Kind
    plural: str
    body: Any
    view: Any
    page: Any
    unknown: Code
    refusals: tuple[Code, ...]


COLLECTIONS: Final[tuple[Collection, ...]] = (
    Collection(
        kind="creator", plural="creators", body=CreatorBody, view=CreatorBody, page=CreatorPage,
        unknown=Code.CREATOR_UNKNOWN, refusals=(),
    ),
    Collection(
        kind="drop", plural="drops", body=DropBody, view=DropView, page=DropPage,
        unknown=Code.DROP_UNKNOWN, refusals=(
            Code.REVISION_CONFLICT, Code.TOTAL_BELOW_TAKEN, Code.CREATOR_UNKNOWN, Code.PARTNER_UNKNOWN,
        ),
    ),
    Collection(
        kind="offer", plural="offers", body=OfferBody, view=OfferBody, page=OfferPage,
        unknown=Code.OFFER_UNKNOWN, refusals=(Code.REVISION_CONFLICT, Code.DROP_UNKNOWN),
    ),
    Collection(
        kind="clip", plural="clips", body=ClipBody, view=ClipBody, page=ClipPage,
        unknown=Code.CLIP_UNKNOWN, refusals=(Code.REVISION_CONFLICT, Code.CREATOR_UNKNOWN, Code.OFFER_UNKNOWN),
    ),
)  # fmt: skip


def _describe(collection: Collection) -> tuple[Operation, ...]:
    kind, plural, view = collection.kind, collection.plural, collection.view
    one, many = f"/v1/{plural}/{{{kind}}}", f"/v1/{plural}"
    writes = (*KEY_CODES, *BODY_CODES, *collection.refusals)
    done = {
        200: Answer(description="Stored; the same content may have been there before.", type=view),
        201: Answer(description="Created.", type=view),
    }
    return (
        Operation(
            id=f"list_{plural}", method="GET", path=many, summary=f"List {plural}, by id.", security=SECURITY,
            parameters=PAGE_OF_IDS,
            answers={200: Answer(description="A page.", type=collection.page)},
            problems=(*KEY_CODES, Code.INVALID_FIELD),
        ),
        Operation(
            id=f"create_{kind}", method="POST", path=many, summary=f"Create a {kind}.", security=SECURITY,
            body=collection.body, answers=done, problems=(*writes, Code.ALREADY_EXISTS),
        ),
        Operation(
            id=f"read_{kind}", method="GET", path=one, summary=f"Read a {kind}.", security=SECURITY,
            answers={200: Answer(description=f"The {kind}.", type=view)}, problems=(*KEY_CODES, collection.unknown),
        ),
        Operation(
            id=f"write_{kind}", method="PUT", path=one, summary=f"Create or replace a {kind}.", security=SECURITY,
            body=collection.body, answers=done, problems=writes,
        ),
    )  # fmt: skip


OPERATIONS: Final[tuple[Operation, ...]] = (
    *(operation for collection in COLLECTIONS for operation in _describe(collection)),
    Operation(
        id="publish_clip",
        method="POST",
        path="/v1/clips/{clip}/publish",
        summary="Publish a clip's manifest to the edge.",
        description="What has not changed keeps its version, and is written to the edge's store again.",
        answers={200: Answer(description="Published.", type=Publication)},
        problems=(*KEY_CODES, Code.CLIP_UNKNOWN, Code.OFFER_UNKNOWN, Code.INVALID_FIELD, Code.REVISION_CONFLICT),
        security=SECURITY,
    ),
)


class Operators:
    """The handlers of `OPERATIONS`, by the ids that these have."""

    def __init__(self, database: Database, catalogue: Catalogue, publisher: Publisher) -> None:
        self._guarded = Guard(database, SECURITY)
        self._catalogue = catalogue
        self._publisher = publisher

    def handlers(self) -> Mapping[str, Handler]:
        """Return a handler for each operation."""
        found: dict[str, Handler] = {"publish_clip": self._guarded(self._publish)}
        for collection in COLLECTIONS:
            found[f"list_{collection.plural}"] = self._guarded(self._lister(collection))
            found[f"create_{collection.kind}"] = self._guarded(self._creator(collection))
            found[f"read_{collection.kind}"] = self._guarded(self._reader(collection))
            found[f"write_{collection.kind}"] = self._guarded(self._writer(collection))
        return found

    def _lister(self, collection: Collection) -> Handler:
        async def answer(request: Request) -> Response:
            asked = read_page_of_ids(request)
            if isinstance(asked, Problem):
                return refuse(asked)
            items = await self._catalogue.list(collection.kind, asked.after or "", asked.limit + 1)
            shown, last = cut_page(items, asked.limit)
            more = None if last is None else getattr(last, collection.kind)
            return tell(collection.page(**{collection.plural: shown, "next": more}))

        return answer

    def _creator(self, collection: Collection) -> Handler:
        decoder = msgspec.json.Decoder(collection.body)

        async def answer(request: Request) -> Response:
            body = await read_json(request, decoder, MAX_BODY_BYTES)
            if isinstance(body, Problem):
                return refuse(body)
            return _tell_written(await self._catalogue.write(collection.kind, body, replace=False))

        return answer

    def _reader(self, collection: Collection) -> Handler:
        async def answer(request: Request) -> Response:
            found = await self._catalogue.read(collection.kind, request.path_params[collection.kind])
            return refuse(Problem(code=collection.unknown)) if found is None else tell(found)

        return answer

    def _writer(self, collection: Collection) -> Handler:
        decoder = msgspec.json.Decoder(collection.body)

        async def answer(request: Request) -> Response:
            body = await read_json(request, decoder, MAX_BODY_BYTES)
            if isinstance(body, Problem):
                return refuse(body)
            if getattr(body, collection.kind) != request.path_params[collection.kind]:
                detail = f"At $.{collection.kind}: must be the id in the address."
                return refuse(Problem(code=Code.INVALID_FIELD, detail=detail))
            return _tell_written(await self._catalogue.write(collection.kind, body, replace=True))

        return answer

    async def _publish(self, request: Request) -> Response:
        try:
            published = await self._publisher.publish(request.path_params["clip"])
        except ProviderAwayError:
            detail = "The version is kept, and will be published: the edge's store is away at present."
            return refuse(Problem(code=Code.UNAVAILABLE, detail=detail, retry_after_s=5))
        if isinstance(published, Problem):
            return refuse(published)
        told = Publication(clip=published.clip, version=published.version, published_at_ms=published.published_at_ms)
        return tell(told)


def _tell_written(written: Written | Problem) -> Response:
    if isinstance(written, Problem):
        return refuse(written)
    return tell(written.document, status=201 if written.created else 200)
