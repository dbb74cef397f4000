"""Events: what a browser says becomes what the edge reports, and nothing more."""

from typing import Any

import msgspec
import pytest

from shared.insight.events import (
    Beacon,
    ClaimIssued,
    ClaimRefused,
    Clicked,
    EdgeEvent,
    EventBatch,
    Failed,
    Timed,
    Viewed,
    report_beacon,
)
from tests.samples import encode


@pytest.mark.parametrize(("kind", "made"), [("view", Viewed), ("click", Clicked), ("error", Failed), ("timing", Timed)])
def test_each_kind_of_event_becomes_its_own(kind: str, made: type[Viewed]) -> None:
    fields: dict[str, Any] = {"at_ms": 5, "offer": "o", "name": "n", "duration_ms": 1.5, "detail": "d"}
    beacon = msgspec.json.decode(encode({"clip": "c", "events": [{"type": kind, **fields}]}), type=Beacon)
    (event,) = report_beacon(beacon)
    assert type(event) is made
    assert msgspec.to_builtins(event) == {"type": kind, "clip": "c", **fields}


@pytest.mark.parametrize("kind", ["claim_issued", "claim_refused", "settled", ""])
def test_a_browser_cannot_report_claims(kind: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(encode({"clip": "c", "events": [{"type": kind, "at_ms": 1}]}), type=Beacon)


@pytest.mark.parametrize("kind", [ClaimIssued, ClaimRefused, Viewed, Clicked, Failed, Timed])
def test_every_event_is_told_apart_by_its_type(kind: Any) -> None:
    assert kind.__struct_config__.tag_field == "type"
    assert kind in EdgeEvent.__args__


def test_a_batch_of_a_later_edge_is_read_for_what_is_known() -> None:
    document = {
        "node": "n", "seq": 1, "at_ms": 1, "later": True,
        "events": [{"type": "view", "clip": "c", "at_ms": 1, "later": [1]}],
    }  # fmt: skip
    batch = msgspec.json.decode(encode(document), type=EventBatch)
    assert batch.events == (Viewed(clip="c", at_ms=1),)


def test_the_largest_beacon_fits_into_a_message_of_the_queue() -> None:
    # 128,000 bytes is the provider's limit; each character of a detail may need six bytes.
    event = {"type": "timing", "at_ms": 2**53 - 1, "offer": "o" * 63, "name": "n" * 40, "duration_ms": 86_400_000.0}
    beacon = msgspec.json.decode(
        encode({"clip": "c" * 63, "events": [{**event, "detail": "\x01" * 200}] * 50}), type=Beacon
    )
    batch = EventBatch(node="n" * 64, colo="c" * 16, country="DE", seq=2**53, at_ms=1, events=report_beacon(beacon))
    assert len(msgspec.json.encode(batch)) < 128_000
