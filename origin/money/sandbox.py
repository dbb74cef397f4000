"""The adapter of the sandbox provider (`python -m scripts.payments`): nobody's money, for development and tests."""

from collections.abc import Mapping
from typing import Final

import httpx
import msgspec

from origin.money.port import Message
from shared.errors import ServiceAwayError
from shared.money.payments import Charge
from shared.money.signatures import check_message
from shared.problems import Code

SIGNATURE: Final = "sandbox-signature"
TIMEOUT_S: Final = 5.0
_CHARGE: Final = msgspec.json.Decoder(Charge)
_MESSAGE: Final = msgspec.json.Decoder(Message)


class Sandbox:
    """Speaks to a sandbox provider at `url`."""

    name = "sandbox"

    def __init__(self, url: str, key: str, webhook_secret: str) -> None:
        self._secret = webhook_secret.encode()
        self._client = httpx.AsyncClient(
            base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=TIMEOUT_S, trust_env=False
        )

    async def authorise(self, payment: str, amount_minor: int, currency: str) -> Charge:
        """See `origin.money.port`."""
        wanted = {"payment": payment, "amount_minor": amount_minor, "currency": currency}
        return await self._ask("POST", "/charges", payment, wanted)

    async def read(self, reference: str) -> Charge:
        """See `origin.money.port`."""
        return await self._ask("GET", f"/charges/{reference}", "", {})

    async def capture(self, reference: str, key: str) -> Charge:
        """See `origin.money.port`."""
        return await self._ask("POST", f"/charges/{reference}/capture", key, {})

    async def refund(self, reference: str, key: str, amount_minor: int) -> Charge:
        """See `origin.money.port`."""
        return await self._ask("POST", f"/charges/{reference}/refund", key, {"amount_minor": amount_minor})

    async def void(self, reference: str, key: str) -> Charge:
        """See `origin.money.port`."""
        return await self._ask("POST", f"/charges/{reference}/void", key, {})

    def read_message(self, headers: Mapping[str, str], body: bytes, now_s: int) -> Message | Code:
        """See `origin.money.port`."""
        code = check_message(body, headers.get(SIGNATURE, ""), self._secret, now_s)
        if code is not None:
            return code
        try:
            return _MESSAGE.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return Code.MALFORMED_JSON

    async def close(self) -> None:
        """See `origin.money.port`."""
        await self._client.aclose()

    async def _ask(self, method: str, path: str, key: str, body: Mapping[str, object]) -> Charge:
        headers = {"Idempotency-Key": key} if key else {}
        try:
            answer = await self._client.request(method, path, headers=headers, json=body or None)
            answer.raise_for_status()
            return _CHARGE.decode(answer.content)
        except (httpx.HTTPError, msgspec.DecodeError) as error:
            raise ServiceAwayError("the payment provider is away") from error
