"""What `wrangler.toml` says of the Worker, for those who run it elsewhere. Standard library only."""

import tomllib
from pathlib import Path


def read_rate_limits(root: Path) -> dict[str, dict[str, int]]:
    """Return limit (calls) and period (seconds) of each rate-limit binding, by its name.

    Args:
        root: of a clone.
    """
    configuration = tomllib.loads((root / "wrangler.toml").read_text())
    return {binding["name"]: dict(binding["simple"]) for binding in configuration["ratelimits"]}
