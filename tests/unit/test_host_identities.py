"""Which reference an object has in the interpreter, without an interpreter."""

import json
import subprocess
from pathlib import Path
from typing import Any, Final

RUNTIME: Final = Path(__file__).parents[2] / "scripts" / "emulator" / "runtime"
PROGRAM: Final = """
import { keepIdentitiesOfTheYoung } from %s;
const env = {};
keepIdentitiesOfTheYoung(env);
const { __hiwire_deduplicate_get: get, __hiwire_deduplicate_set: set, __hiwire_deduplicate_delete: forget } = env;
const keys = new Map();
const made = Array.from({ length: 200 }, () => ({}));
let most = 0;
for (const value of Array.from({ length: 1000 }, () => ({}))) {
  set(keys, value, 7);
  forget(keys, value);
  most = Math.max(most, keys.size);
}
made.forEach((value, number) => { set(keys, value, number + 1); });
const known = made.map((value) => get(keys, value));
for (const value of made.slice(50, 150)) forget(keys, value);
const after = made.map((value) => get(keys, value) ?? null);
console.log(JSON.stringify({ most, known, after, keys: [...keys.values()], stranger: get(keys, {}) ?? null }));
"""


def run_program() -> dict[str, Any]:
    program = PROGRAM % json.dumps((RUNTIME / "identities.mjs").as_uri())
    command = ["node", "--input-type=module", "--eval", program]
    said: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return said


def test_only_what_outlives_many_others_becomes_a_key() -> None:
    told = run_program()
    assert told["most"] == 0
    assert told["known"] == list(range(1, 201))
    assert told["after"] == [*range(1, 51), *[None] * 100, *range(151, 201)]
    assert told["keys"] == list(range(1, 51))
    assert told["stranger"] is None
