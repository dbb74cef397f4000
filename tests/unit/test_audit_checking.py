"""Checking a trail: whatever is done to it is found, named once, and by the place where it was done."""

import msgspec
import pytest

from origin.trail.appending import sign_head
from origin.trail.trail_store import Stored
from shared.audit.checking import Fault, TrailCheck
from shared.audit.heads import open_head, read_good_head
from shared.audit.proofs import InclusionProof, check_proof
from shared.audit.trail import HEAD_EVERY, HEAD_TYPE, Head, Tail, digest_entry, encode_head, read_hash, show_hash
from shared.catalogue.stock import StockSnapshot
from shared.encoding import encode_base64url
from tests.samples import NOW_MS, ORIGIN_URL
from tests.trails import DROP, KEYS, VERIFY, change, list_entries, make_trail, renumber, rewrite, sign_end

TRAIL = make_trail(12)
ENTRIES = list_entries(TRAIL)


def check(entries: list[Stored], *heads: str) -> list[tuple[str, int | None]]:
    """Return code and position of all faults."""
    told = [read_good_head(head, VERIFY) for head in heads]
    checking = TrailCheck(DROP, [head for head in told if head is not None])
    faults = [fault for entry, chained in entries for fault in checking.feed(entry, chained)]
    return [(fault.code, fault.position) for fault in [*faults, *checking.finish()]]


def test_an_untouched_trail_fits_and_is_signed_to_its_end() -> None:
    checking = TrailCheck(DROP, [head for head in [read_good_head(sign_end(TRAIL), VERIFY)] if head is not None])
    assert [fault for entry, chained in ENTRIES for fault in checking.feed(entry, chained)] == []
    assert checking.finish() == []
    assert (checking.position, checking.settled, checking.signed_until) == (12, 12, 12)
    assert checking.hash == TRAIL.tail.hash


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"claim_id": "x" * 22}, id="claim"),
        pytest.param({"units": 2}, id="units"),
        pytest.param({"settled": 6}, id="total"),
        pytest.param({"at_ms": NOW_MS}, id="instant"),
        pytest.param({"content": "00" * 32}, id="content"),
        pytest.param({"facts": "00" * 32}, id="facts"),
        pytest.param({"kind": "returned"}, id="kind"),
        pytest.param({"drop": "drop-2"}, id="drop"),
    ],
)
def test_a_changed_entry_is_one_fault_at_its_place(changes: dict[str, object]) -> None:
    assert check(change(TRAIL, 5, **changes), sign_end(TRAIL)) == [("entry_changed", 5)]


def test_a_changed_hash_is_one_fault_at_its_place() -> None:
    entries = list(ENTRIES)
    entries[4] = Stored(entries[4].entry, bytes(32))
    assert check(entries, sign_end(TRAIL)) == [("entry_changed", 5)]


def test_removed_entries_are_named_by_the_range_of_their_places() -> None:
    entries = ENTRIES[:3] + ENTRIES[6:]
    assert check(entries, sign_end(TRAIL)) == [("entry_missing", 4)]
    assert TrailCheck(DROP, []).feed(*ENTRIES[2])[0].detail == "1 to 2"


def test_an_inserted_entry_that_takes_a_place_is_named_with_those_that_it_moved() -> None:
    inserted = Stored(renumber(ENTRIES[0].entry, 4), ENTRIES[0].hash)
    moved = [Stored(renumber(entry, entry.position + 1), chained) for entry, chained in ENTRIES[3:]]
    faults = check([*ENTRIES[:3], inserted, *moved])
    assert {code for code, _ in faults} == {"entry_changed"}
    assert faults[0] == ("entry_changed", 4)


def test_an_entry_that_comes_twice_is_out_of_place() -> None:
    assert check([*ENTRIES[:6], ENTRIES[2], *ENTRIES[6:]]) == [("entry_out_of_place", 3)]


def test_a_rewritten_trail_is_found_by_a_head_alone() -> None:
    entries = rewrite(TRAIL, 5, content="00" * 32)
    assert check(entries) == []
    assert check(entries, sign_end(TRAIL)) == [("head_disagrees", 12)]


def test_a_wrong_total_in_a_rewritten_trail_is_named() -> None:
    assert check(rewrite(TRAIL, 5, units=3)) == [("total_wrong", 5)]


def test_a_trail_that_was_cut_off_is_found_by_a_published_head() -> None:
    assert check(ENTRIES[:9]) == []
    assert check(ENTRIES[:9], sign_end(TRAIL)) == [("head_beyond_end", 12)]


def test_a_head_of_another_drop_or_total_disagrees() -> None:
    for head in (
        sign_head("drop-2", TRAIL.tail, ORIGIN_URL, KEYS, NOW_MS),
        sign_head(DROP, Tail(12, TRAIL.tail.hash, 11), ORIGIN_URL, KEYS, NOW_MS),
    ):
        assert check(ENTRIES, head.head) == [("head_disagrees", 12)]


def sign_stock(total: int, remaining: int) -> str:
    stock = StockSnapshot(drop=DROP, version=9, as_of_ms=NOW_MS, total=total, remaining=remaining)
    return sign_head(DROP, TRAIL.tail, ORIGIN_URL, KEYS, NOW_MS, stock).head


def test_stock_that_was_shown_fits_the_trail_of_its_instant() -> None:
    assert check(ENTRIES, sign_stock(20, 8)) == []
    assert check(ENTRIES, sign_stock(20, 5)) == []  # three are held
    assert check(ENTRIES, sign_stock(20, 9)) == [("head_disagrees", 12)]
    assert check(ENTRIES[:9], sign_stock(20, 8)) == [("head_beyond_end", 12)]


def test_a_head_from_before_the_first_entry_is_checked_too() -> None:
    assert check(ENTRIES, sign_head(DROP, Tail(), ORIGIN_URL, KEYS, NOW_MS).head) == []
    wrong = sign_head(DROP, Tail(0, Tail().hash, 4), ORIGIN_URL, KEYS, NOW_MS).head
    assert check(ENTRIES, wrong) == [("head_disagrees", 0)]


def test_heads_are_signed_at_every_multiple_by_the_origin_itself() -> None:
    heads = make_trail(2 * HEAD_EVERY + 1).heads
    assert [head.position for head in heads] == [HEAD_EVERY, 2 * HEAD_EVERY]


def _forge(header: bytes, head: str = "") -> str:
    payload, signature = (head or sign_end(TRAIL)).split(".")[1:]
    return f"{encode_base64url(header)}.{payload}.{signature}"


@pytest.mark.parametrize(
    "token",
    [
        pytest.param("", id="empty"),
        pytest.param("a.b", id="two-parts"),
        pytest.param("é.é.é", id="not-ascii"),
        pytest.param("a" * 3000 + "..", id="too-long"),
        pytest.param(_forge(b'{"alg":"none","typ":"trail-head+jwt","kid":"k"}'), id="no-algorithm"),
        pytest.param(_forge(b'{"alg":"EdDSA","typ":"receipt+jwt","kid":"k"}'), id="another-type"),
        pytest.param(_forge(b'{"alg":"EdDSA","typ":"trail-head+jwt","kid":"k","crit":["b64"]}'), id="extended"),
        pytest.param(_forge(b"\xff"), id="unreadable-header"),
        pytest.param(KEYS.newest.sign(b"[]", HEAD_TYPE), id="unreadable-payload"),
    ],
)
def test_what_is_no_head_is_not_opened(token: str) -> None:
    assert open_head(token) is None
    assert read_good_head(token, VERIFY) is None


def test_a_head_under_an_unknown_key_or_with_another_signature_is_forged() -> None:
    good = sign_end(TRAIL)
    assert read_good_head(good, VERIFY) is not None
    assert read_good_head(_forge(b'{"alg":"EdDSA","typ":"trail-head+jwt","kid":"other"}'), VERIFY) is None
    changed = Head(iss=ORIGIN_URL, drop=DROP, position=12, hash=show_hash(bytes(32)), settled=12, at_ms=NOW_MS)
    header, _, signature = good.split(".")
    assert read_good_head(f"{header}.{encode_base64url(encode_head(changed))}.{signature}", VERIFY) is None


def prove(position: int) -> InclusionProof:
    previous = ENTRIES[position - 2].hash if position > 1 else bytes(32)
    return InclusionProof(
        entry=ENTRIES[position - 1].entry,
        previous=show_hash(previous),
        following=tuple(show_hash(digest_entry(entry)) for entry, _ in ENTRIES[position:]),
        head=sign_end(TRAIL),
    )


@pytest.mark.parametrize("position", [1, 7, 12])
def test_a_proof_reaches_the_head_from_anywhere(position: int) -> None:
    assert check_proof(prove(position)) is None


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        pytest.param({"head": "x"}, "head_unreadable", id="no-head"),
        pytest.param({"entry": msgspec.structs.replace(prove(7).entry, drop="d2")}, "other_drop", id="other-drop"),
        pytest.param({"following": prove(7).following[:-1]}, "other_place", id="too-short"),
        pytest.param({"previous": "x"}, "hash_unreadable", id="no-hash"),
        pytest.param({"previous": show_hash(bytes(32))}, "does_not_reach_head", id="other-hash"),
        pytest.param({"following": tuple(reversed(prove(7).following))}, "does_not_reach_head", id="other-order"),
        pytest.param(
            {"entry": msgspec.structs.replace(prove(7).entry, units=2)}, "does_not_reach_head", id="other-entry"
        ),
    ],
)
def test_a_changed_proof_shows_nothing(changes: dict[str, object], fault: str) -> None:
    assert check_proof(msgspec.structs.replace(prove(7), **changes)) == fault


def test_a_proof_is_about_its_own_receipt_only() -> None:
    assert check_proof(prove(7), b"receipt 7") == "other_receipt"  # these receipts say nothing
    assert check_proof(prove(7), b"\xff") == "other_receipt"


def test_a_hash_is_told_in_one_way() -> None:
    assert read_hash(show_hash(bytes(range(32)))) == bytes(range(32))
    assert read_hash(show_hash(bytes(31))) is None
    assert read_hash(show_hash(bytes(32)) + "=") is None


def test_a_fault_tells_where_and_what() -> None:
    fault = Fault(code="entry_missing", position=4, detail="4 to 6")
    assert msgspec.json.decode(msgspec.json.encode(fault), type=Fault) == fault
