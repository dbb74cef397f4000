"""Benchmarks from one command: `scripts/bench [edge] [settle] [reconcile] [--quick | --full] [--json]`; or all."""

import argparse
import os
import platform
import sys
from collections.abc import Callable
from typing import Any, Final

import msgspec

from scripts.benchmarks import edge, reconcile, settle, soak
from scripts.benchmarks.figures import BenchError, Effort, Figure
from scripts.vendoring import BundleError

SUITES: Final[dict[str, Callable[[Effort], dict[str, Any]]]] = {
    "edge": lambda effort: edge.measure(quick=effort == "quick"),
    "settle": settle.measure,
    "soak": soak.measure,
    "reconcile": reconcile.measure,
}


def main(arguments: list[str]) -> int:
    """Run the chosen suites, and print their figures as text or as one JSON document."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("suite", nargs="*", choices=[*SUITES, []], help="what to measure (all)")
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="measure so little that no figure is worth quoting")
    size.add_argument("--full", action="store_true", help="measure growth to its end; it takes minutes more")
    options = parser.parse_args(arguments)
    effort: Effort = "quick" if options.quick else "full" if options.full else "normal"
    report: dict[str, Any] = {"machine": {"processors": os.cpu_count(), "python": platform.python_version()}}
    try:
        for name in options.suite or SUITES:
            figures = SUITES[name](effort)
            report |= figures.pop("headline", {})
            report[name] = figures
    except (BundleError, BenchError) as problem:
        sys.stderr.write(f"cliptill: {problem}\n")
        return 1
    if options.json:
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    else:
        _print_text(report)
    return 0


def _print_text(report: dict[str, Any], indent: str = "") -> None:
    for name, value in report.items():
        if isinstance(value, dict):
            sys.stdout.write(f"{indent}{name}\n")
            _print_text(value, indent + "  ")
        elif isinstance(value, Figure):
            noise = "  (noisy)" if value.noisy else ""
            spread = f"{value.least:,} to {value.most:,}"
            sys.stdout.write(f"{indent}{name}: {value.median:,} {value.unit}, {spread}{noise}\n")
        else:
            sys.stdout.write(f"{indent}{name}: {value}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
