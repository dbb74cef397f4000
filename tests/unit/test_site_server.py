"""The demo's web site: its policy on every answer, its pages filled in, and no file but its own."""

import asyncio
from pathlib import Path

import httpx
import pytest

from scripts.demo.site_server import FILES, content_security_policy, make_app

EDGE, ORIGIN = "http://127.0.0.1:8781", "http://127.0.0.1:8782"
POLICY = (
    "default-src 'none'; script-src http://127.0.0.1:8781; style-src 'self'; img-src 'self' http://127.0.0.1:8781; "
    "media-src 'self'; connect-src http://127.0.0.1:8781 http://127.0.0.1:8782; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "index.html").write_text('<cliptill-overlay clip="$CLIP" edge="$EDGE"></cliptill-overlay> costs $5')
    (folder / "demo.css").write_text("a { content: '$EDGE' }")
    (folder / "film.mp4").write_bytes(bytes(range(100)))
    (tmp_path / "secret.txt").write_text("secret")
    return folder


def get(files: Path, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
    async def go() -> httpx.Response:
        transport = httpx.ASGITransport(make_app(files, EDGE, ORIGIN, "lantern-row"))
        async with httpx.AsyncClient(transport=transport, base_url="http://site") as client:
            return await client.get(path, headers=headers)

    return asyncio.run(go())


def test_the_policy_is_the_strictest_that_the_overlay_works_under() -> None:
    assert content_security_policy(EDGE, ORIGIN) == POLICY


def test_the_page_names_the_edge_and_the_clip(files: Path) -> None:
    answer = get(files, "/")
    assert answer.text == f'<cliptill-overlay clip="lantern-row" edge="{EDGE}"></cliptill-overlay> costs $5'
    assert answer.headers["content-type"] == "text/html; charset=utf-8"


def test_other_files_are_served_as_they_are(files: Path) -> None:
    assert get(files, "/demo.css").text == "a { content: '$EDGE' }"


def test_a_film_can_be_asked_for_in_parts(files: Path) -> None:
    answer = get(files, "/film.mp4", {"Range": "bytes=10-19"})
    assert (answer.status_code, answer.content) == (206, bytes(range(10, 20)))


@pytest.mark.parametrize("path", ["/", "/demo.css", "/nothing"])
def test_every_answer_has_the_policy(files: Path, path: str) -> None:
    headers = get(files, path).headers
    assert headers["content-security-policy"] == POLICY
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt", "//etc/passwd"])
def test_nothing_outside_of_the_site_is_served(files: Path, path: str) -> None:
    assert get(files, path).status_code == 404


def test_the_demo_has_its_pages() -> None:
    for page in ("/", "/policies.html", "/drop.mp4", "/demo.css"):
        assert get(FILES, page).status_code == 200
