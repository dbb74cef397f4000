"""What everyone may read, and caches may keep: stock, and the shared overlays of clips.

A shared overlay is for no viewer in particular: the clip's own language, no country. The CDN keeps it, also while the
origin is away, and the component shows it when the edge's own overlay is late.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Final

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from origin.catalogue.stock_store import read_manifest_body, read_stock
from origin.database import Database
from origin.responses import Handler, refuse, tell
from shared.catalogue.manifest import Manifest, read_manifest
from shared.catalogue.stock import StockSnapshot, StockSnapshots
from shared.errors import CliptillError
from shared.openapi import JSON, Answer, Operation, Parameter
from shared.overlay.rendering import (
    OverlayView,
    ViewerContext,
    compile_html,
    compile_json,
    render_html,
    render_json,
)
from shared.problems import Code, Problem
from shared.structs import Identifier

HTML: Final = "text/html"
MAX_DROPS: Final = 24  # as many as a clip has offers
STOCK_CACHE: Final = "public, max-age=1"
OVERLAY_CACHE: Final = "public, max-age=5, s-maxage=10, stale-if-error=86400"
# The document runs the edge's component, and nothing else.
_FRAME_POLICY: Final = (
    "default-src 'none'; script-src {edge}; style-src {edge}; img-src https: data: {edge}; "
    "media-src https: {edge}; connect-src {edge} {origin}; base-uri 'none'; form-action 'none'"
)
DropIds = Annotated[tuple[Identifier, ...], Meta(min_length=1, max_length=MAX_DROPS)]

_CACHED: Final = {"Cache-Control": "who may keep it, and how long"}

OPERATIONS: Final = (
    Operation(
        id="read_stock",
        method="GET",
        path="/v1/stock",
        summary="Read what drops have left, and how fast one edge node may admit.",
        description="Ids that are not known are left out.",
        parameters=(
            Parameter(
                name="drops", where="query", required=True, description=f"ids, separated by commas; at most {MAX_DROPS}"
            ),
        ),
        answers={200: Answer(description="Snapshots.", type=StockSnapshots, headers=_CACHED)},
        problems=(Code.INVALID_FIELD, Code.UNAVAILABLE),
    ),
    Operation(
        id="read_shared_overlay",
        method="GET",
        path="/shared/clips/{clip}/overlay.json",
        summary="Read the overlay of a clip that is for everyone.",
        answers={200: Answer(description="The overlay.", type=OverlayView, headers=_CACHED)},
        problems=(Code.CLIP_UNKNOWN, Code.UNAVAILABLE),
    ),
    Operation(
        id="read_shared_document",
        method="GET",
        path="/shared/clips/{clip}/overlay.html",
        summary="Read the overlay of a clip that is for everyone, as a document of its own.",
        answers={200: Answer(description="The document.", media_types=(HTML,), headers=_CACHED)},
        problems=(Code.CLIP_UNKNOWN, Code.UNAVAILABLE),
    ),
)


class Windows:
    """The handlers of `OPERATIONS`."""

    def __init__(self, database: Database, public_url: str, edge_url: str, clock_ms: Callable[[], int]) -> None:
        self._database = database
        self._public_url = public_url
        self._edge_url = edge_url
        self._clock_ms = clock_ms
        self._policy = _FRAME_POLICY.format(edge=edge_url, origin=public_url)

    def handlers(self) -> Mapping[str, Handler]:
        """Return a handler for each operation."""
        return {
            "read_stock": self._read_stock,
            "read_shared_overlay": self._read_overlay,
            "read_shared_document": self._read_document,
        }

    async def _read_stock(self, request: Request) -> Response:
        try:
            drops = msgspec.convert(request.query_params.get("drops", "").split(","), DropIds)
        except msgspec.ValidationError:
            detail = f"In the query: `drops` is 1 to {MAX_DROPS} ids, separated by commas."
            return refuse(Problem(code=Code.INVALID_FIELD, detail=detail))
        now_ms = self._clock_ms()
        async with self._database.connection() as connection:
            snapshots = await read_stock(connection, drops, now_ms)
        return tell(StockSnapshots(as_of_ms=now_ms, drops=snapshots), {"Cache-Control": STOCK_CACHE})

    async def _read_overlay(self, request: Request) -> Response:
        found = await self._load(request.path_params["clip"])
        if found is None:
            return refuse(Problem(code=Code.CLIP_UNKNOWN))
        manifest, snapshots, now_ms = found
        template = compile_json(manifest, _everyone(manifest), settle_url=self._public_url, shared=True)
        return Response(render_json(template, snapshots, now_ms), 200, {"Cache-Control": OVERLAY_CACHE}, JSON)

    async def _read_document(self, request: Request) -> Response:
        found = await self._load(request.path_params["clip"])
        if found is None:
            return refuse(Problem(code=Code.CLIP_UNKNOWN))
        manifest, snapshots, now_ms = found
        template = compile_html(manifest, _everyone(manifest), settle_url=self._public_url, edge_url=self._edge_url)
        headers = {"Cache-Control": OVERLAY_CACHE, "Content-Security-Policy": self._policy}
        return Response(render_html(template, snapshots, now_ms), 200, headers, HTML)

    async def _load(self, clip: str) -> tuple[Manifest, dict[str, StockSnapshot], int] | None:
        now_ms = self._clock_ms()
        async with self._database.connection() as connection:
            body = await read_manifest_body(connection, clip)
            if body is None:
                return None
            manifest = read_manifest(body, clip)
            if not isinstance(manifest, Manifest):
                raise CliptillError(f"a published manifest cannot be read: {manifest.reason}")
            drops = {offer.terms.drop for offer in manifest.offers}
            snapshots = await read_stock(connection, sorted(drops), now_ms)
        return manifest, {snapshot.drop: snapshot for snapshot in snapshots}, now_ms


def _everyone(manifest: Manifest) -> ViewerContext:
    return ViewerContext(locale=manifest.default_locale, currency="", country="")
