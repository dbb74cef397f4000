"""Bad answers of an origin: what a proxy, a dying process or a stalled network makes of them."""

import threading
from http.server import BaseHTTPRequestHandler
from typing import Final

FAULTS: Final = ("error", "garbage", "redirect", "cut", "drip", "never")
_STEP_S: Final = 0.1


def answer_badly(request: BaseHTTPRequestHandler, fault: str, healed: threading.Event) -> None:
    """Answer a request as `fault` says; what takes for ever ends when all is well again."""
    request.close_connection = True
    try:
        if fault == "never":
            healed.wait()
        elif fault == "drip":
            _drip(request, healed)
        else:
            _answer(request, *_ANSWERS[fault])
    except ConnectionError:
        pass  # It was given up, as it should be.


_ANSWERS: Final[dict[str, tuple[int, bytes, int]]] = {
    "error": (500, b"Traceback: out of luck", 0),
    "garbage": (200, b"<!doctype html><title>Sign in to the network</title>", 0),
    "redirect": (302, b"", 0),
    "cut": (200, b'{"schema":1,', 500),
}


def _answer(request: BaseHTTPRequestHandler, status: int, body: bytes, missing: int) -> None:
    _begin(request, status, len(body) + missing)
    request.wfile.write(body)


def _drip(request: BaseHTTPRequestHandler, healed: threading.Event) -> None:
    _begin(request, 200, 1_000_000)
    while not healed.wait(_STEP_S):
        request.wfile.write(b" ")
        request.wfile.flush()


def _begin(request: BaseHTTPRequestHandler, status: int, length: int) -> None:
    request.send_response(status)
    request.send_header("content-type", "application/json")
    request.send_header("cache-control", "public, max-age=60, s-maxage=60")
    request.send_header("location", "/elsewhere")
    request.send_header("content-length", str(length))
    request.end_headers()
    request.wfile.flush()
