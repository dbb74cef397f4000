"""Base64url has one form for each value, and framed hashes tell lists of fields apart."""

import hashlib

import pytest

from shared.encoding import decode_base64url, digest_fields, encode_base64url


@pytest.mark.parametrize(
    ("raw", "text"),
    [(b"", ""), (b"f", "Zg"), (b"fo", "Zm8"), (b"foo", "Zm9v"), (b"\xfb\xff\xfe", "-__-"), (bytes(3), "AAAA")],
)
def test_bytes_have_one_form_without_padding(raw: bytes, text: str) -> None:
    assert encode_base64url(raw) == text
    assert decode_base64url(text) == raw
    assert decode_base64url(text.encode()) == raw


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("Zg==", id="padded"),
        pytest.param("Zh", id="bits beyond the last byte"),
        pytest.param("Zm9", id="bits beyond the second byte"),
        pytest.param("A", id="impossible length"),
        pytest.param("-_+/", id="the other alphabet"),
        pytest.param("Zm 9v", id="space"),
        pytest.param("Zm9v\n", id="newline"),
        pytest.param("Zm9v=", id="too much padding"),
        pytest.param("Zm9é", id="not ASCII"),
        pytest.param("Zm9\ud800", id="lone surrogate"),
        pytest.param(b"Zm9\xff", id="bytes that are no text"),
    ],
)
def test_any_other_form_is_refused(text: str | bytes) -> None:
    assert decode_base64url(text) is None


def test_where_a_field_ends_is_part_of_what_is_hashed() -> None:
    digests = {
        digest_fields(domain, fields)
        for domain, fields in [
            ("d", ("ab", "c")),
            ("d", ("a", "bc")),
            ("d", ("abc",)),
            ("d", ("abc", "")),
            ("d", ("", "abc")),
            ("da", ("bc",)),
            ("d", ()),
            ("d", ("a\x00\x00\x00\x01b", "c")),
        ]
    }
    assert len(digests) == 8


def test_a_digest_is_over_lengths_and_fields() -> None:
    framed = b"\x00\x00\x00\x08cliptill\x00\x00\x00\x02\xc3\xa4\x00\x00\x00\x00"
    assert digest_fields("cliptill", ("ä", "")) == hashlib.sha256(framed).digest()
