"""Signed webhooks: the published example of Standard Webhooks, and what does not count."""

import base64
from typing import Final

import pytest

from shared.fulfilment.webhooks import check_webhook, read_secret, sign_webhook, write_secret
from shared.money.signatures import TOLERANCE_S
from shared.problems import Code

# The example of the reference libraries (github.com/standard-webhooks, `TestWebhookSign`).
SECRET: Final = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE: Final = "msg_p5jXN8AQM9LWM0D4loKWxJek"
BODY: Final = b'{"test": 2432232314}'
AT_S: Final = 1_614_265_330
SIGNATURE: Final = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
OTHER: Final = write_secret(b"o" * 32)


def test_the_published_example_is_signed_as_published() -> None:
    assert sign_webhook(MESSAGE, BODY, [SECRET], AT_S) == {
        "webhook-id": MESSAGE, "webhook-timestamp": str(AT_S), "webhook-signature": SIGNATURE,
    }  # fmt: skip
    assert read_secret(write_secret(b"s" * 32)) == b"s" * 32


@pytest.mark.parametrize(
    ("changes", "body", "late_s", "outcome"),
    [
        pytest.param({}, BODY, 0, MESSAGE, id="as it was signed"),
        pytest.param({}, BODY, TOLERANCE_S, MESSAGE, id="just in time"),
        pytest.param({}, BODY, TOLERANCE_S + 1, Code.MESSAGE_STALE, id="too old"),
        pytest.param({}, BODY, -TOLERANCE_S - 1, Code.MESSAGE_STALE, id="from the future"),
        pytest.param({}, BODY + b" ", 0, Code.MESSAGE_FORGED, id="another body"),
        pytest.param({"webhook-id": MESSAGE + "x"}, BODY, 0, Code.MESSAGE_FORGED, id="another id"),
        pytest.param({"webhook-id": ""}, BODY, 0, Code.MESSAGE_FORGED, id="no id"),
        pytest.param({"webhook-id": "msg.1"}, BODY, 0, Code.MESSAGE_FORGED, id="an id with a full stop"),
        pytest.param({"webhook-timestamp": str(AT_S + 1)}, BODY, 0, Code.MESSAGE_FORGED, id="another time"),
        pytest.param({"webhook-timestamp": "soon"}, BODY, 0, Code.MESSAGE_FORGED, id="no time"),
        pytest.param({"webhook-signature": ""}, BODY, 0, Code.MESSAGE_FORGED, id="no signature"),
        pytest.param({"webhook-signature": SIGNATURE[3:]}, BODY, 0, Code.MESSAGE_FORGED, id="no version"),
        pytest.param({"webhook-signature": "v2" + SIGNATURE[2:]}, BODY, 0, Code.MESSAGE_FORGED, id="another version"),
        pytest.param({"webhook-signature": f"v1,AAAA v1a,é {SIGNATURE}"}, BODY, 0, MESSAGE, id="one of several"),
        pytest.param(
            {"webhook-signature": "v1,A " * 8 + SIGNATURE}, BODY, 0, Code.MESSAGE_FORGED, id="one of too many"
        ),
    ],
)
def test_a_message_counts_when_its_very_bytes_were_signed_just_now(
    changes: dict[str, str], body: bytes, late_s: int, outcome: str | Code
) -> None:
    headers = {**sign_webhook(MESSAGE, BODY, [SECRET], AT_S), **changes}
    assert check_webhook(headers, body, [SECRET], AT_S + late_s) == outcome


@pytest.mark.parametrize(
    ("signs", "checks", "counts"),
    [
        pytest.param([OTHER, SECRET], [SECRET], True, id="the old secret still checks what both sign"),
        pytest.param([SECRET], [OTHER, SECRET], True, id="the old secret still signs"),
        pytest.param([SECRET], [OTHER], False, id="a secret that is gone"),
    ],
)
def test_a_secret_is_replaced_while_messages_are_on_their_way(
    signs: list[str], checks: list[str], *, counts: bool
) -> None:
    headers = sign_webhook(MESSAGE, BODY, signs, AT_S)
    assert (check_webhook(headers, BODY, checks, AT_S) == MESSAGE) is counts
    assert len(base64.b64decode(OTHER.removeprefix("whsec_"))) == 32
