"""Event batches: each isolate names itself and numbers what it reports, so that the origin sees what was lost."""

from typing import Final

import msgspec

from edge.ports import Services
from shared.insight.events import Beacon, ClaimRefused, EdgeEvent, EventBatch, Failed, report_beacon
from shared.problems import Code

REFUSALS_PER_SECOND: Final = 10

_ENCODER: Final = msgspec.json.Encoder()


def report(services: Services, events: tuple[EdgeEvent, ...]) -> None:
    """Hand one batch to the queue, to go out after the answer."""
    isolate = services.isolate
    isolate.seq += 1
    batch = EventBatch(
        node=isolate.node,
        colo=services.place.colo,
        country=services.place.country,
        seq=isolate.seq,
        at_ms=services.now_ms(),
        events=events,
    )
    services.events.send(_ENCODER.encode(batch).decode())


def report_beacons(services: Services, beacon: Beacon) -> None:
    """Report what a browser saw; and, once, how many browsers' reports were refused before this one."""
    isolate = services.isolate
    report(services, report_beacon(beacon))
    if isolate.beacons_refused:
        count, isolate.beacons_refused = isolate.beacons_refused, 0
        told = Failed(clip=beacon.clip, at_ms=services.now_ms(), name="beacons_refused", detail=str(count))
        report(services, (told,))


def report_refusal(services: Services, *, drop: str, clip: str, offer: str, code: Code) -> None:
    """Report a tap that had no claim, at most `REFUSALS_PER_SECOND` of them; the others are counted."""
    isolate, now_ms = services.isolate, services.now_ms()
    if now_ms - isolate.refusals_at_ms >= 1000:  # noqa: PLR2004 - a second
        isolate.refusals_at_ms, isolate.refusals = now_ms, 0
    isolate.refusals += 1
    if isolate.refusals > REFUSALS_PER_SECOND:
        isolate.suppressed += 1
        return
    suppressed, isolate.suppressed = isolate.suppressed, 0
    report(services, (ClaimRefused(drop=drop, clip=clip, offer=offer, code=code, suppressed=suppressed),))
