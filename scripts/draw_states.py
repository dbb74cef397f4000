"""Draw `origin/settlement/claim-states.md` from the table of a claim's states: `python -m scripts.draw_states`.

With `--check` nothing is written, and the exit code is 1 when the file is not what would be drawn.
"""

import argparse
import sys
from pathlib import Path
from typing import Final

from shared.claims.states import FINAL, TRANSITIONS, State, draw_states

PAGE: Final = Path(__file__).resolve().parent.parent / "origin" / "settlement" / "claim-states.md"
_HEAD: Final = """# The states of a claim

Drawn from the table in `shared/claims/states.py` by `python -m scripts.draw_states`. Time moves a claim by itself:
whether it has lapsed is decided by comparing instants when it is read, never by a sweeper.
"""


def write_page() -> str:
    """Return the page: the picture, then the table."""
    rows = [
        f"| {move.source} | {move.target} | {', '.join(sorted(move.actors))} | {move.meaning} |" for move in TRANSITIONS
    ]
    table = "\n".join(["| From | To | By | Meaning |", "|---|---|---|---|", *rows])
    final = ", ".join(state for state in State if state in FINAL)
    return f"{_HEAD}\n```mermaid\n{draw_states()}```\n\n{table}\n\nFinal, nothing is owed: {final}.\n"


def main(arguments: list[str]) -> int:
    """Write the page, or compare it."""
    parser = argparse.ArgumentParser(prog="python -m scripts.draw_states", description=f"Draw {PAGE.name}.")
    parser.add_argument("--check", action="store_true", help="only say whether the page is as it should be")
    if parser.parse_args(arguments).check:
        return 0 if PAGE.read_text() == write_page() else 1
    PAGE.write_text(write_page())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
