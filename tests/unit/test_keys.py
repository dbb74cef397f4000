"""Claim keys: a list, newest first, that is refused whole when any of it is wrong."""

import json

import pytest

from shared.claims.keys import make_claim_key, parse_claim_keys
from shared.encoding import decode_base64url, encode_base64url
from shared.errors import ConfigurationError

SECRET = encode_base64url(b"s" * 32)
OTHER = encode_base64url(b"o" * 40)


def test_keys_are_read_in_order_newest_first() -> None:
    newest, oldest = parse_claim_keys(f"k2:{SECRET}, k1:{OTHER}")
    assert (newest.kid, newest.secret) == ("k2", b"s" * 32)
    assert (oldest.kid, oldest.secret) == ("k1", b"o" * 40)


def test_a_header_names_algorithm_key_and_type() -> None:
    key = make_claim_key("k.2_a-b", b"s" * 32)
    raw = decode_base64url(key.header)
    assert raw is not None
    assert json.loads(raw) == {"alg": "HS256", "kid": "k.2_a-b", "typ": "claim+jwt"}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param(SECRET, id="no name"),
        pytest.param(f":{SECRET}", id="empty name"),
        pytest.param("k1:", id="empty key"),
        pytest.param(f"k1:{encode_base64url(b's' * 31)}", id="31 bytes"),
        pytest.param(f"k1:{SECRET}=", id="padding"),
        pytest.param(f"k1:{SECRET}!", id="not base64url"),
        pytest.param(f'k"1:{SECRET}', id="a quote in the name"),
        pytest.param(f"k\n1:{SECRET}", id="a newline in the name"),
        pytest.param(f"{'k' * 33}:{SECRET}", id="a name too long"),
        pytest.param(f"ké:{SECRET}", id="a name that is not ASCII"),
        pytest.param(f"k1:{SECRET},", id="trailing comma"),
        pytest.param(f"k1:{SECRET},k1:{OTHER}", id="a name twice"),
    ],
)
def test_a_list_that_is_not_right_is_refused_without_telling_it(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_claim_keys(text)
    assert SECRET[:8] not in str(caught.value)
    assert OTHER[:8] not in str(caught.value)
