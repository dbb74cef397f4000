"""The edge's settings: checked whole, and never quoted."""

import pytest

from edge.config import NAMES, EdgeConfig, read_config
from shared.encoding import encode_base64url
from shared.errors import ConfigurationError

SECRET = encode_base64url(b"s" * 32)
GOOD = {"ORIGIN_URL": "https://origin.example/", "CLAIM_KEYS": f"k1:{SECRET}"}


def test_what_is_needed_suffices() -> None:
    config = read_config(GOOD)
    assert (config.origin_url, config.issuer, config.public_url) == ("https://origin.example", "cliptill-edge", "")
    assert [key.kid for key in config.claim_keys] == ["k1"]
    assert config.stock_timeout_ms == 400


def test_every_setting_is_read() -> None:
    config = read_config(
        {**GOOD, "ISSUER": "till", "PUBLIC_URL": "http://127.0.0.1:8787/", "STOCK_TIMEOUT_MS": "10000"}
    )
    assert (config.issuer, config.public_url, config.stock_timeout_ms) == ("till", "http://127.0.0.1:8787", 10_000)
    assert len(NAMES) == len(EdgeConfig.__struct_fields__)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        pytest.param({"ORIGIN_URL": ""}, "ORIGIN_URL", id="no origin"),
        pytest.param({"ORIGIN_URL": "origin.hunter2.example"}, "ORIGIN_URL", id="origin without scheme"),
        pytest.param({"ORIGIN_URL": "ftp://hunter2"}, "ORIGIN_URL", id="origin of another scheme"),
        pytest.param({"ORIGIN_URL": "https://"}, "ORIGIN_URL", id="origin without host"),
        pytest.param({"PUBLIC_URL": "//hunter2"}, "PUBLIC_URL", id="public address without scheme"),
        pytest.param({"CLAIM_KEYS": ""}, "CLAIM_KEYS", id="no keys"),
        pytest.param({"CLAIM_KEYS": "hunter2"}, "CLAIM_KEYS", id="no list of keys"),
        pytest.param({"CLAIM_KEYS": f"k1:{SECRET},k2:hunter2"}, "CLAIM_KEYS", id="one key is wrong"),
        pytest.param({"STOCK_TIMEOUT_MS": "hunter2"}, "STOCK_TIMEOUT_MS", id="no number"),
        pytest.param({"STOCK_TIMEOUT_MS": "0"}, "STOCK_TIMEOUT_MS", id="no time at all"),
        pytest.param({"STOCK_TIMEOUT_MS": "10001"}, "STOCK_TIMEOUT_MS", id="too long"),
        pytest.param({"STOCK_TIMEOUT_MS": "1.5"}, "STOCK_TIMEOUT_MS", id="a fraction"),
        pytest.param({"STOCK_TIMEOUT_MS": "9" * 5000}, "STOCK_TIMEOUT_MS", id="endless number"),
    ],
)
def test_a_wrong_setting_is_named_and_not_quoted(changes: dict[str, str], name: str) -> None:
    with pytest.raises(ConfigurationError, match=name) as caught:
        read_config({**GOOD, **changes})
    told = "".join(str(error) for error in (caught.value, caught.value.__cause__, caught.value.__context__))
    assert "hunter2" not in told
    assert SECRET[:8] not in told
    assert "9999" not in told
