"""Wall time of a place as instants: operators say when by their own clock, all else counts in instants.

Rules, for the two hours a year that are not like the others:

1. A wall time that a zone skips (clocks go forward) is no instant, and is refused.
2. A wall time that a zone has twice (clocks go back) is two instants: the offset says which one is meant
   (`2026-10-25T02:30+02:00`), and without one it is refused rather than guessed.
3. An offset that the zone does not have at that time is refused.

The zones are those of the IANA database as this machine (or the package `tzdata`) has it; an instant, once stored, does
not follow its changes.
"""

import datetime as dt
from typing import Final
from zoneinfo import ZoneInfo

from shared.catalogue.entries import PickupBody
from shared.claims.receipts import Pickup
from shared.problems import Code, Problem

_SECOND_MS: Final = 1000


def resolve_pickup(body: PickupBody) -> Pickup | Problem:
    """Return a pickup window as instants, or what is wrong with it."""
    try:
        zone = ZoneInfo(body.zone)
    except (KeyError, ValueError, OSError):  # not known; not a name; the name of a folder of zones
        return _invalid("zone", "must be a zone of the IANA database")
    opens, closes = resolve_time("opens", body.opens, zone), resolve_time("closes", body.closes, zone)
    if isinstance(opens, Problem):
        return opens
    if isinstance(closes, Problem):
        return closes
    if opens >= closes:
        return _invalid("closes", "must be later than opens")
    return Pickup(place=body.place, from_ms=opens, until_ms=closes)


def resolve_time(name: str, text: str, zone: ZoneInfo) -> int | Problem:
    """Return the instant, in milliseconds, of a wall time; or a problem that says what to write instead."""
    try:
        said = dt.datetime.fromisoformat(text)
    except ValueError:
        return _invalid(name, "must be a date and time that exist")
    wall = said.replace(tzinfo=None)
    instants = {moment for fold in (0, 1) for moment in [_instant(wall, zone, fold)] if moment is not None}
    if not instants:
        return _invalid(name, "is skipped in this zone: clocks go forward over it")
    if said.tzinfo is not None:
        instants &= {said.astimezone(dt.UTC)}
        if not instants:
            return _invalid(name, "has an offset that the zone does not have then")
    if len(instants) > 1:
        return _invalid(name, "is there twice in this zone: add the offset, as in 2026-10-25T02:30+02:00")
    return int(instants.pop().timestamp()) * _SECOND_MS


def _instant(wall: dt.datetime, zone: ZoneInfo, fold: int) -> dt.datetime | None:
    """Return the instant of a wall time, before (0) or after (1) clocks go back; None when the zone skips it."""
    moment = wall.replace(tzinfo=zone, fold=fold).astimezone(dt.UTC)
    return moment if moment.astimezone(zone).replace(tzinfo=None) == wall else None


def _invalid(name: str, rule: str) -> Problem:
    return Problem(code=Code.INVALID_FIELD, detail=f"At $.pickup.{name}: {rule}.")
