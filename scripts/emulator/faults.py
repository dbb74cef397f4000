"""What can be wrong with an emulated node, and how it is said, sent and read back.

One vocabulary for the command line (`fra:origin=dead`, `all:latency=200`), for the endpoint and for the page. What is
wrong inside the node goes to the edge emulator's control; how late it sees manifests, to the emulated provider.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal

import httpx
import msgspec

EVERY_NODE: Final = "all"
DELAY_MS_MOST: Final = 60_000

Delay = Annotated[int, msgspec.Meta(ge=0, le=DELAY_MS_MOST)]


class Faults(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """All that is wrong with one node; without arguments, nothing.

    Attributes:
        latency_ms: how much later each answer of the node is.
        isolate: `wedged` answers nothing until it is released, half a minute at most.
        store: the manifest store does not answer, answers what nobody can read, or knows no key.
        store_latency_ms: how much later the manifest store answers.
        origin: as this node sees it.
        origin_latency_ms: how much later the origin answers this node.
        stock: `frozen` is told again and again as it was, with its date.
        queue: `dead` takes nothing: what is reported meanwhile is lost, and shows as a gap.
        lateness_ms: how late the node sees a published manifest; None for what it was started with.
    """

    latency_ms: Delay = 0
    isolate: Literal["", "wedged"] = ""
    store: Literal["", "dead", "broken", "empty"] = ""
    store_latency_ms: Delay = 0
    origin: Literal["", "dead"] = ""
    origin_latency_ms: Delay = 0
    stock: Literal["", "frozen"] = ""
    queue: Literal["", "dead"] = ""
    lateness_ms: Delay | None = None


class FaultError(Exception):
    """A fault cannot be set; the message says which, and why."""


def read_faults(texts: Iterable[str], nodes: Iterable[str]) -> dict[str, Faults]:
    """Return what is wrong with each of `nodes`, as `NODE:FAULT=VALUE` texts say; NODE may be `all`.

    Raises:
        FaultError: a text is not of this form, or names what there is not.
    """
    chosen: dict[str, dict[str, Any]] = {node: {} for node in nodes}
    for text in texts:
        node, colon, rest = text.partition(":")
        name, equals, value = rest.partition("=")
        if not colon or not equals:
            raise FaultError(f"{text} is not of the form NODE:FAULT=VALUE")
        if node != EVERY_NODE and node not in chosen:
            raise FaultError(f"there is no node {node}, only {', '.join(chosen)} and {EVERY_NODE}")
        field = _field_of(name, text)
        for name_of_one, faults in chosen.items():
            if node in (EVERY_NODE, name_of_one):
                faults[field] = int(value) if value.isdecimal() else value
    return {node: _convert(faults) for node, faults in chosen.items()}


def _field_of(name: str, text: str) -> str:
    """Return the field that a fault is called on the command line: `store-latency` is `store_latency_ms`."""
    plain = name.replace("-", "_")
    for field in (plain, f"{plain}_ms"):
        if field in Faults.__struct_fields__:
            return field
    known = ", ".join(field.removesuffix("_ms").replace("_", "-") for field in Faults.__struct_fields__)
    raise FaultError(f"{text} names no fault; there are {known}")


def _convert(faults: dict[str, Any]) -> Faults:
    try:
        return msgspec.convert(faults, Faults)
    except msgspec.ValidationError as error:
        raise FaultError(f"a fault has no such value: {error}") from error


class FaultSetter:
    """Sets the faults of running nodes."""

    def __init__(self, client: httpx.AsyncClient, control: str, provider_url: str) -> None:
        """Send nothing yet.

        Args:
            client: sends the requests.
            control: the base address of the edge emulator's control.
            provider_url: the base address of the emulated provider.
        """
        self._client, self._control, self._provider_url = client, control, provider_url

    async def set(self, node: str, faults: Faults) -> None:
        """Have these faults at a node, or at `all`, and no others.

        Raises:
            FaultError: there is no such node.
            httpx.HTTPError: what is running does not answer.
        """
        document = msgspec.to_builtins(faults)
        lateness_ms = document.pop("lateness_ms", None)
        answers = (
            await self._client.put(f"{self._control}/faults/{node}", json=document),
            await self._client.put(
                f"{self._provider_url}/emulator/nodes/{node}/lateness", json={"lateness_ms": lateness_ms}
            ),
        )
        for answer in answers:
            if answer.status_code == httpx.codes.NOT_FOUND:
                raise FaultError(f"there is no node {node}")
            answer.raise_for_status()
