"""Stage what the edge runs: `build/bundle` (the Worker), `python_modules` (its wheels), `build/assets` (static files).

Rules:
1. The emulator runs exactly what would be deployed. The platform's tool wants the vendored wheels beside its
   configuration file, and only the Worker's own files below its main module: hence two folders.
2. A folder is made aside and then renamed: nobody sees it half done, and what fails leaves the former one. Static files
   are put in their places one by one: an edge that runs serves them from the folder that it opened.
3. The same sources give the same bytes. `build/manifest.json` lists them, with sizes and hashes.
4. A bundle that would not run (`scripts.bundle_rules`), or that outgrows its limit, is refused; a component too.

Standard library only: this runs while a clone is being set up.
"""

import argparse
import fcntl
import gzip
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from scripts.bundle_rules import find_problems
from scripts.selfhosting import write_node
from scripts.vendoring import STAMP, BundleError, replace, vendor

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("edge", "shared")
MAIN_MODULE = "from edge.worker import Default as Default\n"
# What a page loads, and what that fetches once the overlay is drawn: two files, so that claims never delay overlays.
COMPONENT = "edge/component/cliptill-overlay.js"
COMPONENT_CLAIMS = "edge/component/cliptill-claims.js"
# What the overlay looks like as a document of its own.
DOCUMENT_STYLE = "edge/component/overlay.css"
BUNDLE_GZIP_MOST = 1536 * 1024
COMPONENT_GZIP_MOST = 6 * 1024
# Any page may load the component, and each browser asks for it again after five minutes, in the background.
HEADERS = """\
/*
  Access-Control-Allow-Origin: *
  Cross-Origin-Resource-Policy: cross-origin
  Timing-Allow-Origin: *
  X-Content-Type-Options: nosniff
  Cache-Control: public, max-age=300, stale-while-revalidate=86400
"""


def main(arguments: list[str]) -> int:
    """Stage everything, and say what it weighs; with `--self-hosted`, write an edge node of one's own too."""
    parser = argparse.ArgumentParser(prog="scripts/bundle", description="Stage what the edge runs.")
    parser.add_argument("--self-hosted", metavar="DIR", type=Path, help="write a node for plain workerd into a folder")
    options = parser.parse_args(arguments)
    try:
        manifest = stage(ROOT)
        node = write_node(ROOT, options.self_hosted.resolve()) if options.self_hosted else None
    except BundleError as problem:
        print(f"cliptill: {problem}", file=sys.stderr)
        return 1
    print(
        f"bundle: {len(manifest['bundle'])} files, {manifest['gzip_bytes'] / 1024:.0f} KiB gzip; "
        f"component: {manifest['component_gzip_bytes'] / 1024:.1f} KiB gzip"
    )
    if node is not None:
        size = sum(facts["bytes"] for facts in node["files"].values())
        print(f"edge node: {len(node['files'])} files, {size / 2**20:.0f} MiB, in {options.self_hosted}")
    return 0


def stage(root: Path) -> dict[str, Any]:
    """Stage the clone at `root`, and return the manifest that was written.

    Raises:
        BundleError: something is missing, cannot be built, or is too large. What was staged before stays.
    """
    build = root / "build"
    build.mkdir(exist_ok=True)
    with (build / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        vendor(root / "scripts" / "requirements" / "edge.txt", root / "python_modules", build)
        with tempfile.TemporaryDirectory(prefix=".staging-", dir=build) as name:
            return _stage_in(Path(name), root, build)


def _stage_in(folder: Path, root: Path, build: Path) -> dict[str, Any]:
    """Make both folders inside `folder`, check them, and put them in their places."""
    bundle, assets = folder / "bundle", folder / "assets"
    stage_worker(root, bundle)
    stage_assets(root, assets)
    vendored = root / "python_modules"
    problems = list(find_problems(bundle, vendored))
    if problems:
        raise BundleError("; ".join(problems[:5]))
    manifest = describe(bundle, vendored, assets)
    _check_sizes(manifest)
    replace(bundle, build / bundle.name)
    _replace_files(assets, build / assets.name)
    written = folder / "manifest.json"
    written.write_text(json.dumps(manifest, indent=1) + "\n")
    written.replace(build / "manifest.json")
    return manifest


def _replace_files(fresh: Path, target: Path) -> None:
    """Make a folder hold the files of another one, which is emptied; each file is whole at every moment."""
    target.mkdir(exist_ok=True)
    names = {path.name for path in fresh.iterdir()}
    for name in names:
        (fresh / name).replace(target / name)
    for left in target.iterdir():
        if left.name not in names:
            left.unlink()


def stage_worker(root: Path, bundle: Path) -> None:
    """Write the Worker's own files: its main module and the Python files of the packages that run at the edge."""
    bundle.mkdir()
    (bundle / "worker.py").write_text(MAIN_MODULE)
    for package in PACKAGES:
        sources = [path for path in sorted((root / package).rglob("*.py")) if "__pycache__" not in path.parts]
        if not sources:
            raise BundleError(f"{root / package} holds no Python files: is the clone whole?")
        for source in sources:
            target = bundle / source.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())


def stage_assets(root: Path, assets: Path) -> None:
    """Write the static files: the component as two minified modules, and the headers that they are served with."""
    assets.mkdir()
    (assets / "_headers").write_text(HEADERS)
    entries = [root / name for name in (COMPONENT, COMPONENT_CLAIMS, DOCUMENT_STYLE)]
    tool = root / "node_modules" / ".bin" / "esbuild"
    for entry in entries:
        if not entry.is_file():
            raise BundleError(f"{entry} is missing: is the clone whole?")
    if not tool.exists():
        raise BundleError(f"{tool} is missing: run npm ci")
    options = ["--bundle", "--minify", "--format=esm", "--target=es2022", "--charset=utf8", "--log-level=warning"]
    # The second module imports what it shares with the first one from it, when it runs.
    options += [f"--external:./{Path(COMPONENT).name}", f"--outdir={assets}"]
    command = [str(tool), *map(str, entries), *options]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.stderr.write(done.stderr)
        raise BundleError(f"{COMPONENT} cannot be bundled (see above)")


def describe(bundle: Path, vendored: Path, assets: Path) -> dict[str, Any]:
    """Return what was staged: every file with its size and its SHA-256, and the totals that are limited."""
    files = {**_files(bundle, ""), **_files(vendored, "python_modules/")}
    component = assets / Path(COMPONENT).name
    return {
        "bundle": {name: _facts(files[name].read_bytes()) for name in sorted(files)},
        "assets": {name: _facts(path.read_bytes()) for name, path in sorted(_files(assets, "").items())},
        "gzip_bytes": sum(_gzip_bytes(path.read_bytes()) for path in files.values()),
        "component_gzip_bytes": _gzip_bytes(component.read_bytes()),
    }


def _files(folder: Path, prefix: str) -> dict[str, Path]:
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != STAMP)
    return {prefix + path.relative_to(folder).as_posix(): path for path in paths}


def _facts(content: bytes) -> dict[str, Any]:
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _gzip_bytes(content: bytes) -> int:
    return len(gzip.compress(content, 9, mtime=0))


def _check_sizes(manifest: dict[str, Any]) -> None:
    checks = (
        ("the bundle", manifest["gzip_bytes"], BUNDLE_GZIP_MOST),
        ("the overlay component", manifest["component_gzip_bytes"], COMPONENT_GZIP_MOST),
    )
    for what, size, most in checks:
        if size > most:
            raise BundleError(f"{what} is {size} bytes gzip, and {most} are the most")
