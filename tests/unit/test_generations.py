"""A bounded map in two generations."""

from edge.generations import Generations


def test_what_is_put_is_found() -> None:
    kept: Generations[str, int] = Generations(2)
    kept["a"] = 1
    assert (kept.get("a"), kept.get("b")) == (1, None)


def test_a_value_can_be_replaced() -> None:
    kept: Generations[str, int] = Generations(1)
    for value in range(5):
        kept["a"] = value
        assert kept.get("a") == value


def test_it_never_holds_more_than_two_generations() -> None:
    kept: Generations[int, int] = Generations(10)
    for number in range(1000):
        kept[number] = number
        assert len(kept) <= 20
    assert [kept.get(number) for number in (0, 979)] == [None, None]
    assert [kept.get(number) for number in range(990, 1000)] == list(range(990, 1000))


def test_what_is_asked_for_stays() -> None:
    kept: Generations[int, int] = Generations(10)
    kept[-1] = -1
    for number in range(1000):
        kept[number] = number
        assert kept.get(-1) == -1


def test_what_is_weighed_is_bounded_by_weight() -> None:
    kept: Generations[int, int] = Generations(100, lambda value: value)
    for number in range(1000):
        kept[number] = 1 + number % 40
        assert sum(1 + other % 40 for other in range(number + 1) if other in kept) <= 200
        assert number in kept


def test_what_is_larger_than_a_generation_is_kept_by_itself() -> None:
    kept: Generations[str, int] = Generations(100, lambda value: value)
    for name, weight in (("a", 500), ("b", 500), ("c", 1)):
        kept[name] = weight
    assert ("a" in kept, "b" in kept, "c" in kept) == (False, True, True)
