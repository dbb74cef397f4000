"""Signed messages of payment providers: `t=SECONDS,v1=HEX`, HMAC-SHA-256 over `SECONDS.BODY`, as Stripe has it.

Rules:

1. The exact bytes are checked, in constant time, before anything is decoded.
2. A timestamp further away than `TOLERANCE_S`, in either direction, is refused: an old message cannot be played again.
3. "Forged" and "stale" stay apart, and stale is said only of what was really signed.
"""

import hmac
import re
from typing import Final

from shared.problems import Code

TOLERANCE_S: Final = 300
_HEADER: Final = re.compile(r"t=(\d{1,12})((?:,v\d=[0-9a-f]{64}){1,5})")


def sign_message(body: bytes, secret: bytes, at_s: int) -> str:
    """Return the header that signs `body`."""
    return f"t={at_s},v1={_digest(body, secret, str(at_s))}"


def check_message(body: bytes, header: str, secret: bytes, now_s: int) -> Code | None:
    """Return why a message does not count, or None."""
    found = _HEADER.fullmatch(header)
    if found is None:
        return Code.MESSAGE_FORGED
    expected = _digest(body, secret, found[1])
    given = [part[3:] for part in found[2].split(",") if part.startswith("v1=")]
    if not any([hmac.compare_digest(expected, signature) for signature in given]):  # noqa: C419 - all, in constant time
        return Code.MESSAGE_FORGED
    return Code.MESSAGE_STALE if abs(now_s - int(found[1])) > TOLERANCE_S else None


def _digest(body: bytes, secret: bytes, at_s: str) -> str:
    return hmac.digest(secret, at_s.encode() + b"." + body, "sha256").hex()
