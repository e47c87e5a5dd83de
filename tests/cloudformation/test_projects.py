"""A stack that gets all functions of a project from one custom resource."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from localaws.stacks import Stack, read_template
from tests.e2e.conftest import ROOT, Builder

SHOP = ROOT / "examples" / "shop"
EXAMPLE = ROOT / "examples" / "cloudformation" / "project.yaml"


@pytest.fixture
def stack(builder: Builder) -> Iterator[Stack]:
    stack = Stack(builder.aws, "mall")
    yield stack
    stack.delete()
    assert builder.state("mall-refunds") is None


@pytest.fixture
def files(builder: Builder) -> dict[str, str | None]:
    files = {str(path.relative_to(SHOP)): path.read_text() for path in SHOP.rglob("*") if path.is_file()}
    # What the package of the example needs on older runtimes it does not say.
    files["orders/requirements.txt"] += "typing-extensions\n"
    return {**files, "build.yaml": files["build.yaml"].replace("python3.13", builder.runtime)}


def arn(builder: Builder) -> str:
    return str(builder.client("lambda").get_function(FunctionName=builder.name)["Configuration"]["FunctionArn"])


def test_a_change_of_one_function_updates_one_function_of_the_stack(
    builder: Builder, stack: Stack, files: dict[str, str | None]
) -> None:
    builder.forge.push("mall", files)
    template = read_template(EXAMPLE.read_text())
    parameters = {"BuilderArn": arn(builder), "RepoName": "mall", "Ref": "main"}
    stack.deploy(template, parameters)
    assert len(builder.invoke("mall-orders", {"cents": 150})["order"]) == 26
    assert builder.invoke("mall-refunds", {"cents": 150}).endswith(" back.")
    state = builder.state("mall-refunds")
    assert state is not None
    assert (state["configuration"]["Timeout"], state["configuration"]["MemorySize"]) == (60, 256)
    assert stack.physical_id("Build") == "mall-shop"

    said = files["receipts/refunds.py"] or ""
    commit = builder.forge.push("mall", {"receipts/refunds.py": said.replace("back.", "back!")})
    count = len(stack.events)
    stack.deploy(template, parameters | {"Ref": commit})
    assert builder.invoke("mall-refunds", {"cents": 150}).endswith(" back!")
    assert [event.resource for event in stack.events[count:]] == ["Build", "Refunds"]


def test_the_builder_deploys_all_functions_of_a_project_for_a_stack(
    builder: Builder, stack: Stack, files: dict[str, str | None]
) -> None:
    builder.forge.push("kiosk", {**files, "build.yaml": (files["build.yaml"] or "").replace("shop-", "kiosk-")})
    properties: dict[str, Any] = {
        "ServiceToken": arn(builder),
        "Action": "build",
        "Project": "kiosk",
        "RepoName": "kiosk",
        "Ref": "main",
        "Components": ["receipts", "refunds"],
    }
    stack.deploy({"Resources": {"Build": {"Type": "Custom::Lambdasmith", "Properties": properties}}})
    found = stack.attributes("Build")
    assert found["Functions.refunds.Name"] == "kiosk-refunds"
    assert builder.invoke(found["Functions.refunds.Arn"], {"cents": 150}).endswith(" back.")
    assert "Functions.orders.Name" not in found
