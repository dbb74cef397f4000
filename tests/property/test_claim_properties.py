"""Claims, whatever they say: what is signed is read back, and nothing that was changed is."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shared.claims.keys import make_claim_key
from shared.claims.tokens import Claim, ClaimFault, fingerprint_claim, read_claim, sign_claim, verify_claim
from shared.encoding import decode_base64url, digest_fields, encode_base64url
from tests.samples import NEW_KEY, OLD_KEY, make_claim

identifiers = st.from_regex(r"[a-z0-9][a-z0-9-]{0,62}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
amounts = st.integers(0, 10**12)
lines = st.lists(
    st.fixed_dictionaries(
        {"sku": st.sampled_from(["a", "b", "c"]), "quantity": st.integers(1, 100), "unit_minor": amounts}
    ),
    min_size=1,
    max_size=5,
)
instants = st.integers(0, 2**41)
documents = st.fixed_dictionaries(
    {
        "jti": st.binary(min_size=16, max_size=16).map(encode_base64url),
        "cnf": st.binary(min_size=32, max_size=32).map(lambda raw: {"jkt": encode_base64url(raw)}),
        "iat": instants,
        "nbf": instants,
        "exp": instants,
        "drop": identifiers,
        "lines": lines,
        "currency": st.from_regex(r"[A-Z]{3}", fullmatch=True),
    },
    optional={"iss": texts, "arm": texts, "colo": texts, "stock_version": st.integers(0, 2**53)},
)


@given(documents)
def test_what_is_signed_is_read_back(document: dict[str, Any]) -> None:
    claim = make_claim(**document)
    assert read_claim(sign_claim(claim, NEW_KEY), [OLD_KEY, NEW_KEY]) == claim


@given(documents, st.integers(0), st.integers(1, 127))
def test_one_changed_byte_is_refused(document: dict[str, Any], position: int, change: int) -> None:
    token = bytearray(sign_claim(make_claim(**document), NEW_KEY).encode())
    token[position % len(token)] ^= change
    assert isinstance(read_claim(token.decode("latin-1"), [NEW_KEY]), ClaimFault)


@given(documents, st.integers(0), st.integers(0))
def test_a_part_of_a_token_is_refused(document: dict[str, Any], start: int, length: int) -> None:
    token = sign_claim(make_claim(**document), NEW_KEY)
    first = start % len(token)
    part = token[first : first + length % len(token)]
    assert isinstance(read_claim(part, [NEW_KEY]), ClaimFault)


@given(documents, documents)
def test_parts_of_two_tokens_make_none(one: dict[str, Any], other: dict[str, Any]) -> None:
    header, payload, signature = sign_claim(make_claim(**one), NEW_KEY).split(".")
    _, other_payload, other_signature = sign_claim(make_claim(**other), NEW_KEY).split(".")
    if payload != other_payload:
        assert isinstance(read_claim(f"{header}.{other_payload}.{signature}", [NEW_KEY]), ClaimFault)
        assert isinstance(read_claim(f"{header}.{payload}.{other_signature}", [NEW_KEY]), ClaimFault)


@given(st.text(max_size=300))
def test_no_text_raises(text: str) -> None:
    assert isinstance(read_claim(text, [NEW_KEY]), ClaimFault)
    assert isinstance(read_claim(f"{NEW_KEY.header}.{text}", [NEW_KEY]), ClaimFault)


@given(st.binary(min_size=32, max_size=64).filter(lambda secret: secret != NEW_KEY.secret), documents)
def test_another_secret_is_refused(secret: bytes, document: dict[str, Any]) -> None:
    token = sign_claim(make_claim(**document), make_claim_key(NEW_KEY.kid, secret))
    assert isinstance(read_claim(token, [NEW_KEY]), ClaimFault)


@given(documents, st.integers(-10, 2**41 + 10))
def test_a_claim_counts_at_no_instant_outside_its_validity(document: dict[str, Any], now_s: int) -> None:
    claim = make_claim(**document)
    verified = verify_claim(sign_claim(claim, NEW_KEY), [NEW_KEY], issuer=claim.iss, audience=claim.aud, now_s=now_s)
    assert isinstance(verified, Claim) is (claim.nbf - 5 <= now_s < claim.exp)


@given(documents, st.randoms(use_true_random=False))
def test_a_fingerprint_does_not_depend_on_how_units_are_spread_over_lines(document: dict[str, Any], rnd: Any) -> None:
    single = [{**line, "quantity": 1} for line in document["lines"] for _ in range(line["quantity"])][:20]
    rnd.shuffle(single)
    totals: dict[str, int] = {}
    for line in single:
        totals[line["sku"]] = totals.get(line["sku"], 0) + 1
    joined = [{"sku": sku, "quantity": quantity, "unit_minor": 0} for sku, quantity in totals.items()]
    one, other = make_claim(**{**document, "lines": single}), make_claim(**{**document, "lines": joined})
    assert fingerprint_claim(one) == fingerprint_claim(other)


@given(st.binary(max_size=100))
def test_base64url_round_trips(raw: bytes) -> None:
    assert decode_base64url(encode_base64url(raw)) == raw


@given(st.text(max_size=30) | st.binary(max_size=30))
def test_what_decodes_is_the_one_encoding(text: str | bytes) -> None:
    raw = decode_base64url(text)
    assert raw is None or encode_base64url(raw) == (text if isinstance(text, str) else text.decode())


@given(st.lists(texts, max_size=4), st.lists(texts, max_size=4))
def test_different_fields_have_different_digests(one: list[str], other: list[str]) -> None:
    assert (digest_fields("d", one) == digest_fields("d", other)) is (one == other)
