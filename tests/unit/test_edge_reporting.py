"""Reporting: batches are numbered from 1, and a flood of refusals is counted rather than reported."""

from edge.reporting import REFUSALS_PER_SECOND, report, report_refusal
from shared.insight.events import Viewed
from shared.problems import Code
from tests.edge_world import MemoryWorld
from tests.samples import NOW_MS


def refuse(world: MemoryWorld, times: int = 1) -> None:
    for _ in range(times):
        report_refusal(world.services(), drop="drop-1", clip="clip-1", offer="offer-1", code=Code.SOLD_OUT)


def suppressed(world: MemoryWorld) -> list[int]:
    return [event.suppressed for batch in world.batches() for event in batch.events]  # type: ignore[union-attr]


def test_a_batch_names_its_isolate_place_and_number() -> None:
    world = MemoryWorld(start_ms=NOW_MS)
    world.set_place(country="DE", colo="FRA")
    for _ in range(2):
        report(world.services(), (Viewed(clip="clip-1", at_ms=1), Viewed(clip="clip-1", at_ms=2)))
    first, second = world.batches()
    assert (first.node, first.country, first.colo, first.seq, first.at_ms) == ("node-1", "DE", "FRA", 1, NOW_MS)
    assert (second.seq, len(second.events)) == (2, 2)


def test_within_a_second_only_some_refusals_are_reported() -> None:
    world = MemoryWorld(start_ms=NOW_MS)
    refuse(world, REFUSALS_PER_SECOND + 5)
    assert suppressed(world) == [0] * REFUSALS_PER_SECOND
    world.wait_ms(999)
    refuse(world)
    assert len(suppressed(world)) == REFUSALS_PER_SECOND


def test_the_next_report_tells_how_many_were_only_counted() -> None:
    world = MemoryWorld(start_ms=NOW_MS)
    refuse(world, REFUSALS_PER_SECOND + 5)
    world.wait_ms(1000)
    refuse(world, 2)
    assert suppressed(world)[-2:] == [5, 0]


def test_suppressed_refusals_leave_no_gap_in_the_numbers() -> None:
    world = MemoryWorld(start_ms=NOW_MS)
    refuse(world, REFUSALS_PER_SECOND + 5)
    report(world.services(), (Viewed(clip="clip-1", at_ms=1),))
    assert [batch.seq for batch in world.batches()] == list(range(1, REFUSALS_PER_SECOND + 2))
