"""A claim's states: no dead end, nothing outside the table, lapse decided by instants, the picture is the table's."""

import pytest

from scripts.draw_states import PAGE, main, write_page
from shared.claims.states import FINAL, INITIAL, TRANSITIONS, Actor, State, draw_states, may_move, state_at


def reachable(start: State) -> set[State]:
    seen, waiting = {start}, [start]
    while waiting:
        state = waiting.pop()
        for move in TRANSITIONS:
            if move.source == state and move.target not in seen:
                seen.add(move.target)
                waiting.append(move.target)
    return seen


@pytest.mark.parametrize("state", State)
def test_every_state_is_final_or_reaches_one_that_is(state: State) -> None:
    assert state in FINAL or reachable(state) & FINAL


def test_every_state_can_be_reached() -> None:
    assert reachable(INITIAL) == set(State)


def test_every_move_is_listed_once_and_has_somebody_who_makes_it() -> None:
    assert len({(move.source, move.target) for move in TRANSITIONS}) == len(TRANSITIONS)
    assert all(move.actors and move.source != move.target for move in TRANSITIONS)


def test_every_actor_moves_something() -> None:
    assert {actor for move in TRANSITIONS for actor in move.actors} == set(Actor)


@pytest.mark.parametrize(
    ("source", "target", "actor", "may"),
    [
        pytest.param(State.HELD, State.SETTLED, Actor.WEBHOOK, True, id="a webhook settles what is held"),
        pytest.param(State.CLAIMED, State.SETTLED, Actor.WEBHOOK, False, id="no webhook settles what is not held"),
        pytest.param(State.HELD, State.RELEASED, Actor.EDGE_EVENT, False, id="the edge frees nothing"),
        pytest.param(State.SETTLED, State.REFUNDED, Actor.VIEWER, False, id="no viewer refunds"),
        pytest.param(State.REFUNDED, State.REFUNDED, Actor.OPERATOR, False, id="no second refund"),
        pytest.param(State.REFUNDED, State.SETTLED, Actor.WEBHOOK, False, id="nothing comes after a refund"),
        pytest.param(State.REFUSED, State.HELD, Actor.VIEWER, False, id="a final no stays"),
    ],
)
def test_only_what_the_table_says_may_happen(source: State, target: State, actor: Actor, may: bool) -> None:  # noqa: FBT001
    assert may_move(source, target, actor) is may


@pytest.mark.parametrize(
    ("state", "now_ms", "seen"),
    [
        pytest.param(State.HELD, 999, State.HELD, id="held until just before"),
        pytest.param(State.HELD, 1000, State.LAPSED, id="lapsed at the instant"),
        pytest.param(State.CLAIMED, 1000, State.LAPSED, id="a claim that was never presented"),
        pytest.param(State.SETTLED, 5000, State.SETTLED, id="what is settled never lapses"),
        pytest.param(State.RELEASED, 5000, State.RELEASED, id="what was given back never lapses"),
    ],
)
def test_lapse_is_decided_when_read(state: State, now_ms: int, seen: State) -> None:
    """Failure table: expiry depends on a sweeper."""
    assert state_at(state, 1000, now_ms) == seen


def test_the_documentation_shows_the_table() -> None:
    assert PAGE.read_text() == write_page()
    assert main(["--check"]) == 0


def test_the_picture_has_every_move_and_every_end() -> None:
    drawn = draw_states()
    assert drawn.count("-->") == len(TRANSITIONS) + len(FINAL) + 1
    assert drawn.startswith("stateDiagram-v2\n    [*] --> claimed\n")
