"""One whole Cliptill on this machine: what is started, in which order, and when it counts as started."""

import asyncio
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import msgspec

from origin.datafolder import keep_secret
from scripts import settings
from scripts.children import Children, RunError
from scripts.demo.campaign import CLIP, CampaignError, Loader
from scripts.emulator.faults import Faults, FaultSetter, read_faults
from scripts.progress import GIB, describe_missing_room
from scripts.settings import Addresses, Options, Secrets
from shared.errors import ConfigurationError

ROOT = Path(__file__).resolve().parent.parent
READY_S = 60.0
POLL_S = 0.05
DATABASE_GRACE_S = 30.0
DATABASE_ROOM_BYTES = GIB // 4  # it takes 40 MiB when it is new, and a full disk stops it
OPERATOR_KEY = "operator_key"

Say = Callable[[str], None]


class Stack(msgspec.Struct, frozen=True, kw_only=True):
    """A running stack.

    Attributes:
        control: the base address of the edge emulator's control.
        environment: the variables of the origin's programs.
    """

    options: Options
    addresses: Addresses
    secrets: Secrets
    control: str
    environment: dict[str, str]


def python_command(module: str, *arguments: str) -> list[str]:
    """Return the command of one of our modules as a child that ends with its parent."""
    return [sys.executable, "-m", "scripts.lifeline", "python", module, *arguments]


async def start_stack(children: Children, options: Options, say: Say) -> Stack:
    """Start everything; when this returns, the demo page works.

    Raises:
        RunError: something does not start; the message is what the user must know.
    """
    async with httpx.AsyncClient(timeout=10.0, trust_env=False) as client:
        try:
            return await _Starter(children, client, options).start(say)
        except (CampaignError, ConfigurationError) as problem:
            raise RunError(str(problem)) from problem
        except httpx.HTTPError as problem:
            raise RunError(f"a process that was started does not answer: {type(problem).__name__}") from problem


class _Starter:
    """The steps of one start."""

    def __init__(self, children: Children, client: httpx.AsyncClient, options: Options) -> None:
        self._children, self._client, self._options = children, client, options
        self._addresses = settings.choose_addresses(options)
        self._secrets = settings.keep_secrets(options.data)
        self._base = {**os.environ, "PYTHONUNBUFFERED": "1"}

    async def start(self, say: Say) -> Stack:
        provider = asyncio.create_task(self._start_provider())
        payments = asyncio.create_task(self._start_payments())
        edge = asyncio.create_task(self._start_edge())
        try:
            database_url = await self._start_database()
            say("database ready")
            origin_facts = (self._options, self._addresses, self._secrets, database_url)
            environment = settings.origin_environment(self._base, *origin_facts)
            await run_to_end([sys.executable, "-m", "origin.migrate"], environment, "the database's schema")
            await asyncio.gather(provider, payments)
            await self._start_origin(environment)
            say("origin ready")
            control = await edge
            await self._introduce_nodes(control)
            say("edge ready")
            version = await self._load_campaign(environment)
            # Asked for too early, a node would remember for some seconds that there is no such clip.
            await until_answered(self._client, f"{self._addresses.provider_url}/emulator/nodes", "an edge node")
            overlay = f"{self._addresses.edge_urls[0]}/v1/clips/{CLIP}/overlay"
            await until_answered(self._client, overlay, "the demo clip's overlay")
            say(f"demo campaign published, version {version}")
            if self._options.with_site:
                await self._start_site()
                await self._start_page(control)
            await self._set_faults(control)
        finally:
            for task in (provider, payments, edge):
                task.cancel()
            await asyncio.gather(provider, payments, edge, return_exceptions=True)
        return Stack(
            options=self._options,
            addresses=self._addresses,
            secrets=self._secrets,
            control=control,
            environment=environment,
        )

    async def _start_database(self) -> str:
        if self._options.database_url:
            return self._options.database_url
        if missing := describe_missing_room(self._options.data, DATABASE_ROOM_BYTES):
            raise RunError(missing)
        command = python_command("scripts.database", str(self._options.data))
        child = await self._children.start("database", command, self._base, grace_s=DATABASE_GRACE_S)
        return str((await child.ready())["url"])

    async def _start_provider(self) -> None:
        file = self._options.data / "provider.json"
        settings.write_private(file, settings.provider_document(self._options, self._addresses, self._secrets))
        await self._children.start("provider", python_command("scripts.emulator.provider", str(file)), self._base)
        await until_answered(self._client, f"{self._addresses.provider_url}/emulator/health", "the emulated provider")

    async def _start_payments(self) -> None:
        file = self._options.data / "payments.json"
        settings.write_private(file, settings.payments_document(self._options, self._addresses, self._secrets))
        await self._children.start("payments", python_command("scripts.payments", str(file)), self._base)
        await until_answered(self._client, f"{self._addresses.payments_url}/sandbox/health", "the sandbox provider")

    async def _start_edge(self) -> str:
        file = self._options.data / "edge.json"
        settings.write_private(file, settings.edge_document(ROOT, self._addresses, self._secrets))
        # It minds its standard input by itself.
        command = ["node", str(ROOT / "scripts" / "emulator" / "edge.mjs"), str(file)]
        child = await self._children.start("edge", command, self._base)
        return str((await child.ready())["control"])

    async def _start_origin(self, environment: dict[str, str]) -> None:
        await self._children.start("origin", python_command("origin"), environment)
        await until_answered(self._client, f"{self._addresses.origin_url}/ready", "the origin")

    async def _introduce_nodes(self, control: str) -> None:
        fleet = settings.fleet_document(self._options, control)
        answer = await self._client.put(f"{self._addresses.provider_url}/emulator/nodes", json=fleet)
        if not answer.is_success:
            raise RunError(f"the emulated provider refused the edge nodes: {answer.text}")

    async def _load_campaign(self, environment: dict[str, str]) -> int:
        """Load the campaign with the data folder's operator key; one is made when there is none that works."""
        key_file = self._options.data / "secrets" / OPERATOR_KEY
        key = key_file.read_text().strip() if key_file.exists() else ""
        loader = Loader(self._client, self._addresses.origin_url, key)
        if not key or not await loader.knows_key():
            key_file.unlink(missing_ok=True)
            create = [sys.executable, "-m", "origin.keys", "create", f"demo-{time.time_ns()}"]
            made = (await run_to_end(create, environment, "making an operator key")).strip()
            key = keep_secret(self._options.data, OPERATOR_KEY, lambda: made)
            loader = Loader(self._client, self._addresses.origin_url, key)
        return await loader.load(self._addresses.site_url, time.time_ns() // 1_000_000)

    async def _start_site(self) -> None:
        urls = (self._addresses.edge_urls[0], self._addresses.origin_url)
        command = python_command("scripts.demo.site_server", str(self._addresses.site), *urls, CLIP)
        await self._children.start("site", command, self._base)
        await until_answered(self._client, f"{self._addresses.site_url}/", "the demo site")

    async def _start_page(self, control: str) -> None:
        file = self._options.data / "page.json"
        settings.write_private(file, settings.page_document(self._addresses, control))
        await self._children.start("page", python_command("scripts.emulator.page_server", str(file)), self._base)
        await until_answered(self._client, f"{self._addresses.page_url}/state", "the emulator's page")

    async def _set_faults(self, control: str) -> None:
        """Spoil what was asked for, now that everything works."""
        setter = FaultSetter(self._client, control, self._addresses.provider_url)
        for node, faults in read_faults(self._options.faults, self._options.node_names).items():
            if faults != Faults():
                await setter.set(node, faults)


async def run_to_end(command: list[str], environment: dict[str, str], what: str) -> str:
    """Run a program of the origin to its end, and return what it prints.

    Raises:
        RunError: it failed; the message has its last line of complaint.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=ROOT,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        process_group=0,
    )
    try:
        output, complaint = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        lines = complaint.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        raise RunError(f"{what} failed (exit code {process.returncode}): {lines[-1].removeprefix('cliptill: ')}")
    return output.decode()


async def until_answered(client: httpx.AsyncClient, url: str, what: str) -> None:
    """Wait until an address answers well.

    Raises:
        RunError: it does not, within a minute.
    """
    said = "it does not answer"
    began = time.monotonic()
    while time.monotonic() - began < READY_S:
        try:
            answer = await client.get(url)
        except httpx.TransportError:
            await asyncio.sleep(POLL_S)
            continue
        if answer.is_success:
            return
        said = f"it answers {answer.status_code} {answer.text[:200]}"
        await asyncio.sleep(POLL_S)
    raise RunError(f"{what} did not get ready within {READY_S:.0f} s: {said}")
