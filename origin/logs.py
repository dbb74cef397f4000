"""Logs: one JSON object a line, on standard error.

Rules:

1. What a line has is listed by who writes it, never copied from a request: no token, no proof, no body, no address or
   header of a client. A path is told as its route (`/v1/settlements/{claim_id}`), without ids and without query.
2. Of an unexpected exception, type and places are told, not its message: that may quote what a client sent. Messages
   of our own exceptions have nothing of that kind, and are told.
"""

import logging
import sys
import traceback
from typing import Any, Final

import msgspec
import structlog
from structlog.typing import EventDict, WrappedLogger

from shared.errors import CliptillError

_FRAMES: Final = 12


def configure_logs() -> None:
    """Send all logs, our own and the libraries', to standard error. Call it once, when the process starts."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _tell_exception,
            structlog.processors.JSONRenderer(serializer=_encode),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_Bridge()], level=logging.WARNING, force=True)


def describe_exception(error: BaseException) -> dict[str, Any]:
    """Return what may be told of an exception and of what led to it."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    told: dict[str, Any] = {
        "type": type(error).__qualname__,
        "at": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    }
    if isinstance(error, CliptillError):
        told["message"] = str(error)
    if error.__cause__ is not None:
        told["cause"] = describe_exception(error.__cause__)
    return told


class _Bridge(logging.Handler):
    """Hands what libraries log to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        log = structlog.get_logger().bind(logger=record.name)
        log.log(record.levelno, record.msg if error else record.getMessage(), exc_info=error)


def _tell_exception(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Replace `exc_info` by what rule 2 lets through."""
    given = event.pop("exc_info", None)
    error = sys.exc_info()[1] if given is True else given[1] if isinstance(given, tuple) else given
    if isinstance(error, BaseException):
        event["exception"] = describe_exception(error)
    return event


def _encode(event: EventDict, **_: object) -> str:
    return msgspec.json.encode(event, enc_hook=repr).decode()
