"""Which functions the builder may deploy is said by the operator, never by silence."""

from __future__ import annotations

from bootstrap.plan import functions_of
from localaws.testing import Server
from tests.bootstrap.conftest import MakeOperator, Operator
from tests.bootstrap.test_interruptions import answered, leftovers
from tests.bootstrap.test_plan import NOTHING, installed


def silent(server: Server, make_operator: MakeOperator, name: str) -> Operator:
    """An operator whose config.ini does not name the functions."""
    operator = make_operator(server, name, LAMBDASMITH_GITHUB_GIT_TOKEN="tok")
    file = operator.home / "config.ini"
    file.write_text(file.read_text().replace("functions = *\n", ""))
    return operator


def test_without_a_terminal_silence_is_an_error_that_says_what_to_write(
    localaws: Server, make_operator: MakeOperator
) -> None:
    operator = silent(localaws, make_operator, "unsaid")
    for more in (["-y"], [], ["--plan"]):
        ended = operator.run("init", *more)
        assert ended.returncode == 2
        assert "functions: missing" in ended.stderr
        assert "functions = shop-*, billing" in ended.stderr
    assert leftovers(localaws, "unsaid") == []


def test_at_a_terminal_the_names_are_asked_for(localaws: Server, make_operator: MakeOperator) -> None:
    operator = silent(localaws, make_operator, "asked")
    question = "functions that the builder may deploy"
    status, seen = answered(operator, "init", (question, "shop-*, billing"), ("go on? [y/N]", "n"))
    assert status == 1
    assert "every function" not in seen
    status, seen = answered(operator, "init", (question, "*"), ("go on? [y/N]", "n"))
    assert status == 1
    assert "the builder may deploy every function of this account and region" in seen
    for answer, problem in (("", "functions: missing"), ("shop web!", "not a function's name or pattern")):
        status, seen = answered(operator, "init", (question, answer))
        assert status == 2
        assert problem in seen
    assert leftovers(localaws, "asked") == []


def test_what_was_said_once_stays_said() -> None:
    assert functions_of(installed()) == ("shop-*",)
    assert functions_of(NOTHING) == ()
