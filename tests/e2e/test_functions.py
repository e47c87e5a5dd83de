"""A project with several functions: one event deploys all, and only what changed."""

from __future__ import annotations

from typing import Any

from tests.e2e.conftest import Builder

ROLE = "arn:aws:iam::123456789012:role/lambda-role"
API = """
import idna, shared
def handler(event, context):
    return {"who": "api", "shared": shared.WORD, "idna": idna.encode("bücher").decode()}
"""
WORKER = """
import shared
def run(event, context):
    return {"who": "worker", "shared": shared.WORD}
"""


def project(runtime: str, prefix: str, **changes: str | None) -> dict[str, str | None]:
    files: dict[str, str | None] = {
        "build.yaml": (
            f"defaults: {{runtimes: [{runtime}], memory: 256, name: '{prefix}-{{name}}'}}\n"
            "functions:\n"
            "  api: {source_dir: functions/api, handler: app.handler}\n"
            "  worker: {source_dir: functions/worker, handler: worker.run, timeout: 300, layers: [common]}\n"
            "  cron: {source_dir: functions/worker, handler: worker.run, layers: [common]}\n"
            "layers:\n"
            "  common: {files: [shared.py], source_dir: shared, dest_dir: python}\n"
            f"stages: {{prod: {{defaults: {{memory: 512, name: '{prefix}-{{name}}-{{stage}}'}}}}}}\n"
        ),
        "functions/api/app.py": API,
        "functions/api/requirements.txt": "idna\n",
        "functions/worker/worker.py": WORKER,
        "shared/shared.py": "WORD = 'one'\n",
    }
    return {**files, **changes}


def deploy(builder: Builder, name: str, **event: Any) -> dict[str, Any]:
    return builder.send({"action": "build", "project": name, "repo_name": name, **event})


def states(reply: dict[str, Any]) -> dict[str, str]:
    return {row["key"]: row["status"] for row in reply["functions"]}


def test_one_event_deploys_all_functions_and_only_what_changed(builder: Builder) -> None:
    builder.forge.push("guild", project(builder.runtime, "guild"))
    first = deploy(builder, "guild")
    assert first["statusCode"] == 200, first["error"]["message"]
    assert states(first) == dict.fromkeys(("api", "worker", "cron"), "deployed")
    assert builder.invoke("guild-api") == {"who": "api", "shared": "one", "idna": "xn--bcher-kva"}
    assert builder.invoke("guild-worker") == {"who": "worker", "shared": "one"}
    configuration = builder.client("lambda").get_function_configuration(FunctionName="guild-worker")
    assert (configuration["Timeout"], configuration["MemorySize"]) == (300, 256)

    again = deploy(builder, "guild")
    assert states(again) == dict.fromkeys(("api", "worker", "cron"), "unchanged")
    assert "fetch" not in [phase["name"] for phase in again["phases"]]

    builder.forge.push("guild", {"functions/api/app.py": API.replace('"api"', '"API"')})
    one = deploy(builder, "guild")
    assert states(one) == {"api": "deployed", "worker": "unchanged", "cron": "unchanged"}
    assert [line.partition(" of ")[0] for line in one["changed"]] == ["api: update code"]
    assert builder.invoke("guild-api")["who"] == "API"
