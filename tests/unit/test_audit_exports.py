"""An exported trail: checked by anyone with the public keys, whatever was done to the file."""

from collections.abc import Callable

import pytest

from shared.audit.exports import MOST_FAULTS, check_export
from tests.trails import DROP, KEYS, VERIFY, change, list_entries, make_trail, rewrite, sign_end, write_export

TRAIL = make_trail(10)
ENTRIES = list_entries(TRAIL)
HEADS = [sign_end(TRAIL)]
LINES = write_export(ENTRIES, HEADS)
Damage = Callable[[list[bytes]], list[bytes]]


def faults_of(lines: list[bytes], *published: str) -> list[tuple[str, int | None]]:
    return [(fault.code, fault.position) for fault in check_export(lines, VERIFY, published).faults]


def test_an_untouched_file_fits() -> None:
    checked = check_export(LINES, VERIFY)
    assert (checked.drop, checked.entries, checked.settled, checked.signed_until) == (DROP, 10, 10, 10)
    assert (checked.fault_count, checked.faults) == (0, ())


def test_an_empty_trail_fits() -> None:
    assert faults_of(write_export([], [])) == []


@pytest.mark.parametrize(
    ("damage", "faults"),
    [
        pytest.param(lambda lines: lines[:-1], [("file_truncated", None)], id="last-line-cut-off"),
        pytest.param(
            lambda lines: lines[:6], [("head_beyond_end", 10), ("file_truncated", None)], id="cut-off-in-the-middle"
        ),
        pytest.param(
            lambda lines: [*lines[:-1], lines[-1][:20]],
            [("file_unreadable", None), ("file_truncated", None)],
            id="cut-off-within-the-last-line",
        ),
        pytest.param(
            lambda lines: lines[:5] + lines[6:], [("entry_missing", 4), ("end_disagrees", None)], id="line-removed"
        ),
        pytest.param(lambda lines: [*lines, lines[2]], [("file_unreadable", None)], id="line-after-the-end"),
        pytest.param(
            lambda lines: [*lines[:4], lines[0], *lines[4:]], [("file_unreadable", None)], id="line-out-of-place"
        ),
        pytest.param(
            lambda lines: [*lines[:4], b'{"line":"what"}\n', *lines[4:]], [("file_unreadable", None)], id="unknown-line"
        ),
        pytest.param(
            lambda lines: [lines[0], lines[1].replace(b'"head":"', b'"head":"x'), *lines[2:]],
            [("head_forged", None)],
            id="head-changed",
        ),
        pytest.param(
            lambda lines: [*lines[:6], lines[6].replace(b'"hash":"', b'"hash":"_'), *lines[7:]],
            [("entry_changed", 5)],
            id="hash-that-is-none",
        ),
    ],
)
def test_a_damaged_file_is_named(damage: Damage, faults: list[tuple[str, int | None]]) -> None:
    assert faults_of(damage(LINES)) == faults


def test_a_file_that_is_something_else_is_not_one() -> None:
    assert ("file_unreadable", None) in faults_of([b"hello\n"])
    assert ("file_truncated", None) in faults_of([])


def test_changed_and_rewritten_entries_are_found() -> None:
    assert faults_of(write_export(change(TRAIL, 3, content="11" * 32), HEADS)) == [("entry_changed", 3)]
    assert faults_of(write_export(rewrite(TRAIL, 3, content="11" * 32), HEADS)) == [("head_disagrees", 10)]


def test_a_file_that_was_cut_off_with_its_heads_is_found_by_a_head_that_was_published() -> None:
    shorter = write_export(ENTRIES[:8], [])
    assert faults_of(shorter) == []
    assert faults_of(shorter, HEADS[0]) == [("head_beyond_end", 10)]


def test_stock_that_is_not_what_the_trail_says_is_found() -> None:
    assert faults_of(write_export(ENTRIES, HEADS, settled=9)) == [("stock_disagrees", None)]


def test_all_faults_are_counted_and_the_first_are_listed() -> None:
    lines = write_export([], [])
    checked = check_export([lines[0], *[b"x\n"] * (MOST_FAULTS + 5), lines[-1]], VERIFY)
    assert (checked.fault_count, len(checked.faults)) == (MOST_FAULTS + 5, MOST_FAULTS)


def test_what_another_key_signed_does_not_count() -> None:
    checked = check_export(LINES, lambda kid, *_: kid != KEYS.newest.kid)
    assert [(fault.code, fault.position) for fault in checked.faults] == [("head_forged", None)]
    assert checked.signed_until == 0
