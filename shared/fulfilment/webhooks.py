"""Signed webhooks, out and in, in the form of Standard Webhooks 1.0 (github.com/standard-webhooks, spec, 2023). Pure.

Rules:

1. Three headers: `webhook-id`, the same on every try; `webhook-timestamp`, of this try, in seconds; and
   `webhook-signature`, a list of `v1,BASE64` with spaces between, one for each secret: HMAC-SHA-256 over
   `ID.TIMESTAMP.BODY`.
2. A secret is written `whsec_` and its bytes in base64. They are a list, newest first: all sign and all verify, so that
   one can be replaced while messages are on their way.
3. The exact bytes are checked, in constant time, before anything is decoded. "Forged" and "stale" stay apart, and stale
   is said only of what was really signed. An id has no full stop, so where it ends is no question.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Mapping, Sequence
from typing import Final

from shared.money.signatures import TOLERANCE_S
from shared.problems import Code

ID: Final = "webhook-id"
TIMESTAMP: Final = "webhook-timestamp"
SIGNATURE: Final = "webhook-signature"
SECRET_BYTES: Final = 32
_PREFIX: Final = "whsec_"
_VERSION: Final = "v1,"
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_SECONDS: Final = re.compile(r"[0-9]{1,12}")
_MOST_SIGNATURES: Final = 8


def write_secret(raw: bytes) -> str:
    """Return a secret as it is handed out."""
    return _PREFIX + base64.b64encode(raw).decode()


def read_secret(secret: str) -> bytes:
    """Return the bytes of a secret that `write_secret` wrote."""
    try:
        return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error as error:
        raise AssertionError("a stored secret is not base64") from error


def sign_webhook(message: str, body: bytes, secrets: Sequence[str], at_s: int) -> dict[str, str]:
    """Return the headers of one try to deliver a message."""
    signatures = [_VERSION + _sign(message, str(at_s), body, secret) for secret in secrets]
    return {ID: message, TIMESTAMP: str(at_s), SIGNATURE: " ".join(signatures)}


def check_webhook(headers: Mapping[str, str], body: bytes, secrets: Sequence[str], now_s: int) -> str | Code:
    """Return the id of a message that counts, or why it does not.

    Args:
        headers: looked up by lower-case names.
        body: as it came.
        secrets: of who should have sent it.
        now_s: the clock here.
    """
    message, at_s, listed = (headers.get(name, "") for name in (ID, TIMESTAMP, SIGNATURE))
    given = [part.removeprefix(_VERSION) for part in listed.split(" ") if part.startswith(_VERSION)]
    if not _ID.fullmatch(message) or not _SECONDS.fullmatch(at_s) or len(given) > _MOST_SIGNATURES:
        return Code.MESSAGE_FORGED
    expected = [_sign(message, at_s, body, secret).encode() for secret in secrets]
    matches = [hmac.compare_digest(one, signature.encode()) for one in expected for signature in given]
    if not any(matches):
        return Code.MESSAGE_FORGED
    return Code.MESSAGE_STALE if abs(now_s - int(at_s)) > TOLERANCE_S else message


def _sign(message: str, at_s: str, body: bytes, secret: str) -> str:
    signed = f"{message}.{at_s}.".encode() + body
    return base64.b64encode(hmac.digest(read_secret(secret), signed, "sha256")).decode()
