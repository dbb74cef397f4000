"""Where a claim stands, and giving its hold back: for who presents the claim, also after it has expired."""

from collections.abc import Callable, Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from origin.database import Database
from origin.responses import Handler, refuse, tell
from origin.settlement.holds_store import StoredHold, read_hold
from origin.settlement.presenting import CODES, PARAMETERS, SECURITY, Trust, authenticate, challenge
from origin.settlement.settlements_store import read_decisions
from origin.settlement.settling import Settler
from origin.settlement.states_store import read_states
from shared.claims.states import State, state_at
from shared.claims.tokens import Claim, fingerprint_claim
from shared.openapi import Answer, Operation, Parameter
from shared.problems import Code, Problem
from shared.structs import ClaimId, InstantMs, Wire


class Standing(Wire, frozen=True, kw_only=True):
    """Where a claim stands now.

    Attributes:
        state: as in the table of `origin/settlement/claim-states.md`.
        until_ms: when it lapses, while it is claimed or held.
    """

    claim_id: ClaimId
    state: State
    until_ms: InstantMs | None = None


_PATH: Final = (Parameter(name="claim_id", where="path", type=ClaimId), *PARAMETERS)
_STANDS: Final = {200: Answer(description="Where it stands.", type=Standing)}
_PROBLEMS: Final = (*CODES, Code.SETTLEMENT_UNKNOWN, Code.IDEMPOTENCY_CONFLICT, Code.UNAVAILABLE)

OPERATIONS: Final = (
    Operation(
        id="read_standing",
        method="GET",
        path="/v1/settlements/{claim_id}/standing",
        summary="Read where a claim stands: claimed, held, settled, lapsed, released, refused and so on.",
        security=SECURITY,
        parameters=_PATH,
        answers=_STANDS,
        problems=_PROBLEMS,
    ),
    Operation(
        id="release_hold",
        method="POST",
        path="/v1/settlements/{claim_id}/release",
        summary="Give the units back that are held for a claim; again is the same.",
        description="Money that comes for it all the same follows the drop's `late_payment`.",
        security=SECURITY,
        parameters=_PATH,
        answers=_STANDS,
        problems=(*_PROBLEMS, Code.NOT_HELD),
    ),
)


class Holding:
    """The handlers of `OPERATIONS`."""

    def __init__(self, database: Database, settler: Settler, trust: Trust, clock_ms: Callable[[], int]) -> None:
        self._database = database
        self._settler = settler
        self._trust = trust
        self._clock_ms = clock_ms

    def handlers(self) -> Mapping[str, Handler]:
        """Return a handler for each operation."""
        return {"read_standing": self._read, "release_hold": self._release}

    async def _read(self, request: Request) -> Response:
        claim = find_claim(request, self._trust, self._clock_ms())
        if isinstance(claim, Problem):
            return challenge(claim)
        now_ms = self._clock_ms()
        async with self._database.connection() as connection:
            decision = (await read_decisions(connection, [claim.jti])).get(claim.jti)
            held = await read_hold(connection, claim.jti)
            states = await read_states(connection, [claim.jti])
        known = decision or held
        if known is not None and known.fingerprint != fingerprint_claim(claim):
            return refuse(Problem(code=Code.IDEMPOTENCY_CONFLICT))
        if decision is not None:
            return tell(Standing(claim_id=claim.jti, state=states[claim.jti]))
        return tell(_stand(claim, held, now_ms))

    async def _release(self, request: Request) -> Response:
        now_ms = self._clock_ms()
        claim = find_claim(request, self._trust, now_ms)
        if isinstance(claim, Problem):
            return challenge(claim)
        async with self._database.transaction() as connection:
            held = await read_hold(connection, claim.jti)
            if held is None or held.fingerprint != fingerprint_claim(claim):
                return refuse(Problem(code=Code.NOT_HELD if held is None else Code.IDEMPOTENCY_CONFLICT))
            await self._settler.release_in(connection, held, now_ms)
            held = await read_hold(connection, claim.jti)
        if held is None or held.state in (State.SETTLED, State.REFUSED):
            return refuse(Problem(code=Code.NOT_HELD))
        return tell(_stand(claim, held, now_ms))


def find_claim(request: Request, trust: Trust, now_ms: int) -> Claim | Problem:
    """Return the claim that is presented for the path's id, or why it does not count."""
    claim = authenticate(request, trust, now_ms // 1000, current=False)
    if not isinstance(claim, Problem) and claim.jti != request.path_params["claim_id"]:
        return Problem(code=Code.SETTLEMENT_UNKNOWN)
    return claim


def _stand(claim: Claim, held: StoredHold | None, now_ms: int) -> Standing:
    """Return where an undecided claim stands."""
    stored = State.CLAIMED if held is None else State(held.state)
    until_ms = claim.exp * 1000 if held is None else held.until_ms
    state = state_at(stored, until_ms, now_ms)
    return Standing(
        claim_id=claim.jti, state=state, until_ms=until_ms if state in (State.CLAIMED, State.HELD) else None
    )
