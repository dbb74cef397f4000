"""The states of a claim, and who may move it from one to the next. One table; everything else is derived from it.

Rules:

1. What is not in `TRANSITIONS` cannot happen: no code moves a claim but along a row of it.
2. No dead end: each state is final by declaration (`FINAL`: nobody owes anybody anything), or leads to one that is.
3. Time moves a claim by itself: `state_at` compares instants when it is read. A sweeper only writes down what is so.
4. A final state may still be left where somebody else's act comes late: money that arrives after a hold lapsed, goods
   that are brought back.
"""

from enum import StrEnum
from typing import Final, NamedTuple


class State(StrEnum):
    """Where a claim stands."""

    CLAIMED = "claimed"
    HELD = "held"
    SETTLED = "settled"
    LAPSED = "lapsed"
    RELEASED = "released"
    REFUSED = "refused"
    CANCELLED = "cancelled"
    REFUNDED = "refunded"
    PICKED_UP = "picked_up"


class Actor(StrEnum):
    """Who moves a claim."""

    VIEWER = "viewer"
    EDGE_EVENT = "edge event"
    WEBHOOK = "provider webhook"
    OPERATOR = "operator"
    SCANNER = "scanner"
    TIME = "time"


class Transition(NamedTuple):
    """A move that may be made, by whom, and what it means."""

    source: State
    target: State
    actors: frozenset[Actor]
    meaning: str


INITIAL: Final = State.CLAIMED
FINAL: Final = frozenset(
    {State.LAPSED, State.RELEASED, State.REFUSED, State.CANCELLED, State.REFUNDED, State.PICKED_UP}
)


def _by(*actors: Actor) -> frozenset[Actor]:
    return frozenset(actors)


_PAYER: Final = _by(Actor.VIEWER, Actor.WEBHOOK)  # the browser comes back, or the provider tells; whichever is first

TRANSITIONS: Final[tuple[Transition, ...]] = (
    Transition(State.CLAIMED, State.SETTLED, _by(Actor.VIEWER, Actor.EDGE_EVENT), "free, or paid on fetching"),
    Transition(State.CLAIMED, State.HELD, _by(Actor.VIEWER), "to be paid: units set aside"),
    Transition(State.CLAIMED, State.REFUSED, _by(Actor.VIEWER, Actor.EDGE_EVENT), "a final no"),
    Transition(State.CLAIMED, State.LAPSED, _by(Actor.TIME), "expired, never presented"),
    Transition(State.HELD, State.SETTLED, _PAYER, "paid"),
    Transition(State.HELD, State.RELEASED, _by(Actor.VIEWER, Actor.OPERATOR), "given back"),
    Transition(State.HELD, State.LAPSED, _by(Actor.TIME), "not paid in time"),
    Transition(State.LAPSED, State.HELD, _by(Actor.VIEWER), "presented again while it is valid"),
    Transition(State.LAPSED, State.SETTLED, _PAYER, "paid late, units are left"),
    Transition(State.LAPSED, State.REFUSED, _PAYER, "paid late, money goes back"),
    Transition(State.RELEASED, State.HELD, _by(Actor.VIEWER), "presented again while it is valid"),
    Transition(State.RELEASED, State.SETTLED, _PAYER, "paid late, units are left"),
    Transition(State.RELEASED, State.REFUSED, _PAYER, "paid late, money goes back"),
    Transition(State.SETTLED, State.PICKED_UP, _by(Actor.SCANNER), "fetched"),
    Transition(State.SETTLED, State.CANCELLED, _by(Actor.OPERATOR), "called off, nothing was paid"),
    Transition(State.SETTLED, State.REFUNDED, _by(Actor.OPERATOR, Actor.WEBHOOK), "money back"),
    Transition(State.PICKED_UP, State.CANCELLED, _by(Actor.OPERATOR), "goods back, nothing was paid"),
    Transition(State.PICKED_UP, State.REFUNDED, _by(Actor.OPERATOR, Actor.WEBHOOK), "goods back, money back"),
)

_MOVES: Final = {(move.source, move.target): move for move in TRANSITIONS}


def may_move(source: State, target: State, actor: Actor) -> bool:
    """Return whether `actor` may move a claim from `source` to `target`."""
    move = _MOVES.get((source, target))
    return move is not None and actor in move.actors


def state_at(state: State, until_ms: int, now_ms: int) -> State:
    """Return the state that a stored one is at `now_ms` (rule 3).

    Args:
        state: as stored.
        until_ms: when a claimed or held claim lapses (exclusive); of no meaning in other states.
        now_ms: the reader's clock.
    """
    lapses = may_move(state, State.LAPSED, Actor.TIME)
    return State.LAPSED if lapses and until_ms <= now_ms else state


def draw_states() -> str:
    """Return the table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", f"    [*] --> {INITIAL}"]
    for move in TRANSITIONS:
        actors = ", ".join(sorted(move.actors))
        lines.append(f"    {move.source} --> {move.target}: {actors} ({move.meaning})")
    lines += [f"    {state} --> [*]" for state in State if state in FINAL]
    return "\n".join(lines) + "\n"
