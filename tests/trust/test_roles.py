"""Whether a function gets the role that it is to have is said before anything is built, with what to write."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from builder.errors import AccessDenied, OwnTarget, RoleMissing
from builder.settings import reach_of
from builder.trust.roles import Roles
from localaws.testing import Server, zip_of
from tests.spec.reading import read_build_file

# The AWS CLI of the virtual environment, else that of the machine.
SEARCH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
ARN = "arn:aws:iam::123456789012:role/"
APP, TEAM = f"{ARN}app", f"{ARN}team-a"
PATTERNS = (f"{ARN}app", f"{ARN}team-*")
OWN = (f"{ARN}lambdasmith-us-east-1",)


def check(
    role: str = "", *, default: str = "", present: str | None = None, allowed: tuple[str, ...] | None = PATTERNS
) -> None:
    text = "function:\n  runtimes: [python3.13]\n  handler: app.handler\n" + (f"  role: {role}\n" if role else "")
    roles = Roles(default=default, present=present, allowed=allowed, own=OWN)
    roles.check(read_build_file(text, file="build.yaml"), "shop")


def test_what_can_be_given_is_given() -> None:
    check(TEAM)
    check(default=APP)
    check(present=f"{ARN}by-hand")  # no role is named: it stays as it is
    check(f"{ARN}by-hand", present=f"{ARN}by-hand")
    check(f"{ARN}other", allowed=None)
    Roles(default="", present=None, allowed=(), own=()).check(
        read_build_file("layers: {a: {runtimes: [python3.13], files: [x]}}", file="build.yaml"), "shop"
    )


def test_a_new_function_needs_one() -> None:
    with pytest.raises(RoleMissing) as caught:
        check()
    assert caught.value.message == "function shop does not exist yet, and no role is set to create it with"
    assert caught.value.hint.splitlines()[1:3] == ["  [builder]", "  role = ROLE"]
    assert "python setup.py update" in caught.value.hint
    assert "\n  function:\n    role: arn:aws:iam::ACCOUNT:role/ROLE\n" in caught.value.hint


@pytest.mark.skipif(shutil.which("aws", path=SEARCH) is None, reason="no AWS CLI here; install awscli")
def test_the_commands_of_the_hint_make_a_role_that_a_function_can_have(localaws: Server) -> None:
    with pytest.raises(RoleMissing) as caught:
        check()
    _, _, commands = caught.value.hint.partition("nothing else:\n")
    name = f"made-{uuid.uuid4().hex[:8]}"
    script = "set -e\n" + commands.replace("ROLE", name)
    env = {**os.environ, **localaws.env, "PATH": SEARCH}
    subprocess.run(["bash", "-c", script], env=env, check=True, capture_output=True)
    role = localaws.client("iam").get_role(RoleName=name)["Role"]
    code = zip_of({"app.py": "def handler(event, context): return 1"})
    localaws.client("lambda").create_function(
        FunctionName=name, Runtime="python3.13", Role=role["Arn"], Handler="app.handler", Code={"ZipFile": code}
    )
    (policy,) = localaws.client("iam").list_attached_role_policies(RoleName=name)["AttachedPolicies"]
    assert policy["PolicyName"] == "AWSLambdaBasicExecutionRole"


@pytest.mark.parametrize("present", [None, APP])
def test_the_builder_gives_only_what_its_configuration_names(present: str | None) -> None:
    role = f"{ARN}other"
    with pytest.raises(AccessDenied) as caught:
        check(role, present=present)
    why = "is not one that this builder may give to functions"
    assert caught.value.message == f"build.yaml:4: function.role: function shop: role {role} {why}"
    assert caught.value.hint.splitlines()[1:] == ["  [builder]", f"  roles = {APP}, {ARN}team-*, {role}"]
    assert "python setup.py update" in caught.value.hint


@pytest.mark.parametrize("allowed", [PATTERNS, None, (f"{ARN}*",)])
def test_the_builders_own_is_given_to_nothing_in_whatever_path_and_case(allowed: tuple[str, ...] | None) -> None:
    for role in (*OWN, f"{ARN}a/path/LambdaSmith-us-east-1"):
        with pytest.raises(OwnTarget, match=f"build.yaml:4: function.role: {role}: belongs to a builder"):
            check(role, allowed=allowed)


def test_a_builder_that_was_told_no_role_may_give_none() -> None:
    """`setup.py` gives it no right to pass any: Lambda would say so after the build."""
    told = {"LAMBDASMITH_FUNCTIONS": "*"}
    assert reach_of(told).roles == ()
    assert reach_of(told | {"LAMBDASMITH_ROLES": APP}).roles == (APP,)
    assert reach_of({}).roles is None
    with pytest.raises(AccessDenied, match="is not one that"):
        check(APP, allowed=())
