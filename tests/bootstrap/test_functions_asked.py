"""Which functions the builder may deploy is said by the operator, never by silence."""

from __future__ import annotations

from dataclasses import replace

from bootstrap.plan.installed import expire_days_of, functions_of
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
    days = "until a built zip is removed (empty: never)"
    status, seen = answered(operator, "init", (question, "shop-*, billing"), (days, "40"), ("go on? [y/N]", "n"))
    assert status == 1
    assert "and built zips 40 days after their last use" in seen
    assert "every function" not in seen
    status, seen = answered(operator, "init", (question, "*"), (days, ""), ("go on? [y/N]", "n"))
    assert status == 1
    assert "the builder may deploy every function of this account and region" in seen
    for names, number, problem in (
        ("", "", "functions: missing"),
        ("shop web!", "", "not a function's name or pattern"),
        ("*", "soon", "must be a whole number of days from 1 to 3,650, or never"),
    ):
        status, seen = answered(operator, "init", (question, names), (days, number))
        assert status == 2
        assert problem in seen
    assert leftovers(localaws, "asked") == []


def test_what_was_said_once_stays_said() -> None:
    assert functions_of(installed()) == ("shop-*",)
    assert functions_of(NOTHING) == ()
    there = installed()
    assert there.function
    assert (expire_days_of(there), expire_days_of(NOTHING)) == (0, 0)
    settings = there.function.settings
    settings = replace(settings, environment={**settings.environment, "LAMBDASMITH_EXPIRE_DAYS": "40"})
    assert expire_days_of(replace(there, function=replace(there.function, settings=settings))) == 40
