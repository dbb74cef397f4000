"""OpenAPI from types: what an operation says about itself is what the document says."""

from typing import Annotated, Any

import msgspec

from shared.openapi import Answer, Operation, Parameter, build_document
from shared.problems import Code
from shared.structs import Identifier, Strict, Wire


class Ask(Strict, frozen=True, kw_only=True):
    """What is asked."""

    name: Identifier
    number: Annotated[int, msgspec.Meta(ge=1)] = 1


class Told(Wire, frozen=True, kw_only=True):
    """What is told."""

    name: str


OPERATION = Operation(
    id="ask",
    method="POST",
    path="/things/{thing}/{part}",
    summary="Ask.",
    description="For long.",
    parameters=(
        Parameter(name="part", where="path", type=str, description="which part"),
        Parameter(name="limit", where="query", type=int),
    ),
    body=Ask,
    body_types=("application/json", "text/plain"),
    answers={
        200: Answer(description="Told.", type=Told, headers={"Server-Timing": "how long"}),
        202: Answer(description="As text.", media_types=("text/plain",)),
        204: Answer(description="Nothing.", media_types=()),
    },
    problems=(Code.SOLD_OUT, Code.DROP_NOT_OPEN, Code.INVALID_FIELD),
    security="key",
)


def described(operation: Operation = OPERATION) -> Any:
    document = build_document(
        title="T", version="1", description="D", operations=[operation], security_schemes={"key": {"type": "http"}}
    )
    return document["paths"][operation.path][operation.method.lower()]


def test_the_head_of_the_document_is_what_was_given() -> None:
    document = build_document(title="T", version="1", description="D", operations=[])
    assert (document["openapi"], document["paths"]) == ("3.1.0", {})
    assert document["info"]["title"] == "T"


def test_parameters_in_the_path_come_first_and_are_required() -> None:
    parameters = [(item["name"], item["in"], item["required"]) for item in described()["parameters"]]
    assert parameters == [("thing", "path", True), ("part", "path", True), ("limit", "query", False)]
    assert described()["parameters"][1]["description"] == "which part"


def test_a_body_has_one_schema_for_all_of_its_types() -> None:
    content = described()["requestBody"]["content"]
    assert content["application/json"] == content["text/plain"] == {"schema": {"$ref": "#/components/schemas/Ask"}}
    assert described()["requestBody"]["required"] is True


def test_answers_have_the_media_types_and_headers_that_they_say() -> None:
    responses = described()["responses"]
    assert responses["200"]["content"] == {"application/json": {"schema": {"$ref": "#/components/schemas/Told"}}}
    assert "Server-Timing" in responses["200"]["headers"]
    assert responses["202"]["content"] == {"text/plain": {}}
    assert "content" not in responses["204"]


def test_problems_of_one_status_are_one_answer_with_a_closed_list_of_codes() -> None:
    responses = described()["responses"]
    schema = responses["409"]["content"]["application/problem+json"]["schema"]
    assert schema["allOf"][1]["properties"]["code"]["enum"] == ["sold_out", "drop_not_open"]
    assert {"405", "409", "422", "500"} <= set(responses)


def test_security_is_named_where_it_is_needed() -> None:
    assert described()["security"] == [{"key": []}]
    free = Operation(id="look", method="GET", path="/", summary="Look.", answers={200: Answer(description="OK")})
    assert "security" not in described(free)
    assert "requestBody" not in described(free)
    assert "parameters" not in described(free)


def test_the_schemas_have_the_limits_of_the_types() -> None:
    document = build_document(title="T", version="1", description="D", operations=[OPERATION])
    schema = document["components"]["schemas"]["Ask"]
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["name"]
    assert schema["properties"]["number"] == {"type": "integer", "minimum": 1, "default": 1}
    assert schema["properties"]["name"]["pattern"].startswith("^[a-z0-9]")
