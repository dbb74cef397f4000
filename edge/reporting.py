"""Event batches: what an isolate reports, put together and numbered, so that the origin sees what was lost.

A message to the queue costs more than the claim that it reports, in time and in money. So a report goes out at once
only after a quiet moment (`EVERY_MS`). Those that follow wait for the rest of it, and go out as one batch, sent by the
request whose report was the first of them.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec

from edge.isolate import Isolate, Window
from edge.ports import Place, Services
from shared.insight.events import (
    MAX_BATCH_EVENTS,
    Beacon,
    ClaimIssued,
    ClaimRefused,
    EdgeEvent,
    EventBatch,
    Failed,
    report_beacon,
)
from shared.problems import Code

EVERY_MS: Final = 10
GIVEN_UP_MS: Final = 1000  # a request may be cut off before it sends what it gathers: then the next one does
REFUSALS_PER_SECOND: Final = 10
MOST_BYTES: Final = 120_000  # of a batch's events; the provider takes 128 KiB a message
_CLAIM_BYTES: Final = 600  # of a `claim_issued` event, beside its token
_EVENT_BYTES: Final = 1600  # of any other: 200 characters of detail, which may be six bytes each, and names

_ENCODER: Final = msgspec.json.Encoder()


def report(services: Services, events: tuple[EdgeEvent, ...], now_ms: int) -> None:
    """Have events go out after the answer, all of them in one batch."""
    isolate, place = services.isolate, services.place
    size = sum(map(_size, events))
    window = isolate.window
    if window is not None and _is_over(window, place, len(events), size, now_ms):
        services.events.send(_close(isolate, window, now_ms))
        window = None
    if window is None:
        _open(services, events, size, now_ms)
    else:
        _add(window, place, events, size)


def _open(services: Services, events: tuple[EdgeEvent, ...], size: int, now_ms: int) -> None:
    isolate, place = services.isolate, services.place
    isolate.seq += 1
    window = Window(isolate.seq, now_ms, place.colo, place.country)
    _add(window, place, events, size)
    wait_ms = isolate.reported_at_ms + EVERY_MS - now_ms
    if 0 < wait_ms <= EVERY_MS:
        isolate.window = window
        # Of the services, only the clock: the others are the request's.
        services.events.send_later(partial(_close_if_open, isolate, window, services.now_ms), wait_ms)
    else:
        services.events.send(_close(isolate, window, now_ms))


def _add(window: Window, place: Place, events: tuple[EdgeEvent, ...], size: int) -> None:
    window.size += size
    if place.country == window.country:
        window.events += events
    else:
        window.events += [msgspec.structs.replace(event, country=place.country) for event in events]


def _is_over(window: Window, place: Place, count: int, size: int, now_ms: int) -> bool:
    """Return whether a window takes no more, or was left behind."""
    return (
        len(window.events) + count > MAX_BATCH_EVENTS
        or window.size + size > MOST_BYTES
        or window.colo != place.colo
        or not 0 <= now_ms - window.opened_at_ms < GIVEN_UP_MS
    )


def _close(isolate: Isolate, window: Window, now_ms: int) -> str:
    isolate.window, isolate.reported_at_ms = None, now_ms
    batch = EventBatch(
        node=isolate.node,
        colo=window.colo,
        country=window.country,
        seq=window.seq,
        at_ms=window.opened_at_ms,
        events=tuple(window.events),
    )
    return _ENCODER.encode(batch).decode()


def _close_if_open(isolate: Isolate, window: Window, now_ms: Callable[[], int]) -> str | None:
    return _close(isolate, window, now_ms()) if isolate.window is window else None


def _size(event: EdgeEvent) -> int:
    return _CLAIM_BYTES + len(event.token) if isinstance(event, ClaimIssued) else _EVENT_BYTES


def report_beacons(services: Services, beacon: Beacon) -> None:
    """Report what a browser saw; and, once, how many browsers' reports were refused before this one."""
    isolate, now_ms = services.isolate, services.now_ms()
    report(services, report_beacon(beacon), now_ms)
    if isolate.beacons_refused:
        count, isolate.beacons_refused = isolate.beacons_refused, 0
        told = Failed(clip=beacon.clip, at_ms=now_ms, name="beacons_refused", detail=str(count))
        report(services, (told,), now_ms)


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
    report(services, (ClaimRefused(drop=drop, clip=clip, offer=offer, code=code, suppressed=suppressed),), now_ms)
