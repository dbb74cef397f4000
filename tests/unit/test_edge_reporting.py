"""Reporting: what comes close together goes out together, numbered; a flood of refusals is only counted."""

import msgspec
import pytest

from edge.reporting import EVERY_MS, GIVEN_UP_MS, MOST_BYTES, REFUSALS_PER_SECOND, report, report_refusal
from shared.insight.deliveries import MAX_MESSAGE_BYTES
from shared.insight.events import MAX_BATCH_EVENTS, ClaimIssued, EventBatch, Viewed
from shared.problems import Code
from tests.edge_world import MemoryWorld
from tests.samples import NOW_MS


def see(world: MemoryWorld, *clips: str) -> None:
    report(world.services(), tuple(Viewed(clip=clip, at_ms=1) for clip in clips), world.now_ms())


def sent(world: MemoryWorld) -> list[list[str]]:
    """Return the clips of the batches that went out, without waiting for any more."""
    batches = [msgspec.json.decode(message, type=EventBatch) for message in world.events.messages]
    return [[event.clip for event in batch.events] for batch in batches]


@pytest.fixture
def world() -> MemoryWorld:
    return MemoryWorld(start_ms=NOW_MS)


def refuse(world: MemoryWorld, times: int = 1) -> None:
    for _ in range(times):
        report_refusal(world.services(), drop="drop-1", clip="clip-1", offer="offer-1", code=Code.SOLD_OUT)


def suppressed(world: MemoryWorld) -> list[int]:
    return [event.suppressed for batch in world.batches() for event in batch.events]  # type: ignore[union-attr]


def test_a_batch_names_its_isolate_place_and_number(world: MemoryWorld) -> None:
    world.set_place(country="DE", colo="FRA")
    for _ in range(2):
        see(world, "clip-1", "clip-1")
        world.wait_ms(EVERY_MS)
    first, second = world.batches()
    assert (first.node, first.country, first.colo, first.seq, first.at_ms) == ("node-1", "DE", "FRA", 1, NOW_MS)
    assert (second.seq, len(second.events)) == (2, 2)


def test_after_a_quiet_moment_a_report_goes_out_at_once(world: MemoryWorld) -> None:
    for number in range(3):
        see(world, f"clip-{number}")
        world.wait_ms(EVERY_MS)
    assert sent(world) == [["clip-0"], ["clip-1"], ["clip-2"]]
    assert world.events.waiting == []


def test_what_follows_soon_goes_out_together_when_the_moment_is_over(world: MemoryWorld) -> None:
    see(world, "clip-0")
    world.wait_ms(4)
    for clip in ("clip-1", "clip-2", "clip-3"):
        see(world, clip)
    assert sent(world) == [["clip-0"]]
    assert [delay_ms for _, delay_ms in world.events.waiting] == [EVERY_MS - 4]  # one of them sends for all
    world.events.send_what_waits()
    assert sent(world) == [["clip-0"], ["clip-1", "clip-2", "clip-3"]]
    assert [batch.at_ms for batch in world.batches()] == [NOW_MS, NOW_MS + 4]  # when the first was reported


def test_what_goes_out_counts_as_the_last_report(world: MemoryWorld) -> None:
    see(world, "clip-0")
    see(world, "clip-1")
    world.wait_ms(EVERY_MS)
    world.events.send_what_waits()
    see(world, "clip-2")
    assert sent(world) == [["clip-0"], ["clip-1"]]


def test_each_event_has_its_own_viewers_country(world: MemoryWorld) -> None:
    see(world, "clip-0")
    for country in ("DE", "FR", "DE", ""):
        world.set_place(country=country, colo="FRA")
        see(world, f"clip-{country.lower()}x")
    batch = world.batches()[-1]
    assert batch.country == "DE"
    assert [event.country for event in batch.events] == [msgspec.UNSET, "FR", msgspec.UNSET, ""]


def test_another_colo_is_another_batch(world: MemoryWorld) -> None:
    see(world, "clip-0")
    for colo in ("FRA", "MUC"):
        world.set_place(colo=colo)
        see(world, f"clip-{colo.lower()}")
    assert [(batch.colo, len(batch.events)) for batch in world.batches()] == [("", 1), ("FRA", 1), ("MUC", 1)]


def test_a_full_batch_goes_out_before_the_moment_is_over(world: MemoryWorld) -> None:
    for number in range(1 + 2 * MAX_BATCH_EVENTS + 1):
        see(world, f"clip-{number}")
    assert [len(clips) for clips in sent(world)] == [1, MAX_BATCH_EVENTS, MAX_BATCH_EVENTS]
    assert [batch.seq for batch in world.batches()] == [1, 2, 3, 4]
    assert [clip for clips in sent(world) for clip in clips] == [f"clip-{number}" for number in range(102)]


def test_events_of_one_report_are_never_parted(world: MemoryWorld) -> None:
    see(world, "clip-0")
    see(world, "clip-1", "clip-2")
    see(world, *[f"clip-{number}" for number in range(MAX_BATCH_EVENTS - 1)])
    assert [len(batch.events) for batch in world.batches()] == [1, 2, MAX_BATCH_EVENTS - 1]


def test_the_largest_batch_is_a_message_that_the_provider_takes(world: MemoryWorld) -> None:
    name = "x" * 63
    claim = ClaimIssued(
        claim_id="C" * 22, drop=name, clip=name, offer=name, token="t" * 4096, expires_at_ms=10**15, country="DE"
    )
    view = Viewed(
        clip=name, offer=name, at_ms=10**15, name="n" * 40, duration_ms=86_399_999.123456, detail="\x01" * 200
    )
    for event in (claim, view):
        for _ in range(3 * MAX_BATCH_EVENTS):
            report(world.services(), (event,), world.now_ms())
    world.events.send_what_waits()
    largest = max(len(message.encode()) for message in world.events.messages)
    assert 0.8 * MOST_BYTES < largest < MAX_MESSAGE_BYTES
    assert sum(len(batch.events) for batch in world.batches()) == 6 * MAX_BATCH_EVENTS


def test_what_a_request_that_was_cut_off_has_gathered_is_sent_by_the_next(world: MemoryWorld) -> None:
    see(world, "clip-0")
    see(world, "clip-1")
    left_behind, world.events.waiting = world.events.waiting, []
    world.wait_ms(GIVEN_UP_MS)
    see(world, "clip-2")
    assert sent(world) == [["clip-0"], ["clip-1"]]
    # And should it come back after all, it sends nothing twice.
    assert [make() for make, _ in left_behind] == [None]
    assert [[event.clip for event in batch.events] for batch in world.batches()] == [["clip-0"], ["clip-1"], ["clip-2"]]
    assert [batch.seq for batch in world.batches()] == [1, 2, 3]


@pytest.mark.parametrize("jump_ms", [-3_600_000, 3_600_000])
def test_a_clock_that_jumps_holds_nothing_back(world: MemoryWorld, jump_ms: int) -> None:
    see(world, "clip-0")
    see(world, "clip-1")
    world.wait_ms(jump_ms)
    see(world, "clip-2")
    see(world, "clip-3")
    assert all(0 < delay_ms <= EVERY_MS for _, delay_ms in world.events.waiting)
    assert sorted(event.clip for batch in world.batches() for event in batch.events) == [
        "clip-0",
        "clip-1",
        "clip-2",
        "clip-3",
    ]


def test_within_a_second_only_some_refusals_are_reported(world: MemoryWorld) -> None:
    refuse(world, REFUSALS_PER_SECOND + 5)
    assert suppressed(world) == [0] * REFUSALS_PER_SECOND
    world.wait_ms(999)
    refuse(world)
    assert len(suppressed(world)) == REFUSALS_PER_SECOND


def test_the_next_report_tells_how_many_were_only_counted(world: MemoryWorld) -> None:
    refuse(world, REFUSALS_PER_SECOND + 5)
    world.wait_ms(1000)
    refuse(world, 2)
    assert suppressed(world)[-2:] == [5, 0]


def test_suppressed_refusals_leave_no_gap_in_the_numbers(world: MemoryWorld) -> None:
    for _ in range(REFUSALS_PER_SECOND + 5):
        refuse(world)
        world.wait_ms(EVERY_MS)
    see(world, "clip-1")
    assert [batch.seq for batch in world.batches()] == list(range(1, REFUSALS_PER_SECOND + 2))
