"""Intake: which messages can be read, which claims count, which settle by their event alone."""

from typing import Any

import msgspec
import pytest

from shared.claims.tokens import sign_claim
from shared.encoding import encode_base64url
from shared.insight.deliveries import MAX_MESSAGE_BYTES, ReadBatch, Rejection, judge_issue, read_batch, settles_by_event
from shared.insight.events import ClaimIssued
from tests.samples import ISSUER, NEW_KEY, NOW_MS, OLD_KEY, ORIGIN_URL, encode, make_claim

FREE_LINES = [{"sku": "sku-1", "quantity": 1, "unit_minor": 0}]


def batch_document(**changes: Any) -> dict[str, Any]:
    event = {"type": "view", "clip": "clip-1", "at_ms": NOW_MS}
    return {"v": 1, "node": "node-1", "colo": "FRA", "seq": 1, "at_ms": NOW_MS, "events": [event], **changes}


def issue(token: str, **changes: Any) -> ClaimIssued:
    document = {
        "type": "claim_issued",
        "claim_id": "CCCCCCCCCCCCCCCCCCCCCA",
        "drop": "drop-1",
        "clip": "clip-1",
        "offer": "offer-1",
        "token": token,
        "expires_at_ms": NOW_MS + 300_000,
        **changes,
    }
    return msgspec.convert(document, ClaimIssued)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        pytest.param(None, "undecodable_body", id="body-that-its-encoding-does-not-fit"),
        pytest.param(b"", "not_json", id="nothing"),
        pytest.param(b"{", "not_json", id="half-json"),
        pytest.param(b"\xff\xfe", "not_json", id="no-text"),
        pytest.param(b"[" * 100_000, "not_a_batch", id="depth"),
        pytest.param(b"x" * (MAX_MESSAGE_BYTES + 1), "too_large", id="size"),
        pytest.param(encode([]), "not_a_batch", id="a-list"),
        pytest.param(encode(batch_document(v=2)), "other_schema", id="a-later-schema"),
        pytest.param(encode(batch_document(seq=0)), "not_a_batch", id="numbers-start-at-one"),
        pytest.param(encode(batch_document(seq=2**63)), "not_a_batch", id="number-beyond-the-column"),
        pytest.param(encode(batch_document(node="a b")), "not_a_batch", id="node-name"),
        pytest.param(encode(batch_document(at_ms=0)), "not_a_batch", id="clock-never-set"),
        pytest.param(encode(batch_document(at_ms=2**52)), "not_a_batch", id="clock-of-another-millennium"),
    ],
)
def test_what_cannot_be_read_has_a_closed_reason(raw: bytes | None, reason: str) -> None:
    read = read_batch(raw)
    assert isinstance(read, Rejection)
    assert (read.index, read.reason) == (-1, reason)


def test_a_message_that_is_cut_short_anywhere_is_no_batch() -> None:
    raw = encode(batch_document(events=[{"type": "view", "clip": "clip-1", "at_ms": NOW_MS}]))
    assert isinstance(read_batch(raw), ReadBatch)
    cut = [read_batch(raw[:end]) for end in range(len(raw))]
    assert set(cut) == {Rejection(index=-1, reason="not_json")}


@pytest.mark.parametrize(
    "event",
    [
        pytest.param({"type": "teleport", "clip": "clip-1"}, id="unknown-type"),
        pytest.param({"clip": "clip-1", "at_ms": NOW_MS}, id="no-type"),
        pytest.param({"type": 7, "clip": "clip-1", "at_ms": NOW_MS}, id="type-that-is-no-text"),
        pytest.param({"type": "view", "clip": "clip-1", "at_ms": 2**60}, id="from-beyond-the-calendar"),
        pytest.param({"type": "view", "clip": "clip-1", "at_ms": -1}, id="from-before-time"),
        pytest.param({"type": "view", "clip": "clip-1", "at_ms": NOW_MS, "duration_ms": 1e300}, id="overflow"),
        pytest.param({"type": "claim_issued", "claim_id": "x", "drop": "drop-1"}, id="half-a-claim"),
        pytest.param({"type": "settled", "claim_id": "C" * 22, "drop": "drop-1"}, id="what-an-edge-cannot-say"),
        pytest.param("view", id="no-object"),
        pytest.param(None, id="nothing"),
    ],
)
def test_an_event_that_is_none_is_rejected_alone(event: object) -> None:
    known = {"type": "view", "clip": "clip-1", "at_ms": NOW_MS}
    read = read_batch(encode(batch_document(events=[known, event, known])))
    assert isinstance(read, ReadBatch)
    assert [item.index for item in read.events] == [0, 2]
    assert read.rejections == (Rejection(index=1, reason="not_an_event"),)


def _unsigned(header: bytes) -> str:
    _, payload, _ = sign_claim(make_claim(), NEW_KEY).split(".")
    return f"{encode_base64url(header)}.{payload}."


def test_fields_and_events_of_a_later_edge_do_not_stop_the_rest() -> None:
    known = {"type": "view", "clip": "clip-1", "at_ms": NOW_MS, "later": [1]}
    document = batch_document(events=[{"type": "teleport", "clip": "clip-1"}, known], trace="abc")
    read = read_batch(encode(document))
    assert isinstance(read, ReadBatch)
    assert [item.index for item in read.events] == [1]
    assert read.rejections == (Rejection(index=0, reason="not_an_event"),)


def test_text_that_a_database_cannot_hold_is_cleaned() -> None:
    read = read_batch(encode(batch_document(colo="F\x00RA\n")))
    assert isinstance(read, ReadBatch)
    assert read.colo == "FRA"


@pytest.mark.parametrize("key", [NEW_KEY, OLD_KEY], ids=["new-key", "old-key"])
def test_a_good_claim_counts_under_every_trusted_key(key: Any) -> None:
    claim = make_claim(lines=FREE_LINES)
    issued = judge_issue(issue(sign_claim(claim, key)), (NEW_KEY, OLD_KEY), issuer=ISSUER, audience=ORIGIN_URL)
    assert issued is not None
    assert issued.claim == claim
    assert settles_by_event(issued)


def test_an_expired_free_claim_still_settles_by_its_event() -> None:
    claim = make_claim(lines=FREE_LINES, exp=1)
    issued = judge_issue(issue(sign_claim(claim, NEW_KEY)), (NEW_KEY,), issuer=ISSUER, audience=ORIGIN_URL)
    assert issued is not None
    assert settles_by_event(issued)


def test_a_claim_with_a_price_does_not_settle_by_its_event() -> None:
    issued = judge_issue(issue(sign_claim(make_claim(), NEW_KEY)), (NEW_KEY,), issuer=ISSUER, audience=ORIGIN_URL)
    assert issued is not None
    assert not settles_by_event(issued)


def test_a_claim_under_an_unknown_key_waits() -> None:
    event = issue(sign_claim(make_claim(lines=FREE_LINES), NEW_KEY))
    issued = judge_issue(event, (OLD_KEY,), issuer=ISSUER, audience=ORIGIN_URL)
    assert issued is not None
    assert issued.claim is None
    assert not settles_by_event(issued)


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(issue(sign_claim(make_claim(), NEW_KEY)[:-1] + "A"), id="signature"),
        pytest.param(issue(sign_claim(make_claim(), NEW_KEY) + "\x00"), id="characters"),
        pytest.param(issue("nonsense"), id="no-token"),
        pytest.param(issue(_unsigned(b'{"alg":"none","typ":"claim+jwt","kid":"2026-11"}')), id="signed-by-nobody"),
        pytest.param(issue(_unsigned(b'{"alg":"HS256","typ":"claim+jwt","kid":"2026-12"}')), id="no-signature"),
        pytest.param(
            issue(_unsigned(b'{"kid":"2026-11","typ":"claim+jwt","alg":"HS256"}') + "A" * 43),
            id="known-key-written-anew",
        ),
        pytest.param(
            issue(_unsigned(b'{"alg":"HS256","typ":"claim+jwt","kid":"2026-12","crit":["x"]}') + "A" * 43),
            id="extended",
        ),
        pytest.param(issue(_unsigned(b"\xff") + "A" * 43), id="unreadable-header"),
        pytest.param(issue(sign_claim(make_claim(iss="another"), NEW_KEY)), id="issuer"),
        pytest.param(issue(sign_claim(make_claim(aud="https://another.example"), NEW_KEY)), id="audience"),
        pytest.param(issue(sign_claim(make_claim(), NEW_KEY), claim_id="D" * 22), id="another-id-than-the-token"),
        pytest.param(issue(sign_claim(make_claim(), NEW_KEY), drop="drop-2"), id="another-drop-than-the-token"),
    ],
)
def test_a_forged_claim_never_counts(event: ClaimIssued) -> None:
    assert judge_issue(event, (NEW_KEY,), issuer=ISSUER, audience=ORIGIN_URL) is None
