"""Problems: one closed list, each with a status and a title, in one shape."""

import json

import pytest

from shared.problems import TABLE, TYPE_PREFIX, Code, Problem, ProblemBody, describe_problem, encode_problem


@pytest.mark.parametrize("code", Code)
def test_every_code_has_a_status_and_a_title(code: Code) -> None:
    status, title = TABLE[code]
    assert 400 <= status <= 599
    assert title == title.strip() != ""
    assert Problem(code=code).status == status


def test_nothing_else_is_in_the_table() -> None:
    assert set(TABLE) == set(Code)


def test_a_title_belongs_to_one_code() -> None:
    titles = [meaning.title for meaning in TABLE.values()]
    assert len(set(titles)) == len(titles)


def test_a_problem_on_the_wire_is_that_of_the_standard_and_a_code() -> None:
    problem = Problem(code=Code.DROP_NOT_OPEN, detail="Soon.", retry_after_s=3)
    assert json.loads(encode_problem(problem)) == {
        "type": TYPE_PREFIX + "drop_not_open",
        "title": "The drop has not opened yet",
        "status": 409,
        "code": "drop_not_open",
        "detail": "Soon.",
        "retry_after_s": 3,
    }


def test_what_is_empty_is_left_out() -> None:
    assert set(json.loads(encode_problem(Problem(code=Code.INTERNAL)))) == {"type", "title", "status", "code"}
    assert describe_problem(Problem(code=Code.INTERNAL)) == ProblemBody(
        type=TYPE_PREFIX + "internal", title=TABLE[Code.INTERNAL].title, status=500, code=Code.INTERNAL
    )
