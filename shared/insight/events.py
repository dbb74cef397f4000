"""Edge events: facts that the edge reports through the queue, at least once, in any order.

One queue message is one `EventBatch`: all that an isolate's requests reported within a few milliseconds. Each isolate
of the edge names itself (`node`) and numbers its batches from 1 (`seq`), so that the origin sees what is missing.
(node, seq, position) is an event's identity.

What a browser says about itself (view, click, error, timing) is a measurement, never a reason to settle anything. A
`claim_issued` event carries the signed claim: the origin believes the signature, not the event.
"""

from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, UnsetType

from shared.problems import Code
from shared.structs import ClaimId, Identifier, InstantMs, Strict, Wire

SCHEMA: Final = 1
MAX_BEACON_BYTES: Final = 16_384
MAX_BEACON_EVENTS: Final = 50
MAX_BATCH_EVENTS: Final = 50

BeaconType = Literal["view", "click", "error", "timing"]
EventName = Annotated[str, Meta(pattern=r"^[a-z0-9_]{1,40}$(?!\n)")]
Detail = Annotated[str, Meta(max_length=200)]
Duration = Annotated[float, Meta(ge=0, le=86_400_000, description="milliseconds")]
NodeId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$(?!\n)")]
Country = Annotated[str, Meta(max_length=2)]


class Reported(Wire, frozen=True, kw_only=True):
    """What all events have.

    Attributes:
        country: the viewer's, where it is another than the batch's.
    """

    country: Country | UnsetType = UNSET


class ClaimIssued(Reported, frozen=True, kw_only=True, tag="claim_issued", tag_field="type"):
    """A claim was given; `token` is the claim itself, as the viewer has it."""

    claim_id: ClaimId
    drop: Identifier
    clip: Identifier
    offer: Identifier
    token: Annotated[str, Meta(max_length=4096)]
    expires_at_ms: InstantMs


class ClaimRefused(Reported, frozen=True, kw_only=True, tag="claim_refused", tag_field="type"):
    """A tap had no claim, for this reason.

    Attributes:
        suppressed: refusals since the last report that were only counted; a flood of taps is not a flood of events.
    """

    drop: Identifier
    clip: Identifier
    offer: Identifier
    code: Code
    suppressed: Annotated[int, Meta(ge=0)] = 0


class Viewed(Reported, frozen=True, kw_only=True, tag="view", tag_field="type"):
    """An overlay was seen."""

    clip: Identifier
    at_ms: InstantMs
    offer: Identifier | None = None
    name: EventName = "overlay"
    duration_ms: Duration | None = None
    detail: Detail = ""


class Clicked(Viewed, frozen=True, kw_only=True, tag="click", tag_field="type"):
    """An offer was tapped."""


class Failed(Viewed, frozen=True, kw_only=True, tag="error", tag_field="type"):
    """Something failed in the browser; `name` says what."""


class Timed(Viewed, frozen=True, kw_only=True, tag="timing", tag_field="type"):
    """Something took `duration_ms` in the browser; `name` says what."""


EdgeEvent = ClaimIssued | ClaimRefused | Viewed | Clicked | Failed | Timed


class EventBatch(Wire, frozen=True, kw_only=True):
    """What an isolate reports at once.

    Attributes:
        node: the isolate; made at random when it takes its first request.
        country: of the viewers that its events are about, unless they have another.
        seq: counts the isolate's batches from 1.
        at_ms: the edge's clock, when the first of the events was reported.
    """

    v: int = SCHEMA
    node: NodeId
    colo: Annotated[str, Meta(max_length=16)] = ""
    country: Country = ""
    seq: Annotated[int, Meta(ge=1)]
    at_ms: InstantMs
    events: Annotated[tuple[EdgeEvent, ...], Meta(min_length=1, max_length=MAX_BATCH_EVENTS)]


class BeaconEvent(Strict, frozen=True, kw_only=True):
    """One event as the component sends it."""

    type: BeaconType
    at_ms: InstantMs
    offer: Identifier | None = None
    name: EventName = "overlay"
    duration_ms: Duration | None = None
    detail: Detail = ""


class Beacon(Strict, frozen=True, kw_only=True):
    """What the component sends to `POST /v1/events`."""

    clip: Identifier
    events: Annotated[tuple[BeaconEvent, ...], Meta(min_length=1, max_length=MAX_BEACON_EVENTS)]


class BeaconAccepted(Wire, frozen=True, kw_only=True):
    """How many events were taken."""

    accepted: int


_KINDS: Final[dict[BeaconType, type[Viewed]]] = {"view": Viewed, "click": Clicked, "error": Failed, "timing": Timed}


def report_beacon(beacon: Beacon) -> tuple[EdgeEvent, ...]:
    """Return the edge events that a beacon's events are."""
    return tuple(
        _KINDS[event.type](
            clip=beacon.clip,
            at_ms=event.at_ms,
            offer=event.offer,
            name=event.name,
            duration_ms=event.duration_ms,
            detail=event.detail,
        )
        for event in beacon.events
    )
