"""Bodies of strangers: one value or one problem, whatever the bytes are."""

from typing import Annotated, Any

import msgspec
import pytest

from shared.problems import Code, Problem
from shared.structs import Strict, Wire
from shared.wire import MAX_DEPTH, decode_body, nests_deeply, only_names


class Inner(Strict, frozen=True, kw_only=True):
    number: int = 0


class Body(Strict, frozen=True, kw_only=True):
    name: Annotated[str, msgspec.Meta(max_length=5)] = ""
    inner: tuple[Inner, ...] = ()


class Lenient(Wire, frozen=True, kw_only=True):
    name: str = ""


def decode(raw: bytes, kind: Any = Body, max_bytes: int = 100_000) -> Any:
    return decode_body(raw, msgspec.json.Decoder(kind), max_bytes)


def test_a_good_body_is_its_value() -> None:
    assert decode(b' {"name":"a","inner":[{"number":1},{"number":2}]} ') == Body(
        name="a", inner=(Inner(number=1), Inner(number=2))
    )


@pytest.mark.parametrize("kind", [Body, Lenient])
@pytest.mark.parametrize(
    ("raw", "code"),
    [
        pytest.param(b"", Code.MALFORMED_JSON, id="nothing"),
        pytest.param(b"{", Code.MALFORMED_JSON, id="half"),
        pytest.param(b'{"name":"a"}x', Code.MALFORMED_JSON, id="something after it"),
        pytest.param(b"\xef\xbb\xbf{}", Code.MALFORMED_JSON, id="byte order mark"),
        pytest.param("{}".encode("utf-16"), Code.MALFORMED_JSON, id="utf-16"),
        pytest.param(b'{"name":"\xff"}', Code.MALFORMED_JSON, id="invalid utf-8"),
        pytest.param(b'{"name":"\\ud800"}', Code.MALFORMED_JSON, id="lone surrogate"),
        pytest.param(b'{"name":NaN}', Code.MALFORMED_JSON, id="not a number"),
        pytest.param(b'{"name":"a","name":"a"}', Code.DUPLICATE_KEY, id="a key twice"),
        pytest.param(b'{"name":"a","n\\u0061me":"b"}', Code.DUPLICATE_KEY, id="a key twice, escaped"),
        pytest.param(b'{"name":1}', Code.INVALID_FIELD, id="wrong type"),
        pytest.param(b"[]", Code.INVALID_FIELD, id="no object"),
    ],
)
def test_a_bad_body_has_one_code(kind: Any, raw: bytes, code: Code) -> None:
    problem = decode(raw, kind)
    assert isinstance(problem, Problem)
    assert problem.code == code


@pytest.mark.parametrize(
    ("raw", "detail"),
    [
        pytest.param(b'{"name":"123456"}', "At $.name.", id="field"),
        pytest.param(b'{"inner":[{},{"number":"x"}]}', "At $.inner[1].number.", id="nested"),
        pytest.param(b"1", "At $.", id="the whole"),
        pytest.param(b'{"secret":1}', "In $.", id="unknown"),
        pytest.param(b'{"inner":[{"secret":1}]}', "In $.inner[0].", id="unknown, nested"),
        pytest.param(b'{"a` - at `$.<b>":1}', "In $.", id="a name made to look like a path"),
    ],
)
def test_a_problem_says_where_and_repeats_nothing(raw: bytes, detail: str) -> None:
    problem = decode(raw)
    assert isinstance(problem, Problem)
    assert problem.detail == detail


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        pytest.param(b'{"x":{"y":1,"y":2}}', Code.DUPLICATE_KEY, id="a key twice"),
        pytest.param(b'{"x":"\xff"}', Code.MALFORMED_JSON, id="invalid utf-8"),
        pytest.param(b'{"x":' + b"9" * 5000 + b"}", Code.MALFORMED_JSON, id="endless number"),
        pytest.param(b'{"x":' + b"[" * 50_000, Code.MALFORMED_JSON, id="endlessly nested"),
        pytest.param(b'{"x":' + b"[" * 40_000 + b"]" * 40_000 + b"}", Code.MALFORMED_JSON, id="deeply nested"),
    ],
)
def test_what_is_skipped_is_looked_at_too(raw: bytes, code: Code) -> None:
    problem = decode(raw, Lenient)
    assert isinstance(problem, Problem)
    assert problem.code == code


def test_sizes_come_before_everything() -> None:
    problem = decode(b"{" * 11, max_bytes=10)
    assert isinstance(problem, Problem)
    assert (problem.code, problem.detail) == (Code.BODY_TOO_LARGE, "At most 10 bytes are read.")
    assert decode(b"{}" + b" " * 8, max_bytes=10) == Body()


@pytest.mark.parametrize(
    ("raw", "deep"),
    [
        pytest.param(b"", False, id="nothing"),
        pytest.param(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, False, id="as deep as may be"),
        pytest.param(b"[" * (MAX_DEPTH + 1), True, id="one deeper"),
        pytest.param(b'{"a":' * (MAX_DEPTH + 1), True, id="objects"),
        pytest.param(b"[" + b"{}," * 1000 + b"{}]", False, id="wide"),
        pytest.param(b'["' + b"[{" * 1000 + b'"]', False, id="brackets in a text"),
        pytest.param(b'["\\"' + b"[" * 1000 + b'"]', False, id="after an escaped quote"),
        pytest.param(b'["\\\\",' + b"[" * 1000, True, id="after an escaped backslash"),
    ],
)
def test_depth_is_that_of_brackets_outside_of_texts(raw: bytes, *, deep: bool) -> None:
    assert nests_deeply(raw) is deep


class Flat(Strict, frozen=True, kw_only=True):
    name: str = ""
    number: int | None = None


PIECES = (
    *(b'"name":"a"', b'"name":"name"', b'"name" : "b"', b'"n\\u0061me":"c"', b'"name":"\\"name\\""', b'"name":"{"'),
    *(b'"number":1', b'"number":null', b'"other":1'),
)


@pytest.mark.parametrize("first", PIECES)
@pytest.mark.parametrize("second", PIECES)
@pytest.mark.parametrize("third", [b"", *PIECES])
def test_the_quick_look_at_a_flat_body_sees_what_the_second_parser_sees(
    first: bytes, second: bytes, third: bytes
) -> None:
    raw = b"{" + b",".join(filter(None, (first, second, third))) + b"}"
    decoder = msgspec.json.Decoder(Flat)
    assert decode_body(raw, decoder, 1000, only_names(Flat)) == decode_body(raw, decoder, 1000)


def test_the_quick_look_is_only_for_types_that_take_no_other_names() -> None:
    with pytest.raises(TypeError, match="Lenient"):
        only_names(Lenient)
