"""What the emulated network answers without Python: static assets and shared overlays."""

import pytest

from tests.emulator.program import RunningEdge
from tests.emulator.services import FakeServices


@pytest.fixture
def path(request: pytest.FixtureRequest) -> str:
    """A shared overlay's path that no other test asks for."""
    return f"/shared/clips/{abs(hash(request.node.name))}/overlay.json"


def test_an_asset_is_served_with_its_headers_and_without_python(edge: RunningEdge) -> None:
    before = int(edge.node.get("/instances").text)
    response = edge.node.get("/component.js")
    assert response.text == "export default 1;\n"
    assert response.headers["content-type"].startswith("text/javascript")
    assert response.headers["access-control-allow-origin"] == "*"
    assert response.headers["cache-control"] == "public, max-age=300"
    assert int(edge.node.get("/instances").text) == before + 1


def test_the_file_of_headers_is_no_asset(edge: RunningEdge) -> None:
    assert edge.node.get("/_headers").status_code == 404


def test_a_shared_overlay_comes_from_the_cache_while_it_is_fresh(
    edge: RunningEdge, services: FakeServices, path: str
) -> None:
    first = edge.node.get(path)
    second = edge.node.get(path)
    assert (first.text, first.headers["cf-cache-status"]) == (services.shared, "MISS")
    assert (second.text, second.headers["cf-cache-status"]) == (services.shared, "HIT")
    assert second.headers["cache-control"] == "public, s-maxage=60"
    assert services.shared_requests.count(path) == 1


def test_the_last_good_copy_is_served_while_the_origin_is_away(
    edge: RunningEdge, services: FakeServices, path: str
) -> None:
    services.shared_cache_control = "public, s-maxage=0, stale-if-error=60"
    assert edge.node.get(path).status_code == 200
    services.up = False
    stale = edge.node.get(path)
    assert (stale.status_code, stale.text, stale.headers["cf-cache-status"]) == (200, services.shared, "STALE")
    services.up = True
    # An origin that failed is left alone for a moment by those who have a copy.
    services.wait_for(lambda: edge.node.get(path).headers["cf-cache-status"] == "EXPIRED")


def test_a_shared_overlay_that_was_never_fetched_is_a_503_while_the_origin_is_away(
    edge: RunningEdge, services: FakeServices, path: str
) -> None:
    services.up = False
    response = edge.node.get(path)
    assert response.status_code == 503
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["code"] == "origin_unavailable"


@pytest.mark.parametrize("directive", ["no-store", "private, max-age=60", "no-cache", ""])
def test_what_may_not_be_shared_is_not_kept(
    edge: RunningEdge, services: FakeServices, path: str, directive: str
) -> None:
    services.shared_cache_control = directive
    assert edge.node.get(path).headers["cf-cache-status"] == "DYNAMIC"
    assert edge.node.get(path).headers["cf-cache-status"] == "DYNAMIC"


def test_the_origins_refusal_is_passed_on(edge: RunningEdge) -> None:
    assert edge.node.get("/shared/unknown").status_code == 404
