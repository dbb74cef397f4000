"""The locks say exactly what is installed: they cover pyproject.toml, each file by its hash, and name no index."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ("edge", "origin", "development", "resolver")
PINNED = re.compile(r"(?P<name>[a-z0-9][a-z0-9._-]*)==(?P<version>[^\s;\\]+)(?P<marker>\s*;[^\\]+)? \\")
HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}(?: \\)?")


def lock_text(name: str) -> str:
    return (ROOT / "scripts" / "requirements" / f"{name}.txt").read_text()


def locked(name: str) -> dict[str, str]:
    return {match["name"]: match["version"] for match in map(PINNED.fullmatch, lock_text(name).splitlines()) if match}


def wanted(name: str) -> dict[str, str]:
    """Return the requirements of pyproject.toml that a lock covers: the name, and what follows it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    parts = list(project["project"]["dependencies"])
    if name != "edge":
        parts += project["project"]["optional-dependencies"]["origin"]
    if name == "development":
        parts += project["dependency-groups"]["development"]
    split = (re.fullmatch(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?([^;]*)(?:;.*)?", part) for part in parts)
    return {match[1].lower(): match[2] for match in split if match}


@pytest.mark.parametrize("name", LOCKS)
def test_each_line_is_an_exact_version_or_a_hash(name: str) -> None:
    for line in lock_text(name).splitlines():
        assert PINNED.fullmatch(line) or HASH.fullmatch(line), line


@pytest.mark.parametrize("name", LOCKS)
def test_each_package_has_a_hash(name: str) -> None:
    lines = lock_text(name).splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        assert not PINNED.fullmatch(line) or HASH.fullmatch(following), line


@pytest.mark.parametrize("name", ["edge", "origin", "development"])
def test_each_dependency_is_locked_within_its_bounds(name: str) -> None:
    have = locked(name)
    for package, bounds in wanted(name).items():
        assert package in have
        version = have[package].split(".")
        for bound in filter(None, bounds.split(",")):
            operator, limit = re.fullmatch(r"(==|>=|<)(.+)", bound).groups()  # type: ignore[union-attr]
            mine = [int(part) for part in version[: len(limit.split("."))]]
            theirs = [int(part) for part in limit.split(".")]
            assert {"==": mine == theirs, ">=": mine >= theirs, "<": mine < theirs}[operator], f"{package} {bound}"


def test_one_environment_can_hold_what_running_and_development_need() -> None:
    development = locked("development")
    for package, version in locked("origin").items():
        assert development[package] == version
    for package, version in locked("edge").items():
        assert development[package] == version


def test_the_edge_lock_holds_more_hashes_of_msgspec_than_a_source_archive() -> None:
    # Its wheel for the interpreter in WebAssembly is among them: `scripts/lock` checks that with the index at hand.
    after = lock_text("edge").split("\nmsgspec==")[1].split("\n")[1:]
    hashes = [line for line in after[: next(i for i, line in enumerate(after) if not HASH.fullmatch(line))] if line]
    assert len(hashes) > 20
