"""Manifests: what is published can be read, what is not one is refused with a closed reason."""

from typing import Any

import msgspec
import pytest

from shared.catalogue.manifest import Manifest, ManifestFault, encode_manifest, find_offer, manifest_key, read_manifest
from tests.samples import encode, make_manifest, manifest_document, offer_document, terms_document


def read(document: Any, clip: str = "clip-1") -> Manifest | ManifestFault:
    return read_manifest(document if isinstance(document, bytes | str) else encode(document), clip)


def test_a_published_manifest_is_read_as_it_was() -> None:
    manifest = make_manifest()
    assert read(encode_manifest(manifest)) == read(encode_manifest(manifest).decode()) == manifest


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        pytest.param(b"", "not_json", id="nothing"),
        pytest.param("{", "not_json", id="half"),
        pytest.param(b'{"schema":1,"clip":"\xff"}', "not_json", id="invalid utf-8"),
        pytest.param(b"[]", "not_a_manifest", id="a list"),
        pytest.param({}, "not_a_manifest", id="no schema"),
        pytest.param({"schema": "1"}, "not_a_manifest", id="schema as text"),
        pytest.param({"schema": 2}, "other_schema", id="newer"),
        pytest.param({"schema": 0}, "other_schema", id="older"),
        pytest.param({"schema": 1}, "not_a_manifest", id="nothing but a schema"),
        pytest.param(manifest_document(clip="clip-2"), "other_clip", id="another clip's"),
        pytest.param(
            manifest_document(offers=[offer_document(prices=[{"currency": "XXX", "amount_minor": 1}])]),
            "unknown_currency",
            id="a currency without digits",
        ),
    ],
)
def test_what_is_not_a_manifest_for_us_has_a_reason(document: Any, reason: str) -> None:
    assert read(document) == ManifestFault(reason=reason)  # type: ignore[arg-type]


@pytest.mark.parametrize("end", [b"", b"]" * 100_000 + b"}"], ids=["half", "whole"])
def test_a_document_that_nests_endlessly_is_no_manifest(end: bytes) -> None:
    assert isinstance(read(b'{"schema":1,"x":' + b"[" * 100_000 + end), ManifestFault)


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(manifest_document(version=0), id="version"),
        pytest.param(manifest_document(names={}), id="no name"),
        pytest.param(manifest_document(names={"": "x"}), id="locale"),
        pytest.param(manifest_document(names={"en": "x" * 121}), id="name too long"),
        pytest.param(manifest_document(claim_ttl_s=9), id="claims too short"),
        pytest.param(manifest_document(claim_ttl_s=3601), id="claims too long"),
        pytest.param(manifest_document(offers=[offer_document()] * 25), id="too many offers"),
        pytest.param(manifest_document(offers=[offer_document(prices=[])]), id="no price"),
        pytest.param(manifest_document(offers=[offer_document(kind="animal")]), id="kind"),
        pytest.param(manifest_document(offers=[offer_document(image="javascript:alert(1)")]), id="image"),
        pytest.param(
            manifest_document(offers=[offer_document(image="https://a/\"onload='x'")]), id="image with quotes"
        ),
        pytest.param(manifest_document(offers=[offer_document(image="https://a/b\n")]), id="image with newline"),
        pytest.param(manifest_document(offers=[offer_document(terms=terms_document(mode="queue"))]), id="mode"),
        pytest.param(manifest_document(offers=[offer_document(terms=terms_document(drop="A"))]), id="drop"),
        pytest.param(manifest_document(offers=[offer_document(terms=terms_document(max_quantity=0))]), id="quantity"),
        pytest.param(
            manifest_document(links=[{"rel": "terms", "href": "/terms", "names": {"en": "Terms"}}]), id="relative link"
        ),
        pytest.param(
            manifest_document(
                links=[{"rel": "terms", "href": "https://a", "names": {"en": "Terms"}, "regions": ["de"]}]
            ),
            id="region",
        ),
    ],
)
def test_limits_are_those_of_the_fields(document: Any) -> None:
    assert read(document) == ManifestFault(reason="not_a_manifest")


def test_fields_that_are_not_known_yet_pass() -> None:
    document = manifest_document(later=1, offers=[offer_document(later=2, terms=terms_document(later=3))])
    assert read(document) == make_manifest()


def test_an_offer_is_found_by_its_name() -> None:
    manifest = make_manifest(offers=[offer_document(), offer_document(offer="offer-2")])
    assert find_offer(manifest, "offer-2") == manifest.offers[1]
    assert find_offer(manifest, "offer-3") is None


def test_a_clips_key_in_the_store_is_its_own() -> None:
    assert manifest_key("clip-1") == "manifest/clip-1"


def test_a_manifest_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        make_manifest().version = 2  # type: ignore[misc]
    assert msgspec.structs.replace(make_manifest(), version=2).version == 2
