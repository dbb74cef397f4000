"""What the edge costs: `scripts/cost [--viewers N --claims M] [--minutes D] [--offers K] [--json]`.

Without `--viewers`: what a million overlays, claims, looks at stock and browser reports need and cost. With it: the
bill of a drop (`scripts.costs.planning` says how often a browser asks; `scripts.costs.prices` has the prices).
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from scripts.children import RunError
from scripts.costs.measuring import CostError, measure
from scripts.costs.planning import Bill, Drop, Line, Sample, cost_of_million, plan
from scripts.costs.prices import PRICES, READ_ON
from scripts.vendoring import BundleError

COUNTS: Final = {"overlay": 2000, "claim": 500, "stock": 2000, "beacon": 500}
QUICK_COUNTS: Final = dict.fromkeys(COUNTS, 100)
NANO: Final = 1_000_000_000
UNITS: Final = {"cpu_us": ("processor ms", 1000)}


def main(arguments: Sequence[str]) -> int:
    """Measure, compute, and print text or one JSON document; 0 when that was possible."""
    chosen = read_arguments(arguments)
    try:
        samples = asyncio.run(measure(QUICK_COUNTS if chosen.quick else COUNTS))
    except (CostError, RunError, BundleError) as problem:
        sys.stderr.write(f"cliptill: {problem}\n")
        return 1
    bill = None
    if chosen.viewers is not None:
        bill = plan(samples, read_drop(chosen))
    sys.stdout.write(write_json(samples, bill) if chosen.json else write_text(samples, bill))
    return 0


def read_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Return what the user asked for."""
    parser = argparse.ArgumentParser(prog="scripts/cost", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--viewers", type=_number, metavar="N", help="plan a drop with so many viewers")
    parser.add_argument("--claims", type=_number, metavar="M", help="taps that get a claim (0)")
    parser.add_argument("--minutes", type=_number, metavar="D", help="how long viewers watch (10)")
    parser.add_argument("--offers", type=_number, metavar="K", help="offers in the clip (1)")
    parser.add_argument("--isolates", type=_number, metavar="I", help="isolates of the network that serve it (100)")
    parser.add_argument("--quick", action="store_true", help="measure so little that no figure is worth quoting")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    chosen = parser.parse_args(arguments)
    given = [chosen.claims, chosen.minutes, chosen.offers, chosen.isolates]
    if chosen.viewers is None and any(value is not None for value in given):
        parser.error("a drop is planned with --viewers")
    return chosen


def _number(text: str) -> int:
    if not text.isdecimal() or int(text) > NANO:
        raise argparse.ArgumentTypeError(f"{text} is no whole number up to a thousand million")
    return int(text)


def read_drop(chosen: argparse.Namespace) -> Drop:
    """Return the drop that the arguments describe."""
    names = ("viewers", "minutes", "offers", "isolates")
    given = {name: value for name in names if (value := getattr(chosen, name)) is not None}
    return Drop(claims=chosen.claims or 0, **given)


def write_json(samples: dict[str, Sample], bill: Bill | None) -> str:
    """Return everything as one JSON document, with the prices and where they are published."""
    document: dict[str, Any] = {
        "prices": PRICES,
        "prices_read_on": READ_ON,
        "measured": samples,
        "a_million": {kind: cost_of_million(sample) for kind, sample in samples.items()},
        "drop": bill,
    }
    return msgspec.json.encode(document).decode() + "\n"


def write_text(samples: dict[str, Sample], bill: Bill | None) -> str:
    """Return everything for a person."""
    parts = [f"prices as published, read on {READ_ON}; nothing of the plan's inclusion is taken off\n"]
    for kind, sample in samples.items():
        parts += [f"\na million times {kind} (measured: {sample.count}):\n", *_write_lines(cost_of_million(sample))]
    if bill is not None:
        drop = bill.drop
        asked = ", ".join(f"{number:,} x {kind}" for kind, number in bill.asked.items())
        parts += [
            f"\na drop of {drop.minutes} minutes with {drop.viewers:,} viewers, {drop.claims:,} claims: {asked}\n"
        ]
        parts += [*_write_lines(bill.lines), f"  {'together':<18} {'':>20} {_usd(bill.nano_usd):>12} USD\n"]
        parts += [f"beyond the month's inclusion, if nothing else uses it: {_usd(bill.beyond_included_nano_usd)} USD, "]
        parts += [f"beside {_usd(bill.plan_nano_usd)} USD for the plan\n"]
    return "".join(parts)


def _write_lines(lines: dict[str, Line]) -> list[str]:
    written = []
    for name, line in lines.items():
        unit, factor = UNITS.get(name, (name.replace("_", " "), 1))
        written.append(f"  {unit:<18} {line.quantity // factor:>20,} {_usd(line.nano_usd):>12} USD\n")
    return written


def _usd(nano_usd: int) -> str:
    """Return an amount with four digits, rounded up."""
    ten_thousandths = -(-nano_usd // 100_000)
    return f"{ten_thousandths // 10_000:,}.{ten_thousandths % 10_000:04}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
