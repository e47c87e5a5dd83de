"""A project asks for what is not its own, by every place of a build file and every name of a commit."""

from __future__ import annotations

import json
from typing import Any

from tests.security.conftest import Lab
from tests.sources.forge import git

BUILT = """\
function:
  runtimes: [provided.al2023]
  handler: bootstrap
  build:
    command: ["printf '#!/bin/sh\\n' > bootstrap; cat more >> bootstrap; chmod +x bootstrap; test ${{#TOKEN}} -gt 20"]
    output: [bootstrap]
    secrets: {function}
layers:
  tools:
    build:
      command: ["echo ${{#TOKEN}} > made.txt"]
      output: [made.txt]
      secrets: {layer}
"""


def asking(function: str, *more: str, layer: str) -> str:
    secrets = [
        {"env": "TOKEN" if not number else f"T{number}", "from": each} for number, each in enumerate((function, *more))
    ]
    return BUILT.format(function=json.dumps(secrets), layer=json.dumps([{"env": "TOKEN", "from": layer}]))


def problems(reply: dict[str, Any]) -> list[str]:
    assert reply["statusCode"] == 403, reply
    assert reply["error"]["code"] == "secret_not_allowed"
    return [problem.partition(": ")[2] for problem in reply["error"].get("problems") or [reply["error"]["message"]]]


def test_a_project_without_rules_gets_no_secrets(lab: Lab) -> None:
    own = lab.builder.client("lambda").get_function_configuration(FunctionName=lab.builder.name)
    git_secret = own["Environment"]["Variables"]["LAMBDASMITH_GIT_SECRET"]
    own_git = f"secretsmanager:{git_secret}#token"
    lab.builder.forge.push(
        "thief", {"build.yaml": asking("secretsmanager:others/npm", own_git, layer="ssm:/team/netrc")}
    )
    assert problems(lab.builder.build("thief")) == [
        "function.build.secrets.0.from: secretsmanager:others/npm may not be used by this project",
        f"function.build.secrets.1.from: {own_git} may not be used by this project",
        "layers.tools.build.secrets.0.from: ssm:/team/netrc may not be used by this project",
    ]


def test_a_proposal_to_a_teams_repository_gets_none_of_its_secrets(lab: Lab) -> None:
    forge, name = lab.builder.forge, "team-proposed"
    first = forge.push(
        name, {"build.yaml": asking("secretsmanager:team/npm#token", layer="ssm:/team/netrc"), "more": "# 1"}
    )
    bare = forge.root / f"{name}.git"
    pull = forge.push(name, {"evil": "1"}, branch="evil")
    git(bare, "update-ref", "refs/pull/7/head", pull)
    git(bare, "update-ref", "-d", "refs/heads/evil")
    fork = forge.push(name, {"evil": "2"}, branch="fork")
    git(bare, "update-ref", "-d", "refs/heads/fork")
    for ref in ("refs/pull/7/head", pull, fork):
        said = problems(lab.builder.build(name, ref=ref))
        assert len(said) == 2
        assert all("is not the tip of one and was not deployed from one" in one for one in said), said
    reply = lab.builder.build(name, ref="main", version=True)
    assert reply["statusCode"] == 200, reply
    second = forge.push(name, {"more": "# 2"}, branch="main")
    reply = lab.builder.build(name, ref=second, version=True)
    assert reply["statusCode"] == 200, reply
    for again in ({"action": "verify"}, {"action": "rollback"}, {"action": "verify"}):
        reply = lab.builder.send({"function": name, **again})
        assert reply["statusCode"] == 200, reply
    # The first commit is the tip of nothing any more, and was deployed when it was.
    reply = lab.builder.build(name, ref=first, force=True)
    assert reply["statusCode"] == 200, reply
