"""A bounded map that costs no more to ask than a plain one: for what is asked for with every request.

What is new or asked for is in the young generation. When that is full it becomes the old one, and what nobody asked for
since the last time is forgotten: roughly the least recently used first, without keeping an order.
"""

from collections.abc import Callable
from typing import Final, Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Generations(Generic[K, V]):
    """Holds the last entries that were put or asked for, up to a size, and up to as many of those before.

    Args:
        size: of a generation; an entry that is larger is a generation by itself.
        weigh: how much of it a value takes; each takes 1 without it.
    """

    __slots__ = ("_old", "_size", "_taken", "_weigh", "_young")

    def __init__(self, size: int, weigh: Callable[[V], int] | None = None) -> None:
        self._size: Final = size
        self._weigh = weigh
        self._taken = 0
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        """Return what was put under a key, or None."""
        value = self._young.get(key)
        if value is None:
            value = self._old.pop(key, None)
            if value is not None:
                self[key] = value
        return value

    def __setitem__(self, key: K, value: V) -> None:
        """Keep a value, which is not None."""
        weight = self._weigh(value) if self._weigh else 1
        if self._taken + weight > self._size and self._young:
            self._old, self._young, self._taken = self._young, {}, 0
        self._taken += weight
        self._young[key] = value

    def __contains__(self, key: K) -> bool:
        """Return whether something is kept under a key."""
        return key in self._young or key in self._old

    def __len__(self) -> int:
        """Return how many entries there are; one that was put anew may be counted twice for a while."""
        return len(self._young) + len(self._old)
