"""How the emulator starts, takes a changed bundle, and ends: only what is whole is used, and nothing is left behind."""

import os
import shutil
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.emulator.program import Program, RunningEdge, configure, is_alive, running
from tests.emulator.services import FakeServices
from tests.emulator.stand_in import write_stand_in


@pytest.fixture
def folder(tmp_path: Path, stand_in: Path, edge: RunningEdge) -> Path:
    """A copy of the small app, with what the shared emulator has made and kept for it."""
    assert edge.boot["snapshot"]
    assert edge.boot["trampoline"]  # or each call of a C function would go through JavaScript
    shutil.copytree(stand_in, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("run-*"))
    return tmp_path


def test_it_boots_from_what_was_kept(folder: Path, services: FakeServices) -> None:
    with running(configure(folder, services.url)) as again:
        assert again.boot["snapshot"]
        assert again.program.logs() == ""
        assert again.node.get("/health").text == '{"version":"1"}'


def test_a_changed_file_is_run_after_a_reload_and_stored_values_stay(folder: Path, services: FakeServices) -> None:
    with running(configure(folder, services.url)) as started:
        started.control.put("/kv/fra/kept", content="before")
        write_stand_in(folder, version="2")
        assert started.control.post("/reload").json()["changed"]
        assert started.node.get("/health").text == '{"version":"2"}'
        assert started.node.get("/key/kept").text == "before"
        stats = started.control.get("/stats").json()
        assert stats["nodes"][0]["boot"]["snapshot"]
        (folder / "bundle" / "edge" / "app.py").write_text("def broken(:\n")
        refused = started.control.post("/reload")
        assert (refused.status_code, refused.json()["code"]) == (422, "bundle_refused")
        assert 'File "edge/app.py", line 1' in refused.json()["detail"]
        assert started.node.get("/health").text == '{"version":"2"}'
    # Its own snapshot is left to the next start: making it takes longer than serving the change may take.
    assert len(list((folder / "cache").glob("snapshot-*"))) == 1


def test_a_snapshot_that_was_cut_short_is_made_again(folder: Path, services: FakeServices) -> None:
    (kept,) = (folder / "cache").glob("snapshot-*")
    whole = kept.read_bytes()
    kept.write_bytes(whole[: len(whole) // 2])
    with running(configure(folder, services.url)) as started:
        assert started.boot["snapshot"]
        assert "the kept snapshot cannot be used" in started.program.logs()
    assert len(kept.read_bytes()) == len(whole)


def test_without_a_snapshot_it_works_and_says_so(folder: Path, services: FakeServices) -> None:
    (kept,) = (folder / "cache").glob("snapshot-*")
    kept.unlink()
    kept.mkdir()
    with running(configure(folder, services.url)) as started:
        assert not started.boot["snapshot"]
        assert "no memory snapshot" in started.program.logs()
        assert started.node.get("/health").text == '{"version":"1"}'


@pytest.mark.parametrize(
    "how",
    [
        pytest.param(signal.SIGTERM, id="sigterm"),
        pytest.param(signal.SIGINT, id="sigint"),
        pytest.param(None, id="its-parent-is-gone"),
    ],
)
def test_it_ends_promptly_and_leaves_no_process(
    folder: Path, services: FakeServices, how: signal.Signals | None
) -> None:
    program = Program(configure(folder, services.url))
    program.until("ready")
    children = program.children()
    assert children
    began = time.monotonic()
    assert program.end(how) == 0
    assert time.monotonic() - began < 2
    assert not [pid for pid in children if is_alive(pid)]
    assert not list((folder / "cache").glob("run-*"))


def test_what_a_killed_emulator_left_behind_is_removed_by_the_next(folder: Path, services: FakeServices) -> None:
    program = Program(configure(folder, services.url))
    program.until("ready")
    children = program.children()
    program.end(signal.SIGKILL)
    for child in children:
        os.kill(child, signal.SIGKILL)
    (left,) = (folder / "cache").glob("run-*")
    with running(configure(folder, services.url)):
        assert not left.exists()


def test_a_runtime_that_dies_is_one_clear_line(folder: Path, services: FakeServices) -> None:
    program = Program(configure(folder, services.url))
    program.until("ready")
    for child in program.children():
        os.kill(child, signal.SIGKILL)
    assert program.until("error") == {"error": "runtime_ended", "node": "fra"}
    assert program.end(None) == 4


def test_nodes_share_nothing(folder: Path, services: FakeServices) -> None:
    nodes = [{"name": name, "port": 0} for name in ("fra", "nrt")]
    program = Program(configure(folder, services.url, nodes=nodes))
    try:
        ready = program.until("ready")
        assert [node["name"] for node in ready["nodes"]] == ["fra", "nrt"]
        with httpx.Client(trust_env=False) as client:
            client.put(f"{ready['control']}/kv/nrt/only", content="there")
            found = [client.get(f"{node['url']}/key/only").text for node in ready["nodes"]]
        assert found == ["nothing", "there"]
    finally:
        program.end()


def test_many_first_requests_wait_for_one_boot(folder: Path, services: FakeServices) -> None:
    port = _free_port()

    def first_answer(_number: int) -> tuple[int, str]:
        services.wait_for(lambda: _is_open(port))
        with httpx.Client(trust_env=False, verify=False, timeout=20) as client:  # noqa: S501 - no TLS: faster to make
            response = client.get(f"http://127.0.0.1:{port}/health")
        return response.status_code, response.text

    program = Program(configure(folder, services.url, nodes=[{"name": "fra", "port": port}]))
    try:
        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(first_answer, range(8)))
        assert set(answers) == {(200, '{"version":"1"}')}
    finally:
        program.end()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _refused(configuration: dict[str, object]) -> tuple[int, dict[str, object]]:
    program = Program(configuration)
    fact = program.until("error")
    return program.end(None), fact


def test_a_busy_port_is_one_clear_line(folder: Path, services: FakeServices) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        nodes = [{"name": "fra", "port": port}]
        assert _refused(configure(folder, services.url, nodes=nodes)) == (3, {"error": "port_busy", "port": port})


def test_a_missing_bundle_is_one_clear_line(folder: Path, services: FakeServices) -> None:
    code, fact = _refused(configure(folder, services.url, bundle=str(folder / "elsewhere")))
    assert (code, fact["error"]) == (2, "bundle_missing")
    assert "run scripts/bundle" in str(fact["detail"])


def test_an_app_that_cannot_be_imported_is_one_clear_line(folder: Path, services: FakeServices) -> None:
    (folder / "bundle" / "edge" / "app.py").write_text("raise RuntimeError('no such luck')\n")
    code, fact = _refused(configure(folder, services.url))
    assert (code, fact["error"]) == (2, "boot_failed")
    assert "no such luck" in str(fact["detail"])


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        pytest.param({"nodes": []}, "nodes", id="no-node"),
        pytest.param({"nodes": [{"name": "FRA"}]}, "name", id="bad-name"),
        pytest.param({"nodes": [{"name": "a"}, {"name": "a"}]}, "one name", id="one-name-twice"),
        pytest.param({"nodes": [{"name": "a", "port": 70_000}]}, "port", id="bad-port"),
        pytest.param({"vars": {"A": 1}}, "vars", id="var-is-no-text"),
        pytest.param({"origin_url": ""}, "origin_url", id="no-origin"),
    ],
)
def test_a_configuration_that_cannot_be_run_is_one_clear_line(
    folder: Path, services: FakeServices, changes: dict[str, object], detail: str
) -> None:
    code, fact = _refused(configure(folder, services.url, **changes))
    assert (code, fact["error"]) == (2, "config_invalid")
    assert detail in str(fact["detail"])


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"Origin": "http://127.0.0.1"}, id="origin"),
        pytest.param({"Sec-Fetch-Site": "none"}, id="fetch-metadata"),
        pytest.param({"Host": "rebound.example"}, id="another-host-name"),
    ],
)
def test_the_control_refuses_browsers(edge: RunningEdge, headers: dict[str, str]) -> None:
    assert edge.control.get("/stats", headers=headers).status_code == 403


def test_the_control_knows_its_paths_only(edge: RunningEdge) -> None:
    assert edge.control.get("/").status_code == 404
    assert edge.control.put("/kv/elsewhere/key", content="x").status_code == 404
    assert edge.control.put("/kv/fra", content="x").status_code == 404
