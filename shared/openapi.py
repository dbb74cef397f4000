"""OpenAPI 3.1 from the same types that decode requests and encode answers.

Each shell lists its operations once, as `Operation` values: its routes, its documentation and the contract tests all
come from that list.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import msgspec

from shared.problems import MEDIA_TYPE as PROBLEM_TYPE
from shared.problems import TABLE, Code, ProblemBody
from shared.structs import Identifier

JSON: Final = "application/json"
_PATH_PARAMETER: Final = re.compile(r"\{(\w+)\}")
_REF: Final = "#/components/schemas/{name}"

# Codes that any route can answer with.
EVERYWHERE: Final = (Code.INTERNAL, Code.METHOD_NOT_ALLOWED)


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One parameter of a request; those in the path are required."""

    name: str
    where: Literal["path", "query", "header"]
    type: Any = str
    required: bool = False
    description: str = ""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One documented answer.

    Attributes:
        type: of the body in JSON; None for a body that has no schema, or for no body.
        media_types: all forms that it comes in; empty for no body.
        headers: names of headers that it always has, with a description.
    """

    description: str
    type: Any = None
    media_types: tuple[str, ...] = (JSON,)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One method of one path.

    Attributes:
        id: unique name, also of the handler.
        path: as Starlette and OpenAPI both write it.
        body: type of the request's JSON; None for no body.
        body_types: content types that the body may have.
        answers: by status.
        problems: codes that it can fail with, beside `EVERYWHERE`.
        security: name of a security scheme of the document; None for public.
    """

    id: str
    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    summary: str
    description: str = ""
    parameters: tuple[Parameter, ...] = ()
    body: Any = None
    body_types: tuple[str, ...] = (JSON,)
    body_required: bool = True
    answers: Mapping[int, Answer]
    problems: tuple[Code, ...] = ()
    security: str | None = None


def build_document(
    *,
    title: str,
    version: str,
    description: str,
    operations: Iterable[Operation],
    security_schemes: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of `operations`, ready to be encoded as JSON."""
    listed = tuple(operations)
    types = _types_of(listed)
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    schema_of = dict(zip(map(id, types), schemas, strict=True))
    for component in components.values():
        if "description" in component:
            component["description"] = _unindent(component["description"])
    paths: dict[str, dict[str, Any]] = {}
    for operation in listed:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _describe(operation, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version, "description": description, "license": {"name": "MIT"}},
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": dict(security_schemes or {})},
    }


def _unindent(docstring: str) -> str:
    """Return a docstring as newer interpreters keep it, so that all of them describe an API in the same bytes."""
    first, *rest = docstring.splitlines()
    margin = min((len(line) - len(line.lstrip()) for line in rest if line.strip()), default=0)
    return "\n".join([first.strip(), *(line[margin:].rstrip() for line in rest)]).strip()


def _types_of(operations: Iterable[Operation]) -> list[Any]:
    """Return each type that a document needs once, by identity: annotated types need not be hashable."""
    found: dict[int, Any] = {id(ProblemBody): ProblemBody, id(Identifier): Identifier, id(str): str}
    for operation in operations:
        types = [operation.body, *(a.type for a in operation.answers.values()), *(p.type for p in operation.parameters)]
        found.update((id(kind), kind) for kind in types if kind is not None)
    return list(found.values())


def _describe(operation: Operation, schema_of: Mapping[int, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {"operationId": operation.id, "summary": operation.summary}
    if operation.description:
        described["description"] = operation.description
    parameters = _describe_parameters(operation, schema_of)
    if parameters:
        described["parameters"] = parameters
    if operation.body is not None:
        content = {kind: {"schema": schema_of[id(operation.body)]} for kind in operation.body_types}
        described["requestBody"] = {"required": operation.body_required, "content": content}
    if operation.security is not None:
        described["security"] = [{operation.security: []}]
    described["responses"] = {
        **{str(status): _describe_answer(answer, schema_of) for status, answer in operation.answers.items()},
        **_describe_problems(operation, schema_of),
    }
    return described


def _describe_parameters(operation: Operation, schema_of: Mapping[int, Any]) -> list[dict[str, Any]]:
    declared = {parameter.name: parameter for parameter in operation.parameters}
    in_path = [
        declared.get(name, Parameter(name=name, where="path", type=Identifier))
        for name in _PATH_PARAMETER.findall(operation.path)
    ]
    others = [parameter for parameter in operation.parameters if parameter.where != "path"]
    return [
        {
            "name": parameter.name,
            "in": parameter.where,
            "required": parameter.required or parameter.where == "path",
            "schema": schema_of[id(parameter.type)],
            **({"description": parameter.description} if parameter.description else {}),
        }
        for parameter in (*in_path, *others)
    ]


def _describe_answer(answer: Answer, schema_of: Mapping[int, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {"description": answer.description}
    if answer.headers:
        described["headers"] = {
            name: {"description": text, "schema": {"type": "string"}} for name, text in answer.headers.items()
        }
    content: dict[str, Any] = {}
    for media_type in answer.media_types:
        is_json = media_type == JSON or media_type.endswith("+json")
        content[media_type] = {"schema": schema_of[id(answer.type)]} if is_json and answer.type is not None else {}
    if content:
        described["content"] = content
    return described


def _describe_problems(operation: Operation, schema_of: Mapping[int, Any]) -> dict[str, Any]:
    by_status: dict[int, list[Code]] = {}
    for code in dict.fromkeys((*operation.problems, *EVERYWHERE)):
        by_status.setdefault(TABLE[code].status, []).append(code)
    problem = schema_of[id(ProblemBody)]
    described: dict[str, Any] = {}
    for status, codes in sorted(by_status.items()):
        if status in operation.answers:
            continue  # the operation documents this status itself
        narrowed = {"allOf": [problem, {"properties": {"code": {"enum": [str(code) for code in codes]}}}]}
        described[str(status)] = {
            "description": "; ".join(f"`{code}`: {TABLE[code].title}" for code in codes),
            "content": {PROBLEM_TYPE: {"schema": narrowed}},
        }
    return described
