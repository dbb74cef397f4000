"""A bounded map in two generations."""

from edge.generations import Generations


def test_what_is_put_is_found() -> None:
    kept: Generations[str, int] = Generations(2)
    kept.put("a", 1)
    assert (kept.get("a"), kept.get("b")) == (1, None)


def test_a_value_can_be_replaced() -> None:
    kept: Generations[str, int] = Generations(1)
    for value in range(5):
        kept.put("a", value)
        assert kept.get("a") == value


def test_it_never_holds_more_than_two_generations() -> None:
    kept: Generations[int, int] = Generations(10)
    for number in range(1000):
        kept.put(number, number)
        assert len(kept) <= 20
    assert [kept.get(number) for number in (0, 979)] == [None, None]
    assert [kept.get(number) for number in range(990, 1000)] == list(range(990, 1000))


def test_what_is_asked_for_stays() -> None:
    kept: Generations[int, int] = Generations(10)
    kept.put(-1, -1)
    for number in range(1000):
        kept.put(number, number)
        assert kept.get(-1) == -1
