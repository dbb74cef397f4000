"""Settings and secrets: what is missing or wrong is named, never told; secrets are made once."""

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc.jwk import ECKey, OKPKey

from origin.config import read_config
from origin.datafolder import keep_secret, locate_data_folder, make_claim_key_list
from origin.settlement.receipts import make_signing_key_set, parse_signing_keys
from shared.claims.keys import parse_claim_keys
from shared.encoding import encode_base64url
from shared.errors import ConfigurationError

GOOD = {
    "CLIPTILL_PUBLIC_URL": "https://origin.example/",
    "CLIPTILL_EDGE_URL": "https://edge.example",
    "CLIPTILL_PROVIDER_URL": "https://provider.example",
    "CLIPTILL_PROVIDER_ACCOUNT": "account",
    "CLIPTILL_PROVIDER_TOKEN": "token-of-the-provider",
    "CLIPTILL_KV_NAMESPACE": "manifests",
    "CLIPTILL_QUEUE": "events",
}
KEY = OKPKey.generate_key("Ed25519")
PRIVATE = KEY.as_dict(private=True)


def environment(folder: Path, **changes: str) -> dict[str, str]:
    return {**GOOD, "CLIPTILL_DATA": str(folder), **changes}


def test_defaults_suit_one_machine(tmp_path: Path) -> None:
    config = read_config(environment(tmp_path, CLIPTILL_PUBLIC_URL="http://127.0.0.1:9000"))
    assert (config.host, config.port, config.issuer) == ("127.0.0.1", 9000, "cliptill-edge")
    assert read_config(environment(tmp_path)).public_url == "https://origin.example"


def test_all_that_is_missing_is_named_at_once() -> None:
    with pytest.raises(ConfigurationError) as told:
        read_config({})
    assert all(name in str(told.value) for name in GOOD)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CLIPTILL_PUBLIC_URL", "origin.example"),
        ("CLIPTILL_PUBLIC_URL", "ftp://origin.example"),
        ("CLIPTILL_PUBLIC_URL", "https://origin.example/?a=b"),
        ("CLIPTILL_PUBLIC_URL", "https://origin.example:99999"),
        ("CLIPTILL_EDGE_URL", "//edge.example"),
        ("CLIPTILL_LISTEN", "8080"),
        ("CLIPTILL_LISTEN", "127.0.0.1:0"),
        ("CLIPTILL_LISTEN", "127.0.0.1:65536"),
        ("CLIPTILL_PARTNERS", "everywhere"),
        ("CLIPTILL_INTAKE_INTERVAL_MS", "0"),
        ("CLIPTILL_INTAKE_INTERVAL_MS", "soon"),
        ("CLIPTILL_RECONCILE_INTERVAL_S", "-1"),
        ("CLIPTILL_RECONCILE_INTERVAL_S", "86401"),
        ("CLIPTILL_EVENT_RETENTION_DAYS", "0"),
        ("CLIPTILL_EVENT_RETENTION_DAYS", "always"),
        ("CLIPTILL_CLAIM_KEYS", "secret-that-is-no-key"),
        ("CLIPTILL_SIGNING_KEY", "secret-that-is-no-key"),
    ],
)
def test_wrong_setting_is_refused_and_its_value_not_told(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(ConfigurationError) as told:
        read_config(environment(tmp_path, **{name: value}))
    assert value not in str(told.value).split()
    assert "secret" not in str(told.value)


def test_secrets_that_are_missing_are_made_once_for_their_owner_alone(tmp_path: Path) -> None:
    first, second = read_config(environment(tmp_path)), read_config(environment(tmp_path))
    assert first.claim_keys == second.claim_keys
    assert first.signing_keys.key_set == second.signing_keys.key_set
    kept = sorted((tmp_path / "secrets").iterdir())
    assert [file.name for file in kept] == ["claim_keys", "signing_key"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in kept} == {0o600}


def test_starts_at_once_agree_on_a_secret(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        kept = list(pool.map(lambda _: keep_secret(tmp_path, "claim_keys", make_claim_key_list), range(64)))
    assert len(set(kept)) == 1
    assert [file.name for file in (tmp_path / "secrets").iterdir()] == ["claim_keys"]


def test_secret_that_cannot_be_kept_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "secrets").write_text("a file where the folder should be")
    with pytest.raises(ConfigurationError, match="cannot be kept"):
        keep_secret(tmp_path, "claim_keys", make_claim_key_list)


def test_data_folder_is_the_one_that_is_named_or_the_projects() -> None:
    assert locate_data_folder({"CLIPTILL_DATA": "/data"}) == Path("/data")
    assert locate_data_folder({}).name == ".cliptill"


def test_made_secrets_can_be_read() -> None:
    assert len(parse_claim_keys(make_claim_key_list())) == 1
    assert parse_signing_keys(make_signing_key_set()).newest.kid.startswith("r-")


@pytest.mark.parametrize(
    "text",
    [
        KEY.as_pem(private=True).decode(),
        KEY.as_pem(private=True).decode().replace("\n", "\\n"),
        json.dumps(PRIVATE),
        json.dumps({"keys": [PRIVATE]}),
    ],
    ids=["PEM", "PEM in one line", "JWK", "JWK set"],
)
def test_signing_key_is_read_in_each_form(text: str) -> None:
    key = parse_signing_keys(text).newest
    assert (key.kid, key.public["x"]) == (KEY.thumbprint(), PRIVATE["x"])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "[]",
        "{}",
        '{"keys": []}',
        "-----BEGIN PRIVATE KEY-----\nnonsense\n-----END PRIVATE KEY-----",
        KEY.as_pem(private=False).decode(),
        json.dumps(KEY.as_dict(private=False)),
        json.dumps(ECKey.generate_key("P-256").as_dict(private=True)),
        json.dumps({"keys": [PRIVATE, PRIVATE]}),
        OKPKey.generate_key("X25519").as_pem(private=True).decode(),
    ],
    ids=["empty", "text", "list", "object", "no keys", "PEM", "public PEM", "public", "EC", "twice", "X25519"],
)
def test_what_is_no_signing_key_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_signing_keys(text)


def test_key_of_another_tool_signs_as_that_tool_would() -> None:
    made = Ed25519PrivateKey.generate()
    pem = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    key = parse_signing_keys(pem).newest
    signed, _, signature = key.sign(b"{}").rpartition(".")
    assert signature == encode_base64url(made.sign(signed.encode()))
