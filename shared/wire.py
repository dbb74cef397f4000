"""Reading what others send: sizes first, then JSON, then types, then duplicate keys.

msgspec lets a repeated key pass and keeps the last value. Two parsers that disagree about a request are a way to
smuggle one past the other, so a second look with the standard library refuses it.
"""

import json
import re
from typing import Final, NoReturn, TypeVar

import msgspec

from shared.problems import Code, Problem

T = TypeVar("T")

MAX_DEPTH: Final = 64
_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_NO_BRACKET: Final = bytes(set(range(256)) - set(b"[{]}"))

# Only names of ours: a client may name a field so that msgspec's message about it seems to have a path.
_AT_PATH: Final = re.compile(r" - at `(\$[A-Za-z0-9_.\[\]]*)`$")
_UNKNOWN_FIELD: Final = "Object contains unknown field"


class _DuplicateKeyError(ValueError):
    """Raised inside the standard library's parser to stop it at the second use of a key."""


def _refuse_duplicates(pairs: list[tuple[str, object]]) -> None:
    if len({key for key, _ in pairs}) != len(pairs):
        raise _DuplicateKeyError


def _refuse_constant(_: str) -> NoReturn:
    raise ValueError


_SECOND_LOOK: Final = json.JSONDecoder(object_pairs_hook=_refuse_duplicates, parse_constant=_refuse_constant)


def decode_body(
    raw: bytes, decoder: "msgspec.json.Decoder[T]", max_bytes: int, names: tuple[bytes, ...] = ()
) -> T | Problem:
    """Decode one JSON document from a client.

    Args:
        raw: the body as received.
        decoder: of the type that the route takes.
        max_bytes: the largest body that is looked at.
        names: `only_names` of the type, when it is flat: then most bodies need no second look.

    Returns:
        The value, or a `Problem` of code `body_too_large`, `malformed_json`, `unknown_field`, `invalid_field` or
        `duplicate_key`.
    """
    if len(raw) > max_bytes:
        return Problem(code=Code.BODY_TOO_LARGE, detail=f"At most {max_bytes} bytes are read.")
    try:
        value = decoder.decode(raw)
    except msgspec.ValidationError as error:
        return _explain(str(error))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Problem(code=Code.MALFORMED_JSON)
    return _repeats(raw, names) or value


def only_names(of: type[msgspec.Struct]) -> tuple[bytes, ...]:
    """Return the only keys that an object of a flat type can have, as JSON has them; for `decode_body`.

    Raises:
        TypeError: when the type lets other keys pass.
    """
    if not of.__struct_config__.forbid_unknown_fields:
        raise TypeError(f"{of.__name__} may have other names too")
    return tuple(f'"{name}"'.encode() for name in of.__struct_encode_fields__)


def _repeats(raw: bytes, names: tuple[bytes, ...]) -> Problem | None:
    """Look at valid JSON for a key that comes twice in one object."""
    # Without a backslash every key is written as it is: if each that there can be is written once, none comes twice.
    # More than one object, or a value that reads like a key, needs the second parser, which costs ten times as much.
    if names and b"\\" not in raw and raw.count(b"{") == 1 and max(map(raw.count, names)) == 1:
        return None
    try:
        _SECOND_LOOK.decode(raw.decode())
    except _DuplicateKeyError:
        return Problem(code=Code.DUPLICATE_KEY)
    except (ValueError, RecursionError):
        # What msgspec skips (fields that a type allows but does not know) it does not look at as closely.
        return Problem(code=Code.MALFORMED_JSON)
    return None


def nests_deeply(raw: bytes) -> bool:
    """Return whether JSON nests deeper than `MAX_DEPTH`: for documents whose types skip fields that they do not know.

    What is skipped is skipped by recursion, and in WebAssembly the engine's own stack ends before the interpreter's
    limit is reached: such a document would end the whole isolate.
    """
    if raw.count(b"[") + raw.count(b"{") <= MAX_DEPTH:
        return False
    depth = 0
    for bracket in _STRING.sub(b"", raw).translate(None, _NO_BRACKET):
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_DEPTH:
            return True
    return False


def _explain(message: str) -> Problem:
    """Turn msgspec's message into a problem that says where, in our words."""
    found = _AT_PATH.search(message)
    where = found.group(1) if found else "$"
    if message.startswith(_UNKNOWN_FIELD):
        return Problem(code=Code.UNKNOWN_FIELD, detail=f"In {where}.")
    return Problem(code=Code.INVALID_FIELD, detail=f"At {where}.")
