"""Reports that go out together: whatever the pace, and whoever is cut off, each event goes out once and in order."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from edge.reporting import EVERY_MS, GIVEN_UP_MS, report
from shared.insight.deliveries import MAX_MESSAGE_BYTES
from shared.insight.events import MAX_BATCH_EVENTS, Viewed
from tests.edge_world import MemoryWorld
from tests.samples import NOW_MS

reports = st.tuples(st.just("report"), st.integers(1, MAX_BATCH_EVENTS))
waits = st.tuples(st.just("wait"), st.sampled_from([1, EVERY_MS - 1, EVERY_MS, GIVEN_UP_MS, -5 * GIVEN_UP_MS]))
countries = st.tuples(st.just("move"), st.integers(0, 2))
# Of the requests that are to send later, the one at this place: it does, or is cut off.
turns = st.tuples(st.sampled_from(["send", "cut off"]), st.integers(0, 3))


@given(steps=st.lists(st.one_of(reports, waits, countries, turns), max_size=60))
def test_every_event_goes_out_once_in_its_order_and_with_its_country(steps: list[tuple[str, int]]) -> None:
    world, told = MemoryWorld(start_ms=NOW_MS), list[tuple[str, str, str]]()
    country = colo = ""
    for step, number in steps:
        if step == "report":
            first = len(told)
            told += [(f"clip-{place}", country, colo) for place in range(first, first + number)]
            events = tuple(Viewed(clip=clip, at_ms=1, detail="\x01" * 200) for clip, _, _ in told[first:])
            report(world.services(), events, world.now_ms())
        elif step == "wait":
            world.wait_ms(number)
        elif step == "move":
            country, colo = ("DE", "FR", "")[number], ("FRA", "FRA", "MUC")[number]
            world.set_place(country=country, colo=colo)
        elif number < len(world.events.waiting):
            make, _ = world.events.waiting.pop(number)
            if step == "send" and (message := make()) is not None:
                world.events.send(message)
    # Whoever comes next sends what was left behind.
    world.events.waiting.clear()
    world.wait_ms(GIVEN_UP_MS)
    report(world.services(), (Viewed(clip="last", at_ms=1),), world.now_ms())
    batches = world.batches()
    sent = [
        (event.clip, batch.country if event.country is UNSET else event.country, batch.colo)
        for batch in batches
        for event in batch.events
    ]
    assert sent == [*told, ("last", country, colo)]
    assert [batch.seq for batch in batches] == list(range(1, len(batches) + 1))
    assert all(len(message.encode()) < MAX_MESSAGE_BYTES for message in world.events.messages)
