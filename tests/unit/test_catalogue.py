"""The catalogue: what is refused, so that what is stored can be published."""

from typing import Any

import msgspec
import pytest

from shared.catalogue.drops import DropStanding, check_drop
from shared.catalogue.entries import (
    ClipBody,
    CreatorBody,
    DropBody,
    OfferBody,
    build_manifest,
    check_clip,
    check_creator,
    check_offer,
    says_the_same,
)
from shared.catalogue.manifest import encode_manifest, read_manifest
from shared.problems import Code
from tests.samples import NOW_MS, encode

CREATOR: dict[str, Any] = {"creator": "mika", "name": "Mika"}
DROP: dict[str, Any] = {
    "drop": "mug-1",
    "run": "r1",
    "sku": "mug",
    "total": 10,
    "opens_at_ms": NOW_MS,
    "closes_at_ms": NOW_MS + 1,
}
OFFER: dict[str, Any] = {
    "offer": "mug",
    "drop": "mug-1",
    "kind": "product",
    "names": {"en": "Mug", "de": "Becher"},
    "descriptions": {"en": "Stoneware"},
    "image": "https://example.com/mug.webp",
    "prices": [{"currency": "EUR", "amount_minor": 1900}],
    "payment": "at_pickup",
}
LINK: dict[str, Any] = {"rel": "terms", "href": "https://example.com/terms", "names": {"en": "Terms"}}
CLIP: dict[str, Any] = {
    "clip": "kiln",
    "creator": "mika",
    "names": {"en": "Kiln"},
    "default_locale": "en",
    "offers": ["mug"],
    "links": [LINK],
}


def offer(**changes: Any) -> OfferBody:
    return msgspec.json.decode(encode({**OFFER, **changes}), type=OfferBody)


def drop(**changes: Any) -> DropBody:
    return msgspec.json.decode(encode({**DROP, **changes}), type=DropBody)


def clip(**changes: Any) -> ClipBody:
    return msgspec.json.decode(encode({**CLIP, **changes}), type=ClipBody)


def test_good_documents_make_a_manifest_that_reads_back() -> None:
    assert check_creator(msgspec.convert(CREATOR, CreatorBody)) is None
    assert check_drop(drop(), None, 0) is None
    assert check_offer(offer()) is None
    assert check_clip(clip(), {"mug": offer()}, {"mug-1": drop()}) is None
    manifest = build_manifest(clip(), {"mug": offer()}, {"mug-1": drop()}, version=3, published_at_ms=NOW_MS)
    assert read_manifest(encode_manifest(manifest), "kiln") == manifest
    assert manifest.offers[0].terms.drop == "mug-1"


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"names": {"en": "a\x00b"}}, id="control-character"),
        pytest.param({"names": {"en": "a\nb"}}, id="line-break"),
        pytest.param({"names": {"en": "abc\u202edcba"}}, id="reordered-text"),
        pytest.param({"names": {"en": "  "}}, id="blank"),
        pytest.param({"names": {"en": "a", "EN": "b"}}, id="locale-twice"),
        pytest.param({"descriptions": {"en": "a\x7f"}}, id="control-in-description"),
        pytest.param({"image": "http://example.com/a.webp"}, id="plain-http"),
        pytest.param({"image": "https://user@example.com/a.webp"}, id="credentials-in-address"),
        pytest.param({"prices": [{"currency": "XXX", "amount_minor": 1}]}, id="no-currency"),
        pytest.param({"prices": [{"currency": "DEM", "amount_minor": 1}]}, id="currency-of-the-past"),
        pytest.param({"prices": [{"currency": "EUR", "amount_minor": 1}] * 2}, id="currency-twice"),
        pytest.param(
            {"prices": [{"currency": "EUR", "amount_minor": 0}, {"currency": "USD", "amount_minor": 1}]},
            id="free-and-not",
        ),
        pytest.param({"prices": [{"currency": "EUR", "amount_minor": 0}]}, id="free-and-to-be-paid"),
        pytest.param({"payment": "none"}, id="priced-and-not-to-be-paid"),
    ],
)
def test_an_offer_that_could_not_be_shown_is_refused(changes: dict[str, Any]) -> None:
    problem = check_offer(offer(**changes))
    assert problem is not None
    assert problem.code is Code.INVALID_FIELD


@pytest.mark.parametrize("address", ["http://localhost:8787/a.webp", "http://127.0.0.1/a", "https://example.com"])
def test_a_picture_may_be_on_the_web_or_on_the_developers_machine(address: str) -> None:
    assert check_offer(offer(image=address)) is None


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"closes_at_ms": NOW_MS}, id="window-without-length"),
        pytest.param({"max_quantity": 2}, id="more-in-a-claim-than-the-cap"),
    ],
)
def test_a_drop_that_could_not_be_claimed_is_refused(changes: dict[str, Any]) -> None:
    problem = check_drop(drop(**changes), None, 0)
    assert problem is not None
    assert problem.code is Code.INVALID_FIELD


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        pytest.param({"total": 6}, Code.TOTAL_BELOW_TAKEN, id="below-what-is-taken"),
        pytest.param({"total": 7}, None, id="exactly-what-is-taken"),
        pytest.param({"total": 11}, None, id="raised"),
        pytest.param({"run": "r2"}, Code.REVISION_CONFLICT, id="another-run"),
        pytest.param({"sku": "cup"}, Code.REVISION_CONFLICT, id="another-sku"),
    ],
)
def test_what_was_promised_of_a_drop_stays(changes: dict[str, Any], code: Code | None) -> None:
    problem = check_drop(drop(**changes), DropStanding(run="r1", sku="mug", taken=7), 0)
    assert (problem.code if problem else None) is code


WINDOW = {"zone": "Europe/Berlin", "opens": "2026-10-24T10:00", "closes": "2026-10-24T12:00"}


@pytest.mark.parametrize(
    ("pickup", "code"),
    [
        pytest.param({**WINDOW, "place": "kiln", "closes": "2026-10-24T14:00"}, None, id="another-window"),
        pytest.param({**WINDOW, "place": "harbour"}, Code.REVISION_CONFLICT, id="another-place"),
        pytest.param(None, Code.REVISION_CONFLICT, id="no-place"),
    ],
)
def test_the_place_of_passes_that_were_given_stays(pickup: dict[str, Any] | None, code: Code | None) -> None:
    problem = check_drop(drop(pickup=pickup), DropStanding(run="r1", sku="mug", taken=7, place="kiln"), 0)
    assert (problem.code if problem else None) is code
    assert check_drop(drop(pickup=pickup), DropStanding(run="r1", sku="mug", taken=0), 0) is None


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        pytest.param({"offers": ["mug", "mug"]}, Code.INVALID_FIELD, id="offer-twice"),
        pytest.param({"offers": ["cup"]}, Code.OFFER_UNKNOWN, id="offer-unknown"),
        pytest.param({"default_locale": "fr"}, Code.REVISION_CONFLICT, id="offer-without-the-locale"),
        pytest.param({"names": {"de": "Ofen"}}, Code.INVALID_FIELD, id="clip-without-the-locale"),
        pytest.param({"links": [{**LINK, "names": {"de": "AGB"}}]}, Code.INVALID_FIELD, id="link-without-the-locale"),
        pytest.param({"links": [{**LINK, "href": "http://example.com"}]}, Code.INVALID_FIELD, id="link-plain-http"),
    ],
)
def test_a_clip_that_could_not_be_published_is_refused(changes: dict[str, Any], code: Code) -> None:
    problem = check_clip(clip(**changes), {"mug": offer()}, {"mug-1": drop()})
    assert problem is not None
    assert problem.code is code


def test_a_manifest_that_is_too_large_is_refused() -> None:
    words = {f"x{chr(97 + first)}{chr(97 + second)}": "w" * 600 for first in range(2) for second in range(20)}
    names = {"en": "Mug", **dict.fromkeys(list(words)[:39], "w" * 120)}
    offers = {
        f"o{number}": offer(offer=f"o{number}", names=names, descriptions={"en": "x", **dict(list(words.items())[:39])})
        for number in range(24)
    }
    problem = check_clip(clip(offers=list(offers)), offers, {"mug-1": drop()})
    assert problem is not None
    assert "larger" in problem.detail


def test_only_version_and_time_may_differ_between_manifests_that_say_the_same() -> None:
    parts: Any = ({"mug": offer()}, {"mug-1": drop()})
    first = build_manifest(clip(), *parts, version=1, published_at_ms=1)
    assert says_the_same(first, build_manifest(clip(), *parts, version=2, published_at_ms=9))
    assert not says_the_same(first, build_manifest(clip(claim_ttl_s=60), *parts, version=1, published_at_ms=1))
