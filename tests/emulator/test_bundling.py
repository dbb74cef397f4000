"""What is staged, and what the platform's tool would upload of it."""

import gzip
import json
import os
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from edge.operations import OPERATIONS
from scripts.bundling import stage
from scripts.vendoring import STAMP, BundleError, vendor
from tests.emulator.program import ROOT

COMPONENT = "edge/component/cliptill-overlay.js"
CLAIMS = "edge/component/cliptill-claims.js"
MONEY = "shared/catalogue/money.py"
STYLE = "edge/component/overlay.css"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A small clone with the product's wheels, and packages of two files."""
    for name in (
        "edge/__init__.py",
        "edge/worker.py",
        "shared/__init__.py",
        "shared/kept.txt",
        "shared/catalogue/money.py",
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f'"""{name}."""\n')
    (tmp_path / COMPONENT).parent.mkdir()
    overlay = 'import { tag } from "./tag.js";\nexport { tag };\ncustomElements.define(tag, class {});\n'
    (tmp_path / COMPONENT).write_text(overlay)
    (tmp_path / CLAIMS).write_text('import { tag } from "./cliptill-overlay.js";\nconsole.log(tag);\n')
    (tmp_path / STYLE).write_text("h1 { color: red; }\n")
    (tmp_path / "edge/component/tag.js").write_text('export const tag = "cliptill-overlay";\n')
    requirements = tmp_path / "scripts" / "requirements"
    requirements.mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "requirements" / "edge.txt", requirements)
    (ROOT / "build").mkdir(exist_ok=True)
    vendor(requirements / "edge.txt", ROOT / "python_modules", ROOT / "build")
    shutil.copytree(ROOT / "python_modules", tmp_path / "python_modules")
    (tmp_path / "node_modules").symlink_to(ROOT / "node_modules")
    return tmp_path


def _staged(root: Path) -> dict[str, bytes]:
    folders = [root / "build" / "bundle", root / "build" / "assets"]
    paths = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(root / "build").as_posix(): path.read_bytes() for path in paths}


def test_the_workers_python_files_and_the_component_are_staged(clone: Path) -> None:
    manifest = stage(clone)
    assert sorted(_staged(clone)) == [
        "assets/_headers",
        "assets/cliptill-claims.js",
        "assets/cliptill-overlay.js",
        "assets/overlay.css",
        "bundle/edge/__init__.py",
        "bundle/edge/worker.py",
        "bundle/shared/__init__.py",
        "bundle/shared/catalogue/money.py",
        "bundle/worker.py",
    ]
    component = _staged(clone)["assets/cliptill-overlay.js"]
    assert b"import" not in component
    assert b'from"./cliptill-overlay.js"' in _staged(clone)["assets/cliptill-claims.js"]
    assert b"cliptill-overlay" in component
    assert manifest["component_gzip_bytes"] == len(gzip.compress(component, 9, mtime=0))
    assert "python_modules/starlette/routing.py" in manifest["bundle"]
    assert not [name for name in manifest["bundle"] if name.endswith((".pyi", STAMP)) or "dist-info" in name]
    assert json.loads((clone / "build" / "manifest.json").read_text()) == manifest


def test_the_same_sources_give_the_same_bytes(clone: Path) -> None:
    first, files = stage(clone), _staged(clone)
    (clone / "edge" / "worker.py").touch()
    assert stage(clone) == first
    assert _staged(clone) == files


def test_an_edge_that_runs_goes_on_serving_the_static_files_when_they_are_staged_again(clone: Path) -> None:
    stage(clone)
    assets = clone / "build" / "assets"
    opened = os.open(assets, os.O_RDONLY)
    try:
        (clone / STYLE).write_text("h1 { color: blue; }\n")
        (assets / "left-over.js").touch()
        stage(clone)
        assert os.fstat(opened).st_ino == assets.stat().st_ino
        with os.fdopen(os.open("overlay.css", os.O_RDONLY, dir_fd=opened)) as style:
            assert "#00f" in style.read()
    finally:
        os.close(opened)
    assert not (assets / "left-over.js").exists()


def test_what_is_removed_from_the_sources_is_removed_from_the_bundle(clone: Path) -> None:
    stage(clone)
    (clone / "shared" / "catalogue" / "money.py").unlink()
    stage(clone)
    assert "bundle/shared/catalogue/money.py" not in _staged(clone)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        pytest.param(COMPONENT, "not javascript (", "cannot be bundled", id="component-with-an-error"),
        pytest.param(COMPONENT, None, "is missing", id="component-missing"),
        pytest.param("scripts/requirements/edge.txt", None, "run scripts/lock", id="lock-missing"),
        pytest.param("scripts/requirements/edge.txt", "idna==3.20 --hash=sha256:00\n", "cannot be had", id="bad-hash"),
        pytest.param(MONEY, "import origin.app\n", "money.py, line 1: imports origin.app", id="import-of-the-origin"),
        pytest.param(MONEY, "import re, subprocess\n", "line 1: imports subprocess", id="import-of-what-is-not-there"),
        pytest.param(MONEY, "\nfrom shared.none import x\n", "line 2: imports shared.none", id="import-of-nothing"),
        pytest.param(MONEY, "import httpx\n", "imports httpx", id="import-of-what-is-not-vendored"),
        pytest.param(MONEY, "def broken(:\n", "money.py, line 1: SyntaxError", id="syntax-error"),
        pytest.param(MONEY, f"x = '{os.urandom(1_600_000).hex()}'", "are the most", id="bundle-too-large"),
        pytest.param(COMPONENT, f"console.log('{os.urandom(7000).hex()}')", "are the most", id="component-too-large"),
    ],
)
def test_what_cannot_be_staged_leaves_the_former_bundle(
    clone: Path, name: str, text: str | None, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    stage(clone)
    files, wheels = _staged(clone), sorted((clone / "python_modules").rglob("*"))
    if text is None:
        (clone / name).unlink()
    else:
        (clone / name).write_text(text)
    with pytest.raises(BundleError, match=message):
        stage(clone)
    assert _staged(clone) == files
    assert sorted((clone / "python_modules").rglob("*")) == wheels
    assert sorted(path.name for path in (clone / "build").iterdir()) == [".lock", "assets", "bundle", "manifest.json"]
    capsys.readouterr()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param("msgspec/_core.cpython-314-x86_64-linux-gnu.so", b"\x7fELF", id="linux"),
        pytest.param("msgspec/_core.cpython-314-wasm32-emscripten.so", b"\x7fELF", id="linux-under-another-name"),
        pytest.param("msgspec/_core.pyd", b"MZ", id="windows"),
    ],
)
def test_a_wheel_that_was_compiled_for_another_platform_is_refused(clone: Path, name: str, content: bytes) -> None:
    (clone / "python_modules" / name).write_bytes(content)
    with pytest.raises(BundleError, match=f"{Path(name).name} is compiled for another platform"):
        stage(clone)


@pytest.mark.parametrize("environment_name", ["staging", "production"])
def test_the_platforms_tool_would_upload_the_bundle_and_nothing_else(clone: Path, environment_name: str) -> None:
    manifest = stage(clone)
    configuration = (ROOT / "wrangler.toml").read_text()
    assert 'command = "scripts/bundle"' in configuration
    (clone / "wrangler.toml").write_text(configuration.replace('command = "scripts/bundle"', 'command = "true"'))
    # No address answers: the tool must need none.
    environment = {
        **os.environ,
        **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9"),
        "WRANGLER_SEND_METRICS": "false",
        "WRANGLER_LOG_PATH": str(clone / "logs"),
        "XDG_CONFIG_HOME": str(clone / "home"),
        "CI": "1",
    }
    command = ["node_modules/.bin/wrangler", "deploy", "--dry-run", "--outdir", "out", "--env", environment_name]
    done = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    warnings = [line for line in (done.stdout + done.stderr).splitlines() if "WARNING" in line]
    # That routes with a path serve assets below that path only is what is meant.
    expected = ("Proxy environment variables", "will attempt to serve Assets on a configured path")
    assert [line for line in warnings if not any(text in line for text in expected)] == []
    for binding in ("MANIFESTS", "EVENTS", "VIEWER_LIMIT", "NETWORK_LIMIT", "ORIGIN_URL", "ISSUER"):
        assert f"env.{binding}" in done.stdout
    uploaded = {path.relative_to(clone / "out").as_posix() for path in (clone / "out").rglob("*") if path.is_file()}
    assert uploaded - {"README.md"} == set(manifest["bundle"])


def test_routes_lead_to_the_worker_what_it_answers_and_nothing_else(clone: Path) -> None:
    stage(clone)
    configuration = tomllib.loads((ROOT / "wrangler.toml").read_text())
    assert list(configuration["env"]) == ["staging", "production"]
    paths = {operation.path for operation in OPERATIONS}
    files = {f"/{file.name}" for file in (clone / "build" / "assets").iterdir() if not file.name.startswith("_")}
    for environment in configuration["env"].values():
        assert all(route["pattern"].endswith("*") and "custom_domain" not in route for route in environment["routes"])
        begins = tuple("/" + route["pattern"].partition("/")[2].removesuffix("*") for route in environment["routes"])
        assert all(path.startswith(begins) for path in paths | files)
        assert not any(path.startswith(begins) for path in ("/", "/shared/clips/a/overlay", "/.well-known/jwks.json"))
