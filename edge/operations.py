"""All that the edge answers, listed once: routes, OpenAPI document and contract tests come from this list."""

from typing import Final

from edge.claiming import ClaimRequest
from edge.forms import ClaimAnswer
from shared.catalogue.stock import StockReport
from shared.insight.events import Beacon, BeaconAccepted
from shared.openapi import JSON, Answer, Operation, Parameter
from shared.overlay.rendering import OverlayView
from shared.problems import Code
from shared.structs import Wire

TEXT: Final = "text/plain"
HTML: Final = "text/html"

_BODY_PROBLEMS: Final = (
    Code.MALFORMED_JSON,
    Code.DUPLICATE_KEY,
    Code.UNKNOWN_FIELD,
    Code.INVALID_FIELD,
    Code.BODY_TOO_LARGE,
    Code.UNSUPPORTED_MEDIA_TYPE,
)
_TIMING: Final = {"Server-Timing": "what took how long, in milliseconds"}


class Health(Wire, frozen=True, kw_only=True):
    """A living isolate."""

    status: str
    node: str


OVERLAY: Final = Operation(
    id="get_overlay",
    method="GET",
    path="/v1/clips/{clip}/overlay",
    summary="The overlay of a clip, for this viewer",
    description="JSON for the component, HTML for a frame or a landing page; chosen by `Accept`.",
    parameters=(
        Parameter(name="locale", where="query", description="BCP 47; before `Accept-Language`"),
        Parameter(name="currency", where="query", description="ISO 4217; before the country's own"),
    ),
    answers={200: Answer(description="The overlay", type=OverlayView, media_types=(JSON, HTML), headers=_TIMING)},
    problems=(Code.CLIP_UNKNOWN, Code.NOT_ACCEPTABLE, Code.UNAVAILABLE),
)
CLAIM: Final = Operation(
    id="post_claim",
    method="POST",
    path="/v1/claims",
    summary="A tap: a signed claim",
    description="`text/plain` carries the same JSON: across sites it needs no preflight, so a tap is one request. "
    "The same idempotency key again is the same claim.",
    body=ClaimRequest,
    body_types=(JSON, TEXT),
    answers={201: Answer(description="The claim", type=ClaimAnswer, headers=_TIMING)},
    problems=(
        *_BODY_PROBLEMS,
        Code.CLIP_UNKNOWN,
        Code.OFFER_UNKNOWN,
        Code.DROP_NOT_OPEN,
        Code.DROP_CLOSED,
        Code.SOLD_OUT,
        Code.QUANTITY_NOT_OFFERED,
        Code.CURRENCY_NOT_OFFERED,
        Code.NOT_ADMITTED_YET,
        Code.RATE_LIMITED,
        Code.STOCK_UNKNOWN,
        Code.IDEMPOTENCY_CONFLICT,
        Code.UNAVAILABLE,
    ),
)
EVENTS: Final = Operation(
    id="post_events",
    method="POST",
    path="/v1/events",
    summary="What a browser saw: views, clicks, errors, timings",
    body=Beacon,
    body_types=(JSON, TEXT),
    answers={202: Answer(description="Taken", type=BeaconAccepted)},
    problems=(*_BODY_PROBLEMS, Code.RATE_LIMITED),
)
STOCK: Final = Operation(
    id="get_stock",
    method="GET",
    path="/v1/drops/{drop}/stock",
    summary="What a drop has left, with version and age",
    answers={200: Answer(description="The newest snapshot at hand", type=StockReport, headers=_TIMING)},
    problems=(Code.DROP_UNKNOWN,),
)
HEALTH: Final = Operation(
    id="get_health",
    method="GET",
    path="/health",
    summary="Whether this isolate lives",
    answers={200: Answer(description="It does", type=Health)},
)
OPENAPI: Final = Operation(
    id="get_openapi",
    method="GET",
    path="/openapi.json",
    summary="This description",
    answers={200: Answer(description="OpenAPI 3.1")},
)

OPERATIONS: Final = (OVERLAY, CLAIM, EVENTS, STOCK, HEALTH, OPENAPI)
