"""The mix of requests that the edge is measured with."""

import json
from collections import Counter
from itertools import pairwise

from scripts.benchmarks import contexts
from scripts.benchmarks.contexts import ask_claim, ask_overlay, list_contexts, make_manifest, tell_stock
from shared.catalogue.manifest import Manifest, read_manifest
from tests.samples import NOW_MS, encode


def test_there_are_ten_thousand_and_no_two_are_alike() -> None:
    asked = [ask_overlay(context) for context in list_contexts()]
    assert len(set(asked)) == len(asked) == 10_000


def test_every_value_of_each_dimension_is_asked_for_equally_often() -> None:
    listed = list(list_contexts())
    for name, values in (
        ("clip", contexts.list_clips()),
        ("accept_language", contexts.LANGUAGES),
        ("locale", contexts.WISHES),
        ("currency", contexts.CURRENCIES),
    ):
        counts = Counter(getattr(context, name) for context in listed)
        assert counts == dict.fromkeys(values, 10_000 // len(values))


def test_one_of_eight_asks_for_a_document() -> None:
    assert sum("text/html" in ask_overlay(context) for context in list_contexts()) == 1250


def test_neighbours_ask_for_different_clips() -> None:
    clips = [context.clip for context in list_contexts(100)]
    assert all(first != second for first, second in pairwise(clips))


def test_a_tap_is_made_where_something_is_left_and_has_room_for_a_number_of_its_own() -> None:
    taps = [asked for context in list_contexts() if (asked := ask_claim(context))]
    assert len(taps) == 8000
    for tap in taps:
        head, _, body = tap.partition("\r\n\r\n")
        assert f"content-length: {len(body.encode())}" in head
        assert tap.count(contexts.TAP) == 1
        assert json.loads(body)["viewer"].startswith(contexts.TAP)


def test_every_clip_has_a_manifest_and_stock_in_its_state() -> None:
    for clip in contexts.list_clips():
        manifest = read_manifest(encode(make_manifest(clip, NOW_MS)), clip)
        assert isinstance(manifest, Manifest)
        told = [tell_stock(offer.terms.drop, NOW_MS) for offer in manifest.offers]
        assert all((snapshot is None) == clip.startswith("unknown") for snapshot in told)
