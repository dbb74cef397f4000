"""Pickup windows by the wall: what they are as instants, on the days when clocks are changed."""

import datetime as dt
from typing import Any, Final

import msgspec
import pytest

from origin.pickup.zones import resolve_pickup
from shared.catalogue.entries import PickupBody
from shared.claims.receipts import Pickup
from shared.problems import Problem
from tests.samples import encode


def resolve(zone: str, opens: str, closes: str) -> Pickup | Problem:
    document = encode({"place": "kiln", "zone": zone, "opens": opens, "closes": closes})
    return resolve_pickup(msgspec.json.decode(document, type=PickupBody))


def utc(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC).timestamp()) * 1000


# (zone, opens, closes, opens in UTC, closes in UTC): a window over each change of clocks.
CHANGES: Final = {
    "Berlin, spring: two hours by the wall are one": (
        "Europe/Berlin", "2026-03-29T01:30", "2026-03-29T03:30", "2026-03-29T00:30", "2026-03-29T01:30"
    ),
    "Berlin, autumn: two hours by the wall are three": (
        "Europe/Berlin", "2026-10-25T01:30", "2026-10-25T03:30", "2026-10-24T23:30", "2026-10-25T02:30"
    ),
    "New York, spring": (
        "America/New_York", "2026-03-08T01:30", "2026-03-08T03:30", "2026-03-08T06:30", "2026-03-08T07:30"
    ),
    "New York, autumn": (
        "America/New_York", "2026-11-01T00:30", "2026-11-01T02:30", "2026-11-01T04:30", "2026-11-01T07:30"
    ),
    "Lord Howe, spring: clocks change by half an hour": (
        "Australia/Lord_Howe", "2026-10-04T01:45", "2026-10-04T02:45", "2026-10-03T15:15", "2026-10-03T15:45"
    ),
    "Lord Howe, autumn": (
        "Australia/Lord_Howe", "2026-04-05T01:15", "2026-04-05T02:15", "2026-04-04T14:15", "2026-04-04T15:45"
    ),
    "Santiago, spring: the day begins at one": (
        "America/Santiago", "2026-09-05T23:30", "2026-09-06T01:30", "2026-09-06T03:30", "2026-09-06T04:30"
    ),
    "Santiago, autumn: the last hour of the day before comes twice": (
        "America/Santiago", "2026-04-04T22:30", "2026-04-05T00:30", "2026-04-05T01:30", "2026-04-05T04:30"
    ),
    "Tokyo: nothing changes": (
        "Asia/Tokyo", "2026-03-29T01:30", "2026-03-29T03:30", "2026-03-28T16:30", "2026-03-28T18:30"
    ),
}  # fmt: skip

SKIPPED: Final = {
    "Berlin": ("Europe/Berlin", "2026-03-29T02:30"),
    "New York": ("America/New_York", "2026-03-08T02:00"),
    "Lord Howe": ("Australia/Lord_Howe", "2026-10-04T02:15"),
    "Santiago": ("America/Santiago", "2026-09-06T00:00"),
}
TWICE: Final = {
    "Berlin": ("Europe/Berlin", "2026-10-25T02:30", {"+02:00": "2026-10-25T00:30", "+01:00": "2026-10-25T01:30"}),
    "New York": (
        "America/New_York", "2026-11-01T01:00", {"-04:00": "2026-11-01T05:00", "-05:00": "2026-11-01T06:00"}
    ),
    "Lord Howe": (
        "Australia/Lord_Howe", "2026-04-05T01:45", {"+11:00": "2026-04-04T14:45", "+10:30": "2026-04-04T15:15"}
    ),
    "Santiago": (
        "America/Santiago", "2026-04-04T23:30", {"-03:00": "2026-04-05T02:30", "-04:00": "2026-04-05T03:30"}
    ),
}  # fmt: skip


@pytest.mark.parametrize(("zone", "opens", "closes", "from_utc", "until_utc"), CHANGES.values(), ids=CHANGES)
def test_a_window_is_two_instants(zone: str, opens: str, closes: str, from_utc: str, until_utc: str) -> None:
    assert resolve(zone, opens, closes) == Pickup(place="kiln", from_ms=utc(from_utc), until_ms=utc(until_utc))


@pytest.mark.parametrize(("zone", "time"), SKIPPED.values(), ids=SKIPPED)
def test_a_time_that_clocks_skip_is_refused(zone: str, time: str) -> None:
    refused = resolve(zone, time, "2027-01-01T00:00")
    assert isinstance(refused, Problem)
    assert refused.detail == "At $.pickup.opens: is skipped in this zone: clocks go forward over it."


@pytest.mark.parametrize(("zone", "time", "meant"), TWICE.values(), ids=TWICE)
def test_a_time_that_comes_twice_must_say_which(zone: str, time: str, meant: dict[str, str]) -> None:
    refused = resolve(zone, time, "2027-01-01T00:00")
    assert isinstance(refused, Problem)
    assert "is there twice" in refused.detail
    for offset, instant in meant.items():
        resolved = resolve(zone, time + offset, "2027-01-01T00:00")
        assert isinstance(resolved, Pickup)
        assert resolved.from_ms == utc(instant)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        pytest.param({"zone": "Europe/Atlantis"}, "zone: must be a zone", id="no such zone"),
        pytest.param({"zone": "Europe"}, "zone: must be a zone", id="a continent"),
        pytest.param({"opens": "2026-02-30T10:00"}, "opens: must be a date", id="no such day"),
        pytest.param({"opens": "2026-02-01T24:30"}, "opens: must be a date", id="no such hour"),
        pytest.param({"opens": "2026-06-01T10:00+01:00"}, "opens: has an offset", id="winter's offset in summer"),
        pytest.param({"closes": "2026-06-01T09:00"}, "closes: must be later", id="ends as it begins"),
    ],
)
def test_a_window_that_is_none_is_refused_with_the_field(changes: dict[str, Any], rule: str) -> None:
    fields = {"zone": "Europe/Berlin", "opens": "2026-06-01T09:00", "closes": "2026-06-01T10:00", **changes}
    refused = resolve(**fields)
    assert isinstance(refused, Problem)
    assert rule in refused.detail
