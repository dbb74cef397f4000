"""The data folder: secrets that are made once, on the first start, and the embedded database beside them.

Rules:

1. A secret is made complete in a file of its own and then linked to its name, which only one process can do: of several
   that start at once, all use the one that won.
2. Secrets are readable by their owner alone. What is there is never overwritten.
"""

import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from shared.claims.keys import KEY_BYTES
from shared.encoding import encode_base64url
from shared.errors import ConfigurationError

VARIABLE: Final = "CLIPTILL_DATA"
DEFAULT: Final = ".cliptill"
_OWNER_ONLY: Final = 0o600


def locate_data_folder(environment: Mapping[str, str]) -> Path:
    """Return the data folder that the environment names, or `.cliptill` in the project's root."""
    named = environment.get(VARIABLE)
    return Path(named) if named else Path(__file__).resolve().parent.parent / DEFAULT


def keep_secret(folder: Path, name: str, make: Callable[[], str]) -> str:
    """Return the secret `name` of a data folder; make it if there is none.

    Raises:
        ConfigurationError: the folder cannot be written or read.
    """
    path = folder / "secrets" / name
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            _create(path, make())
        return path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise ConfigurationError(f"the secret {path} cannot be kept: {error.strerror}") from error


def make_claim_key_list() -> str:
    """Return a new list of one claim key, as `shared.claims.keys.parse_claim_keys` reads it."""
    return f"c-{secrets.token_hex(4)}:{encode_base64url(secrets.token_bytes(KEY_BYTES))}"


def _create(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)  # unlike a rename, it refuses when another process was first
        except FileExistsError:
            return
    finally:
        draft.unlink()
