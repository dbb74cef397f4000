"""Stands in for the runtime's helper of the SDK.

`patchWaitUntil` has nothing to do here: the host hands each entry point a context that already takes coroutines.
"""

import importlib
from typing import Any


def patchWaitUntil(ctx: Any) -> None:  # noqa: N802, ANN401 (the runtime's name; a context of the runtime)
    """Leave the context as it is."""


def __getattr__(name: str) -> Any:  # noqa: ANN401 (objects of the runtime)
    """Give what the host registered: `cloudflareWorkersModule`, `doAnImport` and the like."""
    # Registered after the memory snapshot was restored, so not there yet when this module is imported.
    return getattr(importlib.import_module("_emulator_js"), name)
