"""Following changes of the edge's files."""

import os
from pathlib import Path

import httpx

from scripts.watching import describe_reload, list_files


def test_only_what_goes_into_the_bundle_is_watched(tmp_path: Path) -> None:
    for name in (
        "edge/app.py",
        "edge/component/card.js",
        "shared/money.py",
        "origin/app.py",
        "edge/__pycache__/app.py",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    watched = {file.relative_to(tmp_path).as_posix() for file in list_files(tmp_path)}
    assert watched == {"edge/app.py", "edge/component/card.js", "shared/money.py"}


def test_a_changed_file_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "edge" / "app.py"
    file.parent.mkdir()
    file.write_text("1")
    before = list_files(tmp_path)
    file.write_text("2")
    os.utime(file, ns=(0, 1))
    assert list_files(tmp_path) != before


def test_a_refused_bundle_is_told_with_its_reason() -> None:
    refusal = {"code": "bundle_refused", "detail": "Traceback\nSyntaxError: invalid syntax"}
    assert describe_reload(httpx.Response(422, json=refusal)).endswith("Traceback\nSyntaxError: invalid syntax")
    assert describe_reload(httpx.Response(200, json={})) == "the edge runs the changed bundle"
