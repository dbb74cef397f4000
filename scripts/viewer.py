"""A viewer without a browser: the key pair, the taps and the proofs that the overlay component makes in one.

Used by `scripts/run --once`, by tests, and by the benchmarks.
"""

import hashlib
import secrets
from typing import Any

import httpx
from joserfc import jwt
from joserfc.jwk import ECKey

from shared.encoding import encode_base64url

Body = dict[str, Any]


class Viewer:
    """One viewer: a P-256 key, and what is signed with it."""

    def __init__(self) -> None:
        self._key = ECKey.generate_key("P-256")
        self._public = self._key.as_dict(private=False)

    @property
    def thumbprint(self) -> str:
        """The RFC 7638 thumbprint: the viewer's only identity."""
        return self._key.thumbprint()

    def tap(self, clip: str, offer: str, *, key: str | None = None, **more: Any) -> Body:  # noqa: ANN401 - JSON
        """Return the body of a claim request; a new idempotency key, so a new tap, unless one is given."""
        identity = {"viewer": self.thumbprint, "idempotency_key": key or secrets.token_urlsafe(16)}
        return {"clip": clip, "offer": offer, **identity, **more}

    def proof(self, method: str, url: str, claim: str, now_s: int) -> str:
        """Return a DPoP proof (RFC 9449) of this request, bound to this claim."""
        header = {"typ": "dpop+jwt", "alg": "ES256", "jwk": self._public}
        claims = {
            "jti": secrets.token_urlsafe(16),
            "htm": method,
            "htu": url.partition("?")[0],
            "iat": now_s,
            "ath": encode_base64url(hashlib.sha256(claim.encode()).digest()),
        }
        return jwt.encode(header, claims, self._key, algorithms=["ES256"])

    def headers(self, method: str, url: str, claim: str, now_s: int) -> dict[str, str]:
        """Return the headers that show the claim, and that it is this viewer's."""
        return {"Authorization": f"DPoP {claim}", "DPoP": self.proof(method, url, claim, now_s)}

    async def settle(self, client: httpx.AsyncClient, answer: Body, now_s: int) -> httpx.Response:
        """Post the claim that the edge answered to its origin, and return what that says."""
        url, claim = settlements_url(answer), answer["claim"]
        return await client.post(url, headers=self.headers("POST", url, claim, now_s), json={})


def settlements_url(answer: Body, *path: str) -> str:
    """Return where a claim that the edge answered is settled, or a path below that."""
    return "/".join((answer["settle_url"], "v1", "settlements", *path))
