"""Devices that scan: enrolled over HTTP, with keys of their own; they sign as the scanner's page does."""

import itertools
import time
from hashlib import sha256
from typing import Any

import httpx
import jwt

from tests.postgres.world import PUBLIC_URL, OriginProcess, Viewer, World, base64url


class Operator:
    """Who holds an operator's key."""

    def __init__(self, world: World, origin: OriginProcess) -> None:
        key = "ct_" + base64url(sha256(b"operator").digest())
        world.execute(
            "INSERT INTO api_keys (key_hash, name, created_ms) VALUES (%s, 'scanning', 0) ON CONFLICT DO NOTHING",
            sha256(key.encode()).digest(),
        )
        self.origin = origin
        self.headers = {"Authorization": f"Bearer {key}"}

    def post(self, path: str, document: Any = None) -> httpx.Response:
        return self.origin.client.post(path, json=document, headers=self.headers)

    def get(self, path: str) -> httpx.Response:
        return self.origin.client.get(path, headers=self.headers)

    def invite(self, scanner: str, place: str = "kiln") -> str:
        invited = self.post("/v1/scanners", {"scanner": scanner, "place": place})
        assert invited.status_code == 201
        code: str = invited.json()["code"]
        return code

    def enrol(self, scanner: str, place: str = "kiln") -> "Device":
        device = Device(self.origin, scanner)
        answer = device.enrol(self.invite(scanner, place))
        assert answer.status_code == 201
        device.headers = {"Authorization": f"Bearer {answer.json()['api_key']}"}
        return device

    def disputed(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("/v1/pickups/disputed").json()["pickups"]
        return found


class Device:
    """A phone at a counter."""

    def __init__(self, origin: OriginProcess, name: str) -> None:
        viewer = Viewer()  # a P-256 key is a P-256 key
        self.origin, self.name = origin, name
        self.key = viewer.key
        self.jwk = viewer.jwk
        self.headers: dict[str, str] = {}
        self._numbers = itertools.count(1)

    def enrol(self, code: str) -> httpx.Response:
        return self.origin.client.post("/v1/enrolments", json={"code": code, "key": self.jwk})

    def passes(self, query: str = "") -> dict[str, Any]:
        answer = self.origin.client.get(f"/v1/scanner/passes{query}", headers=self.headers)
        assert answer.status_code == 200
        page: dict[str, Any] = answer.json()
        return page

    def scan(self, token: str, claim_id: str | None, **changes: Any) -> str:
        said = {
            "iss": self.name,
            "aud": PUBLIC_URL,
            "seq": next(self._numbers),
            "at_ms": time.time_ns() // 1_000_000,
            "verdict": "good",
            "claim_id": claim_id,
            "pass_hash": base64url(sha256(token.encode()).digest()),
            **changes,
        }
        said = {name: value for name, value in said.items() if value is not None}
        return jwt.encode(said, self.key, "ES256", {"typ": "scan+jwt"}, sort_headers=True)

    def tell(self, *scans: str) -> list[str]:
        answer = self.origin.client.post("/v1/scanner/scans", json={"scans": scans}, headers=self.headers)
        assert answer.status_code == 200, answer.text
        outcomes: list[str] = answer.json()["outcomes"]
        return outcomes
