"""What can go wrong for a caller: one closed list of codes, one shape (RFC 9457).

A problem is a value that is returned, never an exception. `TABLE` is the only place that maps a code to its HTTP
status and title. `detail` is written by us alone: no exception text and no part of an unverified token goes there.
"""

from enum import StrEnum
from typing import Final, NamedTuple

import msgspec

MEDIA_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:cliptill:problem:"


class Code(StrEnum):
    """Every way in which a request can fail."""

    # the request as such
    REQUEST_MALFORMED = "request_malformed"
    HEAD_TOO_LARGE = "head_too_large"
    MALFORMED_JSON = "malformed_json"
    DUPLICATE_KEY = "duplicate_key"
    UNKNOWN_FIELD = "unknown_field"
    INVALID_FIELD = "invalid_field"
    BODY_TOO_LARGE = "body_too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    NOT_ACCEPTABLE = "not_acceptable"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    # what it names
    CLIP_UNKNOWN = "clip_unknown"
    OFFER_UNKNOWN = "offer_unknown"
    DROP_UNKNOWN = "drop_unknown"
    CREATOR_UNKNOWN = "creator_unknown"
    ENTRY_UNKNOWN = "entry_unknown"
    RUN_UNKNOWN = "run_unknown"
    SCANNER_UNKNOWN = "scanner_unknown"
    PARTNER_UNKNOWN = "partner_unknown"
    HANDOFF_UNKNOWN = "handoff_unknown"
    ALREADY_EXISTS = "already_exists"
    REVISION_CONFLICT = "revision_conflict"
    # admission
    DROP_NOT_OPEN = "drop_not_open"
    DROP_CLOSED = "drop_closed"
    SOLD_OUT = "sold_out"
    QUANTITY_NOT_OFFERED = "quantity_not_offered"
    CURRENCY_NOT_OFFERED = "currency_not_offered"
    NOT_ADMITTED_YET = "not_admitted_yet"
    RATE_LIMITED = "rate_limited"
    STOCK_UNKNOWN = "stock_unknown"
    # the claim and its proof
    CLAIM_MISSING = "claim_missing"
    CLAIM_MALFORMED = "claim_malformed"
    CLAIM_FORGED = "claim_forged"
    CLAIM_KEY_UNKNOWN = "claim_key_unknown"
    CLAIM_WRONG_ISSUER = "claim_wrong_issuer"
    CLAIM_WRONG_AUDIENCE = "claim_wrong_audience"
    CLAIM_NOT_YET_VALID = "claim_not_yet_valid"
    CLAIM_EXPIRED = "claim_expired"
    PROOF_MISSING = "proof_missing"
    PROOF_MALFORMED = "proof_malformed"
    PROOF_FORGED = "proof_forged"
    PROOF_OTHER_KEY = "proof_other_key"
    PROOF_OTHER_REQUEST = "proof_other_request"
    PROOF_OTHER_CLAIM = "proof_other_claim"
    PROOF_STALE = "proof_stale"
    # settlement
    CAP_REACHED = "cap_reached"
    IDEMPOTENCY_CONFLICT = "idempotency_conflict"
    SETTLEMENT_UNKNOWN = "settlement_unknown"
    HOLD_LAPSED = "hold_lapsed"
    HOLD_RELEASED = "hold_released"
    NOT_HELD = "not_held"
    NOTHING_TO_PICK_UP = "nothing_to_pick_up"
    # money
    PAYMENT_UNAVAILABLE = "payment_unavailable"
    CREDIT_TOO_LOW = "credit_too_low"
    PROVIDER_UNKNOWN = "provider_unknown"
    MESSAGE_FORGED = "message_forged"
    MESSAGE_STALE = "message_stale"
    CLAIM_CANCELLED = "claim_cancelled"
    CLAIM_REFUNDED = "claim_refunded"
    ALREADY_RETURNED = "already_returned"
    NOT_SETTLED = "not_settled"
    PART_OF_BUNDLE = "part_of_bundle"
    REFUND_NEEDED = "refund_needed"
    NOTHING_PAID = "nothing_paid"
    NOTHING_TO_REFUND = "nothing_to_refund"
    REFUND_TOO_LARGE = "refund_too_large"
    CURRENCY_DIFFERS = "currency_differs"
    # operators
    KEY_MISSING = "key_missing"
    KEY_REFUSED = "key_refused"
    TOTAL_BELOW_TAKEN = "total_below_taken"
    ENROLMENT_REFUSED = "enrolment_refused"
    # us
    OVERLOADED = "overloaded"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"


class Meaning(NamedTuple):
    """How a code is told: HTTP status, and a title that never varies (RFC 9457, section 3.1.4)."""

    status: int
    title: str


TABLE: Final[dict[Code, Meaning]] = {
    Code.REQUEST_MALFORMED: Meaning(400, "This is not HTTP as it should be"),
    Code.HEAD_TOO_LARGE: Meaning(431, "The request's address and headers are too large"),
    Code.MALFORMED_JSON: Meaning(400, "The body is not JSON"),
    Code.DUPLICATE_KEY: Meaning(400, "A JSON object names a key twice"),
    Code.UNKNOWN_FIELD: Meaning(422, "The body has a field that is not known"),
    Code.INVALID_FIELD: Meaning(422, "A value is not as documented"),
    Code.BODY_TOO_LARGE: Meaning(413, "The body is too large"),
    Code.UNSUPPORTED_MEDIA_TYPE: Meaning(415, "The content type is not taken here"),
    Code.NOT_ACCEPTABLE: Meaning(406, "None of the accepted media types is made here"),
    Code.NOT_FOUND: Meaning(404, "There is nothing at this address"),
    Code.METHOD_NOT_ALLOWED: Meaning(405, "This address does not take that method"),
    Code.CLIP_UNKNOWN: Meaning(404, "The clip is not known"),
    Code.OFFER_UNKNOWN: Meaning(404, "The offer is not known"),
    Code.DROP_UNKNOWN: Meaning(404, "The drop is not known"),
    Code.CREATOR_UNKNOWN: Meaning(404, "The creator is not known"),
    Code.ENTRY_UNKNOWN: Meaning(404, "The audit trail has no such entry"),
    Code.RUN_UNKNOWN: Meaning(404, "There is no report of such a run"),
    Code.SCANNER_UNKNOWN: Meaning(404, "The scanner is not known"),
    Code.PARTNER_UNKNOWN: Meaning(404, "The partner is not known"),
    Code.HANDOFF_UNKNOWN: Meaning(404, "Nothing of this claim was handed on"),
    Code.ALREADY_EXISTS: Meaning(409, "Something else exists under this name"),
    Code.REVISION_CONFLICT: Meaning(409, "The change does not fit what is stored"),
    Code.DROP_NOT_OPEN: Meaning(409, "The drop has not opened yet"),
    Code.DROP_CLOSED: Meaning(410, "The drop has closed"),
    Code.SOLD_OUT: Meaning(409, "Nothing is left"),
    Code.QUANTITY_NOT_OFFERED: Meaning(422, "More units than one claim may have"),
    Code.CURRENCY_NOT_OFFERED: Meaning(422, "The offer has no price in this currency"),
    Code.NOT_ADMITTED_YET: Meaning(429, "Too many at once: ask again shortly"),
    Code.RATE_LIMITED: Meaning(429, "Too many requests from here: ask again later"),
    Code.STOCK_UNKNOWN: Meaning(503, "What is left is not known at present"),
    Code.CLAIM_MISSING: Meaning(401, "A claim is needed"),
    Code.CLAIM_MALFORMED: Meaning(401, "The claim cannot be read"),
    Code.CLAIM_FORGED: Meaning(401, "The claim's signature is wrong"),
    Code.CLAIM_KEY_UNKNOWN: Meaning(401, "The claim is signed with a key that is not trusted"),
    Code.CLAIM_WRONG_ISSUER: Meaning(401, "The claim is from another issuer"),
    Code.CLAIM_WRONG_AUDIENCE: Meaning(401, "The claim is for another audience"),
    Code.CLAIM_NOT_YET_VALID: Meaning(401, "The claim is not valid yet"),
    Code.CLAIM_EXPIRED: Meaning(401, "The claim has expired"),
    Code.PROOF_MISSING: Meaning(401, "A proof of possession is needed"),
    Code.PROOF_MALFORMED: Meaning(401, "The proof of possession cannot be read"),
    Code.PROOF_FORGED: Meaning(401, "The proof's signature is wrong"),
    Code.PROOF_OTHER_KEY: Meaning(401, "The proof is made by another key than the claim's"),
    Code.PROOF_OTHER_REQUEST: Meaning(401, "The proof is for another request"),
    Code.PROOF_OTHER_CLAIM: Meaning(401, "The proof is for another claim"),
    Code.PROOF_STALE: Meaning(401, "The proof is too old, or from the future"),
    Code.CAP_REACHED: Meaning(409, "This viewer has as many as the drop allows"),
    Code.IDEMPOTENCY_CONFLICT: Meaning(409, "Another request was decided under this claim's id"),
    Code.SETTLEMENT_UNKNOWN: Meaning(404, "This claim has not been decided"),
    Code.HOLD_LAPSED: Meaning(410, "The units were held until an instant that has passed"),
    Code.HOLD_RELEASED: Meaning(410, "The units were given back"),
    Code.NOT_HELD: Meaning(409, "Nothing is held for this claim"),
    Code.NOTHING_TO_PICK_UP: Meaning(404, "Nothing is picked up for this claim"),
    Code.PAYMENT_UNAVAILABLE: Meaning(503, "No payment can be taken in this way at present"),
    Code.CREDIT_TOO_LOW: Meaning(402, "There is not enough credit"),
    Code.PROVIDER_UNKNOWN: Meaning(404, "This provider takes no payments here"),
    Code.MESSAGE_FORGED: Meaning(401, "The message's signature is wrong"),
    Code.MESSAGE_STALE: Meaning(401, "The message is too old, or from the future"),
    Code.CLAIM_CANCELLED: Meaning(410, "The claim was called off; its receipt does not count any more"),
    Code.CLAIM_REFUNDED: Meaning(410, "The money went back; the claim's receipt does not count any more"),
    Code.ALREADY_RETURNED: Meaning(409, "The claim was cancelled or refunded before"),
    Code.NOT_SETTLED: Meaning(409, "The claim is not settled"),
    Code.PART_OF_BUNDLE: Meaning(409, "The claim is a part of a bundle: return the bundle"),
    Code.REFUND_NEEDED: Meaning(409, "The claim was paid: refund it"),
    Code.NOTHING_PAID: Meaning(409, "Nothing was paid through here: cancel it"),
    Code.NOTHING_TO_REFUND: Meaning(409, "A refund of nothing is none"),
    Code.REFUND_TOO_LARGE: Meaning(409, "This is more than was paid"),
    Code.CURRENCY_DIFFERS: Meaning(409, "It was paid in another currency"),
    Code.KEY_MISSING: Meaning(401, "An API key is needed"),
    Code.KEY_REFUSED: Meaning(403, "The API key is not valid"),
    Code.TOTAL_BELOW_TAKEN: Meaning(409, "The total would be less than what is held and settled"),
    Code.ENROLMENT_REFUSED: Meaning(403, "The code is not known, used up, or too old"),
    Code.OVERLOADED: Meaning(503, "Too much at once: ask again shortly"),
    Code.UNAVAILABLE: Meaning(503, "A service behind this one is away"),
    Code.INTERNAL: Meaning(500, "Something went wrong here"),
}


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One failed request.

    Attributes:
        code: why, from the closed list.
        detail: one sentence for the developer who reads it; may be empty.
        retry_after_s: when asking again makes sense; sent as `Retry-After` too.
    """

    code: Code
    detail: str = ""
    retry_after_s: int | None = None

    @property
    def status(self) -> int:
        """The HTTP status of the code."""
        return TABLE[self.code].status


class ProblemBody(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A problem on the wire: RFC 9457, with the closed `code` as an extension member."""

    type: str
    title: str
    status: int
    code: Code
    detail: str = ""
    retry_after_s: int | None = None


_ENCODER = msgspec.json.Encoder()


def describe_problem(problem: Problem) -> ProblemBody:
    """Return the body that tells `problem`."""
    meaning = TABLE[problem.code]
    return ProblemBody(
        type=TYPE_PREFIX + problem.code,
        title=meaning.title,
        status=meaning.status,
        code=problem.code,
        detail=problem.detail,
        retry_after_s=problem.retry_after_s,
    )


def encode_problem(problem: Problem) -> bytes:
    """Return `problem` as `application/problem+json`."""
    return _ENCODER.encode(describe_problem(problem))
