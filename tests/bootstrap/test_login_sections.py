"""[git …], [index …] and [project …] of config.ini: what they become, and what is wrong with them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bootstrap.config.login_sections import expanded
from bootstrap.config.read import read_config
from bootstrap.names import Place, names_for
from bootstrap.policy.roles import policy
from bootstrap.policy.scope import Scope
from builder.errors import InvalidConfiguration
from builder.secrets.logins import GitLogin, IndexLogin, Logins, ProjectRule

SECRET = "s3cr3t-value-typed-by-mistake"
TEXT = """
[github]
git_hosts = git.example.org, other.example.org:8443
[git github.com/team-a]
token = secretsmanager:lambdasmith/team-a#token   # renewed every month
[git git.example.com]
username = oauth2
token = ssm:/forge/token:3
modules = go.example.com, git.example.com/x
[git ghe.example.com]
app_id = 1234
installation_id = 5678
private_key = secretsmanager:lambdasmith/app
[index corp]
url = https://pypi.example.com/simple/
username = secretsmanager:corp#user
password = secretsmanager:corp#password
only = corp-*, Corp_Lib
[index npm]
url = https://npm.example.com
token = ssm:/npm
[index open]
url = https://open.example.com/simple
only = open-*
[index aws]
url = codeartifact:shop/python
[project shop-*]
allow = secretsmanager:shop/*, ssm:/shop/npm
[project github.com/team-a/*]
allow = secretsmanager:team-a/*
refs = main, release/*  refs/tags/v*
"""


def read(tmp_path: Path, text: str) -> Logins:
    file = tmp_path / "config.ini"
    file.write_text(text)
    return read_config(file=file, required=True, environment={}, flags={}).logins


def test_the_sections(tmp_path: Path) -> None:
    logins = expanded(read(tmp_path, TEXT), account="123456789012", region="eu-west-1")
    host = "https://shop-123456789012.d.codeartifact.eu-west-1.amazonaws.com"
    assert logins == Logins(
        git=(
            GitLogin(base="https://github.com/team-a", token="secretsmanager:lambdasmith/team-a#token"),
            GitLogin(
                base="https://git.example.com",
                username="oauth2",
                token="ssm:/forge/token:3",
                modules="go.example.com git.example.com/x",
            ),
            GitLogin(
                base="https://ghe.example.com",
                app_id="1234",
                installation_id="5678",
                private_key="secretsmanager:lambdasmith/app",
            ),
        ),
        indexes=(
            IndexLogin(
                name="corp",
                url="https://pypi.example.com/simple",
                username="secretsmanager:corp#user",
                password="secretsmanager:corp#password",
                only="corp-* corp-lib",
            ),
            IndexLogin(name="npm", url="https://npm.example.com", token="ssm:/npm"),
            IndexLogin(name="open", url="https://open.example.com/simple", only="open-*"),
            IndexLogin(
                name="aws", url=f"{host}/pypi/python/simple", username="aws", password="codeartifact:123456789012/shop"
            ),
        ),
        projects=(
            ProjectRule(pattern="shop-*", allow=("secretsmanager:shop/*", "ssm:/shop/npm")),
            ProjectRule(
                pattern="github.com/team-a/*",
                allow=("secretsmanager:team-a/*",),
                refs=("main", "release/*", "refs/tags/v*"),
            ),
        ),
    )
    assert Logins.parse(logins.text()) == logins
    assert "ssm:/npm" in logins.references()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[git]\ntoken = ssm:x", "[git]: unknown section; write [git …]"),
        ("[git h.example]\ntoken =", "needs token, or app_id"),
        ("[git h.example]\ntoken = ssm:x\napp_id = 1", "needs token, or app_id"),
        ("[git h.example]\napp_id = 1", "needs token, or app_id"),
        (f"[git h.example]\ntoken = {SECRET}", "token: is not a reference"),
        (f"[git h.example]\ntoken = secretsmanager:a b {SECRET}", "token: is not a reference"),
        (f"[git https://u:{SECRET}@h.example]\ntoken = ssm:x", "must not contain credentials"),
        ("[git http://h.example]\ntoken = ssm:x", "must be a host, or an https:// URL"),
        ("[git h.example]\ntokn = ssm:x\ntoken = ssm:x", "tokn: unknown key; did you mean token?"),
        ("[git h.example]\ntoken = ssm:x\ntoken = ssm:y", "is given twice"),
        (f"[git h.example]\n{SECRET}", "config.ini:2: not a `key = value` line"),
        ("[index corp]\npassword = ssm:x", "needs url"),
        ("[index corp]\nurl = https://h/simple\nonly = *", "only: '*' is not a pattern of distributions"),
        ("[index corp]\nurl = https://h/simple\nonly = a/b", "only: 'a/b' is not a pattern of distributions"),
        ("[index corp]\nurl = https://h/simple\nonly = a\nusername = b", "or just only"),
        ("[index corp]\nurl = https://h/simple", "needs password"),
        (f"[index corp]\nurl = https://h/simple\npassword = {SECRET}", "password: is not a reference"),
        (f"[index corp]\nurl = https://u:{SECRET}@h/simple\npassword = ssm:x", "must not contain credentials"),
        ("[index corp]\nurl = https://h/simple\npassword = ssm:x\ntoken = ssm:y", "token, a reference, alone"),
        ("[index corp]\nurl = https://h/simple\nusername = me\ntoken = ssm:y", "token, a reference, alone"),
        (f"[index corp]\nurl = https://h/simple\ntoken = {SECRET}", "token: is not a reference"),
        (
            "[git h.example]\ntoken = ssm:x\nmodules = https://h.example",
            "modules: 'https://h.example' is not a module path",
        ),
        ("[index corp]\nurl = codeartifact:x", "codeartifact:DOMAIN/REPOSITORY"),
        ("[index a b]\nurl = https://h/simple\npassword = ssm:x", "a name has 1 to 40"),
        ("[project shop]\nallow =", "needs allow"),
        ("[project shop]\nallow = team-a/*", "is not a pattern of references"),
        (
            "[project shop]\nallow = ssm:x\nrefs = main, refs/pull/*",
            "refs: 'refs/pull/*' covers what anyone may propose",
        ),
        ("[project shop]\nallow = ssm:x\nrefs = refs/*", "only refs/heads/… and refs/tags/… can be trusted"),
        ("[project shop, billing]\nallow = ssm:x", "is a pattern of functions"),
        (
            "".join(f"[project shop-{number}]\nallow = secretsmanager:shop/{number}/*\n" for number in range(60)),
            "name several projects by one pattern",
        ),
    ],
)
def test_what_is_wrong_is_said_without_the_value(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(InvalidConfiguration) as caught:
        read(tmp_path, text)
    told = "\n".join((caught.value.message, *caught.value.problems))
    assert says in told
    assert "config.ini" in told
    assert SECRET not in told + caught.value.hint


@pytest.mark.parametrize(
    ("pattern", "function", "repository", "covered"),
    [
        ("shop-*", "shop-cart", "", True),
        ("shop-*", "billing", "https://github.com/shop-a/b", False),
        ("github.com/team-a/*", "any", "https://github.com/team-a/b.git", True),
        ("github.com/team-a/*", "any", "https://GitHub.com/team-a/b", True),
        ("github.com/team-a/*", "any", "https://github.com/team-b/b", False),
        ("github.com/team-a/*", "any", "https://github.com.evil.example/team-a/b", False),
        ("github.com/team-a/*", "any", "https://evil.example/github.com/team-a/b", False),
        ("github.com/team-a/*", "any", "https://github.com/team-a/%2e%2e/team-b/b", False),
        ("github.com/team-a/*", "any", "https://github.com/team-a//b", False),
        ("github.com/team-a/*", "github.com/team-a/x", "", False),
        ("*", "any", "", True),
    ],
)
def test_whom_a_project_section_is_for(pattern: str, function: str, repository: str, covered: bool) -> None:
    assert ProjectRule(pattern=pattern, allow=()).covers(function, repository) is covered


def test_the_role_may_read_what_is_named_and_nothing_else() -> None:
    place = Place(partition="aws", account="123456789012", region="eu-west-1")
    names = names_for(function="lambdasmith", bucket=None, place=place)
    own = "arn:aws:secretsmanager:eu-west-1:999999999999:secret:theirs"
    logins = Logins(
        git=(GitLogin(base="https://h", token="secretsmanager:a/git#token"), GitLogin(base="https://i", token="ssm:b")),
        indexes=(IndexLogin(name="i", url="https://i", username="me", password=f"secretsmanager:{own}#x"),),
        projects=(ProjectRule(pattern="*", allow=("secretsmanager:team/*", "ssm:/team/*", "secretsmanager:one#key")),),
    )
    document = policy(names, Scope(functions=("*",), logins=logins))
    found = {one["Sid"]: one for one in json.loads(json.dumps(document))["Statement"]}
    base = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:"
    assert found["ReadSecrets"]["Resource"] == [
        f"{base}a/git-??????",
        f"{own}-??????",
        f"{base}team/*",
        f"{base}one-??????",
    ]
    parameters = "arn:aws:ssm:eu-west-1:123456789012:parameter/"
    assert found["ReadParameters"]["Resource"] == [f"{parameters}b", f"{parameters}team/*"]
    none = {one["Sid"] for one in json.loads(json.dumps(policy(names, Scope(functions=("*",)))))["Statement"]}
    assert not none & {"ReadSecrets", "ReadParameters", "LogIntoCodeArtifact"}
