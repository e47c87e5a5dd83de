"""A project whose functions are in three languages: deployed, changed, broken half-way, rolled back, at a stage."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.conftest import ROOT, Builder

pytestmark = pytest.mark.slow
EXAMPLE = ROOT / "examples" / "mixed"
KEYS = ("orders", "report", "greeter", "due")


def deploy(builder: Builder, **event: Any) -> dict[str, Any]:
    return builder.send({"action": "build", "project": "mixed", "repo_name": "mixed", **event})


def states(reply: dict[str, Any]) -> dict[str, str]:
    return {row["key"]: row["status"] for row in reply["functions"]}


def test_functions_in_three_languages_are_one_project(builder: Builder) -> None:
    files = {str(path.relative_to(EXAMPLE)): path.read_text() for path in EXAMPLE.rglob("*.*") if path.is_file()}
    build_file = files["build.yaml"].replace("python3.13", builder.runtime)
    builder.forge.push("mixed", {**files, "build.yaml": build_file})
    first = deploy(builder)
    assert first["statusCode"] == 200, first["error"]["message"]
    assert states(first) == dict.fromkeys(KEYS, "deployed")
    assert builder.invoke("mixed-orders", {"cents": 1250}) == {"total": "12.50 EUR"}
    assert builder.invoke("mixed-report", {"orders": [1250, 250]}) == {"orders": 2, "total": "15.00 EUR"}
    assert builder.invoke("mixed-greeter", {"name": "Ada"})["greeting"] == "Hello, Ada!"
    assert builder.invoke("mixed-due", {"in": "2 days"})["in"] == "2 days"

    # What one language shares is nothing to the others.
    money = files["shared/money.py"].replace(":.2f}", ":.1f}")
    builder.forge.push("mixed", {"shared/money.py": money})
    changed = deploy(builder)
    assert states(changed) == {**dict.fromkeys(KEYS, "unchanged"), "orders": "deployed", "report": "deployed"}
    assert builder.invoke("mixed-report", {"orders": [1250]})["total"] == "12.5 EUR"

    # A program that cannot be compiled holds up the others, which could be.
    broken = {
        "go/main.go": files["go/main.go"].replace("lambda.Start(greet)", "lambda.Start(great)"),
        "node/index.js": files["node/index.js"].replace("1 day", "3 days"),
    }
    builder.forge.push("mixed", broken)
    refused = deploy(builder)
    assert (states(refused)["greeter"], states(refused)["due"]) == ("failed", "built")
    assert "undefined: great" in refused["error"]["message"]
    assert builder.invoke("mixed-due", {})["in"] == "1 day"
    builder.forge.push("mixed", {"go/main.go": files["go/main.go"]})
    fixed = deploy(builder)
    assert states(fixed) == {**dict.fromkeys(KEYS, "unchanged"), "due": "deployed"}
    assert builder.invoke("mixed-due", {})["in"] == "3 days"

    back = builder.send({"action": "rollback", "project": "mixed", "build": first["build_id"]})
    assert states(back)["greeter"] == "unchanged", back
    assert builder.invoke("mixed-due", {})["in"] == "1 day"
    assert builder.invoke("mixed-report", {"orders": [1250]})["total"] == "12.50 EUR"

    staged = deploy(builder, stage="prod", components=["orders", "due"])
    assert states(staged) == {"orders": "deployed", "due": "deployed"}
    assert builder.invoke("mixed-orders-prod", {"cents": 1250}) == {"total": "12.5 USD"}
    configuration = builder.client("lambda").get_function_configuration(FunctionName="mixed-due-prod")
    assert configuration["MemorySize"] == 512
