"""setup.py secret set, list and remove: real subprocesses against the embedded AWS."""

from __future__ import annotations

import subprocess

import pytest

from localaws.testing import Server
from tests.bootstrap.conftest import MakeOperator, Operator

VALUE = "s3cr3t-value-of-the-operator"


@pytest.fixture
def operator(localaws: Server, make_operator: MakeOperator) -> Operator:
    return make_operator(localaws, "keeper")


def say(operator: Operator, value: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        operator.command(*arguments),
        cwd=operator.home / "work",
        env=operator.environment(),
        input=value,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_secret_is_set_changed_listed_and_removed(operator: Operator) -> None:
    manager = operator.server.client("secretsmanager")
    manager.create_secret(Name="keeper/theirs", SecretString="not ours")
    assert operator.facts("secret", "list")["secrets"] == []
    made = say(operator, f"{VALUE}\n", "secret", "set", "team-a/npm")
    assert made.returncode == 0, made.stderr
    assert "refer to it as secretsmanager:keeper/team-a/npm" in made.stdout
    assert VALUE not in made.stdout + made.stderr
    assert manager.get_secret_value(SecretId="keeper/team-a/npm")["SecretString"] == VALUE
    (listed,) = operator.facts("secret", "list")["secrets"]
    assert listed["reference"] == "secretsmanager:keeper/team-a/npm"
    assert VALUE not in str(listed)
    changed = say(operator, "line 1\nline 2\n", "secret", "set", "keeper/team-a/npm")
    assert "changed secret keeper/team-a/npm" in changed.stdout
    assert manager.get_secret_value(SecretId="keeper/team-a/npm")["SecretString"] == "line 1\nline 2"
    assert "add -y" in operator.run("secret", "remove", "team-a/npm").stderr
    assert operator.run("secret", "remove", "team-a/npm", "-y").returncode == 0
    assert operator.facts("secret", "list")["secrets"] == []
    assert operator.run("secret", "remove", "team-a/npm", "-y").returncode == 10
    assert say(operator, VALUE, "secret", "set", "team-a/npm").returncode == 0, "the name is there again"
    assert len(operator.facts("secret", "list")["secrets"]) == 1


@pytest.mark.parametrize("odd", ["\u200b", "\u201c", "\x07"], ids=["invisible", "quote", "bell"])
def test_a_value_that_no_server_would_take_is_refused(operator: Operator, odd: str) -> None:
    refused = say(operator, f"{VALUE}{odd}\n", "secret", "set", "team-a/odd")
    assert refused.returncode == 2
    assert (
        f"the value of secret keeper/team-a/odd has a character that cannot be sent, U+{ord(odd):04X}" in refused.stderr
    )
    assert "copy it from where it was made" in refused.stderr
    assert VALUE not in refused.stdout + refused.stderr
    assert "keeper/team-a/odd" not in str(operator.facts("secret", "list")["secrets"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("secret",), "write: setup.py secret set NAME"),
        (("secret", "set"), "write: setup.py secret set NAME"),
        (("secret", "sett", "x"), "secret sett: not a command"),
        (("update", "x"), "write: setup.py secret set NAME"),
        (("secret", "set", "a b"), "'a b' is not a name"),
        (("secret", "set", "/a"), "is not a name"),
        (("secret", "set", "../a"), "'../a' is not a name"),
        (("secret", "set", "git"), "keeper/git holds the git token"),
        (("secret", "set", "empty"), "no value was given"),
        (("secret", "set", "others"), "setup.py did not make it"),
        (("secret", "remove", "others", "-y"), "setup.py did not make it"),
    ],
)
def test_what_is_refused(operator: Operator, arguments: tuple[str, ...], says: str) -> None:
    manager = operator.server.client("secretsmanager")
    if (
        "others" in arguments
        and not manager.list_secrets(Filters=[{"Key": "name", "Values": ["keeper/others"]}])["SecretList"]
    ):
        manager.create_secret(Name="keeper/others", SecretString="not ours")
    ended = say(operator, "" if "empty" in arguments else VALUE, *arguments)
    assert ended.returncode == 2, ended.stderr
    assert says in ended.stderr
    assert VALUE not in ended.stderr
