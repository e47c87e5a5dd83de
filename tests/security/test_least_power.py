"""What config.ini narrows is refused by the builder before the first change; what it limits is not told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from builder.errors import AccessDenied
from builder.publishing.steps import ApplyExtra, touched
from builder.trust.reach import Reach
from tests.security.conftest import Lab
from tests.security.test_own_target import HANDLER, archive

ARN = "arn:aws:lambda:us-east-1:123456789012:code-signing-config:csc-0123456789abcdef0"


@contextmanager
def variables(lab: Lab, **more: str) -> Iterator[None]:
    """The builder as setup.py would have configured it."""
    client = lab.client("lambda")
    before = client.get_function_configuration(FunctionName="lambdasmith")["Environment"]["Variables"]

    def put(values: dict[str, str]) -> None:
        client.update_function_configuration(FunctionName="lambdasmith", Environment={"Variables": values})
        client.get_waiter("function_updated_v2").wait(FunctionName="lambdasmith")

    put(before | {f"LAMBDASMITH_{name}": value for name, value in more.items()})
    try:
        yield
    finally:
        put(before)


def test_status_tells_only_of_the_function_that_is_asked_for(lab: Lab) -> None:
    sent = archive(lab.builder.runtime)
    for name in ("told", "untold"):
        lab.builder.send({"action": "build", "function": name, "archive": sent, "build_id": f"{name}-1"})
    assert {"told", "untold"} <= {row["function"] for row in lab.builder.send({"action": "status"})["builds"]}
    # By the role's own policy: what forbids to change the builder's layer does not forbid to look at it.
    assert "problem" not in lab.builder.send({"action": "status"})["storage"]
    one = lab.builder.send({"action": "status", "function": "told"})
    assert {row["function"] for row in one["builds"]} == {"told"}
    with variables(lab, STATUS="function"):
        reply = lab.builder.send({"action": "status"})
        assert reply["ready"]
        assert not {"builds", "storage"} & set(reply)
        asked = lab.builder.send({"action": "status", "function": "told"})
        assert [row["build_id"] for row in asked["builds"]] == ["told-1"]
        assert lab.builder.send({"action": "status", "build_id": "untold-1"})["build"]["state"] == "succeeded"


def test_functions_without_the_tag_are_left_as_they_are_and_new_ones_get_it(lab: Lab) -> None:
    runtime = lab.builder.runtime
    lab.builder.send({"action": "build", "function": "untagged", "archive": archive(runtime)})
    before = lab.builder.state("untagged")
    with variables(lab, TAG="team=shop"):
        changed = archive(runtime, "", "layers:\n  more: {files: [data]}\n", code=HANDLER + "# newer\n")
        reply = lab.builder.send({"action": "build", "function": "untagged", "archive": changed})
        assert (reply["statusCode"], reply["error"]["code"]) == (403, "access_denied"), reply
        assert "does not have the tag team=shop" in reply["error"]["message"]
        assert lab.builder.state("untagged") == before
        other = archive(runtime, "  tags: {team: billing}\n")
        reply = lab.builder.send({"action": "build", "function": "tagged", "archive": other})
        assert reply["error"]["code"] == "access_denied", reply
        assert lab.builder.state("tagged") is None
        for code in (HANDLER, HANDLER + "# newer\n"):
            reply = lab.builder.send({"action": "build", "function": "tagged", "archive": archive(runtime, code=code)})
            assert reply["statusCode"] == 200, reply
        assert lab.client("lambda").get_function(FunctionName="tagged")["Tags"] == {"team": "shop"}


def test_code_signing_that_is_not_configured_is_refused_before_the_first_change(lab: Lab) -> None:
    sent = archive(lab.builder.runtime, f"  configuration: {{CodeSigningConfigArn: '{ARN}'}}\n")
    reply = lab.builder.send({"action": "build", "function": "signed", "archive": sent})
    assert (reply["statusCode"], reply["error"]["code"]) == (403, "access_denied"), reply
    assert lab.builder.state("signed") is None
    step = ApplyExtra(name="signed", key="CodeSigningConfigArn", value=ARN, alias=None)
    Reach(functions=("*",), code_signing=(ARN,)).check_steps(map(touched, [step]))
    with pytest.raises(AccessDenied) as caught:
        Reach(functions=("*",), code_signing=()).check_steps(map(touched, [step]))
    assert "code_signing" in caught.value.hint
