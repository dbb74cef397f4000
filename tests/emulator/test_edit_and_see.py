"""A changed file of the edge is soon served; a broken one is told with its line, and the last good bundle serves on."""

import asyncio
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from scripts import bundling
from scripts.watching import Follower, list_files
from shared.encoding import encode_base64url
from tests.emulator.program import ROOT, RunningEdge, configure, running
from tests.emulator.services import FakeServices

PATIENCE_S = 10.0


class Sources:
    """A copy of the edge's sources, followed by a thread, with what was said so far."""

    def __init__(self, root: Path, edge: RunningEdge) -> None:
        self.root, self.edge = root, edge
        self.said: list[str] = []
        self._loop = asyncio.new_event_loop()
        follower = Follower(root, str(edge.control.base_url).rstrip("/"), self.said.append)
        self._task = self._loop.create_task(follower.follow())
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        self._loop.run_until_complete(asyncio.gather(self._task, return_exceptions=True))
        self._loop.close()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join()

    def replace(self, old: str, new: str, file: str = "edge/app.py") -> None:
        path = self.root / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def line_of(self, text: str, file: str = "edge/app.py") -> int:
        lines = (self.root / file).read_text().splitlines()
        return next(number for number, line in enumerate(lines, 1) if text in line)

    def version(self) -> str:
        return str(self.edge.node.get("/openapi.json").json()["info"]["version"])

    def serves(self, version: str) -> None:
        self.until(lambda: self.version() == version)

    def until(self, holds: Callable[[], object]) -> None:
        """Wait until something holds; a node that restarts may refuse connections meanwhile."""
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                if holds():
                    return
            except httpx.TransportError:
                pass
            assert time.monotonic() < until, self.said
            time.sleep(0.02)

    def logged(self) -> str:
        (node,) = self.edge.control.get("/state").json()["nodes"]
        return "\n".join(line["text"] for line in node["lines"])

    def hears(self, text: str) -> str:
        until = time.monotonic() + PATIENCE_S
        while not (found := [line for line in self.said if text in line]):
            assert time.monotonic() < until, self.said
            time.sleep(0.02)
        return found[-1]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory, stand_in: Path, services: FakeServices) -> Iterator[Sources]:
    assert stand_in.exists()  # the wheels are vendored
    tmp_path = tmp_path_factory.mktemp("sources")
    for file in list_files(ROOT):
        target = tmp_path / file.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    (tmp_path / "scripts").mkdir()
    for name in ("node_modules", "python_modules", "scripts/requirements"):
        (tmp_path / name).symlink_to(ROOT / name)
    bundling.stage(tmp_path)
    settings = {"vars": {"ORIGIN_URL": services.url}, "secrets": {"CLAIM_KEYS": "k1:" + encode_base64url(b"k" * 32)}}
    with running(configure(tmp_path / "build", services.url, **settings)) as edge:
        followed = Sources(tmp_path, edge)
        try:
            yield followed
        finally:
            followed.stop()


def test_a_change_is_soon_served_and_what_is_broken_never_stops_the_last_good_bundle(sources: Sources) -> None:
    sources.replace('VERSION: Final = "0.1.0"', 'VERSION: Final = "0.1.1"')
    sources.serves("0.1.1")
    sources.hears("the edge runs the changed bundle")

    sources.replace('VERSION: Final = "0.1.1"', 'VERSION: Final = = "0.1.2"')
    heard = sources.hears("SyntaxError")
    line = sources.line_of("= =")
    assert f"edge/app.py, line {line}: SyntaxError" in heard
    assert sources.version() == "0.1.1"

    sources.replace('VERSION: Final = = "0.1.2"', 'VERSION: Final = _nowhere("0.1.2")')
    heard = sources.hears("NameError")
    assert f'File "edge/app.py", line {line}' in heard
    assert str(sources.root) not in heard
    assert sources.version() == "0.1.1"

    sources.replace('VERSION: Final = _nowhere("0.1.2")', 'VERSION: Final = "0.1.2"')
    sources.serves("0.1.2")


def test_a_change_of_the_core_and_of_the_component_is_served_too(sources: Sources) -> None:
    node = sources.edge.node
    sources.replace("There is nothing at this address", "There is no such thing here", "shared/problems.py")
    sources.until(lambda: node.get("/none").json()["title"] == "There is no such thing here")
    sources.replace("const REFRESH_MS = 60_000;", "const REFRESH_MS = 61_000;", "edge/component/views.js")
    sources.until(lambda: "61e3" in node.get("/cliptill-overlay.js").text)


def test_an_error_of_a_request_is_logged_with_the_line_of_the_real_file_and_not_told(sources: Sources) -> None:
    sources.replace('    """Tell that the isolate lives."""\n', '    raise RuntimeError("only in a request")\n')
    sources.until(lambda: sources.edge.node.get("/health").status_code == 500)
    answer = sources.edge.node.get("/health")
    assert answer.json()["code"] == "internal"
    assert "only in a request" not in answer.text
    place = f'File "edge/app.py", line {sources.line_of("only in a request")}, in get_health'
    sources.until(lambda: place in sources.logged() and "RuntimeError: only in a request" in sources.logged())
    sources.replace('    raise RuntimeError("only in a request")\n', '    """Tell that the isolate lives."""\n')
    sources.until(lambda: sources.edge.node.get("/health").status_code == 200)


def test_what_breaks_only_in_the_runtime_is_taken_back(sources: Sources) -> None:
    before = sources.version()
    worker = sources.root / "edge" / "worker.py"
    worker.write_text(worker.read_text() + "\nraise RuntimeError('only here')\n")
    heard = sources.hears("only here")
    assert 'File "edge/worker.py", line' in heard
    sources.serves(before)
