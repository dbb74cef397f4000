"""Taps as browsers write them are read in a way of their own: it never reads what the decoder would read otherwise."""

import json
from typing import Any

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from edge.claiming import MAX_BODY_BYTES, ClaimRequest, read_usual
from shared.problems import Problem
from shared.wire import decode_body, only_names

DECODER = msgspec.json.Decoder(ClaimRequest)
NAMES = only_names(ClaimRequest)
USUAL = {"clip": "clip-1", "offer": "o", "viewer": "v" * 43, "idempotency_key": "k" * 22}


def decode(body: bytes) -> ClaimRequest | Problem:
    return decode_body(body, DECODER, MAX_BODY_BYTES, NAMES)


texts = st.one_of(
    st.from_regex(r"[a-z0-9][a-z0-9-]{0,64}", fullmatch=True),
    st.from_regex(r"[A-Za-z0-9_-]{21,65}", fullmatch=True),
    st.from_regex(r"[A-Z]{2,4}", fullmatch=True),
    st.text(max_size=5),
    st.sampled_from(["v" * 43, "k" * 22, 'a","offer":"b', "é" * 43, "clip-1\n", "\\u0061"]),
)
values = st.one_of(texts, st.integers(-1, 102), st.none(), st.booleans(), st.floats(0, 3))
changes = st.dictionaries(st.sampled_from([*USUAL, "quantity", "currency", "more"]), values, max_size=3)


@given(changes=changes, left_out=st.sets(st.sampled_from(list(USUAL)), max_size=1), compact=st.booleans())
@example(changes={}, left_out=set(), compact=True)
@example(changes={"quantity": 100, "currency": "EUR"}, left_out=set(), compact=True)
def test_what_is_read_at_once_is_what_the_decoder_reads(
    changes: dict[str, Any], left_out: set[str], *, compact: bool
) -> None:
    said = {name: value for name, value in {**USUAL, **changes}.items() if name not in left_out}
    body = json.dumps(said, separators=(",", ":") if compact else None, ensure_ascii=compact).encode()
    read = read_usual(body)
    assert read is None or read == decode(body)


@given(body=st.binary(max_size=40), at=st.integers(0, 200))
def test_no_byte_that_is_put_in_is_read_over(body: bytes, at: int) -> None:
    usual = json.dumps(USUAL, separators=(",", ":")).encode()
    changed = usual[:at] + body + usual[at:]
    read = read_usual(changed)
    assert read is None or read == decode(changed)


def test_what_the_component_sends_is_read_at_once() -> None:
    options: list[dict[str, Any]] = [{}, {"currency": "EUR"}, {"quantity": 7}, {"quantity": 100, "currency": "JPY"}]
    for more in options:
        said: dict[str, Any] = {**USUAL, **more}
        body = json.dumps(said, separators=(",", ":")).encode()
        assert read_usual(body) == ClaimRequest(**said) == decode(body)
