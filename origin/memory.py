"""Python's collector of reference cycles, set for a process that lives long and makes no cycles on its hot path."""

import gc
from typing import Final

_YOUNG: Final = 20_000
_MIDDLE: Final = 20
_OLD: Final = 50


def calm_collector() -> None:
    """Look for cycles seldom, and never again among what is there now. Call it once, after all imports.

    A claim that settles leaves no cycle behind, but makes dozens of objects: by default the collector walks over all
    that waits after every 700 of them. Measured: 34 us of Python a claim before, 28.5 after; 28.5 without collector.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
