"""Who presents a claim: the `Authorization: DPoP` header with the claim, the `DPoP` header with the proof (RFC 9449).

The shell of `shared.claims.tokens` and `origin.settlement.proofs`: reads the two headers, with their sizes checked
first, and the clock.
"""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from origin.responses import read_header, refuse
from origin.settlement.proofs import MAX_PROOF_BYTES, check_proof
from shared.claims.keys import ClaimKey
from shared.claims.tokens import MAX_TOKEN_BYTES, Claim, ClaimFault, hash_token, read_claim, verify_claim
from shared.openapi import Parameter
from shared.problems import Code, Problem
from shared.structs import Strict

SECURITY: Final = "claim"
SECURITY_SCHEMES: Final[dict[str, dict[str, str]]] = {
    SECURITY: {
        "type": "http",
        "scheme": "dpop",
        "description": "The claim that the edge gave, bound to the viewer's key (RFC 9449).",
    }
}
PARAMETERS: Final = (
    Parameter(
        name="DPoP",
        where="header",
        required=True,
        description="proof of possession of the viewer key: ES256, with htm, htu, ath, iat, jti",
    ),
)
CODES: Final = (
    Code.CLAIM_MISSING,
    Code.CLAIM_MALFORMED,
    Code.CLAIM_FORGED,
    Code.CLAIM_KEY_UNKNOWN,
    Code.CLAIM_WRONG_ISSUER,
    Code.CLAIM_WRONG_AUDIENCE,
    Code.PROOF_MISSING,
    Code.PROOF_MALFORMED,
    Code.PROOF_FORGED,
    Code.PROOF_OTHER_KEY,
    Code.PROOF_OTHER_REQUEST,
    Code.PROOF_OTHER_CLAIM,
    Code.PROOF_STALE,
)
_SCHEME: Final = "dpop"


class Trust(Strict, frozen=True, kw_only=True):
    """Whose claims count, and for whom: keys (newest first), the one issuer, the one audience, which is this origin."""

    keys: tuple[ClaimKey, ...]
    issuer: str
    audience: str


def authenticate(request: Request, trust: Trust, now_s: int, *, current: bool) -> Claim | Problem:
    """Return the claim that a request presents, or why it does not count. Nothing is stored either way.

    Args:
        request: its method and path are what the proof must be for.
        trust: whose claims count.
        now_s: the origin's clock.
        current: whether the claim must be valid now; a decision may be asked for long after.
    """
    token = _read_token(request)
    if isinstance(token, Problem):
        return token
    claim = (
        verify_claim(token, trust.keys, issuer=trust.issuer, audience=trust.audience, now_s=now_s)
        if current
        else _verify_at_any_time(token, trust)
    )
    if isinstance(claim, ClaimFault):
        return Problem(code=claim.code)
    proofs = read_header(request, b"dpop")
    if not any(proofs):
        return Problem(code=Code.PROOF_MISSING)
    if len(proofs) > 1 or len(proofs[0]) > MAX_PROOF_BYTES:
        return Problem(code=Code.PROOF_MALFORMED)
    fault = check_proof(
        proofs[0].decode("latin-1"),
        method=request.method,
        url=trust.audience + request.scope["path"],
        token_hash=hash_token(token),
        thumbprint=claim.cnf.jkt,
        now_s=now_s,
    )
    return claim if fault is None else Problem(code=fault)


def challenge(problem: Problem) -> Response:
    """Return a problem of presenting, with the challenge that RFC 9449, section 7.1, asks for."""
    error = "invalid_dpop_proof" if problem.code.startswith("proof_") else "invalid_token"
    return refuse(problem, {"WWW-Authenticate": f'DPoP error="{error}", algs="ES256"'} if problem.status == 401 else {})  # noqa: PLR2004


def _read_token(request: Request) -> str | Problem:
    given = read_header(request, b"authorization")
    if not any(given):
        return Problem(code=Code.CLAIM_MISSING)
    scheme, _, token = given[0].decode("latin-1").partition(" ")
    if len(given) > 1 or len(token) > MAX_TOKEN_BYTES:
        return Problem(code=Code.CLAIM_MALFORMED)
    if scheme.lower() != _SCHEME or not token:
        return Problem(code=Code.CLAIM_MISSING)
    return token


def _verify_at_any_time(token: str, trust: Trust) -> Claim | ClaimFault:
    claim = read_claim(token, trust.keys)
    if isinstance(claim, ClaimFault):
        return claim
    if claim.iss != trust.issuer:
        return ClaimFault(code=Code.CLAIM_WRONG_ISSUER)
    if claim.aud != trust.audience:
        return ClaimFault(code=Code.CLAIM_WRONG_AUDIENCE)
    return claim
