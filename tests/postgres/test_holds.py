"""Holds over HTTP on a real server: set aside, given back, lapsed without a sweeper, killed in the middle."""

import signal
from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.postgres.world import OriginProcess, Tap, Viewer, World, together, until


def state_of(origin: OriginProcess, tap: Tap) -> str:
    return str(origin.read(tap, "/standing").json()["state"])


def test_a_claim_that_is_to_be_paid_is_held_and_told_in_the_same_bytes(world: World, origin: OriginProcess) -> None:
    world.add_paid_offer("card")
    tap = Tap()
    assert state_of(origin, tap) == "claimed"
    first = origin.settle(tap)
    assert first.status_code == 202
    held = first.json()
    assert (held["status"], held["payment"], held["total_minor"]) == ("held", "card", tap.claim.total_minor)
    assert held["held_until_ms"] - held["held_at_ms"] == 300_000
    assert held["pay_url"].endswith(f"/v1/settlements/{tap.claim.jti}/payment")
    assert [origin.settle(tap).content, origin.read(tap).content] == [first.content] * 2
    assert world.stock() == (99, 1, 0)
    assert world.count() == 0
    assert state_of(origin, tap) == "held"


def test_a_hold_is_given_back_once_and_may_be_taken_again(world: World, origin: OriginProcess) -> None:
    """Failure table: cancel frees nothing."""
    world.add_paid_offer()
    tap = Tap()
    assert origin.post(tap, "/release").json()["code"] == "not_held"
    origin.settle(tap)
    assert [origin.post(tap, "/release").json()["state"] for _ in range(3)] == ["released"] * 3
    assert world.stock() == (100, 0, 0)
    assert origin.read(tap).json()["code"] == "hold_released"
    assert origin.settle(tap).status_code == 202
    assert world.stock() == (99, 1, 0)


def test_what_has_lapsed_is_free_for_others_though_nobody_wrote_it_down(world: World, origin: OriginProcess) -> None:
    """Failure table: expiry depends on a sweeper."""
    world.add_drop("drop-2", total=1)
    world.add_paid_offer(drop="drop-2")
    owner, other = Tap(drop="drop-2"), Tap(drop="drop-2")
    assert origin.settle(owner).status_code == 202
    assert origin.settle(Tap(drop="drop-2")).json()["code"] == "sold_out"
    world.expire_holds("drop-2")
    seen = origin.client.get("/v1/stock?drops=drop-2").json()["drops"][0]
    assert (seen["remaining"], world.stock("drop-2")) == (1, (0, 1, 0))
    assert state_of(origin, owner) == "lapsed"
    assert origin.read(owner).json()["code"] == "hold_lapsed"
    assert origin.settle(other).status_code == 202
    after = origin.client.get("/v1/stock?drops=drop-2").json()["drops"][0]
    assert after["version"] > seen["version"]
    assert world.stock("drop-2") == (0, 1, 0)


def test_a_viewer_is_not_locked_out_by_their_own_hold(world: World, origin: OriginProcess) -> None:
    """Failure table: a shopper locked out by their own hold."""
    world.add_drop("drop-2", total=1)
    world.add_paid_offer(drop="drop-2")
    viewer = Viewer()
    taps = [Tap(viewer, drop="drop-2") for _ in range(3)]
    assert [origin.settle(tap).status_code for tap in taps] == [202, 202, 202]
    assert [state_of(origin, tap) for tap in taps] == ["released", "released", "held"]
    assert world.stock("drop-2") == (0, 1, 0)


def test_many_at_once_hold_what_there_is_and_no_more(world: World, origin: OriginProcess) -> None:
    """Failure table: last unit sold twice."""
    world.add_drop("drop-2", total=5)
    world.add_paid_offer(drop="drop-2")
    codes = together(lambda tap: origin.settle(tap).status_code, [Tap(drop="drop-2") for _ in range(40)])
    assert sorted(codes) == [202] * 5 + [409] * 35
    assert world.stock("drop-2") == (0, 5, 0)


def test_only_its_viewer_gives_a_hold_back(world: World, origin: OriginProcess) -> None:
    world.add_paid_offer()
    tap = Tap()
    origin.settle(tap)
    tap.viewer = Viewer()
    assert origin.post(tap, "/release").json()["code"] == "proof_other_key"
    assert world.stock() == (99, 1, 0)


def test_a_hold_is_of_the_database_not_of_the_process(world: World) -> None:
    world.add_paid_offer()
    first, tap = world.start(), Tap()
    answer = first.settle(tap).content
    first.kill()
    second = world.start()
    assert second.settle(tap).content == answer
    assert second.post(tap, "/release").json()["state"] == "released"


def test_an_origin_that_is_killed_while_it_holds_has_held_nothing(world: World) -> None:
    """Kill -9 between the lock and the commit: stock and holds are as they were, and the tap goes through elsewhere."""
    world.add_paid_offer()
    first, tap = world.start(), Tap()
    with world.hold(), ThreadPoolExecutor(1) as pool:
        answer = pool.submit(first.settle, tap)
        until(lambda: bool(world.waiting_backends()))
        first.process.send_signal(signal.SIGKILL)
        assert isinstance(answer.exception(), httpx.TransportError)
    until(lambda: not world.waiting_backends())
    assert world.stock() == (100, 0, 0)
    assert world.execute("SELECT count(*) FROM holds") == [(0,)]
    assert world.start().settle(tap).status_code == 202
    assert world.stock() == (99, 1, 0)
